"""What was used: sums over the table `jobs`, for limits and for /stats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

import aiosqlite

from bot.jobs import GuildId, Requester, Row, from_text, to_text
from bot.storage.database import Database

# What was held counts until it is known what was used. A failure costs nothing, and of what was cancelled only what was
# used until then: what a row costs follows from its state, so it is refunded once, in the transaction that ends it.
SPENT = """
SELECT asked_at, CASE status WHEN 'failed' THEN 0.0 WHEN 'cancelled' THEN coalesce(used_seconds, 0.0)
                 ELSE coalesce(used_seconds, held_seconds) END AS seconds
FROM jobs WHERE user_id = ? AND guild_id = ? AND asked_at > ? ORDER BY asked_at
"""

DEPTH = "SELECT count(*) AS n FROM jobs WHERE user_id = ? AND guild_id = ? AND status = 'queued'"

# How wrong the starts were that people were told, of those that started and waited: seconds promised and real.
PROMISES = """
SELECT (julianday(promised_at) - julianday(asked_at)) * 86400 AS told,
       (julianday(started_at) - julianday(asked_at)) * 86400 AS waited
FROM jobs WHERE guild_id = ? AND asked_at > ? AND promised_at IS NOT NULL AND started_at IS NOT NULL AND attempt = 1
"""

SUMMARY = """
SELECT count(*) AS asked,
       coalesce(sum(status = 'delivered'), 0) AS delivered,
       coalesce(sum(status = 'failed'), 0) AS failed,
       coalesce(sum(status = 'cancelled'), 0) AS cancelled,
       coalesce(sum(status IN ('queued', 'running', 'rendered')), 0) AS open,
       coalesce(sum(num_images_per_prompt) FILTER (WHERE status = 'delivered'), 0) AS images,
       coalesce(sum(cost) FILTER (WHERE painted_at IS NOT NULL), 0.0) AS cost,
       count(DISTINCT user_id) AS people,
       coalesce(sum(julianday(painted_at) - julianday(started_at)), 0.0) * 86400 AS painting_seconds,
       avg(julianday(posted_at) - julianday(asked_at)) FILTER (WHERE status = 'delivered') * 86400 AS wait_seconds
FROM jobs WHERE guild_id = ? AND asked_at > ?
"""

BY_MODEL = """
SELECT jobs.model, count(DISTINCT jobs.id) AS results,
       coalesce(sum(ratings.emoji = '👍'), 0) AS up, coalesce(sum(ratings.emoji = '👎'), 0) AS down,
       count(ratings.emoji) AS reactions
FROM jobs LEFT JOIN ratings ON ratings.job_id = jobs.id
WHERE jobs.guild_id = ? AND jobs.asked_at > ? AND jobs.status = 'delivered'
GROUP BY jobs.model ORDER BY results DESC
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """A server's usage since some time. `cost` is in megapixel-steps."""

    asked: int
    delivered: int
    failed: int
    cancelled: int
    open: int
    images: int
    cost: float
    people: int
    painting_seconds: float
    wait_seconds: float | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a summary from a row of SUMMARY."""
        return cls(**{key: row[key] for key in row.keys()})  # noqa: SIM118 - a Row iterates over values


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """How often a model's results were delivered and how they were received."""

    model: str
    results: int
    up: int
    down: int
    reactions: int


@dataclass(frozen=True, slots=True)
class Promises:
    """How many start times were told, and how many of them came true to half of the wait."""

    told: int
    kept: int


KEPT_SHARE = 0.5
KEPT_SECONDS = 2.0
"""A start that was told came true if it was off by no more than half of the wait, or by two seconds."""


class Usage:
    """Answers what a server used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summary(self, guild_id: GuildId, since: datetime) -> Summary:
        """Everything a server asked for since `since`."""
        row = await self._database.fetch_one(SUMMARY, (guild_id, to_text(since)))
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return Summary.from_row(row)

    async def promises(self, guild_id: GuildId, since: datetime) -> Promises:
        """How well the start times that people were told came true in a server since `since`."""
        rows = await self._database.fetch_all(PROMISES, (guild_id, to_text(since)))
        kept = sum(abs(row["told"] - row["waited"]) <= max(KEPT_SHARE * row["waited"], KEPT_SECONDS) for row in rows)
        return Promises(len(rows), kept)

    async def spent(self, requester: Requester, since: datetime) -> list[tuple[datetime, float]]:
        """When a person asked for how many GPU seconds in a server since `since`, oldest first."""
        rows = await self._database.fetch_all(SPENT, (requester.user_id, requester.guild_id, to_text(since)))
        return [_spent(row) for row in rows if row["seconds"] > 0]

    async def by_model(self, guild_id: GuildId, since: datetime) -> list[ModelUsage]:
        """Results and ratings per model, the busiest first."""
        rows = await self._database.fetch_all(BY_MODEL, (guild_id, to_text(since)))
        return [ModelUsage(row["model"], row["results"], row["up"], row["down"], row["reactions"]) for row in rows]


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
