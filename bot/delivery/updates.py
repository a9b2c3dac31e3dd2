"""Corrects the messages of waiting jobs whose place or start time has become wrong.

A review checks all waiting jobs, with the schedule that people see on demand. Reviews take at most a twentieth of the
time, also with ten thousand waiting jobs. The jobs that are next in the queue are corrected first, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

from bot.delivery.outbox import Delivery
from bot.jobs import DRAINED, HELD, ChannelId, Clock, JobId, JobStatus, Queued, Waiting
from bot.queue.forecast import is_wrong, statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.storage.database import Database, insist
from bot.storage.queue import Queue

REVIEW_SECONDS = 3.0
"""The least time between two reviews."""
AT_ONCE = 6
"""The most corrections of one review: two a second, of the fifty requests a second that Discord takes."""
REST_SHARE = 19.0
"""The pause after a review, as a multiple of the time that the review took."""
LOOK_AGAIN_SECONDS = 15.0
"""While jobs wait, a review comes even if no row changes: the engine may take longer than forecast."""

EDITABLE = timedelta(minutes=55)
"""Older jobs are not corrected: Discord takes few edits of a message older than an hour, and the result needs one."""

_IN_A_ROW = 200
"""Jobs that are checked before other tasks may run."""


class Updates:
    """Corrects what messages say about their wait. The task `run` owns it."""

    def __init__(self, database: Database, queue: Queue, line: Line, delivery: Delivery, clock: Clock) -> None:
        self._queue = queue
        self._line = line
        self._delivery = delivery
        self._clock = clock
        self._changed = database.listen()

    async def run(self) -> None:
        """Correct messages that have become wrong, until cancelled."""
        time = asyncio.get_running_loop().time
        pause = REVIEW_SECONDS
        while True:
            await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS if self._line.waiting else None):
                    await self._changed.wait()
            self._changed.clear()
            began_at = time()
            await self.review()
            pause = max(REVIEW_SECONDS, REST_SHARE * (time() - began_at))

    async def review(self) -> None:
        """Check all waiting jobs once, and have the first few wrong messages corrected."""
        turns = await insist(self._line.turns)
        chosen: dict[JobId, Queued] = {}
        channels: set[ChannelId] = set()
        async for job, true in self._wrong(turns):
            channel_id = job.channels[0]
            if channel_id not in channels and self._delivery.takes_update(channel_id, job.job_id):
                channels.add(channel_id)
                chosen[job.job_id] = true
            if len(chosen) == AT_ONCE:
                break
        for job_id, true in chosen.items():
            found = await insist(self._queue.get, job_id)
            if found is not None and found.status is JobStatus.QUEUED:
                self._delivery.announce(found, true)

    async def _wrong(self, turns: Sequence[Turn]) -> AsyncIterator[tuple[Waiting, Queued]]:
        """Yield the jobs with a wrong message and what is true: first those with a place, in order."""
        now, waiting = self._clock(), self._line.waiting
        for place, turn in enumerate(turns, start=1):
            job = waiting.get(turn.job_id)
            true = statement(place, turn.starts_at, now)
            if job is not None and self._may_be_told(job) and is_wrong(job.said, true, now):
                yield job, true
            if not place % _IN_A_ROW:
                await asyncio.sleep(0)
        drained = {model for model in {job.work.shape[0] for job in waiting.values()} if self._line.is_drained(model)}
        for number, job in enumerate(list(waiting.values()), start=1):
            still = HELD if self._line.is_held(job) else DRAINED if job.work.shape[0] in drained else None
            if still is not None and self._may_be_told(job) and is_wrong(job.said, still, now):
                yield job, still
            if not number % _IN_A_ROW:
                await asyncio.sleep(0)

    def _may_be_told(self, job: Waiting) -> bool:
        """Whether a job's message may be corrected; after an interrupted attempt it says that instead of a wait."""
        return job.acknowledged and not job.again and self._clock() - job.asked_at < EDITABLE
