"""The outbox: shows news of jobs in their messages, one post at a time per channel.

The ending of a job is read from the queue, so it survives a restart and is repeated until it is known to be posted.
Progress and corrections of a wait live in memory, only the newest of each job. They are dropped when newer news comes
or when the job has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from asyncio_throttle import Throttler

from bot.delivery.smaller import smaller
from bot.errors import DeliveryError, EngineError, NotUnderstood, StorageError, TooLarge, TryLater, Unreachable
from bot.jobs import (
    Cancelled,
    ChannelId,
    Failed,
    Job,
    JobId,
    JobStatus,
    MessageId,
    News,
    Painted,
    Passing,
    Queued,
)
from bot.logs import traced, without_words
from bot.storage.database import Database, insist
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

EDIT_SECONDS = 3.0
"""The least time between two progress edits of one message."""

PROGRESS_SECONDS = 1.5
"""The least time between two progress edits in one channel, so that most of its posts are left for results."""

UPDATE_SECONDS = 10.0
"""The least time between two corrections of one message."""

THROTTLE_SECONDS = 5.0
"""The period of `posts_per_channel`."""

LONGEST_RETRY_SECONDS = 60.0

REMOVALS = 25
REMOVALS_SECONDS = 120.0
"""The most messages deleted in a channel in this time: of old ones Discord takes 30, and delays the next."""

REFUSALS = 3
CLOSED_SECONDS = 600.0
"""How long nothing is posted in a channel that refused that many endings in a row: Discord bans bots that go on."""

TIDY_SECONDS = 60.0
"""The least time between two checks for channels that can be forgotten."""

_READ_TRIES = 3
"""How many times the bot tries to read finished pictures before it shows their job as failed."""


Repost = Callable[[], Awaitable[datetime | None]]
"""Notes that a new message is about to be posted for a job. Returns when one was first begun: it may exist already."""


class Poster(Protocol):
    """Shows news to people: a cog on Discord, a progress bar in a terminal."""

    async def show(self, job: Job, news: News, repost: Repost) -> MessageId | None:
        """Make the job's message say `news`; returns the message's id if it changed.

        If the message is gone, `repost` is awaited before a new one is posted.
        Raises Unreachable when this can never work in the channel, NotUnderstood when it would work nowhere, TooLarge
        when Discord may take smaller files, TryLater when it may work later.
        """
        ...

    async def remove(self, job: Job) -> None:
        """Delete the messages about a job whose words are deleted; raises as `show` does."""
        ...


@dataclass(slots=True)
class _Channel:
    """The news that waits in one channel, and the state of the task that posts it."""

    throttle: Throttler
    endings: OrderedDict[JobId, Job] = field(default_factory=OrderedDict)
    progress: dict[JobId, tuple[Job, Passing]] = field(default_factory=dict)
    edited_at: dict[JobId, float] = field(default_factory=dict)
    mute: set[JobId] = field(default_factory=set)
    """Jobs whose progress Discord refused: their progress is not tried again."""
    progressed_at: float = -math.inf
    updating: bool = False
    """Whether a correction is being shown."""
    removals: OrderedDict[JobId, None] = field(default_factory=OrderedDict)
    """Forgotten jobs whose messages are deleted when no other news waits."""
    removed_at: deque[float] = field(default_factory=lambda: deque(maxlen=REMOVALS))
    removable_at: float = -math.inf
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    working: bool = False
    refusals: int = 0
    """The number of endings in a row that cannot be delivered here."""
    closed_until: float = -math.inf
    touched_at: float = -math.inf
    """When news last came or was last posted."""

    def leave(self, job_id: JobId) -> None:
        """Forget a job whose ending was posted."""
        self.edited_at.pop(job_id, None)
        self.mute.discard(job_id)

    def is_over(self, now: float) -> bool:
        """Whether nothing waits here, and the rest of the state is too old to delay anything."""
        busy = self.working or self.endings or self.progress or self.removals
        return not busy and now >= max(self.closed_until, self.touched_at + CLOSED_SECONDS)

    def refuse(self) -> None:
        """Count a refusal; after a few in a row the channel is closed for a while."""
        self.refusals += 1
        if self.refusals >= REFUSALS:
            self.closed_until = asyncio.get_running_loop().time() + CLOSED_SECONDS

    def remove_next(self, now: float) -> float:
        """When the next message may be deleted."""
        full = len(self.removed_at) == self.removed_at.maxlen
        return max(now, self.removable_at, self.closed_until, self.removed_at[0] + REMOVALS_SECONDS if full else now)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is posted in the channel now."""
        return asyncio.get_running_loop().time() < self.closed_until

    def takes_update(self, job_id: JobId) -> bool:
        """Whether a correction would be shown soon: only one at a time, and only if no other news waits for the job."""
        rested = asyncio.get_running_loop().time() - self.edited_at.get(job_id, -math.inf) >= UPDATE_SECONDS
        busy = self.updating or any(isinstance(news, Queued) for _, news in self.progress.values())
        known = job_id in self.endings or job_id in self.mute or job_id in self.progress
        return rested and not (busy or known or self.is_closed)


