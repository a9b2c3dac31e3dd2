"""/imagine: from what a person typed to an accepted, answered request."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot.client import PERMISSIONS, Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import Destination, JobId, MessageId, PictureRef, Requester, Upload
from bot.requests import uploads
from bot.requests.admission import Admission, Admitted, Quote
from bot.requests.options import PROMPT_HELP, Option, Options, table
from bot.requests.resolve import ASPECTS, aspect_size
from bot.requests.uploads import LEAST_SIDE, ROLES, check_facts
from bot.storage.queue import Queue
from cogs import _people, _views, _words
from cogs._buttons import add_cog, pressed
from cogs._verdicts import ALREADY_ACKNOWLEDGED

log = logging.getLogger(__name__)

Choices = list[app_commands.Choice[str]]

DOWNLOAD_SECONDS = 60.0
"""How long all attachments of one request may take to come from Discord."""
OPEN_BILLS = 1000
"""Big requests that wait for their confirmation; the oldest is forgotten first."""
DOWNLOADS = 4
"""Requests whose attachments are fetched at a time: each may hold 60 MiB in memory."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A big request whose bill was not answered yet; who asks, with which roles, and where is known when it is."""

    user_id: int
    guild_id: int | None
    options: Options
    attachments: Mapping[str, discord.Attachment]


