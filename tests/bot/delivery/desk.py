"""A delivery at its desk: a real database, a poster that remembers what it was given, and how to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiosqlite

from bot.delivery.outbox import Delivery
from bot.delivery.poster import Repost, Shown
from bot.engine.fake import flat_image
from bot.jobs import (
    ChannelId,
    Destination,
    GenerationRequest,
    GuildId,
    Job,
    MessageId,
    News,
    Requester,
    Surface,
    UserId,
    utcnow,
)
from bot.storage.database import Database
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges

ADA = UserId(1)
APPLE = GenerationRequest(
    prompt="a red apple", model="emoji", width=8, height=8, num_inference_steps=3, guidance_scale=3.0, seed=7
)
HERE, THERE = ChannelId(1), ChannelId(2)
LONG_SECONDS = 60.0

Answer = Exception | MessageId | Shown | None


class Recorder:
    """A poster that remembers what it was given and when, and answers as it is told."""

    def __init__(self) -> None:
        self.shown: list[tuple[Job, News]] = []
        self.at: list[float] = []
        self.answer: Callable[[Job, News], Answer] = lambda job, news: None
        self.free = asyncio.Event()
        """Clear it to keep every post on its way."""
        self.free.set()
        self.removed: list[Job] = []
        self.decorated: list[Job] = []
        self.on_decorate: Callable[[Job], Answer] = lambda job: None
        self.on_remove: Callable[[Job], Answer] = lambda job: None
        self._changed = asyncio.Condition()

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        async with self._changed:
            self.shown.append((job, news))
            self.at.append(time.monotonic())
            self._changed.notify_all()
        await self.free.wait()
        answer = self.answer(job, news)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Shown) else Shown(answer)

    async def decorate(self, job: Job) -> None:
        self.decorated.append(job)
        if isinstance(answer := self.on_decorate(job), Exception):
            raise answer

    async def remove(self, job: Job) -> None:
        self.removed.append(job)
        if isinstance(answer := self.on_remove(job), Exception):
            raise answer

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was shown makes the condition true."""
        async with asyncio.timeout(LONG_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    def ids(self) -> list[int]:
        """The jobs that were spoken of, post by post."""
        return [job.id for job, _ in self.shown]

    def of(self, job: Job) -> list[News]:
        """What was shown of one job."""
        return [news for shown, news in self.shown if shown.id == job.id]


class Desk:
    """A queue, a delivery that may run, and what it says."""

    def __init__(self, database: Database, home: Path, posts_per_channel: int) -> None:
        self.database = database
        self.queue = Queue(database, Pictures(database, PictureFolder(home)), Surface.DISCORD, utcnow)
        changes = QueueChanges(database, Surface.DISCORD, utcnow)
        self.delivery = Delivery(database, self.queue, changes, posts_per_channel)
        self.recorder = Recorder()

    async def running_job(self, channel: ChannelId = HERE, user: UserId = ADA) -> Job:
        """A job in the engine."""

        async def admit(_: aiosqlite.Connection) -> None:
            return

        requester, destination = Requester(user, GuildId(1)), Destination(channel, MessageId(10))
        queued = await self.queue.enqueue(requester, destination, APPLE, interaction_id=None, admit=admit)
        assert queued is not None
        job = await self.queue.claim(queued.id)
        assert job is not None
        return job

    async def painted_job(self, channel: ChannelId = HERE, user: UserId = ADA) -> Job:
        """A job whose pictures are ready."""
        job = await self.running_job(channel, user)
        await self.queue.render(job, [flat_image(7, 8, 8)], "hash")
        return job

    async def posted(self, job: Job) -> Job:
        """Wait until a job's message is known to say how it ended."""
        changed = self.database.listen()
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                changed.clear()
                now = await self.queue.get(job.id)
                assert now is not None
                if now.posted_at is not None:
                    return now
                await changed.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver through the recorder while the body runs."""
        self.delivery.attach(self.recorder)
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody is told of."""
    async with asyncio.timeout(LONG_SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)
