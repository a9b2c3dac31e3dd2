"""Pages of results: the small pictures of one, and what is remembered so that pages can be turned."""

from __future__ import annotations

import asyncio
import io
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

import discord

from bot.charts import sheet
from bot.charts.sheet import Tile
from bot.client import Client
from bot.errors import PlotError, StorageError, UserError
from bot.jobs import Job, JobId
from bot.language import mark
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from cogs import _searching
from cogs._pictures import is_hidden

REMEMBERED = 256
"""Answers whose pages can be turned. They are not stored: what people look for is their own business."""

DRAWING = 2
"""How many pages are drawn at once."""

OVER = mark("I do not remember this list any more. Use the command again.")

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last answers, each for the person who asked."""

    def __init__(self) -> None:
        self._answers: OrderedDict[int, tuple[int, T]] = OrderedDict()
        # A random start, so that a button of an earlier run does not turn to an answer of this run.
        self._numbers = itertools.count(secrets.randbelow(10**17))

    def add(self, user_id: int, answer: T) -> JobId:
        """Remember an answer; returns its number, which buttons have in the place of a job's."""
        number = next(self._numbers)
        self._answers[number] = (user_id, answer)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return JobId(number)

    def of(self, user_id: int, number: JobId) -> T:
        """An answer by its number. Raises UserError if it is another person's, or not remembered any more."""
        known, answer = self._answers.get(number, (None, None))
        if answer is None or known != user_id:
            raise UserError(OVER)
        return answer

    def clear(self) -> None:
        """Forget everything, as a restart does."""
        self._answers.clear()


class Gallery:
    """Draws the pictures of a page."""

    def __init__(self, queue: Queue, preferences: PreferenceStore) -> None:
        self._queue = queue
        self._preferences = preferences
        self._drawing = asyncio.Semaphore(DRAWING)

    async def drawn(
        self, interaction: discord.Interaction[Client], shown: Sequence[tuple[Job, int]], first: int
    ) -> list[discord.File]:
        """A picture of each result, by its number there, as one picture; none if it cannot be drawn.

        The results are numbered from `first`. It is behind a spoiler if one of its pictures is.
        """
        tiles, hidden = [], False
        for at, (job, number) in enumerate(shown, start=first):
            png = b""
            for picture in (await self._queue.pictures(job.id))[number - 1 : number]:
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
        description = _searching.alt(job for job, _ in shown)
        return [
            discord.File(io.BytesIO(png), "found.png", description=description, spoiler=hidden or any(wishes)),
        ]
