"""From the line to the engine: choose, claim, submit, settle. Keeps the engine busy and every promise honest."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from functools import partial

from bot.engine import Asking, Billed, Engine, Finished, Lane, Order, Preview, Progress, Started
from bot.errors import AtelierError, EngineDied, PaintFailed, Rejected
from bot.jobs import Clock, Job, JobId, Painting, Passing, Retrying
from bot.language import sentence
from bot.language.reasons import Reason
from bot.logs import hide, traced, without_words
from bot.policy.objections import told
from bot.policy.policy import Policy
from bot.policy.words import SAFETY, TERMS
from bot.queue.line import Line
from bot.queue.meter import Meter
from bot.storage.database import Database, insist
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from bot.storage.refusals import Refusals

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How often a job may take the engine down before it is given up."""


LOOK_AGAIN_SECONDS = 5.0
"""The longest sleep before the next turn: the clock may be set meanwhile, and nothing wakes the dispatcher then."""

_KEEP_TRIES = 6
"""How often storing the finished pictures is tried before the job is failed."""

SHORT_SECONDS = 5.0
"""What is painted in less shows no progress."""


class Dispatcher:
    """Feeds the lanes of the engine; `run` is the task that owns it."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        pictures: Pictures,
        policy: Policy,
        refusals: Refusals,
        line: Line,
        engine: Engine,
        announce: Callable[[Job, Passing], None],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._pictures = pictures
        self._policy = policy
        self._refusals = refusals
        self._line = line
        self._engine = engine
        self._announce = announce
        self._clock = clock
        self._changed = {lane.name: database.listen() for lane in engine.lanes}
        self._meter = Meter()
        self.orders: Counter[str] = Counter()
        """How many jobs each lane paints, by its name."""

    async def run(self) -> None:
        """Paint whatever waits, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._engine.lanes:
                tasks.create_task(self._feed(lane, tasks), name=f"feed the lane {lane.name}")

    async def _feed(self, lane: Lane, painters: asyncio.TaskGroup) -> None:
        """Keep a lane busy."""
        slots = asyncio.Semaphore(lane.slots)
        while True:
            await slots.acquire()
            job = await self._next_job(lane)
            # A job that saw a process of ours die may be why: so its second attempt runs alone in the lane. A provider
            # is no such process, and an answer that was lost says nothing about the others.
            taken = lane.slots if job.deaths and lane.pace is None else 1
            for _ in range(taken - 1):
                await slots.acquire()
            painting = painters.create_task(self._paint(job, lane), name=f"paint job {job.id}")
            for _ in range(taken):
                painting.add_done_callback(lambda _: slots.release())

    async def cancel(self, job_id: JobId) -> bool:
        """End a job that has not ended; False when it had. Its place in the engine is free within a step."""
        cancelled = await self._queue.cancel(job_id, self._meter.used(job_id, _now()))
        if cancelled:
            self._engine.cancel(job_id)
        return cancelled

    def used(self, job_id: JobId) -> float:
        """GPU seconds that a job has used until now."""
        return self._meter.used(job_id, _now())

    def stop(self, job_ids: Iterable[JobId]) -> None:
        """Free the places in the engine of jobs that were cancelled."""
        for job_id in job_ids:
            self._engine.cancel(job_id)

    async def _next_job(self, lane: Lane) -> Job:
        """Wait for the next job whose turn has come in a lane, and claim it."""
        changed = self._changed[lane.name]
        # What another lane has loaded or whether it is up changes without a commit.
        idle = None if len(self._engine.lanes) == 1 else LOOK_AGAIN_SECONDS
        self._line.asking.add(lane.name)
        try:
            while True:
                await lane.ready()
                changed.clear()
                turn = await insist(self._line.next, lane)
                wait = None if turn is None else (turn.starts_at - self._clock()).total_seconds()
                if turn is None or (wait is not None and wait > 0):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(idle if wait is None else min(wait, LOOK_AGAIN_SECONDS)):
                            await changed.wait()
                    continue
                # Another lane may claim the same job meanwhile. The first one gets it.
                self._line.expects(turn.job_id, lane)
                if (job := await insist(self._queue.claim, turn.job_id, turn.at, turn.clock)) is not None:
                    self._line.claimed(job.id, lane)
                    return job
        finally:
            self._line.asking.discard(lane.name)

    async def _paint(self, job: Job, lane: Lane) -> None:
        """One attempt at a job, settled whatever happens."""
        self.orders[lane.name] += 1
        try:
            await self._try(job, lane)
        finally:
            self.orders[lane.name] -= 1
            self._meter.leave(job.id, _now())

    async def _try(self, job: Job, lane: Lane) -> None:
        try:
            while not await self._is_over(job, lane):
                # The lane stopped because of another job. Where another one is working, it goes there. Otherwise it
                # keeps its slot and its attempt, and begins anew.
                self._meter.leave(job.id, _now())
                if self._line.can_go_elsewhere(job.request.model, lane):
                    if await insist(partial(self._queue.requeue, is_blamed=False), job):
                        self._announce(job, Retrying())
                    return
                self._announce(job, Retrying())
        except EngineDied as error:
            log.warning("job %d, attempt %d: %s", job.id, job.attempt, error)
            if job.deaths + 1 < ATTEMPTS:
                # If the job was cancelled during the attempt, its message says so already.
                if await insist(self._queue.requeue, job):
                    self._announce(job, Retrying())
            else:
                died = sentence(
                    "The engine died {times} times while painting this, so it was given up. "
                    "A smaller size or another model may work.",
                    times=ATTEMPTS,
                )
                await self._fail(job, Reason(error.at_last or died))
        except Rejected as refusal:
            # The job may have been cancelled just now. Then nothing was refused.
            # The message is public, and a refusal repeats no word in public.
            if await self._fail(job, Reason(told(refusal)), withhold=refusal.rule in (TERMS, SAFETY)):
                await self._refusals.note(job.requester, refusal)
        except AtelierError as error:
            log.info("job %d failed: %s", job.id, without_words(str(error), *job.request.texts))
            await self._fail(job, error.reason)
        except Exception as error:  # noqa: BLE001 - it is logged
            # A bug in one job must not stop the queue.
            log.error("job %d failed on a bug\n%s", job.id, traced(error, *job.request.texts))  # noqa: TRY400
            broken = sentence(
                "Something broke inside Atelier. The host can find it in the log as job {job}.", job=job.id
            )
            await self._fail(job, Reason(broken))

    async def _fail(self, job: Job, reason: Reason, *, withhold: bool = False) -> bool:
        used = self._meter.used(job.id, _now())
        return await insist(partial(self._queue.fail, withhold=withhold), job, reason, used)

    async def _is_over(self, job: Job, lane: Lane) -> bool:
        """Attempt a job; False when the engine stopped, but not because of it."""
        try:
            await self._attempt(job, lane)
        except EngineDied as error:
            if error.is_blamed:
                raise
            log.info("job %d begins anew: %s", job.id, error)
            return False
        return True

    async def _attempt(self, job: Job, lane: Lane) -> None:
        hide(*job.request.texts)
        # The limits of now hold, also for what was accepted by others.
        if refusal := await insist(self._policy.objection, job):
            raise refusal
        uploads = await self._pictures.read(job.request.uploads)
        # If the job was cancelled by now, the engine never hears of it, and its message says so already.
        if not await insist(self._queue.is_running, job):
            return
        limits = await insist(self._policy.picture_limits, job.requester.guild_id, job.destination.channels)
        if not lane.is_up and self._line.can_go_elsewhere(job.request.model, lane):
            raise EngineDied("The lane {lane} stopped before it took this.", lane=lane.name, is_blamed=False)
        if not lane.has(job.request.model):
            # No lane can paint with it now, so any of them took the job.
            if words := self._engine.troubles.get(job.request.model):
                raise PaintFailed(words)
            raise PaintFailed("No engine has the model {model} now. Choose another one.", model=job.request.model)
        order = Order(job.id, job.attempt, job.request, job.requester.user_id, uploads, limits)
        async with aclosing(lane.submit(order)) as events:
            preview, began = b"", _now()
            async for event in events:
                if isinstance(event, Started):
                    self._meter.enter(job.id, job.request.work, _now(), lane.name)
                    began = _now()
                elif isinstance(event, Preview):
                    preview = event.jpeg
                elif isinstance(event, Asking):
                    # What may have been sent is in the row before it is sent. A job that was cancelled is not sent.
                    if not await insist(self._queue.note_sent, job):
                        return
                elif isinstance(event, Billed):
                    await insist(self._queue.note_billed, job, event.micros)
                elif isinstance(event, Progress):
                    if takes_long(_now() - began, event):
                        self._announce(job, Painting(event.step, event.of, preview))
                elif isinstance(event, Finished):
                    used = self._meter.used(job.id, _now())
                    await insist(self._queue.render, job, event.images, event.model_hash, used, tries=_KEEP_TRIES)


def takes_long(seconds: float, progress: Progress) -> bool:
    """Whether a request that began `seconds` ago and has come this far takes so long that people want to see it."""
    return seconds * max(progress.of, 1) >= SHORT_SECONDS * max(progress.step, 1)


def _now() -> float:
    return asyncio.get_running_loop().time()
