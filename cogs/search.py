"""/search: results found by words, by meaning and by filters, page by page, for the person alone."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import sheet
from bot.charts.sheet import Tile
from bot.client import Client
from bot.errors import PlotError, StorageError, UserError
from bot.jobs import Clock, Job, JobId, PictureRef, utcnow
from bot.requests.admission import Admission
from bot.search import queries
from bot.search.client import Answer, Search
from bot.search.queries import MOST_CHARACTERS, Query
from bot.search.visibility import Facts, Scope, Seer, may_see
from bot.search.wire import Hit
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from cogs import _controls, _people, _searching, _targets, _words
from cogs._buttons import add_cog, button, pressed
from cogs._pictures import is_hidden, send_pictures

PAGE = 5
"""Results of a page: as many buttons as fit into a row."""

REMEMBERED = 256
"""Searches whose pages can be turned. They are not stored: what people look for is their own business."""

DRAWING = 2
"""How many pages are drawn at once."""

SCOPES = list(Scope)

OVER = "I do not remember this search any more. Search again."

_PLACES = {
    Scope.MINE: "my results",
    Scope.PUBLIC: "this server's public results",
    Scope.SERVER: "this server (moderators)",
    Scope.ALL: "all servers (host)",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A search whose pages can be turned by the person who made it."""

    user_id: int
    scope: Scope
    answer: Answer


