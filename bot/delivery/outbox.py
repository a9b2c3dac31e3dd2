"""The outbox: shows news of jobs in their messages, one post at a time per channel.

The ending of a job is read from the queue, so it survives a restart and is repeated until it is known to be posted.
Progress and corrections of a wait live in memory, only the newest of each job. They are dropped when newer news comes
or when the job has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection
from contextlib import suppress
from functools import partial

from bot.delivery.endings import Endings
from bot.delivery.gate import Gate
from bot.delivery.poster import Poster, Shown, in_time, log_bug
from bot.delivery.progress import Progress
from bot.delivery.removals import Removals
from bot.engine.signing import Signing
from bot.errors import DeliveryError
from bot.jobs import ChannelId, Job, JobId, News, Passing
from bot.storage.database import Database, insist
from bot.storage.job_posts import SOME
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges

log = logging.getLogger(__name__)

DECORATIONS = 8
"""The most results that get their reactions and pings at a time."""
DECORATION_SECONDS = 30.0
"""How long these may take; after that, the result stays without the rest of them."""

TIDY_SECONDS = 60.0
"""The least time between two checks for channels that can be forgotten."""


class _Channel:
    """The news that waits in one channel, and the task that posts it."""

    def __init__(self, gate: Gate, endings: Endings, progress: Progress, removals: Removals) -> None:
        self.endings, self.progress, self.removals = endings, progress, removals
        self.working = False
        self.touched_at = -math.inf
        """When news last came or was last posted."""
        self.wake = asyncio.Event()
        self._gate = gate

    def is_over(self, now: float) -> bool:
        """Whether nothing waits here, and the rest of the state is too old to delay anything."""
        busy = self.working or self.endings or self.progress or self.removals
        return not busy and self._gate.is_over(self.touched_at, now)

    def takes_update(self, job_id: JobId) -> bool:
        """Whether a correction of a job's wait would be shown soon."""
        return job_id not in self.endings and self.progress.takes_correction(job_id)

    async def drain(self) -> None:
        """Post until nothing is left: first endings that are due, then progress, then deletions."""
        try:
            while self.endings or self.progress or self.removals:
                self.wake.clear()
                now = asyncio.get_running_loop().time()
                ending_at, progress_at, removal_at = (
                    self.endings.due_at(),
                    self.progress.due_at(),
                    self.removals.due_at(),
                )
                due_at = min(ending_at, progress_at, removal_at)
                if due_at > now:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(due_at - now):
                            await self.wake.wait()
                elif ending_at <= now:
                    posted = await self.endings.post_next()
                    if posted is not None:
                        self.progress.forget(posted)
                elif progress_at <= now:
                    await self.progress.show_next()
                else:
                    removed = await self.removals.remove_next()
                    if removed is not None:
                        self.progress.forget(removed)
        finally:
            self.working = False
            self.touched_at = asyncio.get_running_loop().time()


