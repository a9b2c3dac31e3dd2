"""/storyboard: two to eight panels in one message, each of which can be painted again, reworded and moved."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, replace
from functools import partial

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import board
from bot.charts.board import Kind
from bot.client import Client
from bot.engine.signing import Signing
from bot.errors import DeliveryError, PlotError, UserError
from bot.jobs import Job, JobId, JobStatus, PictureRef
from bot.language import Listed, lasting, mark, say, say_many
from bot.money import roughly
from bot.requests import edits
from bot.requests.admission import Admission, Quote
from bot.requests.options import Options
from bot.requests.series import STORYBOARD, SeriesAdmission, seed_of
from bot.requests.storyboards import (
    PANELS,
    SECONDS,
    STRENGTHS,
    USUAL_SECONDS,
    Following,
    alone,
    panels_of,
    seconds_of,
    strength_of,
)
from bot.requests.wording import clean
from bot.storage.job_rows import Series as SeriesRow
from bot.storage.panels import Panel, Panels
from bot.storage.queue import Queue
from cogs import _bills, _controls, _people, _requests, _series, _storyboard, _words
from cogs._buttons import CustomId, add_cog, chosen, pressed, submitted
from cogs._forms import Submission, form, text_field, typed
from cogs._pictures import send_pictures
from cogs._posting import translated
from cogs._targets import may_see
from cogs.forms import Forms
from cogs.intake import Intake, where
from cogs.series import Series
from cogs.series_posts import SeriesPosts

log = logging.getLogger(__name__)

_TITLE, _LOOK, _STRENGTH, _SECONDS = 100, 500, 10, 10
_TITLE_NAME = mark("Title")
_LOOK_NAME = mark("Look of all panels")
_STRENGTH_NAME = mark("Follow the first panel")
_TITLES = {"title": _TITLE_NAME, "panels": "", "look": _LOOK_NAME, "strength": _STRENGTH_NAME}
_EXAMPLE = "a fox wakes up\na fox looks for food\na fox sleeps again"
"""English in every language, because most models read nothing else."""
_FIRST_ALREADY = mark("This panel is the first one already.")
_LAST_ALREADY = mark("This panel is the last one already.")
_OPEN = (JobStatus.QUEUED, JobStatus.RUNNING)
_MINE = mark("Only the person who asked for this storyboard can change it.")
_NO_PICTURE = mark("This panel has no picture. Edit its words, and it is painted.")
_BUSY = mark("This panel is not painted yet. Wait for it, or cancel it, and then change it.")


@dataclass(frozen=True, slots=True)
class _Anew:
    """A panel that is to be painted anew: beside which job, from which words, and after the picture of which lead."""

    first: Job
    panel: Panel
    words: str
    lead: Job | None


class Storyboards(commands.Cog):
    """Takes storyboards, and changes their panels."""

    def __init__(
        self,
        client: Client,
        intake: Intake,
        series: Series,
        posts: SeriesPosts,
        quotes: SeriesAdmission,
        admission: Admission,
        queue: Queue,
        panels: Panels,
        signing: Signing,
    ) -> None:
        self._signing = signing
        self._client = client
        self._intake = intake
        self._series = series
        self._posts = posts
        self._quotes = quotes
        self._admission = admission
        self._queue = queue
        self._panels = panels

    @app_commands.command(description="Paint a story in two to eight panels, in one message")
    @app_commands.guild_only()
    async def storyboard(self, interaction: discord.Interaction[Client]) -> None:
        """Open the form."""
        low, high = PANELS
        fields = [
            text_field("title", say(_TITLE_NAME), most=_TITLE, required=True),
            text_field(
                "panels",
                say("Panels"),
                hint=say(
                    "{low} to {high}: one line each, or longer ones with blank lines between them", low=low, high=high
                ),
                example=_EXAMPLE,
                long=True,
                required=True,
            ),
            text_field(
                "look",
                say(_LOOK_NAME),
                hint=say("Words and flags, like: at night, in the snow --ar 4:3"),
                most=_LOOK,
            ),
            text_field(
                "strength",
                say(_STRENGTH_NAME),
                hint=say(
                    "{low} to {high}: the lower, the more panels look like the first. Empty: none follows it",
                    low=STRENGTHS[0],
                    high=STRENGTHS[1],
                ),
                most=_STRENGTH,
            ),
        ]
        empty = form(str(CustomId("storyboard", PictureRef(JobId(0)))), say("Storyboard"), fields)
        await Forms.of(interaction.client).show(interaction, empty)

    @submitted("storyboard")
    async def form_sent(
        self,
        interaction: discord.Interaction[Client],
        known: CustomId,  # noqa: ARG002 - it is about nothing yet
        filled: Submission,
    ) -> None:
        """Quote the panels, and ask with their bill."""
        requester, destination = where(interaction)
        panels = panels_of(filled.texts.get("panels", ""))
        title, look = clean(filled.texts.get("title", "")) or say("untitled"), filled.texts.get("look", "")
        strength = strength_of(filled.texts.get("strength", ""))
        series = await self._quotes.read_board(requester, title, panels, look, destination, strength)
        await self._series.offer(interaction, Options(typed(filled.texts, _TITLES)), series)

    @pressed("panel")
    async def panel_chosen(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show what can be done with a panel, to the person alone."""
        values = chosen(interaction)
        number = int(values[0]) if values and values[0].isascii() and values[0].isdigit() else 0
        first, _, panel = await self._known(interaction, PictureRef(about.job_id, number))
        _check_mine(interaction, first)
        has_picture = panel.job_id is not None and await self._queue.has_images(panel.job_id)
        words = _words.inert(panel.words) if panel.job_id is not None else _words.said(panel.refusal)
        view = _storyboard.panel_view(first.id, panel.number, has_picture=has_picture)
        await responses.send(interaction, words, view=view, ephemeral=True)

    @pressed("panelpicture")
    async def picture_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the picture that a panel has now, with the usual buttons, to the person alone."""
        first, _, panel = await self._known(interaction, about)
        _check_mine(interaction, first)
        job = await self._free(panel)
        pictures = [] if job is None else await self._queue.pictures(job.id)
        if job is None or not pictures:
            raise UserError(_NO_PICTURE)
        view = _controls.controls_of(job, len(pictures), self._admission)
        await send_pictures(interaction, self._queue, job, pictures, _requests.single(job, pictures[0]), view)

    @pressed("panelagain", "panelvary")
    async def repaint_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Paint a panel again with a new seed, or vary its picture."""
        first, series, panel = await self._known(interaction, about)
        _check_mine(interaction, first)
        job = await self._free(panel)
        pictures = [] if job is None else await self._queue.pictures(job.id)
        if job is None or not pictures:
            raise UserError(_NO_PICTURE)
        lead = None
        if action == "panelvary":
            options = edits.vary(job.request, pictures[0], edits.STRONG)
        else:
            options = edits.again(job.request, (PictureRef(job.id),))
            lead = await self._lead(series, panel)
            if lead is not None:
                options = Following.of(lead.request, series.strength).added_to(options)
            elif series.lead and panel.number != series.lead:
                options = alone(options)
        requester, destination = where(interaction)
        quote = await self._admission.quote(requester, replace(options, images=1), destination)
        await self._repaint(interaction, _Anew(first, panel, panel.words, lead), quote)

    @pressed("panelwords")
    async def words_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Open the form with the words of a panel."""
        first, _, panel = await self._known(interaction, about)
        _check_mine(interaction, first)
        field = text_field(
            "prompt", say("Panel {number}", number=panel.number), value=panel.words, long=True, required=True
        )
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("panelwords", about)), say("Words of a panel"), [field])
        )

    @submitted("panelwords")
    async def words_sent(self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission) -> None:
        """Paint a panel from other words, with the look and the seed of the others."""
        first, series, panel = await self._known(interaction, known.about)
        _check_mine(interaction, first)
        await self._free(panel)
        words = clean(filled.texts.get("prompt", ""))
        if not words:
            raise UserError("Say what the panel shows.")
        requester, destination = where(interaction)
        lead = await self._lead(series, panel)
        follows = None if lead is None else Following.of(lead.request, series.strength)
        seed = seed_of(first.request.seed, panel.number - series.lead if series.lead else 0)
        quote = await self._quotes.quote_panel(requester, words, series.look, destination, seed, follows)
        await self._repaint(interaction, _Anew(first, panel, words, lead), quote)

    async def _repaint(self, interaction: discord.Interaction[Client], anew: _Anew, quote: Quote) -> None:
        """Paint a panel, after the person has seen the bill if it is big."""
        if quote.is_big and quote.fits:
            go = partial(self._accepted, anew=anew, options=quote.options)
            await self._intake.ask_first(interaction, _bills.bill(quote), anew.words, go)
            return
        await self._paint(interaction, anew, quote)

    async def _accepted(self, interaction: discord.Interaction[Client], anew: _Anew, options: Options) -> None:
        """Paint a panel whose bill was accepted, with the rules as they are now."""
        requester, destination = where(interaction)
        await self._paint(interaction, anew, await self._admission.quote(requester, options, destination))

    async def _paint(self, interaction: discord.Interaction[Client], anew: _Anew, quote: Quote) -> None:
        """Admit a new request for a panel, and show that it waits."""
        admitted = await self._quotes.repaint(
            anew.first,
            anew.panel,
            anew.words,
            quote,
            follows=None if anew.lead is None else anew.lead.id,
            interaction_id=interaction.id,
        )
        if admitted is None:
            return
        said = say(
            "About {seconds} of painting time; the panel changes in the storyboard.", seconds=lasting(quote.seconds)
        )
        if quote.micros:
            said = say("About {money}, an estimate; the panel changes in the storyboard.", money=roughly(quote.micros))
        if admitted.notes:
            said += f"\n{_words.notes(admitted.notes)}"
        await responses.send(interaction, said, ephemeral=True)
        await self._refresh(anew.first)

    @pressed("panelearlier", "panellater")
    async def move_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Move a panel one place in the story."""
        first, series, panel = await self._known(interaction, about)
        _check_mine(interaction, first)
        is_earlier = action == "panelearlier"
        if not await self._panels.move(series.id, panel.number, -1 if is_earlier else 1):
            raise UserError(_FIRST_ALREADY if is_earlier else _LAST_ALREADY)
        await responses.send(interaction, say("Moved."), ephemeral=True)
        await self._refresh(first)

    @pressed("boardsheet", "boardpdf")
    async def export_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Send the storyboard as one file, to the person alone."""
        await self._export(interaction, about, Kind(action.removeprefix("board")))

    @pressed("boardwebp", "boardgif")
    async def animation_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Ask how long an animation shows each panel."""
        await self._visible(interaction, about)
        low, high = SECONDS
        field = text_field(
            "seconds",
            say("Seconds for each panel"),
            hint=say("{low:g} to {high:g}", low=low, high=high),
            value=f"{USUAL_SECONDS:g}",
            most=_SECONDS,
        )
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId(action, about)), say("Animation of the storyboard"), [field])
        )

    @submitted("boardwebp", "boardgif")
    async def animation_sent(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Send the storyboard as an animation, to the person alone."""
        seconds = seconds_of(filled.texts.get("seconds", ""))
        await self._export(interaction, known.about, Kind(known.action.removeprefix("board")), seconds)

    async def _visible(self, interaction: discord.Interaction[Client], about: PictureRef) -> tuple[Job, SeriesRow]:
        """The storyboard that a control names. Raises UserError if the person may not see it."""
        first, series = await self._storyboard(interaction, about.job_id)
        if not may_see(first, interaction):
            raise UserError(_words.EXPIRED)
        return first, series

    async def _export(
        self, interaction: discord.Interaction[Client], about: PictureRef, kind: Kind, seconds: float = 0.0
    ) -> None:
        first, series = await self._visible(interaction, about)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        post = await self._posts.read(first)
        panels = [] if post is None else _storyboard.drawn(post)
        missing = [str(panel.number) for panel in panels if not panel.picture]
        if post is None or len(missing) == len(panels):
            raise UserError("No panel of this storyboard has a picture now.")
        try:
            data = await board.draw(kind, post.title, panels, seconds, _series.signed(post, self._signing))
        except PlotError as error:
            log.warning("a file of a storyboard could not be drawn: %s", error)
            raise UserError("This file of the storyboard could not be drawn. Try again in a moment.") from error
        for job_id, images in post.images.items():
            if images and not await self._queue.has_images(job_id):
                raise UserError("A panel was deleted meanwhile. Export the storyboard again.")
        if len(data) > interaction.filesize_limit:
            raise UserError(
                "The file would have {size:.0f} MiB, and Discord takes up to {most:.0f} MiB here. Use the button "
                "Sheet: a sheet is a smaller file.",
                size=len(data) / 2**20,
                most=interaction.filesize_limit / 2**20,
            )
        spoiler = await self._posts.is_hidden(post)
        ending = "png" if kind is Kind.SHEET else kind.value
        name = f"storyboard-{series.id}.{ending}"
        file = discord.File(io.BytesIO(data), name, description=post.title or say("Storyboard"), spoiler=spoiler)
        words = discord.utils.MISSING
        if missing:
            words = say_many(
                "Panel {panels} has no picture now, so it is left out.",
                "Panels {panels} have no pictures now, so they are left out.",
                len(missing),
                panels=Listed(missing),
            )
        await interaction.followup.send(words, file=file, ephemeral=True)

    async def _refresh(self, first: Job) -> None:
        """Show the panels as they are now. A message that cannot be changed says so with the next result."""
        try:
            with translated(self._client, first.requester.guild_id):
                await self._posts.refresh(first)
        except DeliveryError as error:
            log.warning("a storyboard does not show a change yet: %s", type(error).__name__)

    async def _storyboard(self, interaction: discord.Interaction[Client], job_id: JobId) -> tuple[Job, SeriesRow]:
        """The storyboard that a button names by its first job, on its server. Raises UserError if there is none."""
        first = await self._queue.get(job_id)
        series = None if first is None or first.series_id is None else await self._queue.series(first.series_id)
        if (
            first is None
            or series is None
            or series.kind != STORYBOARD
            or series.guild_id != _people.place(interaction)
        ):
            raise UserError(_words.EXPIRED)
        return first, series

    async def _known(self, interaction: discord.Interaction[Client], about: PictureRef) -> tuple[Job, SeriesRow, Panel]:
        """The storyboard and the panel that a control names. Raises UserError if there is none here."""
        first, series = await self._storyboard(interaction, about.job_id)
        panel = next((each for each in await self._panels.of(series.id) if each.number == about.number), None)
        if panel is None:
            raise UserError(_words.EXPIRED)
        return first, series, panel

    async def _lead(self, series: SeriesRow, panel: Panel) -> Job | None:
        """The request from whose picture a panel starts; None if it starts from none, or if that one has no picture."""
        if not series.lead or panel.number == series.lead:
            return None
        lead = next((each for each in await self._panels.of(series.id) if each.number == series.lead), None)
        job = None if lead is None or lead.job_id is None else await self._queue.get(lead.job_id)
        if job is None or (job.status not in _OPEN and not await self._queue.pictures(job.id)):
            return None
        return job

    async def _free(self, panel: Panel) -> Job | None:
        """The newest request of a panel, if it has one. Raises UserError while it has not ended."""
        job = None if panel.job_id is None else await self._queue.get(panel.job_id)
        if job is not None and (job.status in _OPEN or job.posted_at is None):
            raise UserError(_BUSY)
        return job


def _check_mine(interaction: discord.Interaction[Client], first: Job) -> None:
    if first.requester.user_id != interaction.user.id:
        raise UserError(_MINE)


async def setup(client: Client) -> None:
    """Add the cog, its command, its controls and its forms."""
    app = client.app
    cog = Storyboards(
        client,
        Intake.of(client),
        Series.of(client),
        SeriesPosts.of(client),
        app.series,
        app.admission,
        app.queue,
        app.panels,
        app.signing,
    )
    await add_cog(client, cog)
