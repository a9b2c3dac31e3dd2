"""What the messages of jobs say, where they are, and which are still to be posted, changed or deleted."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

import aiosqlite

from bot.jobs import ChannelId, Job, JobId, JobStatus, MessageId, Queued, from_text, to_text
from bot.language.reasons import Reason, packed
from bot.storage.job_rows import JobRows
from bot.storage.panels import SEEN_FIRST

COPIED_BY = f"""
SELECT jobs.id FROM side_messages AS side JOIN jobs ON jobs.post_id = side.post_id
WHERE side.message_id = ? AND kind = 'gallery' AND (side.job_id IS NULL OR side.job_id = jobs.id) ORDER BY {SEEN_FIRST}
"""  # noqa: S608 - constants

GALLERIES = """
SELECT DISTINCT channel_id FROM side_messages AS side JOIN jobs ON jobs.post_id = side.post_id
WHERE jobs.id = ? AND kind = 'gallery' AND message_id IS NOT NULL AND over_at IS NULL
  AND (side.job_id IS NULL OR side.job_id = jobs.id)
"""

PLACE_MESSAGE = "UPDATE posts SET message_id = ? WHERE id = (SELECT post_id FROM jobs WHERE id = ?)"

LEAVE = "UPDATE posts SET left_message_id = ? WHERE id = (SELECT post_id FROM jobs WHERE id = ?)"

# Results wait here until their message shows them; what was cancelled before its answer was up waits for that.
UNPOSTED = """
SELECT * FROM jobs_with_post
WHERE surface = ? AND posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled')
  AND message_id IS NOT NULL AND forgotten_at IS NULL
ORDER BY id
"""

SOME = 1000
"""How many messages to delete are read at a time: a person may have thousands, and each takes Discord a while."""

# Messages of requests that a person had deleted.
TO_REMOVE = f"""
SELECT id, channel_id FROM jobs_with_post
WHERE surface = ? AND forgotten_at IS NOT NULL AND removed_at IS NULL AND message_id IS NOT NULL
ORDER BY id LIMIT {SOME}
"""  # noqa: S608 - a constant

# Jobs whose message was replaced by another one, and is still there.
LEFT = f"""
SELECT jobs.id, channel_id FROM posts CROSS JOIN jobs ON post_id = posts.id
WHERE surface = ? AND left_message_id IS NOT NULL ORDER BY jobs.id LIMIT {SOME}
"""  # noqa: S608 - a constant

# What of a few jobs is to be posted or deleted, by primary key: a change costs no more than it changes, however many
# jobs wait for that.
OWED_AMONG = """
SELECT * FROM jobs_with_post
WHERE id IN (SELECT value FROM json_each(?)) AND +surface = ? AND message_id IS NOT NULL AND (
  posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled') AND forgotten_at IS NULL
  OR forgotten_at IS NOT NULL AND removed_at IS NULL OR left_message_id IS NOT NULL) ORDER BY id
"""

UNACKNOWLEDGED = """
SELECT * FROM jobs_with_post
WHERE surface = ?1 AND asked_at < ?2 AND message_id IS NULL AND removed_at IS NULL AND id IN (
  SELECT id FROM jobs WHERE surface = ?1 AND status = 'queued' UNION ALL
  SELECT id FROM jobs WHERE surface = ?1 AND status = 'cancelled' AND posted_at IS NULL)