class Delivery:
    """Posts news through a poster. The task `run` owns it."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        changes: QueueChanges,
        posts_per_channel: int,
        signing: Signing | None = None,
    ) -> None:
        self._signing = signing
        self._queue = queue
        self._posts_per_channel = posts_per_channel
        self._changes = changes
        self._changed = database.listen()
        self._touched: set[int] = set()
        """The jobs that changed since they were last read."""
        self._has_more_to_remove = False
        self._channels: dict[ChannelId, _Channel] = {}
        self._tidied_at = -math.inf
        self._poster: Poster | None = None
        self._attached = asyncio.Event()
        self._workers: asyncio.TaskGroup | None = None
        self._decorating = asyncio.Semaphore(DECORATIONS)

    def attach(self, poster: Poster) -> None:
        """Show news through `poster` from now on."""
        self._poster = poster
        self._attached.set()

    def takes_update(self, channel_id: ChannelId, job_id: JobId) -> bool:
        """Whether a channel would soon show a correction of a waiting job's message."""
        channel = self._channels.get(channel_id)
        return channel is None or channel.takes_update(job_id)

    def announce(self, job: Job, news: Passing) -> None:
        """Show the progress of a job, unless newer news comes before its channel is free."""
        channel = self._channel(job.destination.channel_id)
        over = job.id in channel.endings or job.id in channel.removals
        if not over and channel.progress.add(job, news):
            self._work(job.destination.channel_id, channel)

    async def run(self) -> None:
        """Post what the queue holds, until cancelled."""
        await self._attached.wait()
        async with asyncio.TaskGroup() as workers:
            self._workers = workers
            try:
                await insist(self._changes.watch, self._touched.add)
                await self._take_in(None)
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    # Another thread adds to it meanwhile.
                    await self._take_in({self._touched.pop() for _ in range(len(self._touched))})
                    # Read the next ones before the last of these are done: then no commit would wake this task.
                    waiting = sum(len(channel.removals) for channel in self._channels.values())
                    if self._has_more_to_remove and waiting < SOME // 2:
                        await self._take_in(None)
                    self._tidy()
            finally:
                self._workers = None

    async def _take_in(self, touched: Collection[int] | None) -> None:
        """Take in what is to be posted and deleted of the jobs that changed; None stands for all jobs."""
        if touched is None:
            unposted, to_remove = await insist(self._queue.unposted), await insist(self._queue.to_remove)
        elif touched:
            unposted, to_remove = await insist(self._queue.owed, touched)
        else:
            return
        for job in unposted:
            channel = self._channel(job.destination.channel_id)
            channel.endings.add(job)
            channel.progress.drop(job.id)
            self._work(job.destination.channel_id, channel)
        for job_id, channel_id in to_remove:
            self._forget(job_id, channel_id)
        if touched is None:
            self._has_more_to_remove = len(to_remove) >= SOME

    def _forget(self, job_id: JobId, channel_id: ChannelId) -> None:
        """Drop all news of a job, and have its message deleted."""
        channel = self._channel(channel_id)
        channel.removals.add(job_id)
        channel.endings.drop(job_id)
        channel.progress.drop(job_id)
        self._work(channel_id, channel)

    def _channel(self, channel_id: ChannelId) -> _Channel:
        if channel_id not in self._channels:
            gate = Gate(self._posts_per_channel)
            removals = Removals(gate, self._queue, self._remove)
            endings = Endings(gate, removals, self._queue, self._show, self._decorate, self._signing)
            self._channels[channel_id] = _Channel(gate, endings, Progress(gate, self._queue, self._show), removals)
        channel = self._channels[channel_id]
        channel.touched_at = asyncio.get_running_loop().time()
        return channel

    def _tidy(self) -> None:
        """Forget the finished channels from time to time, because every thread is a channel."""
        now = asyncio.get_running_loop().time()
        if now >= self._tidied_at + TIDY_SECONDS:
            self._tidied_at = now
            self._channels = {id_: channel for id_, channel in self._channels.items() if not channel.is_over(now)}

    def _work(self, channel_id: ChannelId, channel: _Channel) -> None:
        channel.wake.set()
        if not channel.working and self._workers is not None:
            channel.working = True
            self._workers.create_task(channel.drain(), name=f"deliver to {channel_id}")

    def _decorate(self, job: Job) -> None:
        if self._poster is not None and self._workers is not None:
            self._workers.create_task(self._decorated(self._poster, job), name=f"decorate job {job.id}")

    async def _decorated(self, poster: Poster, job: Job) -> None:
        try:
            async with self._decorating:
                await in_time(poster.decorate(job), DECORATION_SECONDS)
        except DeliveryError as error:
            log.warning("job %d was delivered, but not all that goes with it: %s", job.id, error)
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(job, "it was delivered, but not all that goes with it", error)

    async def _show(self, job: Job, news: News) -> Shown:
        assert self._poster is not None  # noqa: S101 - `run` waits for it
        return await self._poster.show(job, news, partial(insist, self._queue.repost, job))

    async def _remove(self, job: Job) -> None:
        assert self._poster is not None  # noqa: S101 - `run` waits for it
        await self._poster.remove(job)
