"""A queue with its dispatcher, its delivery and a fake engine, and people who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from bot.app import App, open_app
from bot.config import Config
from bot.delivery.poster import Repost, Shown
from bot.engine.fake import FakeEngine
from bot.jobs import (
    ChannelId,
    Clock,
    Destination,
    GenerationRequest,
    GuildId,
    Job,
    JobId,
    JobStatus,
    MessageId,
    News,
    Requester,
    Surface,
    UserId,
    utcnow,
)

APPLE = GenerationRequest(
    prompt="a red apple", model="emoji", width=8, height=8, num_inference_steps=3, guidance_scale=3.0, seed=7
)
ADA = UserId(1)
GRACE = UserId(2)
LONG_SECONDS = 60.0


class Recorder:
    """A poster that remembers what it was given."""

    def __init__(self) -> None:
        self.shown: list[tuple[JobId, News]] = []

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        self.shown.append((job.id, news))
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""

    def of(self, job: Job) -> list[News]:
        """What was shown of one job."""
        return [news for job_id, news in self.shown if job_id == job.id]


class House:
    """An open app, its engine, and what it says."""

    def __init__(self, app: App, engine: FakeEngine, recorder: Recorder) -> None:
        self.app = app
        self.engine = engine
        self.recorder = recorder

    async def ask(self, user: UserId = ADA, request: GenerationRequest = APPLE, *, acknowledged: bool = True) -> Job:
        """Put a request into the queue."""

        async def admit(_: aiosqlite.Connection) -> None:
            return

        job = await self.app.queue.enqueue(
            Requester(user, GuildId(1)),
            Destination(ChannelId(1), MessageId(1) if acknowledged else None),
            request,
            interaction_id=None,
            admit=admit,
            seconds=1.0,
        )
        assert job is not None
        return job

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until the database makes the condition true; returns what it gave."""
        changed = self.app.database.listen()
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                changed.clear()
                if found := await condition():
                    return found
                await changed.wait()

    async def reached(self, job: Job, status: JobStatus) -> Job:
        """Wait until a job is in a state."""

        async def there() -> Job | None:
            now = await self.app.queue.get(job.id)
            return now if now is not None and now.status is status else None

        return await self.until(there)

    async def ended(self, job: Job) -> Job:
        """Wait until a job has ended and its message says so."""

        async def posted() -> Job | None:
            now = await self.app.queue.get(job.id)
            return now if now is not None and now.posted_at is not None else None

        return await self.until(posted)

    async def held(self, count: int) -> None:
        """Wait until so many orders are in the engine, held before their first step."""
        async with asyncio.timeout(LONG_SECONDS):
            while self.engine.held < count:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)

    async def pulse(self) -> None:
        """Let the order that is held go on; later ones are held again."""
        await self.held(1)
        self.engine.open.set()
        self.engine.open.clear()


@asynccontextmanager
async def opened(
    config: Config, engine: FakeEngine, recorder: Recorder | None = None, clock: Clock = utcnow
) -> AsyncIterator[House]:
    """A house on the config's data folder."""
    recorder = recorder or Recorder()
    async with open_app(config, Surface.DISCORD, engine=engine, clock=clock) as app:
        app.delivery.attach(recorder)
        yield House(app, engine, recorder)


def pictures(config: Config) -> list[Path]:
    """Every file in the picture folder."""
    return sorted(path for path in (config.data / "pictures").rglob("*") if path.is_file())


async def second_attempt(house: House, job: Job) -> Job | None:
    """The job, once it was claimed again."""
    now = await house.app.queue.get(job.id)
    return now if now is not None and now.attempt == 2 else None


class DeafEngine(FakeEngine):
    """An engine that hears of a cancellation too late."""

    def cancel(self, job_id: JobId) -> None:
        """Go on."""
