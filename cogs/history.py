"""/history: people see their own ended requests, and the pictures, even those that a channel refused."""

from __future__ import annotations

from datetime import timedelta

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import Job, JobId, JobStatus, Operation, PictureRef, utcnow
from bot.language import mark, say
from bot.storage.job_rows import ALL, Wanted
from bot.storage.queue import Queue
from bot.storage.reactions import LIKE
from bot.storage.removals import Removals, Remover
from cogs import _people, _requests, _words
from cogs._buttons import add_cog, button, pressed
from cogs._gallery import Remembered
from cogs._links import link
from cogs._pictures import send_pictures

_PAGE = 5
_LAST_PAGE = 1000
_SHOWN_PROMPT = 60
_SHOWN_REASON = 150
_GONE = {
    Remover.REQUESTER: mark("{result} — you deleted its pictures"),
    Remover.MODERATOR: mark("{result} — a moderator removed its pictures"),
    None: mark("{result} — its pictures were deleted"),
}
_MARKS = {JobStatus.DELIVERED: "🖼️", JobStatus.FAILED: "❌", JobStatus.CANCELLED: "🚫"}


class History(commands.Cog):
    """Shows people their own requests, and the pictures of them again."""

    def __init__(self, queue: Queue, removals: Removals) -> None:
        self._queue, self._removals = queue, removals
        self._asked: Remembered[Wanted] = Remembered()

    @app_commands.command(description="Your last requests on this server, and their pictures again")
    @app_commands.guild_only()
    @app_commands.describe(
        page="The page; a higher page shows older requests",
        words="Only requests with these words in the prompt",
        model="Only requests to this model",
        liked="Only results that somebody liked with 👍",
        days="Only requests of the last days",
    )
    async def history(
        self,
        interaction: discord.Interaction[Client],
        page: app_commands.Range[int, 1, _LAST_PAGE] = 1,
        words: app_commands.Range[str, 1, 100] | None = None,
        model: str | None = None,
        liked: bool = False,
        days: app_commands.Range[int, 1, 3650] | None = None,
    ) -> None:
        """Show a page of the person's ended requests, with a button for each that was painted."""
        wanted = Wanted(
            words,
            None if model is None else model.lower(),
            None if days is None else utcnow() - timedelta(days=days),
            LIKE if liked else None,
        )
        words_of_page, view = await self._page(interaction, wanted, page)
        await responses.send(interaction, words_of_page, view=view, ephemeral=True)

    @pressed("historypage")
    async def page_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Turn to another page."""
        wanted = self._asked.of(interaction.user.id, about.job_id)
        words, view = await self._page(interaction, wanted, about.number, about.job_id)
        await responses.edit(interaction, words, view=view)

    async def _page(
        self, interaction: discord.Interaction[Client], wanted: Wanted, page: int, asked: JobId | None = None
    ) -> tuple[str, discord.ui.View]:
        """A page of the person's ended requests; `asked` is the number under which `wanted` is remembered."""
        jobs = await self._queue.history(_people.requester(interaction), (page - 1) * _PAGE, _PAGE + 1, wanted)
        if not jobs:
            raise UserError(_nothing(page, wanted))
        view = discord.ui.View(timeout=None)
        lines = []
        for number, job in enumerate(jobs[:_PAGE], start=(page - 1) * _PAGE + 1):
            is_shown = await self._queue.has_images(job.id)
            gone = job.status is JobStatus.DELIVERED and not is_shown
            line = f"{number}. {_line(job, interaction, is_gone=gone)}"
            if gone:
                line = say(_GONE[await self._removals.who_removed(job)], result=line)
            lines.append(line)
            if is_shown:
                view.add_item(button("show", PictureRef(job.id), say("Show {number}", number=number)))
        has_more = len(jobs) > _PAGE and page < _LAST_PAGE
        if page > 1 or has_more:
            asked = self._asked.add(interaction.user.id, wanted) if asked is None else asked
        if asked is not None and page > 1:
            view.add_item(button("historypage", PictureRef(asked, page - 1), say("◀ Back"), row=1))
        if asked is not None and has_more:
            view.add_item(button("historypage", PictureRef(asked, page + 1), say("More ▶"), row=1))
        return _words.fitting(lines), view

    @pressed("show")
    async def show_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send the pictures of one request to its owner alone."""
        job_id = about.job_id
        job = await self._queue.get(job_id)
        if job is None or job.requester != _people.requester(interaction) or not await self._queue.has_images(job_id):
            raise UserError(_words.EXPIRED)
        pictures = await self._queue.pictures(job_id)
        await send_pictures(interaction, self._queue, job, pictures, _requests.result(job, pictures))


def _nothing(page: int, wanted: Wanted) -> str:
    """Why a page is empty."""
    if page > 1:
        return mark("There are no requests that far back.")
    if wanted != ALL:
        return mark("No request of yours on this server matches. Leave out an option to see more.")
    return mark("There is nothing here yet: your requests on this server are listed once they have ended.")


def _line(job: Job, interaction: discord.Interaction[Client], *, is_gone: bool) -> str:
    """One request: when, what, what became of it, and where."""
    sign = "🗑️" if is_gone else _MARKS[job.status]
    line = f"{sign} {_words.past(job.asked_at)} {_words.inert(job.request.title, _SHOWN_PROMPT)}"
    if job.request.operation is not Operation.TEXT2IMAGE:
        line += f" ({_requests.operation(job.request)})"
    if job.reason:
        line += f" — {_words.inert(_words.said(job.reason), _SHOWN_REASON)}"
    elif where := link(interaction.client, job):
        line += f" — {where}"
    return line


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    cog = History(client.app.queue, client.app.removals)
    _people.open_to_messages(client, cog.history)
    await add_cog(client, cog)
