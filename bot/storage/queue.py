"""The queue: the life of a job as rows of the table `jobs`. Every move is a compare-and-set.

A move that finds the job in another state than it expects changes nothing and says so; the attempt number
keeps a late answer of an earlier attempt from counting.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime

import aiosqlite

from bot.jobs import (
    ChannelId,
    Clock,
    Destination,
    GenerationRequest,
    GuildId,
    Image,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Queued,
    Requester,
    Surface,
    from_text,
    to_text,
)
from bot.storage.database import Database
from bot.storage.images import ImageFolder

COUNT = "SELECT count(*) AS n FROM jobs WHERE surface = ? AND status = 'queued'"

_ASKED = (
    "surface",
    "interaction_id",
    "guild_id",
    "channel_id",
    "parent_id",
    "message_id",
    "user_id",
    "roles",
    "request",
    "cost",
    "held_seconds",
    "asked_at",
)
ENQUEUE = f"INSERT INTO jobs ({', '.join(_ASKED)}) VALUES ({', '.join('?' * len(_ASKED))})"  # noqa: S608 - constants

CLAIM = """
UPDATE jobs SET status = 'running', attempt = attempt + 1, started_at = ?, turn = coalesce(turn, ?),
  clock = coalesce(clock, ?)
WHERE id = ? AND status = 'queued' AND message_id IS NOT NULL RETURNING *
"""

# Results wait here until their message shows them; what was cancelled before its answer was up waits for that.
UNPOSTED = """
SELECT * FROM jobs WHERE surface = ? AND posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled')
  AND message_id IS NOT NULL AND forgotten_at IS NULL
ORDER BY id
"""

# Messages of requests that a person had deleted. There may be thousands, and each takes Discord a while.
TO_REMOVE = """
SELECT id, channel_id FROM jobs
WHERE surface = ? AND forgotten_at IS NOT NULL AND removed_at IS NULL AND message_id IS NOT NULL
ORDER BY id LIMIT 1000
"""

UNACKNOWLEDGED = """
SELECT * FROM jobs WHERE surface = ? AND asked_at < ? AND message_id IS NULL AND status IN ('queued', 'cancelled')
ORDER BY id
"""

# The index jobs_of_person serves this newest first; a test asserts it.
HISTORY = """
SELECT * FROM jobs WHERE user_id = ? AND guild_id = ? AND surface = ?
  AND status IN ('delivered', 'failed', 'cancelled') AND posted_at IS NOT NULL AND forgotten_at IS NULL