ORDER BY id
"""


class JobPosts(JobRows):
    """The jobs of one surface, with their messages."""

    async def place_message(self, job_id: JobId, message_id: MessageId) -> None:
        """Note which message answers the job; from now on it may be claimed."""
        await self._database.execute(PLACE_MESSAGE, (message_id, job_id))

    async def promise(self, job_id: JobId, starts_at: datetime | None, said: Queued) -> None:
        """Note the start that the person is told, to see later how true it came; None if no one can say it."""
        await self._database.execute(
            "UPDATE jobs SET promised_at = ?, stated_at = ?, stated_place = ? WHERE id = ?",
            (None if starts_at is None else to_text(starts_at), *_statement(said), job_id),
        )

    async def state(self, job_id: JobId, said: Queued) -> None:
        """Note what a waiting job's message says now; the promise made at first stays what it is measured by."""
        await self._database.execute(
            "UPDATE jobs SET stated_at = ?, stated_place = ? WHERE id = ? AND status = 'queued'",
            (*_statement(said), job_id),
        )

    async def unposted(self) -> list[Job]:
        """Ended jobs whose message does not say so yet, oldest first."""
        return [Job.from_row(row) for row in await self._database.fetch_all(UNPOSTED, (self._surface,))]

    async def to_remove(self) -> list[tuple[JobId, ChannelId]]:
        """Jobs with messages that are to be deleted, and where: of forgotten jobs, and messages that were replaced."""
        rows = await self._database.fetch_all(TO_REMOVE, (self._surface,))
        rows += await self._database.fetch_all(LEFT, (self._surface,))
        return [(JobId(row["id"]), ChannelId(row["channel_id"])) for row in rows]

    async def owed(self, among: Collection[int]) -> tuple[list[Job], list[tuple[JobId, ChannelId]]]:
        """What `unposted` and `to_remove` return, of a few jobs by their ids, in one read."""
        rows = await self._database.fetch_all(OWED_AMONG, (json.dumps(list(among)), self._surface))
        jobs = [Job.from_row(row) for row in rows]
        unposted = [job for job in jobs if job.is_unposted]
        to_remove = [job for job in jobs if job.forgotten_at is not None or job.left_message_id is not None]
        return unposted, [(job.id, job.destination.channel_id) for job in to_remove]

    async def removed(self, job: Job) -> None:
        """Note that the messages of a job that were to be deleted are gone or out of reach."""
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "UPDATE posts SET left_message_id = NULL WHERE left_message_id = ?", (job.left_message_id,)
            )
            if job.forgotten_at is not None:
                await connection.execute(
                    "UPDATE jobs SET removed_at = ?, posted_at = coalesce(posted_at, ?) WHERE id = ?",
                    (now, now, job.id),
                )

        await self._database.write(work)

    async def unacknowledged(self, before: datetime) -> list[Job]:
        """Jobs asked for until then without a noted message; only Discord knows whether there is one."""
        rows = await self._database.fetch_all(UNACKNOWLEDGED, (self._surface, to_text(before)))
        return [Job.from_row(row) for row in rows]

    async def repost(self, job: Job) -> datetime | None:
        """Note that a new message is begun for a job; returns when one was first begun before, if ever."""

        async def work(connection: aiosqlite.Connection) -> datetime | None:
            cursor = await connection.execute("SELECT post_id, reposted_at FROM jobs_with_post WHERE id = ?", (job.id,))
            row = await cursor.fetchone()
            if row is None:
                return None
            await connection.execute(
                "UPDATE posts SET reposted_at = coalesce(reposted_at, ?) WHERE id = ?",
                (to_text(self._clock()), row["post_id"]),
            )
            return from_text(row["reposted_at"])

        return await self._database.write(work)

    async def copied_by(self, message_id: MessageId) -> list[JobId]:
        """The jobs of which a message in a gallery is a copy, in the order of `shown_by`."""
        rows = await self._database.fetch_all(COPIED_BY, (message_id,))
        return [JobId(row["id"]) for row in rows]

    async def galleries(self, job_id: JobId) -> list[ChannelId]:
        """The galleries that show a copy of a job's result."""
        return [ChannelId(row["channel_id"]) for row in await self._database.fetch_all(GALLERIES, (job_id,))]

    async def posted(
        self, job: Job, message_id: MessageId | None, failure: Reason | None = None, left: MessageId | None = None
    ) -> None:
        """Note that the job's message says how it ended, and where that message is.

        `failure` is why it says that it failed although it was painted: a person does not pay for what they cannot see.
        `left` is the message before, if it is still there and is to be deleted.
        """
        status, why = ("delivered", None) if failure is None else ("failed", packed(failure))
        change = (
            "status = iif(status = 'rendered', ?, status), posted_at = ?, "
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL)"
        )

        async def work(connection: aiosqlite.Connection) -> None:
            if message_id is not None:
                # Also for a job that was forgotten during the delivery: its new message must be found, to be deleted.
                await connection.execute(PLACE_MESSAGE, (message_id, job.id))
            if left is not None:
                await connection.execute(LEAVE, (left, job.id))
            await connection.execute(
                _move(change), (status, to_text(self._clock()), why, job.id, job.status, job.attempt)
            )

        await self._database.write(work)

    async def give_up(self, job: Job, reason: Reason) -> None:
        """The job's message can never be delivered: end it, keeping why. Its pictures stay in the folder."""
        await self._move(
            job,
            job.status,
            "status = CASE status WHEN 'rendered' THEN 'failed' ELSE status END, "
            # A job that was forgotten during the delivery gets no words: Discord's may quote the prompt.
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL), posted_at = ?",
            (packed(reason), to_text(self._clock())),
        )

    async def _move(self, job: Job, expected: JobStatus, change: str, parameters: tuple[object, ...]) -> bool:
        changed = await self._database.execute(_move(change), (*parameters, job.id, expected, job.attempt))
        return changed > 0


def _move(change: str) -> str:
    """The compare-and-set that changes a job; its last parameters are the id, the status and the attempt."""
    return f"UPDATE jobs SET {change} WHERE id = ? AND status = ? AND attempt = ?"  # noqa: S608 - constants


def _statement(said: Queued) -> tuple[str | None, int]:
    return None if said.starts_at is None else to_text(said.starts_at), said.place
