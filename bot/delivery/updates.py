"""Keeps true what waiting people were told: corrects the messages whose place or start has become wrong.

It looks at everybody at once, by the schedule that all who ask share, and no oftener than it can afford: a line of ten
thousand in a storm costs it a twentieth of the time. The nearest are corrected first, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

from bot.delivery.outbox import Delivery
from bot.jobs import HELD, ChannelId, Clock, JobId, JobStatus, Queued, Waiting
from bot.queue.forecast import is_wrong, statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.storage.database import Database, insist
from bot.storage.queue import Queue

REVIEW_SECONDS = 3.0
"""Between two looks at everybody, at least."""
AT_ONCE = 6
"""Corrections after one look: two a second, of fifty requests a second that Discord takes."""
REST_SHARE = 19.0
"""How many times as long as a look took it is not looked again."""
LOOK_AGAIN_SECONDS = 15.0
"""While somebody waits it is looked again even if nothing changes: an engine may take longer than was foreseen."""

EDITABLE = timedelta(minutes=55)
"""What is older is left alone: of a message older than an hour Discord takes few edits, and its result needs one."""

_IN_A_ROW = 200
"""Jobs that are looked at before others get a word in."""


class Updates:
    """Corrects what messages say about their wait; `run` is the task that owns it."""

    def __init__(self, database: Database, queue: Queue, line: Line, delivery: Delivery, clock: Clock) -> None:
        self._queue = queue
        self._line = line
        self._delivery = delivery
        self._clock = clock
        self._changed = database.listen()

    async def run(self) -> None:
        """Correct whatever becomes wrong, until cancelled."""
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
        """Look at everybody once, and have the nearest few corrected of whom something wrong is said."""
        turns = await insist(self._line.turns)
        chosen: dict[JobId, Queued] = {}
        channels: set[ChannelId] = set()
        async for job, true in self._standing(turns):
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

    async def _standing(self, turns: Sequence[Turn]) -> AsyncIterator[tuple[Waiting, Queued]]:
        """Whoever is told something wrong, the nearest first, and what is true; then those whom a pause holds."""
        now, waiting = self._clock(), self._line.waiting
        for place, turn in enumerate(turns, start=1):
            job = waiting.get(turn.job_id)
            true = statement(place, turn.starts_at, now)
            if job is not None and self._may_be_told(job) and is_wrong(job.said, true, now):
                yield job, true
            if not place % _IN_A_ROW:
                await asyncio.sleep(0)
        for number, job in enumerate(list(waiting.values()), start=1):
            if self._may_be_told(job) and is_wrong(job.said, HELD, now) and self._line.is_held(job):
                yield job, HELD
            if not number % _IN_A_ROW:
                await asyncio.sleep(0)

    def _may_be_told(self, job: Waiting) -> bool:
        """Whether a job's message speaks of its wait; that of one whose attempt was cut short speaks of that."""
        return job.acknowledged and not job.again and self._clock() - job.asked_at < EDITABLE
