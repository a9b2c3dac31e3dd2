"""What was used: sums over the table `jobs`, for limits. `reports.py` sums up for /stats."""

from __future__ import annotations

from datetime import datetime

import aiosqlite

from bot.jobs import Job, Requester, Row, from_text, to_text
from bot.storage.database import Database

# What was held counts until it is known what was used. A failure costs nothing, and of what was cancelled only what was
# used until then: what a row costs follows from its state, so it is refunded once, in the transaction that ends it.
SPENT = """
SELECT asked_at, CASE status WHEN 'failed' THEN 0.0 WHEN 'cancelled' THEN coalesce(used_seconds, 0.0)
                 ELSE coalesce(used_seconds, held_seconds) END AS seconds
FROM jobs WHERE user_id = ? AND guild_id = ? AND asked_at > ? ORDER BY asked_at
"""

# What a person asked for before a job and had a turn for; the index jobs_of_person has the ids, too. What it was taken
# to cost stands beside what it cost: it was let in by that, and may have taken longer.
SPENT_BEFORE = """
SELECT asked_at, held_seconds, CASE status WHEN 'failed' THEN 0.0 WHEN 'cancelled' THEN coalesce(used_seconds, 0.0)
                               ELSE coalesce(used_seconds, held_seconds) END AS seconds
FROM jobs WHERE user_id = ? AND guild_id = ? AND asked_at > ? AND id < ? AND status != 'queued' ORDER BY asked_at
"""

# What waits of a series counts as one request.
DEPTH = """
SELECT count(*) - count(series_id) + count(DISTINCT series_id) AS n
FROM jobs WHERE user_id = ? AND guild_id = ? AND status = 'queued'
"""


class Usage:
    """Answers what a person used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spent(self, requester: Requester, since: datetime) -> list[tuple[datetime, float]]:
        """When a person asked for how many GPU seconds in a server since `since`, oldest first."""
        rows = await self._database.fetch_all(SPENT, (requester.user_id, requester.guild_id, to_text(since)))
        return [_spent(row) for row in rows if row["seconds"] > 0]

    async def held(self, job: Job) -> float:
        """GPU seconds that a job was taken to cost when it was accepted."""
        row = await self._database.fetch_one("SELECT held_seconds FROM jobs WHERE id = ?", (job.id,))
        return 0.0 if row is None else float(row["held_seconds"])

    async def spent_before(self, job: Job, since: datetime) -> list[tuple[datetime, float, float]]:
        """When its person asked for what had a turn before a job; what that cost, and what it was taken to, at most."""
        who = job.requester
        rows = await self._database.fetch_all(SPENT_BEFORE, (who.user_id, who.guild_id, to_text(since), job.id))
        return [(*_spent(row), min(row["seconds"], row["held_seconds"])) for row in rows if row["seconds"] > 0]


async def waiting_of(connection: aiosqlite.Connection, requester: Requester) -> int:
    """Requests of a person that wait in a server; for use inside a transaction."""
    cursor = await connection.execute(DEPTH, (requester.user_id, requester.guild_id))
    row = await cursor.fetchone()
    return 0 if row is None else int(row["n"])


async def spent_by(
    connection: aiosqlite.Connection, requester: Requester, since: datetime
) -> list[tuple[datetime, float]]:
    """When a person asked for how many GPU seconds since `since`, oldest first; for use inside a transaction."""
    cursor = await connection.execute(SPENT, (requester.user_id, requester.guild_id, to_text(since)))
    return [_spent(row) for row in await cursor.fetchall() if row["seconds"] > 0]


def _spent(row: Row) -> tuple[datetime, float]:
    at = from_text(row["asked_at"])
    assert at is not None  # noqa: S101 - the column is NOT NULL
    return at, row["seconds"]
