"""The queue: the life of a job as rows of the table `jobs`. Every move is a compare-and-set.

A move that finds the job in another state than it expects changes nothing and says so; the attempt number
keeps a late answer of an earlier attempt from counting.
"""

from __future__ import annotations

from collections.abc import Sequence

import aiosqlite

from bot.jobs import Image, Job, JobId, JobStatus, to_text
from bot.language import mark
from bot.language.reasons import Reason, packed
from bot.money import Micros
from bot.storage.job_posts import JobPosts
from bot.storage.job_rows import read_job
from bot.storage.marks import KEEP_MARK
from bot.storage.new_jobs import NewJobs
from bot.storage.picture_hashes import KEEP_HASH

SENT = mark(
    "Atelier was stopped while another server painted this. It may have charged the host for it, so it is not asked "
    "again by itself. You pay nothing. Ask again if you like."
)
STOPPED = mark("Atelier was stopped before this ended.")

# A request that was sent to a provider is paid for at most once.
FAIL_SENT = """
UPDATE jobs SET status = 'failed', reason = ? WHERE surface = ? AND status = 'running' AND sent_at IS NOT NULL
  AND coalesce(billed_micros, held_micros) > 0
"""

CLAIM = """
UPDATE jobs SET status = 'running', attempt = attempt + 1, started_at = ?, turn = coalesce(turn, ?),
  clock = coalesce(clock, ?)
WHERE id = ? AND status = 'queued' AND follows IS NULL
  AND (SELECT message_id FROM posts WHERE id = post_id) IS NOT NULL
"""

KEEP_IMAGE = """
INSERT INTO images (job_id, number, seed, width, height, sha256, nsfw, delivered_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class Queue(NewJobs, JobPosts):
    """The jobs of one surface: what moves them on, beside what its bases read and write."""

    async def claim(self, job_id: JobId, turn: float | None = None, clock: float | None = None) -> Job | None:
        """Queued → running, attempt + 1; None when it was cancelled first.

        `turn` is where its turn was in virtual time and `clock` how far that had come: kept of the first attempt only,
        since a turn is charged once.
        """

        async def work(connection: aiosqlite.Connection) -> Job | None:
            cursor = await connection.execute(CLAIM, (to_text(self._clock()), turn, clock, job_id))
            return await read_job(connection, job_id) if cursor.rowcount else None

        return await self._database.write(work)

    async def note_sent(self, job: Job) -> bool:
        """Note that a job is about to be sent to its provider; False when it moved on, and then it is not sent."""
        return await self._move(job, JobStatus.RUNNING, "sent_at = ?, billed_micros = NULL", (to_text(self._clock()),))

    async def note_billed(self, job: Job, micros: Micros) -> None:
        """Note what a provider billed for a job, whatever became of it meanwhile."""
        await self._database.execute(
            "UPDATE jobs SET billed_micros = ? WHERE id = ? AND attempt = ?", (micros, job.id, job.attempt)
        )

    async def requeue(self, job: Job, *, is_blamed: bool = True) -> bool:
        """Move running → queued, for another attempt after the engine died in this one, perhaps because of it."""
        return await self._move(job, JobStatus.RUNNING, "status = 'queued', deaths = deaths + ?", (int(is_blamed),))

    async def render(
        self, job: Job, images: Sequence[Image], model_hash: str | None, used_seconds: float | None = None
    ) -> bool:
        """Running → rendered: the files first, then the row. False when the job moved on without this attempt.

        What it used takes the place of what was held for it, in the same transaction; unknown, what was held stays.
        """
        rows = [
            (
                *(job.id, number, image.seed, image.width, image.height, image.sha256, image.nsfw),
                image.delivered_sha256 or None,
            )
            for number, image in enumerate(images, start=1)
        ]
        hashes = [
            (job.id, number, image.phash) for number, image in enumerate(images, start=1) if image.phash is not None
        ]

        marks = [(image.mark, job.id, number) for number, image in enumerate(images, start=1) if image.mark is not None]

        async def work(connection: aiosqlite.Connection) -> bool:
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'rendered', painted_at = ?, model_hash = ?, used_seconds = ? "
                "WHERE id = ? AND status = 'running' AND attempt = ?",
                (to_text(self._clock()), model_hash, used_seconds, job.id, job.attempt),
            )
            if not cursor.rowcount:
                return False
            await connection.executemany(KEEP_IMAGE, rows)
            await connection.executemany(KEEP_HASH, hashes)
            await connection.executemany(KEEP_MARK, marks)
            return True

        files = {image.sha256: image.png for image in images}
        files |= {image.delivered_sha256: image.delivered for image in images if image.delivered_sha256}
        async with self._pictures.kept(files):
            return await self._database.write(work)

    async def adopt(self, job: Job, images: Sequence[Image]) -> bool:
        """Queued → rendered with pictures that were painted before. False when the job moved on.

        A job without a message is never claimed, so nobody paints it meanwhile.
        """
        if not await self._move(job, JobStatus.QUEUED, "status = 'running'", ()):
            return False
        return await self.render(job, images, None, 0.0)

    async def fail(
        self, job: Job, reason: Reason, used_seconds: float | None = None, *, withhold: bool = False
    ) -> bool:
        """Running → failed, with words for the requester. It costs them nothing, however much it used.

        With `withhold`, its message does not show the prompt any more.
        """
        return await self._move(
            job,
            JobStatus.RUNNING,
            "status = 'failed', reason = ?, used_seconds = ?, withheld = ?",
            (packed(reason), used_seconds, withhold),
        )

    async def cancel(self, job_id: JobId, used_seconds: float = 0.0) -> bool:
        """Queued or running → cancelled; False when it had ended already. Only what it used until then is charged."""
        changed = await self._database.execute(
            "UPDATE jobs SET status = 'cancelled', used_seconds = ? WHERE id = ? AND status IN ('queued', 'running')",
            (used_seconds, job_id),
        )
        return changed > 0

    async def recover(self) -> None:
        """Put the queue in order after a stop.

        Running jobs are queued again, but for those that a provider was asked for and may have billed: these fail. On a
        surface that ends with its process, all open jobs end.
        """

        async def work(connection: aiosqlite.Connection) -> None:
            if self._surface.outlives_process:
                await connection.execute(FAIL_SENT, (SENT, self._surface))
                await connection.execute(
                    "UPDATE jobs SET status = 'queued' WHERE surface = ? AND status = 'running'",
                    (self._surface,),
                )
            else:
                await connection.execute(
                    "UPDATE jobs SET status = iif(status IN ('rendered', 'failed'), 'failed', 'cancelled'), "
                    "reason = coalesce(reason, ?), posted_at = ? "
                    "WHERE surface = ? AND (status IN ('queued', 'running', 'rendered') "
                    "OR (posted_at IS NULL AND status IN ('failed', 'cancelled')))",
                    (STOPPED, to_text(self._clock()), self._surface),
                )
                await connection.execute(
                    "UPDATE jobs SET removed_at = ? WHERE surface = ? AND forgotten_at IS NOT NULL "
                    "AND removed_at IS NULL",
                    (to_text(self._clock()), self._surface),
                )

        await self._database.write(work)
