"""From options to an accepted, answered request: the way of /imagine and of every control under a picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import aiohttp
import discord
from discord.ext import commands

from bot import responses
from bot.client import PERMISSIONS, Client
from bot.delivery.feedback import Feedback
from bot.errors import UserError
from bot.jobs import Destination, GenerationRequest, MessageId, PictureRef, Requester, Upload
from bot.language import say, sentence
from bot.requests import uploads
from bot.requests.admission import Admission, Admitted, Quote
from bot.requests.improver import NOT_LOOKED_UP, NOTHING_KNOWN, Improver, Offer
from bot.requests.improving import SETTINGS
from bot.requests.options import Options
from bot.requests.uploads import CALLED, LEAST_SIDE, check_facts
from bot.responses import BUSY_SECONDS, LOST, OLD_SECONDS, InDoubt, NotTaken
from bot.search.client import Search
from bot.search.visibility import Scope
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from cogs import _bills, _people, _permissions, _requests, _searching, _views, _words
from cogs._buttons import add_cog, pressed
from cogs._waiting import Waiting

log = logging.getLogger(__name__)

DOWNLOAD_SECONDS = 60.0
"""How long all attachments of one request may take to come from Discord."""
OFFER_SECONDS = 1.5
"""How long a request may wait for what would improve its prompt, so that its answer is still in time."""
AT_ONCE = 32
"""How many requests are worked on at the same time, from the options to the answer."""
DOWNLOADS = 4
"""How many requests may have their attachments downloaded at the same time: each may take 60 MiB of memory."""


Go = Callable[[discord.Interaction[Client]], Awaitable[None]]
"""What is done once its bill was accepted."""


@dataclass(frozen=True, slots=True)
class OpenOffer:
    """A request that was not made yet, and what would improve its prompt."""

    offer: Offer
    attachments: Mapping[str, discord.Attachment]


class Intake(commands.Cog):
    """Takes requests from other cogs: quotes them, asks before big ones, admits them, and answers."""

    def __init__(
        self,
        admission: Admission,
        queue: Queue,
        preferences: PreferenceStore,
        feedback: Feedback,
        improver: Improver,
        search: Search,
    ) -> None:
        self._admission = admission
        self._preferences = preferences
        self._feedback = feedback
        self._queue = queue
        self._improver = improver
        self._search = search
        # No quota is held for any of them.
        self._bills: Waiting[Go] = Waiting()
        self.offers: Waiting[OpenOffer] = Waiting()
        """What the cogs with the buttons under an offer read."""
        self._downloads = asyncio.Semaphore(DOWNLOADS)
        self._turns = asyncio.Semaphore(AT_ONCE)

    @classmethod
    def of(cls, client: Client) -> Intake:
        """The intake of a client, which loads it before the cogs that use it."""
        intake = client.get_cog(cls.__cog_name__)
        assert isinstance(intake, cls)  # noqa: S101 - see above
        return intake

    def forget(self, user_id: int) -> None:
        """Forget the bills and the offers that wait for a person."""
        self._bills.forget(user_id)
        self.offers.forget(user_id)

    async def take(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        attachments: Mapping[str, discord.Attachment] | None = None,
    ) -> None:
        """Accept the request and answer with the message that will become the result.

        `attachments` are files that come with it, by the names of their options. A big request is accepted only after
        the person has seen its bill. Raises what `Client.explain` explains if the request is refused.
        """
        attachments = attachments or {}
        requester, destination = where(interaction)
        # Refuse what can be refused now, because the answer is not public yet.
        stand_ins = stand_ins_of(attachments)
        async with self.in_turn(interaction):
            quote = await self._admission.quote(requester, options.with_uploads(stand_ins), destination)
            said: tuple[str, ...] = ()
            if quote.enhance:
                offered = await self.offered(interaction, quote)
                if isinstance(offered, Offer):
                    await self.show_offer(interaction, offered, attachments, quote.notes)
                    return
                said = (offered,)
            if quote.is_big and quote.fits:
                # A new quote, with the person's roles and the limits as they are when they say yes.
                go = partial(self._take_anew, options=quote.options, attachments=attachments, said=said)
                await self.ask_first(interaction, _bills.bill(quote), options.typed, go)
                return
            if not attachments:
                await self._accept(interaction, quote, attachments, said)
                return
        # A download may take long, and then the answer has been deferred.
        await self._accept(interaction, quote, attachments, said)

    @asynccontextmanager
    async def in_turn(self, interaction: discord.Interaction[Client]) -> AsyncIterator[None]:
        """Work on a few requests at a time: more at once would only make all of them late, moderators' commands too.

        Raises UserError if more requests come than can be answered, and NotTaken if it is too late to say even that.
        """
        if responses.age_of(interaction) > BUSY_SECONDS:
            raise UserError(_words.BUSY)
        async with self._turns:
            age = responses.age_of(interaction)
            if age > OLD_SECONDS:
                raise NotTaken
            if age > BUSY_SECONDS:
                raise UserError(_words.BUSY)
            yield

    async def offered(self, interaction: discord.Interaction[Client], quote: Quote) -> Offer | str:
        """What would improve the prompt of a quote; or a sentence, if nothing is known or it takes too long."""
        assert quote.read is not None  # noqa: S101 - Admission.quote says it
        return await self.improvement(interaction, quote.read, quote.request, _said(quote.read))

    async def improvement(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        request: GenerationRequest,
        fixed: Collection[str],
    ) -> Offer | str:
        """What would improve a prompt, without `fixed` settings; or a sentence, if nothing is known or in time."""
        try:
            async with asyncio.timeout(OFFER_SECONDS):
                seer = await _searching.seer_of(interaction, self._search, Scope.PUBLIC)
                offer = await self._improver.offer(seer, options, request, fixed)
        except (TimeoutError, UserError):
            return say(NOT_LOOKED_UP)
        return offer if offer.additions else say(NOTHING_KNOWN)

    async def show_offer(
        self,
        interaction: discord.Interaction[Client],
        offer: Offer,
        attachments: Mapping[str, discord.Attachment],
        notes: Sequence[str] = (),
    ) -> None:
        """Show the person what would improve their prompt. Nothing is changed or painted before they say so."""
        number = self.offers.add(interaction, OpenOffer(offer, attachments), offer.options.prompt)
        moves = offer.options.morph is not None or offer.options.film is not None
        may_compare = interaction.guild_id is not None and not attachments and not moves
        view = _views.offer_view(number, may_compare=may_compare)
        words = _words.offer(offer.additions, notes)
        if interaction.response.is_done():
            await interaction.followup.send(words, view=view, ephemeral=True)
        else:
            await responses.send(interaction, words, view=view, ephemeral=True)

    async def ask_first(
        self,
        interaction: discord.Interaction[Client],
        question: str,
        prompt: str,
        go: Go,
    ) -> None:
        """Show the person alone what something costs; `go` does it if they say yes, else they get the prompt back."""
        number = self._bills.add(interaction, go, prompt)
        await responses.send(interaction, question, view=_views.bill_view(number), ephemeral=True)

    async def _take_anew(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        attachments: Mapping[str, discord.Attachment],
        said: Sequence[str],
    ) -> None:
        """Take a request whose bill was accepted."""
        requester, destination = where(interaction)
        quote = await self._admission.quote(requester, options, destination)
        await self._accept(interaction, quote, attachments, said)

    @pressed("accept")
    async def accept_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Accept a bill."""
        await self._bills.answer(interaction, about.job_id, lambda go: go(interaction))

    @pressed("decline")
    async def decline_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Decline a bill: give the prompt back."""
        await self._bills.decline(interaction, about.job_id)

    async def _accept(
        self,
        interaction: discord.Interaction[Client],
        quote: Quote,
        attachments: Mapping[str, discord.Attachment],
        said: Sequence[str],
    ) -> None:
        """Download the request's attachments, admit the request and answer; `said` are more notes for the person."""
        if attachments:
            # Without `thinking`, the answer to a form would be the message under which it was opened.
            await responses.defer(interaction, thinking=True)
        try:
            if attachments:
                # The sizes of the uploads are known only now, and the rules may have changed during the download.
                options = quote.options.with_uploads(await self.fetched(attachments))
                quote = await self._admission.quote(quote.requester, options, quote.destination)
            quote = replace(quote, notes=(*quote.notes, *said))
            admitted = await self._admission.admit(quote, interaction_id=interaction.id)
            if admitted is None:
                log.info("interaction %d was delivered twice", interaction.id)
                return
            message_id = await self._answer(interaction, admitted)
        except InDoubt:
            raise
        except Exception:
            if attachments:
                await take_back(interaction)
            raise
        await self._queue.place_message(admitted.job.id, message_id)
        user_id = admitted.job.requester.user_id
        if (await self._preferences.of(user_id)).send_to_me:
            await self._feedback.send_always(message_id, user_id)
        if admitted.notes:
            try:
                await interaction.followup.send(_words.notes(admitted.notes), ephemeral=True)
            except (discord.HTTPException, *LOST) as error:
                # The request is accepted and says so; only its notes are missing.
                log.warning("the notes of job %d were not sent: %s", admitted.job.id, type(error).__name__)

    async def _answer(self, interaction: discord.Interaction[Client], admitted: Admitted) -> MessageId:
        """Show the request as queued; withdraw the job where Discord did not take that.

        Raises InDoubt when that could not be found out: the job stays, and the messages of the channel tell later.
        """
        job = admitted.job
        async with interaction.client.speaking_to(job.requester.guild_id):
            words = _requests.queued(job, admitted.said)
            view = _views.cancel_view(job.id)
        try:
            answer = responses.edit_deferred if interaction.response.is_done() else responses.send
            return MessageId(await answer(interaction, words, view=view))
        except InDoubt:
            log.warning("whether job %d was acknowledged is not known yet", job.id)
            raise
        except Exception:
            # A request counts as accepted only if the person saw that.
            await self._queue.withdraw(job.id)
            raise

    async def fetched(self, attachments: Mapping[str, discord.Attachment]) -> dict[str, Upload]:
        """Download attachments and check them; raises UserError for one that is missing or no picture."""
        async with self._downloads:
            try:
                async with asyncio.timeout(DOWNLOAD_SECONDS):
                    contents = {name: await attachment.read() for name, attachment in attachments.items()}
            except TimeoutError:
                raise UserError(
                    "Discord did not send your files within {seconds:.0f} s. Send smaller ones.",
                    seconds=DOWNLOAD_SECONDS,
                ) from None
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                # Do not log its text: it may quote a signed address.
                log.warning("attachments could not be downloaded: %s", type(error).__name__)
                raise UserError("Discord did not send your files. Send them again.") from error
        for name, data in contents.items():
            if len(data) != attachments[name].size:
                raise UserError("The {file} did not arrive completely. Send it again.", file=sentence(CALLED[name]))
        return {name: await asyncio.to_thread(uploads.inspect, CALLED[name], data) for name, data in contents.items()}


