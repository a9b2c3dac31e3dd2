"""/history: people see their own ended requests, and the pictures, even those that a channel refused."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.delivery.smaller import smaller
from bot.errors import EngineError, StorageError, UserError
from bot.jobs import Job, JobStatus, PictureRef
from bot.storage.queue import Queue
from cogs import _people, _views, _words
from cogs._buttons import add_cog, button, pressed
from cogs._verdicts import Verdict, classify

_PAGE = 5
_SHOWN_PROMPT = 60
_SHOWN_REASON = 150
_MARKS = {JobStatus.DELIVERED: "🖼️", JobStatus.FAILED: "❌", JobStatus.CANCELLED: "🚫"}


class History(commands.Cog):
    """Shows people their own requests, and the pictures of them again."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    @app_commands.command(description="Your last requests on this server, and their pictures again")
    @app_commands.guild_only()
    @app_commands.describe(page="The page; a higher page shows older requests")
    async def history(
        self, interaction: discord.Interaction[Client], page: app_commands.Range[int, 1, 1000] = 1
    ) -> None:
        """Show a page of the person's ended requests, with a button for each that was painted."""
        jobs = await self._queue.history(_people.requester(interaction), (page - 1) * _PAGE, _PAGE + 1)
        if not jobs:
            raise UserError(
                "None of your requests on this server has ended yet."
                if page == 1
                else "There are no requests that far back."
            )
        shown, more = jobs[:_PAGE], len(jobs) > _PAGE
        view = discord.ui.View(timeout=None)
        lines = []
        for number, job in enumerate(shown, start=(page - 1) * _PAGE + 1):
            lines.append(f"{number}. {_line(job, interaction)}")
            if await self._queue.has_images(job.id):
                view.add_item(button("show", PictureRef(job.id), f"Show {number}"))
        if more:
            lines.append(f"-# `/history page:{page + 1}` goes further back.")
        await responses.send(interaction, _words.fitting(lines), view=view, ephemeral=True)

    @pressed("show")
    async def show_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send the pictures of one request to its owner alone."""
        job_id = about.job_id
        job = await self._queue.get(job_id)
        if job is None or job.requester != _people.requester(interaction) or not await self._queue.has_images(job_id):
            raise UserError(_words.EXPIRED)
        await responses.defer(interaction, ephemeral=True)
        try:
            images = await self._queue.images(job_id)
        except StorageError:
            raise UserError("The pictures of this request are no longer kept.") from None
        words = _words.result(job, images)
        try:
            await interaction.followup.send(
                words, files=_views.result_files(job, [image.png for image in images]), ephemeral=True
            )
        except discord.HTTPException as error:
            if classify(error) is not Verdict.TOO_LARGE:
                raise
            try:
                done = await smaller(images, interaction.filesize_limit)
            except EngineError as failure:
                raise UserError(str(failure)) from error
            words += f"\n{_words.smaller(done.lossless)}"
            await interaction.followup.send(words, files=_views.result_files(job, done.files), ephemeral=True)


def _line(job: Job, interaction: discord.Interaction[Client]) -> str:
    """One request: when, what, what became of it, and where."""
    line = f"{_MARKS[job.status]} {_words.past(job.asked_at)} {_words.inert(job.request.prompt, _SHOWN_PROMPT)}"
    if job.reason:
        line += f" — {_words.inert(_words.said(job.reason), _SHOWN_REASON)}"
    elif job.destination.message_id is not None:
        place = f"{interaction.guild_id or '@me'}/{job.destination.channel_id}/{job.destination.message_id}"
        line += f" — https://discord.com/channels/{place}"
    return line


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    cog = History(client.app.queue)
    _people.open_to_messages(client, cog.history)
    await add_cog(client, cog)
