"""The outbox: brings news of jobs to their messages, one post at a time per channel.

How a job ended is read from the queue, so it survives a restart and is repeated until it is known to be posted.
Progress lives in memory, newest only: it is dropped when it is overtaken or when its job has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from asyncio_throttle import Throttler

from bot.engine.smaller import smaller
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
    Painting,
    Retrying,
)
from bot.logs import traced, without_words
from bot.storage.database import Database, insist
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

EDIT_SECONDS = 3.0
"""Between two progress edits of one message."""

PROGRESS_SECONDS = 1.5
"""Between two progress edits in one channel, so that progress leaves most of its posts to results."""

THROTTLE_SECONDS = 5.0
"""The period of `posts_per_channel`."""

LONGEST_RETRY_SECONDS = 60.0

REFUSALS = 3
CLOSED_SECONDS = 600.0
"""How long a channel is left alone that refused so many endings in a row: Discord bans who goes on asking."""


Repost = Callable[[], Awaitable[datetime | None]]
"""Notes that a new message is begun for a job. Returns when one was first begun before: it may be there already."""


class Poster(Protocol):
    """Whoever can speak to people; a cog on Discord, a progress bar in a terminal."""

    async def show(self, job: Job, news: News, repost: Repost) -> MessageId | None:
        """Make the job's message say `news`; returns the message's id where that changed.

        Before a new message is posted for a job whose own is gone, `repost` is awaited.
        Raises Unreachable when that can never work there, NotUnderstood when it would work nowhere, TooLarge when
        smaller files may be taken, TryLater when it may work in a while.
        """
        ...


@dataclass(slots=True)
class _Channel:
    """What waits to be posted in one channel, and the task that posts it while there is anything."""

    throttle: Throttler
    endings: OrderedDict[JobId, Job] = field(default_factory=OrderedDict)
    progress: dict[JobId, tuple[Job, Painting | Retrying]] = field(default_factory=dict)
    edited_at: dict[JobId, float] = field(default_factory=dict)
    mute: set[JobId] = field(default_factory=set)
    """Jobs whose progress was refused: what cannot be shown is not asked for again and again."""
    progressed_at: float = -math.inf
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    working: bool = False
    refusals: int = 0
    """Endings in a row that can never be delivered here."""
    closed_until: float = -math.inf

    def refuse(self) -> None:
        """Count a refusal; after a few in a row the channel is left alone for a while."""
        self.refusals += 1
        if self.refusals >= REFUSALS:
            self.closed_until = asyncio.get_running_loop().time() + CLOSED_SECONDS

    @property
    def is_closed(self) -> bool:
        """Whether the channel is left alone now."""
        return asyncio.get_running_loop().time() < self.closed_until


class Delivery:
    """Posts news through a poster; `run` is the task that owns it."""

    def __init__(self, database: Database, queue: Queue, posts_per_channel: int) -> None:
        self._queue = queue
        self._posts_per_channel = posts_per_channel
        self._changed = database.listen()
        self._channels: dict[ChannelId, _Channel] = {}
        self._poster: Poster | None = None
        self._attached = asyncio.Event()
        self._workers: asyncio.TaskGroup | None = None

    def attach(self, poster: Poster) -> None:
        """Speak through `poster` from now on."""
        self._poster = poster
        self._attached.set()

    def announce(self, job: Job, news: Painting | Retrying) -> None:
        """Show how a job is coming along, if nothing newer is known by the time its channel is free."""
        channel = self._channel(job)
        if job.id not in channel.endings and job.id not in channel.mute and not channel.is_closed:
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
                        channel = self._channel(job)
                        channel.endings.setdefault(job.id, job)
                        channel.progress.pop(job.id, None)
                        self._work(job.destination.channel_id, channel)
                    await self._changed.wait()
            finally:
                self._workers = None

    def _channel(self, job: Job) -> _Channel:
        channel_id = job.destination.channel_id
        if channel_id not in self._channels:
            self._channels[channel_id] = _Channel(Throttler(self._posts_per_channel, THROTTLE_SECONDS))
        return self._channels[channel_id]

    def _work(self, channel_id: ChannelId, channel: _Channel) -> None:
        channel.wake.set()
        if not channel.working and self._workers is not None:
            channel.working = True
            self._workers.create_task(self._drain(channel), name=f"deliver to {channel_id}")

    async def _drain(self, channel: _Channel) -> None:
        """Post until nothing is left: endings in order first, then the progress that is due."""
        try:
            while channel.endings or channel.progress:
                channel.wake.clear()
                if channel.endings:
                    job_id, job = next(iter(channel.endings.items()))
                    await self._end(channel, job)
                    channel.endings.pop(job_id)
                    channel.edited_at.pop(job_id, None)
                    channel.mute.discard(job_id)
                    continue
                now = asyncio.get_running_loop().time()
                due_at, job_id = min(
                    (channel.edited_at.get(job_id, -math.inf) + EDIT_SECONDS, job_id) for job_id in channel.progress
                )
                due_at = max(due_at, channel.progressed_at + PROGRESS_SECONDS)
                if due_at > now:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(due_at - now):
                            await channel.wake.wait()
                    continue
                job, news = channel.progress.pop(job_id)
                await self._progress(channel, job, news)
                # Counted from when it was shown: it may have waited for the throttle.
                channel.edited_at[job_id] = channel.progressed_at = asyncio.get_running_loop().time()
        finally:
            channel.working = False

    async def _progress(self, channel: _Channel, job: Job, news: Painting | Retrying) -> None:
        async with channel.throttle:
            try:
                await self._show(job, news)
            except DeliveryError as error:
                # The ending will find out for itself; a missed progress bar is no loss.
                log.debug("progress of job %d was not shown: %s", job.id, error)
                if not isinstance(error, TryLater):
                    channel.mute.add(job.id)
                    channel.progress.pop(job.id, None)
            except Exception as error:  # noqa: BLE001 - it is logged
                _log_bug(job, "its progress was not shown", error)

    async def _end(self, channel: _Channel, job: Job) -> None:
        """Post how a job ended, as often as it takes."""
        if channel.is_closed:
            await insist(self._queue.give_up, job, "Discord refuses whatever is posted in this channel.")
            return
        news = await self._ending(job)
        retries = 0
        while True:
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
                    # One message's bug must not silence every channel, now and after each restart.
                    _log_bug(job, "it cannot be delivered", error)
                    await self._give_up(job, news, f"It could not be delivered ({type(error).__name__}).")
                    return
                else:
                    channel.refusals = 0
                    await insist(self._queue.posted, job, message_id)
                    return
            retries += 1
            await asyncio.sleep(pause)

    async def _give_up(self, job: Job, news: News, reason: str) -> None:
        """End a job whose news cannot be shown; where pictures are refused, words may still be taken."""
        if isinstance(news, Painted):
            try:
                await self._show(job, Failed(reason))
            except DeliveryError:
                log.warning("job %d: nobody can be told either", job.id)
            except Exception as error:  # noqa: BLE001 - it is logged
                _log_bug(job, "nobody can be told either", error)
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
            return Painted(await self._queue.images(job.id))
        except StorageError as error:
            return Failed(str(error))


def _log_bug(job: Job, what: str, error: Exception) -> None:
    log.error("job %d: %s, because of a bug\n%s", job.id, what, traced(error, *job.request.texts))
