"""Removing a result for good: its pictures from the table and the folder, and a note that its message owes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import aiosqlite

from bot.errors import Reference, UserError, refer
from bot.jobs import Clock, Job, JobId, JobStatus, MessageId, Requester, Scope, to_text
from bot.language import mark, sentence
from bot.storage.cases import DELETE, By, Case, add_case
from bot.storage.database import Database
from bot.storage.pictures import Pictures

_STATUSES = (mark("queued"), mark("running"), mark("rendered"), mark("delivered"), mark("failed"), mark("cancelled"))
"""What can become of a request; a sentence names it."""

# Only a server's own: a moderator elsewhere is told of no such message. The plus keeps SQLite from reading the whole
# server by its index.
BY_MESSAGE = """
SELECT * FROM jobs_with_post WHERE +guild_id = ?2 AND post_id IN (
  SELECT id FROM posts WHERE message_id = ?1 UNION
  SELECT post_id FROM side_messages WHERE message_id = ?1 AND kind = 'gallery') ORDER BY id
"""

BY_ID = "SELECT * FROM jobs_with_post WHERE id = ?"

# One picture shows the results of both requests of a comparison, so neither stays without the other.
COMPARED_WITH = """
SELECT * FROM jobs_with_post WHERE id IN (
  SELECT second_id FROM comparisons WHERE first_id = ?1 UNION ALL SELECT first_id FROM comparisons WHERE second_id = ?1)
