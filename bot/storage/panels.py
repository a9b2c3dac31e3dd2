"""The panels of storyboards: their order, their words, and the request that paints each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import aiosqlite

from bot.errors import UserError
from bot.jobs import JobId, Row
from bot.storage.database import Database

OF_SERIES = "SELECT * FROM panels WHERE series_id = ? ORDER BY place"
ADD = "INSERT INTO panels (series_id, number, place, words, job_id, refusal) VALUES (?, ?, ?, ?, ?, ?)"
REPLACE = "UPDATE panels SET words = ?, job_id = ?, refusal = '' WHERE series_id = ? AND number = ?"
PLACE = "UPDATE panels SET place = ? WHERE series_id = ? AND number = ?"
OWE = "UPDATE posts SET changed = changed + 1 WHERE id IN (SELECT post_id FROM jobs WHERE series_id = ?)"
CHANGES = "SELECT changed FROM posts WHERE id = ?"
# By the index posts_owing.
OWED = """
SELECT min(jobs.id) AS job_id FROM posts CROSS JOIN jobs ON post_id = posts.id WHERE changed > shown GROUP BY posts.id
"""
SEEN_FIRST = """
  (SELECT place FROM panels WHERE job_id = jobs.id) IS NULL,
  EXISTS (SELECT 1 FROM images WHERE job_id = jobs.id) DESC,
  (SELECT place FROM panels WHERE job_id = jobs.id), jobs.id
"""
"""The order of the jobs of a message: those that show pictures first.

A storyboard shows the newest request of each panel, in the order of the story; the requests before it come last.
"""

REPLACED = """
EXISTS (SELECT 1 FROM panels WHERE panels.series_id = jobs_with_post.series_id)
AND NOT EXISTS (SELECT 1 FROM panels WHERE panels.job_id = jobs_with_post.id)
"""
"""Whether a row of `jobs_with_post` is of a panel that was painted anew since, so that its message shows another."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its number, which stays, its words, and its newest request or why it has none."""

    number: int
    words: str
    job_id: JobId | None = None
    refusal: str = ""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a panel from a row of the table `panels`."""
        job_id = None if row["job_id"] is None else JobId(row["job_id"])
        return cls(row["number"], row["words"], job_id, row["refusal"])


class Panels:
    """Reads panels, and changes their order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, series_id: int) -> list[Panel]:
        """The panels of a storyboard in the order of the story; none if it is no storyboard."""
        return [Panel.from_row(row) for row in await self._database.fetch_all(OF_SERIES, (series_id,))]

    async def move(self, series_id: int, number: int, step: int) -> bool:
        """Move a panel one place later (1) or earlier (-1); False if it is at that end already."""

        async def work(connection: aiosqlite.Connection) -> bool:
            numbers = [row["number"] for row in await connection.execute_fetchall(OF_SERIES, (series_id,))]
            if number not in numbers or not 0 <= numbers.index(number) + step < len(numbers):
                return False
            at = numbers.index(number)
            numbers[at], numbers[at + step] = numbers[at + step], number
            places = [(place, series_id, each) for place, each in enumerate(numbers, start=1)]
            await connection.executemany(PLACE, places)
            await connection.execute(OWE, (series_id,))
            return True

        return await self._database.write(work)

    async def owe(self, series_ids: Sequence[int]) -> None:
        """Note that the messages of storyboards do not show what is true any more."""

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.executemany(OWE, [(series_id,) for series_id in series_ids])

        await self._database.write(work)

    async def changes(self, post_id: int) -> int:
        """How often the panels of a message have changed."""
        row = await self._database.fetch_one(CHANGES, (post_id,))
        return 0 if row is None else row["changed"]

    async def shown(self, post_id: int, changes: int) -> None:
        """Note that a message shows its panels as they were after so many changes."""
        await self._database.execute("UPDATE posts SET shown = max(shown, ?) WHERE id = ?", (changes, post_id))

    async def owed(self) -> list[JobId]:
        """The first job of each message that does not show its panels as they are."""
        return [JobId(row["job_id"]) for row in await self._database.fetch_all(OWED)]


async def add_panels(connection: aiosqlite.Connection, series_id: int, panels: Sequence[Panel]) -> None:
    """Write the panels of a new storyboard, in their order; for use inside a transaction."""
    rows = [(series_id, p.number, place, p.words, p.job_id, p.refusal) for place, p in enumerate(panels, start=1)]
    await connection.executemany(ADD, rows)


async def check_unchanged(connection: aiosqlite.Connection, series_id: int, panel: Panel) -> None:
    """Raise UserError if a panel got another request since it was read; for use inside a transaction."""
    cursor = await connection.execute(
        "SELECT job_id FROM panels WHERE series_id = ? AND number = ?", (series_id, panel.number)
    )
    row = await cursor.fetchone()
    if row is None or row["job_id"] != panel.job_id:
        raise UserError("This panel was changed meanwhile. Look at it again before you change it.")


async def replace_panel(
    connection: aiosqlite.Connection, series_id: int, number: int, words: str, job_id: JobId
) -> None:
    """Note the new request of a panel; for use inside a transaction."""
    await connection.execute(REPLACE, (words, job_id, series_id, number))
    await connection.execute(OWE, (series_id,))
