"""Requests that stand for several: the bill of all of them, its acceptance, and cancelling what has not ended."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import discord
from discord.ext import commands

from bot import responses
from bot.charts import board
from bot.charts.board import Kind, Signed
from bot.client import Client
from bot.delivery.feedback import Feedback
from bot.engine.signing import Signing
from bot.errors import DeliveryError, PlotError, UserError
from bot.jobs import Job, JobStatus, MessageId, PictureRef, Scope, UserId
from bot.language import mark, say
from bot.queue.dispatcher import Dispatcher
from bot.requests.admission import Admitted
from bot.requests.options import Options
from bot.requests.series import FIRST, VARIANTS, SeriesAdmission, SeriesQuote, notes_of
from bot.responses import LOST, InDoubt, fitted
from bot.storage.cases import By, Cases
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from cogs import _cases, _people, _series, _targets, _views, _words
from cogs._buttons import add_cog, pressed
from cogs._waiting import Waiting
from cogs.intake import Intake, stand_ins_of, take_back, where
from cogs.series_posts import SeriesPosts

log = logging.getLogger(__name__)

_ENDED = mark("Too late: all of it has ended.")


@dataclass(frozen=True, slots=True)
class _OpenBill:
    """A series whose bill was not answered yet."""

    options: Options
    series: SeriesQuote
    attachments: Mapping[str, discord.Attachment]


class Series(commands.Cog):
    """Takes prompts with choices, and asks with the bills of storyboards and variants, too."""

    def __init__(
        self,
        intake: Intake,
        posts: SeriesPosts,
        admission: SeriesAdmission,
        queue: Queue,
        dispatcher: Dispatcher,
        cases: Cases,
        preferences: PreferenceStore,
        feedback: Feedback,
        signing: Signing,
    ) -> None:
        self._signing = signing
        self._intake = intake
        self._posts = posts
        self._admission = admission
        self._queue = queue
        self._dispatcher = dispatcher
        self._cases = cases
        self._preferences = preferences
        self._feedback = feedback
        self._bills: Waiting[_OpenBill] = Waiting()

    @classmethod
    def of(cls, client: Client) -> Series:
        """The one of a client, which loads it before the cogs that use it."""
        cog = client.get_cog(cls.__cog_name__)
        assert isinstance(cog, cls)  # noqa: S101 - see above
        return cog

    def forget(self, user_id: int) -> None:
        """Forget the bills that wait for a person."""
        self._bills.forget(user_id)

    async def take(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        attachments: Mapping[str, discord.Attachment] | None = None,
    ) -> None:
        """Take a prompt: one that stands for itself as `Intake.take` does, and for several ask with their bill first.

        Raises what `Client.explain` explains if the request is refused.
        """
        attachments = attachments or {}
        requester, destination = where(interaction)
        async with self._intake.in_turn(interaction):
            read = await self._admission.read(requester, options.with_uploads(stand_ins_of(attachments)), destination)
            if isinstance(read, SeriesQuote):
                await self.offer(interaction, options, read, attachments)
                return
        await self._intake.take(interaction, read, attachments)

    async def offer(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        series: SeriesQuote,
        attachments: Mapping[str, discord.Attachment] | None = None,
    ) -> None:
        """Ask with the bill of a series. Raises Rejected if too little of the quota is left for it."""
        if not series.fits:
            await self._admission.check_room(series)
        number = self._bills.add(interaction, _OpenBill(options, series, attachments or {}), options.prompt)
        view = _series.bill_view(number, series)
        await responses.send(interaction, _series.bill(series), view=view, ephemeral=True)

    @pressed("seriesall", "seriesfirst", "seriesplain", "seriesno")
    async def bill_answered(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Paint all of a series, the first few of it, the prompt as it is written, or nothing."""
        if action == "seriesno":
            await self._bills.decline(interaction, about.job_id)
            return

        async def paint(bill: _OpenBill) -> None:
            if action == "seriesplain":
                await self._intake.take(interaction, bill.options, bill.attachments)
                return
            series = bill.series if action == "seriesall" else bill.series.beginning(FIRST)
            await self._accept(interaction, series, bill.attachments)

        await self._bills.answer(interaction, about.job_id, paint)

    async def _accept(
        self,
        interaction: discord.Interaction[Client],
        series: SeriesQuote,
        attachments: Mapping[str, discord.Attachment],
    ) -> None:
        """Download the attachments, admit the requests with the rules as they are now, and answer."""
        if attachments:
            await responses.defer(interaction, thinking=True)
        try:
            uploads = await self._intake.fetched(attachments) if attachments else {}
            series = await self._admission.again(series, uploads)
            admitted = await self._admission.admit(series, interaction_id=interaction.id)
            if not admitted:
                log.info("interaction %d was delivered twice", interaction.id)
                return
            await self._answer(interaction, admitted)
        except InDoubt:
            raise
        except Exception:
            if attachments:
                await take_back(interaction)
            raise
        if notes := notes_of(admitted):
            try:
                await interaction.followup.send(_words.notes(notes), ephemeral=True)
            except (discord.HTTPException, *LOST) as error:
                log.warning("the notes of a series were not sent: %s", type(error).__name__)

    async def _answer(self, interaction: discord.Interaction[Client], admitted: Sequence[Admitted]) -> None:
        """Show the requests as waiting: the first post is the answer, and withdraws all if Discord refuses it."""
        jobs = [each.job for each in admitted]
        posts = [list(post) for _, post in itertools.groupby(jobs, key=lambda job: job.post_id)]
        post = await self._posts.read(jobs[0])
        assert post is not None  # noqa: S101 - it was written just now
        async with interaction.client.speaking_to(jobs[0].requester.guild_id):
            words, view = self._posts.said(post, said=admitted[0].said)
        try:
            answer = responses.edit_deferred if interaction.response.is_done() else responses.send
            message_id = MessageId(await answer(interaction, words, view=view))
        except InDoubt:
            log.warning("whether a series was acknowledged is not known yet")
            raise
        except Exception:
            # A series counts as accepted only if the person saw that.
            for job in jobs:
                await self._queue.withdraw(job.id)
            raise
        await self._queue.place_message(jobs[0].id, message_id)
        await self._to_me(interaction, message_id)
        for rest in posts[1:]:
            try:
                await self._posts.begin(rest)
            except DeliveryError as error:
                # The person saw that the series was accepted, so these are sent when unsettled answers are looked for.
                log.warning("a further message of a series is sent later: %s", type(error).__name__)
                continue
            if (known := await self._queue.get(rest[0].id)) and known.destination.message_id is not None:
                await self._to_me(interaction, known.destination.message_id)

    async def _to_me(self, interaction: discord.Interaction[Client], message_id: MessageId) -> None:
        user_id = UserId(interaction.user.id)
        if (await self._preferences.of(user_id)).send_to_me:
            await self._feedback.send_always(message_id, user_id)

    @pressed("seriessheet")
    async def sheet_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send all variants of a thing as one sheet with their labels, to the person alone."""
        first = await self._queue.get(about.job_id)
        series = None if first is None or first.series_id is None else await self._queue.series(first.series_id)
        if first is None or series is None or series.kind != VARIANTS or not _targets.may_see(first, interaction):
            raise UserError(_words.EXPIRED)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        jobs = await self._queue.of_series(series.id)
        firsts = [next(post) for _, post in itertools.groupby(jobs, key=lambda job: job.post_id)]
        posts = [post for each in firsts if (post := await self._posts.read(each)) is not None]
        tiles = [tile for post in posts for tile in _series.drawn(post)]
        if not tiles:
            raise UserError("None of these has a picture now.")
        models = sorted({job.request.model for post in posts for job in post.jobs if post.images.get(job.id)})
        title = "" if any(post.is_withheld for post in posts) else series.title
        try:
            png = await board.draw(Kind.SHEET, title, tiles, 0.0, Signed(self._signing, models))
        except PlotError as error:
            log.warning("a sheet of variants could not be drawn: %s", error)
            raise UserError("The sheet of these variants could not be drawn. Try again in a moment.") from error
        spoiler = any([await self._posts.is_hidden(post) for post in posts])
        alt = fitted(" ".join(f"{tile.number}. {tile.words}" for tile in tiles), _views.ALT_TEXT)
        file = discord.File(io.BytesIO(png), f"variants-{series.id}.png", description=alt, spoiler=spoiler)
        await interaction.followup.send(file=file, ephemeral=True)

    @pressed("stopseries")
    async def stop_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Cancel what has not ended of a series: its requester and the server's moderators may."""
        first = await self._queue.get(about.job_id)
        if first is None or first.series_id is None or first.requester.guild_id != _people.place(interaction):
            raise UserError(_words.EXPIRED)
        jobs = [job for job in await self._queue.of_series(first.series_id) if _is_open(job)]
        if not jobs:
            raise UserError(_ENDED)
        if interaction.user.id == first.requester.user_id:
            # The last first: a panel that waits for another one would start when that one is cancelled.
            stopped = [job for job in reversed(jobs) if await self._dispatcher.cancel(job.id)]
            said = say("Cancelled {requests}.", requests=_words.requests(len(stopped)))
            await responses.send(interaction, said, ephemeral=True)
            return
        if not _people.is_moderator(interaction):
            raise UserError("Only the person who asked for it, or a member with Manage Server, can cancel this.")
        by = By(first.requester.guild_id, UserId(interaction.user.id))
        subject = (Scope.PERSON, first.requester.user_id)
        case, cancelled = await self._cases.cancel(by, subject, series_id=first.series_id)
        if case is None:
            raise UserError(_ENDED)
        self._dispatcher.stop(cancelled)
        await responses.send(interaction, f"{say('Cancelled.')} {_cases.receipt(case)}", ephemeral=True)


def _is_open(job: Job) -> bool:
    return job.status in (JobStatus.QUEUED, JobStatus.RUNNING)


async def setup(client: Client) -> None:
    """Add the cog and its buttons."""
    app = client.app
    await add_cog(
        client,
        Series(
            Intake.of(client),
            SeriesPosts.of(client),
            app.series,
            app.queue,
            app.dispatcher,
            app.cases,
            app.preferences,
            app.feedback,
            app.signing,
        ),
    )
