"""The real app while five people ask for a picture now and then and another person has forty requests waiting."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.app import App, open_app
from bot.config import Config, EngineConfig, LimitsConfig, ModelConfig
from bot.delivery.poster import Repost, Shown
from bot.jobs import ChannelId, Destination, GuildId, Job, MessageId, News, Requester, Surface, UserId, utcnow
from bot.requests.admission import Admitted
from bot.requests.options import Options

FLOODER = UserId(1000)
LIGHT = 5


class Nowhere:
    """A poster that shows nothing to people."""

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""


@dataclass(frozen=True, slots=True)
class Flood:
    """Seconds from request to picture of the light users, alone and behind the flood, and the seconds of the flood."""

    unloaded: list[float]
    loaded: list[float]
    seconds: float


async def measure(
    model: ModelConfig, settings: EngineConfig, *, flood: int, rounds: int, steps: tuple[int, int]
) -> Flood:
    """Let each light user ask `rounds` times alone, then as often and evenly spread while the flood is painted.

    What comes after the flood has been painted does not count.
    """
    choose = random.Random(11)
    with tempfile.TemporaryDirectory() as folder:
        limits = LimitsConfig(pace=10_000, depth=10_000, quota=1_000_000)
        config = Config(data=Path(folder) / "data", models=(model,), limits=limits, engine=settings, log_level="error")
        async with open_app(config, Surface.SANDBOX) as app:
            app.delivery.attach(Nowhere())
            light = Options("a fox", steps=sum(steps) // 2, guidance_scale=3.0)
            unloaded = []
            for number in range(LIGHT * rounds + 1):
                job = await _painted(app, await _ask(app, UserId(number % LIGHT), light))
                unloaded.append(_latency(job))
            heavy = [
                await _ask(
                    app,
                    FLOODER,
                    Options("a rocket", steps=choose.randint(*steps), guidance_scale=3.0, images=choose.randint(1, 4)),
                )
                for _ in range(flood)
            ]
            # Its own forecast says how long the flood will take, which is all that is needed to spread the others.
            pause = (heavy[-1].starts_at - utcnow()).total_seconds() / (LIGHT * rounds + 1)
            asked = []
            for number in range(LIGHT * rounds):
                await asyncio.sleep(max(pause, 0.0))
                asked.append(await _ask(app, UserId(number % LIGHT), light))
            flooded = [await _painted(app, admitted) for admitted in heavy]
            jobs = [await _painted(app, admitted) for admitted in asked]
    start, end = min(job.asked_at for job in flooded), max(_painted_at(job) for job in flooded)
    loaded = [_latency(job) for job in jobs if job.asked_at < end]
    # The first one waited for the engine to start.
    return Flood(unloaded[1:], loaded, (end - start).total_seconds())


async def _ask(app: App, user: UserId, options: Options) -> Admitted:
    quote = await app.admission.quote(Requester(user, GuildId(1)), options, Destination(ChannelId(1)))
    admitted = await app.admission.admit(quote)
    assert admitted is not None
    await app.queue.place_message(admitted.job.id, MessageId(admitted.job.id))
    return admitted


async def _painted(app: App, admitted: Admitted) -> Job:
    """The job once its pictures are kept. Raises RuntimeError if there will be none."""
    while True:
        job = await app.queue.get(admitted.job.id)
        assert job is not None
        if job.painted_at is not None:
            return job
        if job.reason is not None:
            raise RuntimeError(job.reason)
        await asyncio.sleep(0.02)


def _painted_at(job: Job) -> datetime:
    assert job.painted_at is not None
    return job.painted_at


def _latency(job: Job) -> float:
    return (_painted_at(job) - job.asked_at).total_seconds()