def _said(options: Options) -> frozenset[str]:
    """The settings that a person chose, and those that a picture to start from decides."""
    chosen = {name for name in SETTINGS if getattr(options, name) is not None}
    if options.image is not None or options.control is not None:
        chosen.add("aspect")
    return frozenset(chosen)


def stand_ins_of(attachments: Mapping[str, discord.Attachment]) -> dict[str, Upload]:
    """Stand-ins for attachments that are not downloaded yet, by the names of their options.

    Raises UserError if Discord's facts rule one out.
    """
    return {name: _stand_in(name, attachment) for name, attachment in attachments.items()}


def _stand_in(name: str, attachment: discord.Attachment) -> Upload:
    """A stand-in for an attachment that is not downloaded yet; raises UserError if Discord's facts rule it out."""
    check_facts(CALLED[name], attachment.size, attachment.width, attachment.height, attachment.content_type)
    # A square of the least size passes every check: Discord may state no size, or that of a photo before its rotation.
    return Upload(b"", LEAST_SIDE, LEAST_SIDE, "")


async def take_back(interaction: discord.Interaction[Client]) -> None:
    """Delete the public answer, so that the next message can be shown to the person alone.

    The answer is edited before it is deleted. Without the edit, the next message would take its place and be public;
    after a deletion alone, no message could follow (https://github.com/discord/discord-api-docs/issues/2739).
    """
    try:
        await interaction.edit_original_response(content=say(_words.REFUSED), view=None)
        await interaction.delete_original_response()
    except (discord.HTTPException, *LOST) as error:
        log.warning("a deferred answer could not be taken back: %s", type(error).__name__)


def where(interaction: discord.Interaction[Client]) -> tuple[Requester, Destination]:
    """Who asks and where the answer goes; raises UserError where no answer could be delivered."""
    if interaction.guild_id is None:
        return _people.requester(interaction), _people.destination(interaction)
    needed = discord.Permissions(PERMISSIONS.value)
    if isinstance(interaction.channel, discord.Thread):
        needed.send_messages = False
    else:
        needed.send_messages_in_threads = False
    lacking = discord.Permissions(needed.value & ~interaction.app_permissions.value)
    if lacking.value and not interaction.app_permissions.administrator:
        raise UserError(
            "I cannot post pictures in this channel, because I lack these permissions here: {permissions}. "
            "A moderator can grant them in the channel's settings.",
            permissions=_permissions.listed(name for name, missing in lacking if missing),
        )
    return _people.requester(interaction), _people.destination(interaction)


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await add_cog(client, Intake(app.admission, app.queue, app.preferences, app.feedback, app.improver, app.search))