class Delivery:
    """Posts news through a poster. The task `run` owns it."""

    def __init__(self, database: Database, queue: Queue, posts_per_channel: int) -> None:
        self._queue = queue
        self._posts_per_channel = posts_per_channel
        self._changed = database.listen()
        self._channels: dict[ChannelId, _Channel] = {}
        self._tidied_at = -math.inf
        self._poster: Poster | None = None
        self._attached = asyncio.Event()
        self._workers: asyncio.TaskGroup | None = None

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
        over = channel.endings.keys() | channel.removals.keys() | channel.mute
        if job.id not in over and not channel.is_closed:
            if isinstance(news, Queued):
                # A correction is due from now on, not before the progress of other jobs, which would otherwise wait.
                due_at = asyncio.get_running_loop().time()
                channel.edited_at[job.id] = max(channel.edited_at.get(job.id, -math.inf), due_at - EDIT_SECONDS)
            channel.progress[job.id] = (job, news)
            self._work(job.destination.channel_id, channel)

    async def run(self) -> None:
        """Post what the queue holds, until cancelled."""
        await self._attached.wait()
        async with asyncio.TaskGroup() as workers:
            self._workers = workers
            try:
                while True:
                    self._changed.clear()
                    for job in await insist(self._queue.unposted):
                        channel = self._channel(job.destination.channel_id)
                        channel.endings.setdefault(job.id, job)
                        channel.progress.pop(job.id, None)
                        self._work(job.destination.channel_id, channel)
                    for job_id, channel_id in await insist(self._queue.to_remove):
                        self._forget(job_id, channel_id)
                    self._tidy()
                    await self._changed.wait()
            finally:
                self._workers = None

    def _forget(self, job_id: JobId, channel_id: ChannelId) -> None:
        """Drop all news of a job, and have its message deleted."""
        channel = self._channel(channel_id)
        channel.removals.setdefault(job_id)
        channel.endings.pop(job_id, None)
        channel.progress.pop(job_id, None)
        self._work(channel_id, channel)

    def _channel(self, channel_id: ChannelId) -> _Channel:
        if channel_id not in self._channels:
            self._channels[channel_id] = _Channel(Throttler(self._posts_per_channel, THROTTLE_SECONDS))
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
            self._workers.create_task(self._drain(channel), name=f"deliver to {channel_id}")

    async def _drain(self, channel: _Channel) -> None:
        """Post until nothing is left: first endings in order, then progress that is due, then deletions."""
        try:
            while channel.endings or channel.progress or channel.removals:
                channel.wake.clear()
                if channel.endings:
                    job_id, job = next(iter(channel.endings.items()))
                    await self._end(channel, job)
                    channel.endings.pop(job_id, None)
                    channel.leave(job_id)
                    continue
                now = asyncio.get_running_loop().time()
                due_at, job_id = min(
                    ((channel.edited_at.get(job_id, -math.inf) + EDIT_SECONDS, job_id) for job_id in channel.progress),
                    default=(math.inf, JobId(0)),
                )
                due_at = max(due_at, channel.progressed_at + PROGRESS_SECONDS)
                remove_at = channel.remove_next(now) if channel.removals else math.inf
                if min(due_at, remove_at) > now:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(min(due_at, remove_at) - now):
                            await channel.wake.wait()
                    continue
                if remove_at < due_at:
                    await self._remove(channel)
                    continue
                job, news = channel.progress.pop(job_id)
                if await self._progress(channel, job, news):
                    # Counted from the time it was shown, because it may have waited for the throttle.
                    channel.edited_at[job_id] = channel.progressed_at = asyncio.get_running_loop().time()
        finally:
            channel.working = False
            channel.touched_at = asyncio.get_running_loop().time()

    async def _remove(self, channel: _Channel) -> None:
        """Delete the message of the job that was forgotten first."""
        job_id = next(iter(channel.removals))
        # A new message may have replaced its message since it was forgotten.
        job = await insist(self._queue.get, job_id)
        async with channel.throttle:
            channel.removed_at.append(asyncio.get_running_loop().time())
            try:
                if job is not None:
                    assert self._poster is not None  # noqa: S101 - `run` waits for it
                    await self._poster.remove(job)
            except TryLater as error:
                log.warning("the message of job %d cannot be deleted now: %s", job_id, error)
                channel.removals.move_to_end(job_id)
                channel.removable_at = asyncio.get_running_loop().time() + LONGEST_RETRY_SECONDS
                return
            except DeliveryError:
                # Do not log the error: Discord's text may quote the message.
                log.warning("the message of job %d cannot be deleted: its channel is out of reach", job_id)
                channel.refuse()
            except Exception as error:  # noqa: BLE001 - it is logged
                log.error("job %d: its message was not deleted, because of a bug: %s", job_id, type(error).__name__)  # noqa: TRY400
            else:
                channel.refusals = 0
        if job is not None:
            await insist(self._queue.removed, job)
        channel.removals.pop(job_id)
        channel.leave(job_id)

    async def _progress(self, channel: _Channel, job: Job, news: Passing) -> bool:
        """Show the progress of a job; returns False when the news was outdated before it was tried."""
        async with channel.throttle:
            channel.updating = isinstance(news, Queued)
            try:
                # If the job starts after this check, the same task shows that after this post.
                if isinstance(news, Queued) and not await self._waits(job):
                    return False
                await self._show(job, news)
                if isinstance(news, Queued):
                    await self._queue.state(job.id, news)
            except StorageError as error:
                log.debug("what the message of job %d says was not noted: %s", job.id, error)
            except DeliveryError as error:
                # The ending will meet the same error; a missed progress edit does no harm.
                log.debug("progress of job %d was not shown: %s", job.id, error)
                if not isinstance(error, TryLater):
                    channel.mute.add(job.id)
                    channel.progress.pop(job.id, None)
            except Exception as error:  # noqa: BLE001 - it is logged
                _log_bug(job, "its progress was not shown", error)
            finally:
                channel.updating = False
        return True

    async def _waits(self, job: Job) -> bool:
        now = await self._queue.get(job.id)
        return now is not None and now.status is JobStatus.QUEUED

    async def _end(self, channel: _Channel, job: Job) -> None:
        """Post how a job ended, and repeat until it is posted or given up."""
        if channel.is_closed:
            await insist(self._queue.give_up, job, "Discord refuses every post in this channel.")
            return
        news = await self._ending(job)
        retries = 0
        while job.id not in channel.removals:
            async with channel.throttle:
                try:
                    message_id = await self._show(job, news)
                except TryLater as error:
                    pause = min(2.0 ** min(retries, 60), LONGEST_RETRY_SECONDS)
                    log.warning("job %d cannot be posted now (%s); again in %.0f s", job.id, error, pause)
                except TooLarge as error:
                    if not isinstance(news, Painted) or news.webp:
                        await self._give_up(job, news, str(error))
                        return
                    try:
                        files = await smaller(news.images, error.limit)
                    except EngineError as failure:
                        log.warning("job %d: %s", job.id, failure)
                        await self._give_up(job, news, str(error))
                        return
                    news = Painted(news.images, files.files, files.lossless)
                    continue
                except Unreachable as error:
                    log.warning("job %d cannot be delivered: %s", job.id, without_words(str(error), *job.request.texts))
                    channel.refuse()
                    await self._give_up(job, news, str(error))
                    return
                except NotUnderstood as error:
                    log.error("job %d cannot be delivered, because of a bug: %s", job.id, error)  # noqa: TRY400
                    await self._give_up(job, news, str(error))
                    return
                except Exception as error:  # noqa: BLE001 - it is logged
                    # A bug with one message must not stop every channel, now and after each restart.
                    _log_bug(job, "it cannot be delivered", error)
                    await self._give_up(job, news, f"It could not be delivered ({type(error).__name__}).")
                    return
                else:
                    channel.refusals = 0
                    unpainted = news.reason if isinstance(news, Failed) else None
                    await insist(self._queue.posted, job, message_id, unpainted)
                    return
            retries += 1
            await asyncio.sleep(pause)

    async def _give_up(self, job: Job, news: News, reason: str) -> None:
        """End a job whose news cannot be shown; if the pictures are refused, the text may still be taken."""
        if isinstance(news, Painted):
            try:
                await self._show(job, Failed(reason))
            except DeliveryError:
                log.warning("job %d: the failure could not be shown either", job.id)
            except Exception as error:  # noqa: BLE001 - it is logged
                _log_bug(job, "the failure could not be shown either", error)
        await insist(self._queue.give_up, job, reason)

    async def _show(self, job: Job, news: News) -> MessageId | None:
        assert self._poster is not None  # noqa: S101 - `run` waits for it
        return await self._poster.show(job, news, partial(insist, self._queue.repost, job))

    async def _ending(self, job: Job) -> News:
        if job.status is JobStatus.CANCELLED:
            return Cancelled()
        if job.status is JobStatus.FAILED:
            return Failed(job.reason or "It could not be painted.")
        try:
            # Pictures that cannot be read now may be readable in a moment; if they are gone, do not wait long.
            return Painted(await insist(self._queue.images, job.id, tries=_READ_TRIES))
        except StorageError as error:
            return Failed(str(error))


def _log_bug(job: Job, what: str, error: Exception) -> None:
    log.error("job %d: %s, because of a bug\n%s", job.id, what, traced(error, *job.request.texts))
