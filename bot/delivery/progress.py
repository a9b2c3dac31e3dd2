"""The passing news of one channel: how far jobs are, and corrections of what waiting jobs were told."""

from __future__ import annotations

import asyncio
import logging
import math

from bot.delivery.gate import Gate
from bot.delivery.poster import Show, in_time, log_bug
from bot.errors import DeliveryError, StorageError, TryLater
from bot.jobs import Job, JobId, JobStatus, Passing, Queued
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

EDIT_SECONDS = 3.0
"""The least time between two progress edits of one message."""

PROGRESS_SECONDS = 1.5
"""The least time between two progress edits in one channel, so that most of its posts are left for results."""

PROGRESS_TIMEOUT_SECONDS = 3.0
"""How long an edit with progress may take: results wait for it, and newer progress comes soon."""
PROGRESS_PAUSE_SECONDS = 10.0
"""How long a message that could not be edited gets no progress."""

UPDATE_SECONDS = 10.0
"""The least time between two corrections of one message."""


class Progress:
    """The newest passing news of each job in one channel. It lives in memory and is dropped when the job ends."""

    def __init__(self, gate: Gate, queue: Queue, show: Show) -> None:
        self._gate, self._queue, self._show = gate, queue, show
        self._news: dict[JobId, tuple[Job, Passing]] = {}
        self._edited_at: dict[JobId, float] = {}
        self._mute: set[JobId] = set()
        """Jobs whose progress Discord refused: their progress is not tried again."""
        self._again: set[JobId] = set()
        """Jobs whose progress was not taken and is kept: it may be outdated by now."""
        self._shown_at = -math.inf
        self._correcting = False

    def __bool__(self) -> bool:
        """Whether news waits."""
        return bool(self._news)

    def add(self, job: Job, news: Passing) -> bool:
        """Keep news of a job in place of what waits for it; returns False if the channel refused the job's progress."""
        if job.id in self._mute or self._gate.is_closed:
            return False
        if isinstance(news, Queued):
            # A correction is due from now on, not before the progress of other jobs, which would otherwise wait.
            due_at = asyncio.get_running_loop().time()
            self._edited_at[job.id] = max(self._edited_at.get(job.id, -math.inf), due_at - EDIT_SECONDS)
        self._news[job.id] = (job, news)
        return True

    def drop(self, job_id: JobId) -> None:
        """Drop what waits for a job: newer news replaces it."""
        self._news.pop(job_id, None)

    def forget(self, job_id: JobId) -> None:
        """Forget a job whose ending was posted."""
        self._edited_at.pop(job_id, None)
        self._mute.discard(job_id)
        self._again.discard(job_id)

    def takes_correction(self, job_id: JobId) -> bool:
        """Whether a correction would be shown soon: only one at a time, and only if no other news waits for the job."""
        rested = asyncio.get_running_loop().time() - self._edited_at.get(job_id, -math.inf) >= UPDATE_SECONDS
        busy = self._correcting or any(isinstance(news, Queued) for _, news in self._news.values())
        return rested and not (busy or job_id in self._mute or job_id in self._news or self._gate.is_closed)

    def due_at(self) -> float:
        """When the next news may be shown; infinity when none waits."""
        return max(self._next()[0], self._shown_at + PROGRESS_SECONDS)

    def _next(self) -> tuple[float, JobId]:
        return min(
            ((self._edited_at.get(job_id, -math.inf) + EDIT_SECONDS, job_id) for job_id in self._news),
            default=(math.inf, JobId(0)),
        )

    async def show_next(self) -> None:
        """Show the news that is due first."""
        job, news = self._news.pop(self._next()[1])
        pause = await self._tried(job, news)
        if pause is not None:
            # Counted from the time it was shown, because it may have waited for the throttle.
            self._shown_at = asyncio.get_running_loop().time()
            self._edited_at[job.id] = self._shown_at + pause

    async def _tried(self, job: Job, news: Passing) -> float | None:
        """Show the progress of a job; returns None when the news was outdated before it was tried.

        Otherwise returns the seconds for which the message gets no more progress than usual.
        """
        async with self._gate.throttle:
            self._correcting = isinstance(news, Queued)
            try:
                # If the job starts or ends after this check, the same task shows that after this post.
                if (isinstance(news, Queued) or job.id in self._again) and not await self._is_current(job, news):
                    return None
                await in_time(self._show(job, news), PROGRESS_TIMEOUT_SECONDS)
                if isinstance(news, Queued):
                    await self._queue.state(job.id, news)
            except StorageError as error:
                log.debug("what the message of job %d says was not noted: %s", job.id, error)
            except DeliveryError as error:
                # The ending will meet the same error; a missed progress edit does no harm.
                log.debug("progress of job %d was not shown: %s", job.id, error)
                if isinstance(error, TryLater):
                    # It may be the last news of a long step. A correction is found again by the next review.
                    if not isinstance(news, Queued):
                        self._news.setdefault(job.id, (job, news))
                        self._again.add(job.id)
                    return PROGRESS_PAUSE_SECONDS
                self._mute.add(job.id)
                self._news.pop(job.id, None)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(job, "its progress was not shown", error)
            finally:
                self._correcting = False
        return 0.0

    async def _is_current(self, job: Job, news: Passing) -> bool:
        """Whether news is not outdated: a wait only of a waiting job, and nothing of a job that has ended."""
        now = await self._queue.get(job.id)
        if now is None or isinstance(news, Queued):
            return now is not None and now.status is JobStatus.QUEUED
        return now.status in (JobStatus.QUEUED, JobStatus.RUNNING)
