"""Comparisons of two settings, and the votes on them. Who voted for what leaves this module only as a count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import aiosqlite

from bot.jobs import Clock, GuildId, JobId, Requester, Row, UserId, to_text
from bot.storage.database import Database

ADD = """
INSERT INTO comparisons (guild_id, user_id, prompt, first, second, first_id, second_id, swapped)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
"""
# Its two unique indexes serve it.
OF_JOB = "SELECT * FROM comparisons WHERE first_id = ?1 UNION ALL SELECT * FROM comparisons WHERE second_id = ?1"

# A person counts once: for the setting that they chose more often. Of the others, who chose both equally often, only
# the number is told.
TALLY = """
WITH people AS (
  SELECT sum(for_second) AS second, count(*) AS pairs FROM votes WHERE comparison_id = ? GROUP BY user_id)
SELECT coalesce(sum(2 * second < pairs), 0) AS first, coalesce(sum(2 * second > pairs), 0) AS second,
  coalesce(sum(2 * second = pairs), 0) AS neither
FROM people
"""

VOTE = """
INSERT INTO votes (comparison_id, user_id, pair, for_second) SELECT id, ?2, ?3, ?4 FROM comparisons
WHERE id = ?1 AND ended_at IS NULL
ON CONFLICT DO UPDATE SET for_second = excluded.for_second
"""
# Pressed again, a button takes the vote back.
TAKE_BACK = """
DELETE FROM votes WHERE comparison_id = ?1 AND user_id = ?2 AND pair = ?3 AND for_second = ?4
  AND EXISTS (SELECT 1 FROM comparisons WHERE id = ?1 AND ended_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt under two settings: as they were typed, and the requests that paint them."""

    id: int
    guild_id: GuildId
    user_id: UserId
    prompt: str
    first: str
    second: str
    first_id: JobId
    second_id: JobId
    swapped: int
    has_ended: bool

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a comparison from a row of the table `comparisons`."""
        return cls(
            row["id"],
            GuildId(row["guild_id"]),
            UserId(row["user_id"]),
            row["prompt"],
            row["first"],
            row["second"],
            JobId(row["first_id"]),
            JobId(row["second_id"]),
            row["swapped"],
            row["ended_at"] is not None,
        )

    def other(self, job_id: JobId) -> JobId:
        """The request that is compared with this one."""
        return self.second_id if job_id == self.first_id else self.first_id

    def is_swapped(self, pair: int) -> bool:
        """Whether the second setting is on the left in a pair, whose numbers begin at 1."""
        return bool(self.swapped >> (pair - 1) & 1)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many people prefer each setting, and how many chose both equally often."""

    first: int
    second: int
    neither: int

    @property
    def people(self) -> int:
        """How many people voted."""
        return self.first + self.second + self.neither


class Comparisons:
    """Reads and writes comparisons and their votes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, requester: Requester, prompt: str, settings: tuple[str, str], jobs: tuple[JobId, JobId], swapped: int
    ) -> Comparison:
        """Begin a comparison."""

        async def work(connection: aiosqlite.Connection) -> Comparison:
            values = requester.guild_id, requester.user_id, prompt, *settings, *jobs, swapped
            row = await (await connection.execute(ADD, values)).fetchone()
            assert row is not None  # noqa: S101 - inserted above
            return Comparison.from_row(row)

        return await self._database.write(work)

    async def get(self, number: int) -> Comparison | None:
        """A comparison by its number."""
        row = await self._database.fetch_one("SELECT * FROM comparisons WHERE id = ?", (number,))
        return None if row is None else Comparison.from_row(row)

    async def of_job(self, job_id: JobId) -> Comparison | None:
        """The comparison that a request belongs to."""
        row = await self._database.fetch_one(OF_JOB, (job_id,))
        return None if row is None else Comparison.from_row(row)

    async def vote(self, number: int, user_id: UserId, pair: int, *, for_second: bool) -> dict[int, bool]:
        """Vote for a setting in a pair, or take that vote back; returns the person's votes, by pair.

        In a comparison that has ended, nothing changes.
        """

        async def work(connection: aiosqlite.Connection) -> dict[int, bool]:
            taken = await connection.execute(TAKE_BACK, (number, user_id, pair, for_second))
            if not taken.rowcount:
                await connection.execute(VOTE, (number, user_id, pair, for_second))
            rows = await connection.execute_fetchall(
                "SELECT pair, for_second FROM votes WHERE comparison_id = ? AND user_id = ? ORDER BY pair",
                (number, user_id),
            )
            return {row["pair"]: bool(row["for_second"]) for row in rows}

        return await self._database.write(work)

    async def tally(self, number: int) -> Tally:
        """How many people prefer which setting."""
        row = await self._database.fetch_one(TALLY, (number,))
        assert row is not None  # noqa: S101 - sums have a row
        return Tally(row["first"], row["second"], row["neither"])

    async def end(self, number: int) -> None:
        """Take no more votes."""
        await self._database.execute(
            "UPDATE comparisons SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (to_text(self._clock()), number)
        )