"""
OPEN_OF_SERIES = "SELECT * FROM jobs_with_post WHERE series_id = ? AND status IN ('queued', 'running') ORDER BY id"

# What a person asked for before they wanted all of a message deleted.
OWN_OF_POST = "SELECT * FROM jobs_with_post WHERE post_id = ? AND user_id = ? AND asked_at <= ? ORDER BY id"
CANCEL_WAITING = "UPDATE jobs SET status = 'cancelled', used_seconds = 0 WHERE id = ? AND status = 'queued'"

OWED = """
SELECT * FROM jobs_with_post WHERE id IN (SELECT job_id FROM removals WHERE noted_at IS NULL) ORDER BY id
"""

NOTED = """
UPDATE removals SET noted_at = ?1 WHERE job_id = ?2 AND (SELECT status FROM jobs WHERE id = ?2) != 'rendered'
"""


# This was not the decision of the person who asked, so it costs them nothing.
CANCEL = """
UPDATE jobs SET status = 'cancelled', used_seconds = 0, pardoned = 1 WHERE id = ? AND status IN ('queued', 'running')
"""

Files = tuple[str, ...]
"""The sha256 of the files of one picture."""

UNNAME = "DELETE FROM images WHERE job_id = ? RETURNING sha256, delivered_sha256"


class Remover(Enum):
    """Who removed the pictures of a result."""

    REQUESTER = "requester"
    MODERATOR = "moderator"


class Removals:
    """Removes results, and remembers whose message does not say so yet."""

    def __init__(self, database: Database, pictures: Pictures, clock: Clock) -> None:
        self._database = database
        self._pictures = pictures
        self._clock = clock
        self.owing = asyncio.Event()
        """Set when a message begins to owe a note; a task that waits for it clears it before it reads `owed`."""

    async def remove(self, by: By, message_id: MessageId) -> tuple[Case, list[Job], list[JobId]]:
        """Remove the pictures that a message shows, and cancel the jobs of the same request that have not ended.

        What is compared with them goes, too.

        Returns the jobs of the pictures, and which jobs were cancelled. The message may be a copy in the gallery.
        Raises UserError when it is no result here.
        """

        async def work(connection: aiosqlite.Connection) -> tuple[Case, list[Job], list[JobId], list[Files]]:
            shown = [
                Job.from_row(row) for row in await connection.execute_fetchall(BY_MESSAGE, (message_id, by.guild_id))
            ]
            if not shown:
                raise UserError("That message is not a result on this server. Copy the link or the id of a result.")
            painted = [job for job in shown if job.status in (JobStatus.DELIVERED, JobStatus.RENDERED)]
            shown += [each for job in painted for each in await _jobs(connection, COMPARED_WITH, job.id)]
            for series_id in dict.fromkeys(job.series_id for job in shown if job.series_id is not None):
                known = {job.id for job in shown}
                shown += [job for job in await _jobs(connection, OPEN_OF_SERIES, series_id) if job.id not in known]
            # A painted result may be in its message although Discord's answer to that was lost.
            jobs = [job for job in shown if job.status in (JobStatus.DELIVERED, JobStatus.RENDERED)]
            if not jobs:
                raise UserError(
                    "That request is {status}: it shows no pictures. {command} ends open ones.",
                    status=sentence(shown[0].status),
                    command=refer(Reference.COMMAND, "mod cancel"),
                )
            names = await _unname(connection, jobs, by_requester=False)
            if not names:
                raise UserError("The pictures of that message were removed before.")
            cancelled = [job.id for job in shown if job.status in (JobStatus.QUEUED, JobStatus.RUNNING)]
            await connection.executemany(CANCEL, [(job_id,) for job_id in cancelled])
            case = await add_case(
                connection,
                to_text(self._clock()),
                by,
                DELETE,
                (Scope.PERSON, jobs[0].requester.user_id),
                {"message": message_id, "pictures": len(names), "requests": len(cancelled)},
                {"message": message_id, "pictures": 0, "requests": 0},
            )
            return case, jobs, cancelled, names

        case, jobs, cancelled, names = await self._database.write(work)
        await self._settle(names)
        return case, jobs, cancelled

    async def remove_own(self, requester: Requester, job_id: JobId) -> Job:
        """Remove the pictures of a result for the person who asked for it; its message then says who did that.

        The result that it is compared with goes, too. Returns the job. Raises UserError when the job is not theirs on
        this server, or shows no pictures. Only a delivered job can be removed: the others would end as failed, and cost
        nothing.
        """

        async def work(connection: aiosqlite.Connection) -> tuple[Job, list[Files]]:
            rows = list(await connection.execute_fetchall(BY_ID, (job_id,)))
            job = Job.from_row(rows[0]) if rows else None
            if job is None or job.requester != requester or job.forgotten_at is not None:
                raise UserError("Only the person who asked for a result can delete it, and moderators can.")
            if job.status is not JobStatus.DELIVERED:
                raise UserError(
                    "That request is {status}: it shows no pictures that can be deleted.", status=sentence(job.status)
                )
            names = await _unname(connection, await _with_compared(connection, [job]), by_requester=True)
            if not names:
                raise UserError("The pictures of that result were deleted before.")
            return job, names

        job, names = await self._database.write(work)
        await self._settle(names)
        return job

    async def remove_post(self, requester: Requester, post_id: int, asked_until: datetime) -> None:
        """Remove at once all that a message shows of what the person asked for until then; what waits is cancelled.

        What is painted meanwhile stays until it is delivered, and is removed then.
        """

        async def work(connection: aiosqlite.Connection) -> list[Files]:
            jobs = await _jobs(connection, OWN_OF_POST, post_id, requester.user_id, to_text(asked_until))
            await connection.executemany(CANCEL_WAITING, [(job.id,) for job in jobs])
            delivered = [job for job in jobs if job.status is JobStatus.DELIVERED and job.forgotten_at is None]
            return await _unname(connection, await _with_compared(connection, delivered), by_requester=True)

        await self._settle(await self._database.write(work))

    async def owed(self) -> list[Job]:
        """Removed results whose messages do not say so yet."""
        return [Job.from_row(row) for row in await self._database.fetch_all(OWED)]

    async def is_by_requester(self, job: Job) -> bool:
        """Whether the person who asked for a removed result removed it, and not a moderator."""
        return await self.who_removed(job) is Remover.REQUESTER

    async def who_removed(self, job: Job) -> Remover | None:
        """Who removed the pictures of a result; None if nobody did."""
        row = await self._database.fetch_one("SELECT by_requester FROM removals WHERE job_id = ?", (job.id,))
        if row is None:
            return None
        return Remover.REQUESTER if row["by_requester"] else Remover.MODERATOR

    async def noted(self, job: Job) -> None:
        """Note that the message says so, or never will.

        While a job is only painted, nothing is noted: a post that is on its way may show its pictures once more.
        """
        await self._database.execute(NOTED, (to_text(self._clock()), job.id))

    async def _settle(self, names: Sequence[Files]) -> None:
        self.owing.set()
        # The next start deletes files that a crash leaves here, because no row names them.
        await self._pictures.drop(itertools.chain.from_iterable(names))


async def _jobs(connection: aiosqlite.Connection, sql: str, *parameters: object) -> list[Job]:
    return [Job.from_row(row) for row in await connection.execute_fetchall(sql, parameters)]


async def _with_compared(connection: aiosqlite.Connection, jobs: Sequence[Job]) -> list[Job]:
    """Jobs of a person with those that they are compared with, if these are delivered."""
    found = {job.id: job for job in jobs}
    for job in jobs:
        for other in await _jobs(connection, COMPARED_WITH, job.id):
            if other.status is JobStatus.DELIVERED:
                found.setdefault(other.id, other)
    return list(found.values())


async def _unname(connection: aiosqlite.Connection, jobs: Sequence[Job], *, by_requester: bool) -> list[Files]:
    """Delete the rows of the jobs' pictures, and note who wanted that.

    Returns the files that each picture named, by their sha256.
    """
    names: list[Files] = []
    for job in jobs:
        rows = await connection.execute_fetchall(UNNAME, (job.id,))
        if of_job := [tuple(filter(None, row)) for row in rows]:
            names += of_job
            await connection.execute(
                "INSERT INTO removals (job_id, by_requester) VALUES (?, ?)", (job.id, by_requester)
            )
    return names