def taking(options: Sequence[Option]) -> Callable[[Callable[..., Any]], Any]:
    """Make a command take a prompt and these options, instead of the keywords that its method is written with."""

    def decorate(command: Callable[..., Any]) -> Any:
        known = inspect.signature(command).parameters.values()
        own = [parameter for parameter in known if parameter.kind is not parameter.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        prompt = inspect.Parameter("prompt", keyword, annotation=str)
        taken = [
            inspect.Parameter(option.name, keyword, annotation=_annotation(option), default=None) for option in options
        ]
        command.__signature__ = inspect.Signature([*own, prompt, *taken])  # type: ignore[attr-defined]
        helps = {option.name: option.help for option in options}
        return app_commands.describe(prompt=PROMPT_HELP, **helps)(command)

    return decorate


def _annotation(option: Option) -> Any:
    """The type under which discord.py asks for an option."""
    if option.is_upload:
        return discord.Attachment | None
    if option.between is not None:
        return app_commands.Range[option.type, *option.between] | None
    return option.type | None


class Create(commands.Cog):
    """Takes requests for pictures."""

    def __init__(self, admission: Admission, queue: Queue, command: str) -> None:
        self._admission = admission
        self._queue = queue
        self._asked: OrderedDict[JobId, _Asked] = OrderedDict()
        # Another run's buttons must not meet this run's requests.
        self._numbers = itertools.count(secrets.randbelow(10**17))
        self._downloads = asyncio.Semaphore(DOWNLOADS)
        # Another bot may own /imagine on a server, so the host may name ours otherwise.
        self.imagine.name = command

    @app_commands.command(name="imagine", description="Paint a picture of what you describe")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @taking(table())
    async def imagine(self, interaction: discord.Interaction[Client], **given: Any) -> None:
        """Accept the request and answer with the message that will become the result."""
        requester, destination = _where(interaction)
        attachments: dict[str, discord.Attachment] = {
            role: given.pop(role) for role in ROLES if given.get(role) is not None
        }
        options = Options(**{name: value for name, value in given.items() if name not in ROLES})
        # Everything that can be refused now is refused before the answer is public.
        stated = {role: _stated(role, attachment) for role, attachment in attachments.items()}
        quote = await self._admission.quote(requester, options.with_uploads(stated), destination)
        if quote.is_big and quote.fits:
            number = self._ask_first(_Asked(interaction.user.id, interaction.guild_id, quote.options, attachments))
            await interaction.response.send_message(_words.bill(quote), view=_views.bill_view(number), ephemeral=True)
            return
        await self._accept(interaction, quote, attachments)

    def _ask_first(self, asked: _Asked) -> JobId:
        """Keep a request until its bill is answered; nothing is held for it. A restart forgets it."""
        number = JobId(next(self._numbers))
        self._asked[number] = asked
        while len(self._asked) > OPEN_BILLS:
            self._asked.popitem(last=False)
        return number

    @pressed("accept")
    async def accept_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """The bill is fine: make a new quote, with the roles and by the limits of now, and accept it."""
        asked = self._answered(interaction, about.job_id)
        try:
            requester, destination = _where(interaction)
            quote = await self._admission.quote(requester, asked.options, destination)
            await self._accept(interaction, quote, asked.attachments)
        except Exception as error:  # noqa: BLE001 - it is explained, and logged if it is a bug
            # The button has no prompt to hand back, but what it is about has.
            await interaction.client.explain(interaction, error, asked.options.prompt)

    @pressed("decline")
    async def decline_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """It is too much: hand the prompt back."""
        asked = self._answered(interaction, about.job_id)
        await interaction.response.edit_message(content=_words.declined(asked.options.prompt), view=None)

    def _answered(self, interaction: discord.Interaction[Client], number: JobId) -> _Asked:
        """Take out what a bill was about; raises UserError once it is answered or forgotten, and on another server."""
        asked = self._asked.get(number)
        if asked is None or (asked.user_id, asked.guild_id) != (interaction.user.id, interaction.guild_id):
            raise UserError(_words.EXPIRED_BILL)
        return self._asked.pop(number)

    async def _accept(
        self,
        interaction: discord.Interaction[Client],
        quote: Quote,
        attachments: Mapping[str, discord.Attachment],
    ) -> None:
        """Download what comes with the request, admit it and answer."""
        if attachments and not await _defer(interaction):
            return
        try:
            if attachments:
                # Only now the sizes of the uploads are known, and the rules may have changed during the download.
                options = quote.options.with_uploads(await self._fetched(attachments))
                quote = await self._admission.quote(quote.requester, options, quote.destination)
            admitted = await self._admission.admit(quote, interaction_id=interaction.id)
            if admitted is None:
                log.info("interaction %d was delivered twice", interaction.id)
                return
            message_id = await self._answer(interaction, admitted)
        except Exception:
            if attachments:
                await _take_back(interaction)
            raise
        await self._queue.place_message(admitted.job.id, message_id)
        if admitted.notes:
            await interaction.followup.send(_words.notes(admitted.notes), ephemeral=True)

    async def _answer(self, interaction: discord.Interaction[Client], admitted: Admitted) -> MessageId:
        """Show the request as queued; withdraw the job where that fails."""
        job = admitted.job
        words = _words.queued(job, admitted.said)
        view = _views.cancel_view(job.id)
        try:
            if interaction.response.is_done():
                return MessageId((await interaction.edit_original_response(content=words, view=view)).id)
            answer = await interaction.response.send_message(words, view=view)
        except Exception:
            # The person did not see that it was accepted, so it was not.
            await self._queue.withdraw(job.id)
            raise
        assert answer.message_id is not None  # noqa: S101 - a message was sent
        return MessageId(answer.message_id)

    async def _fetched(self, attachments: Mapping[str, discord.Attachment]) -> dict[str, Upload]:
        """Download attachments and look at what came; raises UserError."""
        async with self._downloads:
            try:
                async with asyncio.timeout(DOWNLOAD_SECONDS):
                    contents = {role: await attachment.read() for role, attachment in attachments.items()}
            except TimeoutError:
                raise UserError(
                    f"Discord did not send your files within {DOWNLOAD_SECONDS:.0f} s. Send smaller ones."
                ) from None
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                # Its words may quote an address that is signed.
                log.warning("attachments could not be downloaded: %s", type(error).__name__)
                raise UserError("Discord did not send your files. Send them again.") from error
        for role, data in contents.items():
            if len(data) != attachments[role].size:
                raise UserError(f"The {ROLES[role]} did not arrive as it was sent. Send it again.")
        return {role: await asyncio.to_thread(uploads.inspect, ROLES[role], data) for role, data in contents.items()}

    @imagine.autocomplete("model")
    async def _models(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return [
            app_commands.Choice(name=f"{model.name} — {model.description}"[:100].rstrip(" —"), value=model.name)
            for model in self._admission.models
            if typed.lower() in f"{model.name} {model.description}".lower()
        ][:25]

    @imagine.autocomplete("sampler")
    async def _samplers(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return [
            app_commands.Choice(name=name, value=name) for name in self._admission.samplers if typed.lower() in name
        ][:25]

    @imagine.autocomplete("lora")
    async def _loras(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        *before, last = typed.split(",")
        chosen = "".join(f"{entry.strip()}, " for entry in before)
        return [
            app_commands.Choice(name=f"{chosen}{lora.name}"[:100], value=f"{chosen}{lora.name}"[:100])
            for lora in self._model(interaction).loras
            if last.strip().lower() in lora.name
        ][:25]

    @imagine.autocomplete("controlnet")
    async def _controlnets(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return [
            app_commands.Choice(name=f"{net.name} — {net.description}"[:100].rstrip(" —"), value=net.name)
            for net in self._model(interaction).controlnets
            if typed.strip().lower() in f"{net.name} {net.description}".lower()
        ][:25]

    def _model(self, interaction: discord.Interaction[Client]) -> ModelConfig:
        """The model chosen so far."""
        models = {model.name: model for model in self._admission.models}
        return models.get(getattr(interaction.namespace, "model", None) or "", self._admission.models[0])

    @imagine.autocomplete("aspect")
    async def _aspects(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        model = self._model(interaction)
        choices = []
        for aspect in ASPECTS:
            width, height = aspect_size(aspect, model)
            if aspect.startswith(typed.strip()) or not typed:
                choices.append(app_commands.Choice(name=f"{aspect} — {width}×{height}", value=aspect))
        return choices


def _stated(role: str, attachment: discord.Attachment) -> Upload:
    """A stand-in for an attachment until its bytes are here; raises UserError for what is refused unseen."""
    check_facts(ROLES[role], attachment.size, attachment.width, attachment.height, attachment.content_type)
    # A square goes with every other: Discord may state no sides, or those of a photograph that lies on its side.
    return Upload(b"", LEAST_SIDE, LEAST_SIDE, "")


async def _defer(interaction: discord.Interaction[Client]) -> bool:
    """Promise an answer within the 3 s that Discord gives; False when the same interaction has one already."""
    try:
        await interaction.response.defer()
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
        log.info("interaction %d was delivered twice", interaction.id)
        return False
    return True


async def _take_back(interaction: discord.Interaction[Client]) -> None:
    """Delete the public answer, so that what is said next is for the person alone.

    It is answered first: until then the next message takes its place, as public as it, and once it is deleted no
    message can (https://github.com/discord/discord-api-docs/issues/2739).
    """
    try:
        await interaction.edit_original_response(content=_words.REFUSED, view=None)
        await interaction.delete_original_response()
    except discord.HTTPException as error:
        log.warning("a deferred answer could not be taken back: %s", error)


def _where(interaction: discord.Interaction[Client]) -> tuple[Requester, Destination]:
    """Who asks and where the answer goes; raises UserError where no answer could be delivered."""
    if interaction.guild_id is None or interaction.channel_id is None:
        raise UserError(
            "Pictures are painted in servers, where a community shares the easel. "
            "Use this command in a channel of a server we share."
        )
    needed = discord.Permissions(PERMISSIONS.value)
    if isinstance(interaction.channel, discord.Thread):
        needed.send_messages = False
    else:
        needed.send_messages_in_threads = False
    lacking = discord.Permissions(needed.value & ~interaction.app_permissions.value)
    if lacking.value and not interaction.app_permissions.administrator:
        names = ", ".join(name.replace("_", " ").title() for name, missing in lacking if missing)
        raise UserError(
            f"I cannot post pictures in this channel: I lack {names} here. "
            "A moderator can grant it in the channel's settings."
        )
    return _people.requester(interaction), _people.destination(interaction)


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    cog = Create(app.admission, app.queue, app.config.discord.command)
    client.said = _words.said
    await add_cog(client, cog)
