"""The rows that decide whose turn it is, and word of every one that changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import aiosqlite

from bot.jobs import (
    TURN_MEMORY,
    Clock,
    GuildId,
    Job,
    JobId,
    JobStatus,
    Queued,
    Row,
    Start,
    Surface,
    UserId,
    Waiting,
    from_text,
    to_text,
)
from bot.money import CENT
from bot.storage.database import Database

# People's turns and paces are read off the jobs that were started; a failure was a turn, but counts for no pace. For
# the order a cent counts as a second, so that people are also served fairly by a provider.
_AS_START = f"""
  status NOT IN ('queued', 'running') AS settled,
  CASE status WHEN 'failed' THEN 0 ELSE painted END AS images,
  coalesce(used_seconds, held_seconds) + coalesce(billed_micros, held_micros) / {CENT}.0 AS seconds,
  coalesce(turn, 0) AS place, coalesce(clock, 0) AS virtual_time
"""
# Those among a few jobs that are still what they were touched for; by primary key.
TOUCHED = f"""
SELECT *, {_AS_START} FROM jobs_with_post WHERE surface = ? AND id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - constants

# What a view of the line starts from; the indexes jobs_waiting, jobs_running and jobs_started serve it.
LIVE = """
SELECT id FROM jobs WHERE surface = ? AND status = 'queued' UNION
SELECT id FROM jobs WHERE surface = ? AND status = 'running' UNION
SELECT id FROM jobs WHERE surface = ? AND started_at > ?
"""

# A view of the line is told of every row that changed, from any write. The triggers live with the connection.
WATCH = (
    "CREATE TEMP TRIGGER IF NOT EXISTS line_insert AFTER INSERT ON main.jobs BEGIN SELECT touched(NEW.id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS line_update AFTER UPDATE OF status, started_at, used_seconds, "
    "stated_place, stated_at, forgotten_at, follows ON main.jobs BEGIN SELECT touched(NEW.id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS line_post AFTER UPDATE OF message_id, left_message_id ON main.posts "
    "BEGIN SELECT touched(id) FROM main.jobs WHERE post_id = NEW.id; END",
    "CREATE TEMP TRIGGER IF NOT EXISTS line_delete AFTER DELETE ON main.jobs BEGIN SELECT touched(OLD.id); END",
)


@dataclass(frozen=True, slots=True)
class Touched:
    """Jobs that changed, as they are now: of those that neither wait nor were started lately there is only the id."""

    ids: frozenset[JobId]
    waiting: tuple[Waiting, ...]
    starts: tuple[Start, ...]
    running: Mapping[JobId, Job]


class QueueChanges:
    """The jobs of one surface that wait, are painted or were started lately."""

    def __init__(self, database: Database, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._surface = surface
        self._clock = clock
        self._watchers: list[Callable[[int], None]] = []

    async def watch(self, touched: Callable[[int], None]) -> None:
        """Have `touched` called, in the thread of the database, with the id of every job that is written from now on.

        It may be written in a transaction that is undone, and it is not committed yet: read what became of it.
        """
        self._watchers.append(touched)

        def tell(job_id: int) -> None:
            for watcher in self._watchers:
                watcher(job_id)

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.create_function("touched", 1, tell)
            for trigger in WATCH:
                await connection.execute(trigger)

        await self._database.write(work)

    async def live(self) -> set[int]:
        """The jobs that wait, are painted or were started within the last hour."""
        since = to_text(self._clock() - TURN_MEMORY)
        return {row["id"] for row in await self._database.fetch_all(LIVE, (*[self._surface] * 3, since))}

    async def look(self, touched: Collection[int]) -> Touched:
        """Jobs as they are now."""
        rows = await self._database.fetch_all(TOUCHED, (self._surface, json.dumps(list(touched))))
        now = self._clock()
        since = to_text(now - TURN_MEMORY)
        return Touched(
            frozenset(map(JobId, touched)),
            tuple(_waiting(row, now) for row in rows if row["status"] == JobStatus.QUEUED),
            tuple(_start(row, now) for row in rows if (row["started_at"] or "") > since),
            {JobId(row["id"]): Job.from_row(row) for row in rows if row["status"] == JobStatus.RUNNING},
        )


def _waiting(row: Row, now: datetime) -> Waiting:
    # If the clock was set back, treat future timestamps as now.
    job = Job.from_row(row)
    return Waiting(
        job_id=job.id,
        user_id=job.requester.user_id,
        guild_id=job.requester.guild_id,
        asked_at=min(job.asked_at, now),
        images=job.request.painted,
        work=job.request.work,
        seconds=row["held_seconds"] + row["held_micros"] / CENT,
        roles=job.requester.roles,
        channels=job.destination.channels,
        acknowledged=job.destination.message_id is not None and job.follows is None,
        again=job.attempt > 0,
        said=None if row["stated_place"] is None else Queued(row["stated_place"], from_text(row["stated_at"])),
    )


def _start(row: Row, now: datetime) -> Start:
    return Start(
        JobId(row["id"]),
        UserId(row["user_id"]),
        min(_time(row["started_at"]), now),
        row["images"],
        row["seconds"],
        row["place"],
        row["virtual_time"],
        bool(row["settled"]),
        GuildId(row["guild_id"]),
    )


def _time(text: str) -> datetime:
    time = from_text(text)
    assert time is not None  # noqa: S101 - for columns that are set
    return time