class SearchCog(commands.Cog, name="Search"):
    """Finds results, and shows only what the person may see now."""

    def __init__(
        self, search: Search, queue: Queue, admission: Admission, preferences: PreferenceStore, clock: Clock
    ) -> None:
        self._search = search
        self._queue = queue
        self._admission = admission
        self._preferences = preferences
        self._clock = clock
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        self._numbers = itertools.count(1)
        self._drawing = asyncio.Semaphore(DRAWING)

    @app_commands.command(description="Find results by words, by meaning and by filters")
    @app_commands.guild_only()
    @app_commands.rename(scope="in")
    @app_commands.describe(
        query='Words, "phrases", -words to leave out, and filters such as by:me tag:castle rated:3 before:7d',
        scope="Where to look; this server's public results if you do not say",
    )
    @app_commands.choices(scope=[app_commands.Choice(name=words, value=scope) for scope, words in _PLACES.items()])
    async def search(
        self,
        interaction: discord.Interaction[Client],
        query: app_commands.Range[str, 1, MOST_CHARACTERS],
        scope: str = Scope.PUBLIC,
    ) -> None:
        """Show the first page of what is found."""
        wanted = queries.parse(query, me=interaction.user.id, now=self._clock())
        await self._begin(interaction, wanted, Scope(scope))

    @pressed("alike")
    async def alike_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show results whose prompt is like that of a result."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        await self._begin(interaction, queries.like(job.request.prompt), Scope.PUBLIC, without=job.id)

    async def _begin(
        self, interaction: discord.Interaction[Client], query: Query, scope: Scope, without: JobId | None = None
    ) -> None:
        await responses.defer(interaction, ephemeral=True, thinking=True)
        seer = await _searching.seer_of(interaction, self._search, scope)
        answer = await self._search.find(query, seer, without)
        number = next(self._numbers)
        self._sessions[number] = Session(interaction.user.id, seer.scope, answer)
        while len(self._sessions) > REMEMBERED:
            self._sessions.popitem(last=False)
        await self._show(interaction, number, 0, seer)

    @pressed("foundpage")
    async def page_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Turn to another page; the number of the control's job is that of the search."""
        session = self._sessions.get(about.job_id)
        if session is None or session.user_id != interaction.user.id:
            raise UserError(OVER)
        await responses.defer(interaction)
        seer = await _searching.seer_of(interaction, self._search, session.scope)
        await self._show(interaction, about.job_id, about.number, seer)

    @pressed("found")
    async def found_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show a result that was found; the number of the control is that of the scope."""
        await responses.defer(interaction, ephemeral=True, thinking=True)
        seer = await _searching.seer_of(interaction, self._search, SCOPES[min(about.number, len(SCOPES) - 1)])
        job = await self._visible(about.job_id, seer)
        if job is None:
            raise UserError(_targets.NO_RESULT)
        pictures = await self._queue.pictures(job.id)
        view = None
        if job.requester.guild_id == seer.guild_id:
            view = _controls.controls_of(job, len(pictures), self._admission)
        await send_pictures(interaction, self._queue, job, pictures, _words.result(job, pictures), view)

    async def _visible(self, job_id: JobId, seer: Seer) -> Job | None:
        """A result, if the person may see it now."""
        job = await self._queue.get(job_id)
        if job is None or not may_see(Facts.of(job, has_pictures=await self._queue.has_images(job_id)), seer):
            return None
        return job

    async def _show(self, interaction: discord.Interaction[Client], number: int, page: int, seer: Seer) -> None:
        """Put a page in the place of the answer: whatever the person may not see any more is left out."""
        session = self._sessions[number]
        hits = session.answer.hits[page * PAGE : (page + 1) * PAGE]
        shown = [(job, hit) for hit in hits if (job := await self._visible(JobId(hit.job_id), seer)) is not None]
        if not session.answer.hits:
            await responses.edit_deferred(interaction, _searching.nothing(session.answer, seer.scope))
            return
        pages = -(-len(session.answer.hits) // PAGE)
        first = page * PAGE + 1
        head = f"**{len(session.answer.hits)} found**, page {page + 1} of {pages}"
        lines = [head, *(_searching.line(at, job, hit) for at, (job, hit) in enumerate(shown, start=first))]
        if len(shown) < len(hits):
            lines.append("-# Some results of this page were deleted, or you may not see them any more.")
        view = discord.ui.View(timeout=None)
        scope = SCOPES.index(seer.scope)
        for at, (job, _) in enumerate(shown, start=first):
            view.add_item(button("found", PictureRef(job.id, scope), f"Show {at}", row=0))
        if page:
            view.add_item(button("foundpage", PictureRef(JobId(number), page - 1), "◀ Back", row=1))
        if page + 1 < pages:
            view.add_item(button("foundpage", PictureRef(JobId(number), page + 1), "More ▶", row=1))
        files = await self._drawn(interaction, shown, first)
        words = _words.fitting([*lines, *_searching.notes(session.answer)])
        await responses.edit_deferred(interaction, words, view=view, attachments=files)

    async def _drawn(
        self, interaction: discord.Interaction[Client], shown: Sequence[tuple[Job, Hit]], first: int
    ) -> list[discord.File]:
        """The first picture of each result, as one picture; none if it cannot be drawn."""
        tiles, hidden = [], False
        for at, (job, _) in enumerate(shown, start=first):
            png = b""
            for picture in (await self._queue.pictures(job.id))[:1]:
                hidden = hidden or await is_hidden(interaction, job, [picture])
                try:
                    (image,) = await self._queue.read([picture])
                    png = image.png
                except StorageError:
                    png = b""
            tiles.append(Tile(str(at), png))
        if not any(tile.picture for tile in tiles):
            return []
        try:
            async with self._drawing:
                png = await sheet.contact_sheet(tiles)
        except PlotError:
            # The words have everything that is needed.
            return []
        wishes = [(await self._preferences.of(job.requester.user_id)).spoiler for job, _ in shown]
        return [
            discord.File(
                io.BytesIO(png),
                "found.png",
                description=_searching.alt(job for job, _ in shown),
                spoiler=hidden or any(wishes),
            )
        ]


async def setup(client: Client) -> None:
    """Add the cog, its command and its buttons."""
    app = client.app
    cog = SearchCog(app.search, app.queue, app.admission, app.preferences, utcnow)
    _people.open_to_messages(client, cog.search)
    await add_cog(client, cog)