ORDER BY asked_at DESC, id DESC LIMIT ? OFFSET ?
"""

# Of every surface: they share the folder of uploads. The indexes jobs_by_image, jobs_by_mask_image and
# jobs_by_control_image serve it; a test asserts it.
UPLOADS = """
SELECT image AS sha256 FROM jobs WHERE image != '' UNION SELECT mask_image FROM jobs WHERE mask_image != ''
UNION SELECT control_image FROM jobs WHERE control_image != ''
"""


class Queue:
    """The jobs of one surface."""

    def __init__(self, database: Database, images: ImageFolder, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._images = images
        self._surface = surface
        self._clock = clock

    async def enqueue(
        self,
        requester: Requester,
        destination: Destination,
        request: GenerationRequest,
        *,
        interaction_id: int | None,
        admit: Callable[[aiosqlite.Connection], Awaitable[None]],
        seconds: float | None = None,
    ) -> Job | None:
        """Write the job in one transaction with `admit`, which raises to refuse it.

        `seconds` is what it is taken to cost in GPU time; without it, a second for every megapixel-step.
        A job without a message is not claimed until `place_message` says where it is answered. Returns None when
        the interaction already made a job: Discord repeats events after a RESUME.
        """

        async def work(connection: aiosqlite.Connection) -> Job | None:
            if interaction_id is not None:
                cursor = await connection.execute("SELECT 1 FROM jobs WHERE interaction_id = ?", (interaction_id,))
                if await cursor.fetchone() is not None:
                    return None
            await admit(connection)
            cursor = await connection.execute(
                ENQUEUE,
                (
                    self._surface,
                    interaction_id,
                    requester.guild_id,
                    destination.channel_id,
                    destination.parent_id,
                    destination.message_id,
                    requester.user_id,
                    json.dumps(requester.roles),
                    json.dumps(asdict(request), ensure_ascii=False, separators=(",", ":")),
                    request.cost,
                    request.cost if seconds is None else seconds,
                    to_text(self._clock()),
                ),
            )
            cursor = await connection.execute("SELECT * FROM jobs WHERE id = ?", (cursor.lastrowid,))
            row = await cursor.fetchone()
            assert row is not None  # noqa: S101 - inserted above
            return Job.from_row(row)

        return await self._database.write(work)

    async def promise(self, job_id: JobId, starts_at: datetime, said: Queued) -> None:
        """Note the start that the person is told, to see later how true it came."""
        await self._database.execute(
            "UPDATE jobs SET promised_at = ?, stated_at = ?, stated_place = ? WHERE id = ?",
            (to_text(starts_at), *_statement(said), job_id),
        )

    async def state(self, job_id: JobId, said: Queued) -> None:
        """Note what a waiting job's message says now; the promise made at first stays what it is measured by."""
        await self._database.execute(
            "UPDATE jobs SET stated_at = ?, stated_place = ? WHERE id = ? AND status = 'queued'",
            (*_statement(said), job_id),
        )

    async def place_message(self, job_id: JobId, message_id: MessageId) -> None:
        """Note which message answers the job; from now on it may be claimed."""
        await self._database.execute("UPDATE jobs SET message_id = ? WHERE id = ?", (message_id, job_id))

    async def withdraw(self, job_id: JobId) -> None:
        """Forget a job whose acknowledgement never reached the person: as if it was never asked."""
        await self._database.execute(
            "DELETE FROM jobs WHERE id = ? AND (status = 'queued' OR status = 'cancelled' AND message_id IS NULL)",
            (job_id,),
        )

    async def depth(self) -> int:
        """How many jobs wait."""
        row = await self._database.fetch_one(COUNT, (self._surface,))
        return 0 if row is None else int(row["n"])

    async def get(self, job_id: JobId) -> Job | None:
        """One job, or None."""
        row = await self._database.fetch_one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return None if row is None else Job.from_row(row)

    async def of_person(self, requester: Requester) -> list[Job]:
        """The jobs of one person in one server that have not ended, oldest first."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs WHERE user_id = ? AND guild_id = ? AND surface = ? "
            "AND status IN ('queued', 'running') ORDER BY asked_at, id",
            (requester.user_id, requester.guild_id, self._surface),
        )
        return [Job.from_row(row) for row in rows]

    async def open_in(self, guild_id: GuildId) -> list[Job]:
        """The jobs of a server that have not ended, oldest first."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs WHERE guild_id = ? AND surface = ? AND status IN ('queued', 'running') ORDER BY id",
            (guild_id, self._surface),
        )
        return [Job.from_row(row) for row in rows]

    async def history(self, requester: Requester, skip: int, count: int) -> list[Job]:
        """What ended of one person's requests in one server, newest first; `skip` are passed over."""
        rows = await self._database.fetch_all(
            HISTORY, (requester.user_id, requester.guild_id, self._surface, count, skip)
        )
        return [Job.from_row(row) for row in rows]

    async def has_images(self, job_id: JobId) -> bool:
        """Whether a job was painted, delivered or not."""
        return await self._database.fetch_one("SELECT 1 FROM images WHERE job_id = ?", (job_id,)) is not None

    async def running(self) -> list[Job]:
        """The jobs in the engine now."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs WHERE surface = ? AND status = 'running'", (self._surface,)
        )
        return [Job.from_row(row) for row in rows]

    async def claim(self, job_id: JobId, turn: float | None = None, clock: float | None = None) -> Job | None:
        """Queued → running, attempt + 1; None when it was cancelled first.

        `turn` is where its turn was in virtual time and `clock` how far that had come: kept of the first attempt only,
        since a turn is charged once.
        """

        async def work(connection: aiosqlite.Connection) -> sqlite3.Row | None:
            rows = list(await connection.execute_fetchall(CLAIM, (to_text(self._clock()), turn, clock, job_id)))
            return rows[0] if rows else None

        row = await self._database.write(work)
        return None if row is None else Job.from_row(row)

    async def is_running(self, job: Job) -> bool:
        """Whether this attempt at a job still counts: it was not cancelled since it began."""
        now = await self.get(job.id)
        return now is not None and (now.status, now.attempt) == (JobStatus.RUNNING, job.attempt)

    async def requeue(self, job: Job) -> bool:
        """Move running → queued, for another attempt after the engine died in this one."""
        return await self._move(job, JobStatus.RUNNING, "status = 'queued', deaths = deaths + 1", ())

    async def render(
        self, job: Job, images: Sequence[Image], model_hash: str | None, used_seconds: float | None = None
    ) -> bool:
        """Running → rendered: the files first, then the row. False when the job moved on without this attempt.

        What it used takes the place of what was held for it, in the same transaction; unknown, what was held stays.
        """
        paths = await self._images.keep(job.id, job.attempt, images)
        rows = [
            (job.id, number, path, image.seed, image.width, image.height, image.sha256)
            for number, (path, image) in enumerate(zip(paths, images, strict=True), start=1)
        ]

        async def work(connection: aiosqlite.Connection) -> bool:
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'rendered', painted_at = ?, model_hash = ?, used_seconds = ? "
                "WHERE id = ? AND status = 'running' AND attempt = ?",
                (to_text(self._clock()), model_hash, used_seconds, job.id, job.attempt),
            )
            if not cursor.rowcount:
                return False
            await connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            return True

        settled = await self._database.write(work)
        if not settled:
            await self._images.drop(paths)
        return settled

    async def fail(self, job: Job, reason: str, used_seconds: float | None = None) -> bool:
        """Running → failed, with words for the requester. It costs them nothing, however much it used."""
        return await self._move(
            job, JobStatus.RUNNING, "status = 'failed', reason = ?, used_seconds = ?", (reason, used_seconds)
        )

    async def cancel(self, job_id: JobId, used_seconds: float = 0.0) -> bool:
        """Queued or running → cancelled; False when it had ended already. Only what it used until then is charged."""
        changed = await self._database.execute(
            "UPDATE jobs SET status = 'cancelled', used_seconds = ? WHERE id = ? AND status IN ('queued', 'running')",
            (used_seconds, job_id),
        )
        return changed > 0

    async def unposted(self) -> list[Job]:
        """Ended jobs whose message does not say so yet, oldest first."""
        return [Job.from_row(row) for row in await self._database.fetch_all(UNPOSTED, (self._surface,))]

    async def to_remove(self) -> list[tuple[JobId, ChannelId]]:
        """Forgotten jobs whose messages are still there, and where, the oldest first."""
        rows = await self._database.fetch_all(TO_REMOVE, (self._surface,))
        return [(JobId(row["id"]), ChannelId(row["channel_id"])) for row in rows]

    async def removed(self, job: Job) -> None:
        """Note that nothing is left of a forgotten job's message, or that it is out of reach."""
        now = to_text(self._clock())
        await self._database.execute(
            "UPDATE jobs SET removed_at = ?, posted_at = coalesce(posted_at, ?) WHERE id = ?", (now, now, job.id)
        )

    async def unacknowledged(self, before: datetime) -> list[Job]:
        """Jobs asked for until then without a noted message; only Discord knows whether there is one."""
        rows = await self._database.fetch_all(UNACKNOWLEDGED, (self._surface, to_text(before)))
        return [Job.from_row(row) for row in rows]

    async def repost(self, job: Job) -> datetime | None:
        """Note that a new message is begun for a job; returns when one was first begun before, if ever."""

        async def work(connection: aiosqlite.Connection) -> datetime | None:
            cursor = await connection.execute("SELECT reposted_at FROM jobs WHERE id = ?", (job.id,))
            row = await cursor.fetchone()
            await connection.execute(
                "UPDATE jobs SET reposted_at = coalesce(reposted_at, ?) WHERE id = ?", (to_text(self._clock()), job.id)
            )
            return None if row is None else from_text(row["reposted_at"])

        return await self._database.write(work)

    async def speaks_for(self, message_id: MessageId) -> JobId | None:
        """The job that a message is known to belong to."""
        row = await self._database.fetch_one("SELECT id FROM jobs WHERE message_id = ?", (message_id,))
        return None if row is None else JobId(row["id"])

    async def images(self, job_id: JobId) -> tuple[Image, ...]:
        """The job's pictures, read back from the folder."""
        rows = await self._database.fetch_all("SELECT * FROM images WHERE job_id = ? ORDER BY number", (job_id,))
        contents = await self._images.read([row["path"] for row in rows])
        return tuple(
            Image(png, row["seed"], row["width"], row["height"], row["sha256"])
            for row, png in zip(rows, contents, strict=True)
        )

    async def sweep(self) -> int:
        """Remove the pictures of attempts that were cut off; returns how many files that were.

        Those of jobs that are not known at all are left: a restored backup may not have them yet.
        """
        rows = await self._database.fetch_all("SELECT path FROM images")
        known = await self._database.fetch_all("SELECT id FROM jobs")
        return await self._images.sweep({row["path"] for row in rows}, {row["id"] for row in known})

    async def uploads(self) -> set[str]:
        """The sha256 of every upload that a job names."""
        return {row["sha256"] for row in await self._database.fetch_all(UPLOADS)}

    async def posted(self, job: Job, message_id: MessageId | None, failure: str | None = None) -> None:
        """Note that the job's message says how it ended, and where that message is.

        `failure` is why it says that it failed although it was painted: a person does not pay for what they cannot see.
        """
        status = "failed" if failure is not None else "delivered"
        moved = await self._move(
            job,
            job.status,
            "status = iif(status = 'rendered', ?, status), posted_at = ?, message_id = coalesce(?, message_id), "
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL)",
            (status, to_text(self._clock()), message_id, failure),
        )
        if not moved and message_id is not None:
            # The job was forgotten during the delivery: the new message must be found, to be deleted.
            await self.place_message(job.id, message_id)

    async def give_up(self, job: Job, reason: str) -> None:
        """The job's message can never be delivered: end it, keeping why. Its pictures stay in the folder."""
        await self._move(
            job,
            job.status,
            "status = CASE status WHEN 'rendered' THEN 'failed' ELSE status END, "
            # A job that was forgotten during the delivery gets no words: Discord's may quote the prompt.
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL), posted_at = ?",
            (reason, to_text(self._clock())),
        )

    async def recover(self) -> None:
        """Put the queue in order after a stop.

        What was running waits again; on a surface that ended with its process, everything open ends.
        """

        async def work(connection: aiosqlite.Connection) -> None:
            if self._surface.outlives_process:
                await connection.execute(
                    "UPDATE jobs SET status = 'queued' WHERE surface = ? AND status = 'running'",
                    (self._surface,),
                )
            else:
                await connection.execute(
                    "UPDATE jobs SET status = iif(status IN ('rendered', 'failed'), 'failed', 'cancelled'), "
                    "reason = coalesce(reason, 'Nobody was there any more.'), posted_at = ? WHERE surface = ? "
                    "AND (status IN ('queued', 'running', 'rendered') "
                    "OR (posted_at IS NULL AND status IN ('failed', 'cancelled')))",
                    (to_text(self._clock()), self._surface),
                )
                await connection.execute(
                    "UPDATE jobs SET removed_at = ? WHERE surface = ? AND forgotten_at IS NOT NULL "
                    "AND removed_at IS NULL",
                    (to_text(self._clock()), self._surface),
                )

        await self._database.write(work)

    async def _move(self, job: Job, expected: JobStatus, change: str, parameters: tuple[object, ...]) -> bool:
        changed = await self._database.execute(
            f"UPDATE jobs SET {change} WHERE id = ? AND status = ? AND attempt = ?",  # noqa: S608 - constants
            (*parameters, job.id, expected, job.attempt),
        )
        return changed > 0


def _statement(said: Queued) -> tuple[str | None, int]:
    return None if said.starts_at is None else to_text(said.starts_at), said.place
