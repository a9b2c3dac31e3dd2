"""How late the bot's event loop is while the engine loads and paints, beside the same loop with nothing to do.

    python benchmarks/event_loop.py [--seconds 20]

Runs the real app with the real engine process and the model in the box, in one go: an empty loop (this machine's
noise floor), the app while the engine starts, idle, and painting without a pause. Lateness is how much later than
asked a 5 ms sleep ends, in milliseconds; the memory is that of the bot process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bot.app import App, open_app
from bot.config import Config, LimitsConfig
from bot.delivery import Repost
from bot.engine.local import LocalEngine
from bot.jobs import ChannelId, Destination, GuildId, Job, MessageId, News, Painted, Requester, Surface, UserId
from bot.options import Options

SLEEP_SECONDS = 0.005


@dataclass
class Lateness:
    """The samples of one phase, in milliseconds, and the largest memory seen, in MB."""

    name: str
    samples: list[float]
    megabytes: float

    def row(self) -> str:
        cuts = statistics.quantiles(self.samples, n=1000)
        return (
            f"| {self.name} | {len(self.samples)} | {statistics.median(self.samples):.2f} | {cuts[989]:.2f} "
            f"| {max(self.samples):.1f} | {self.megabytes:.0f} |"
        )


class Counter:
    """A Poster that only counts results."""

    def __init__(self) -> None:
        self.pictures = 0

    async def show(self, job: Job, news: News, repost: Repost) -> MessageId | None:
        self.pictures += len(news.images) if isinstance(news, Painted) else 0
        return None


async def measure(name: str, until: Callable[[], Awaitable[object]]) -> Lateness:
    """Sample the loop's lateness until `until` returns."""
    loop, process = asyncio.get_running_loop(), psutil.Process()
    end = asyncio.ensure_future(until())
    samples, megabytes = [], 0.0
    while not end.done():
        asked = loop.time() + SLEEP_SECONDS
        await asyncio.sleep(SLEEP_SECONDS)
        samples.append((loop.time() - asked) * 1e3)
        if len(samples) % 100 == 1:
            megabytes = max(megabytes, process.memory_info().rss / 1e6)
    await end
    return Lateness(name, samples, megabytes)


async def keep_painting(app: App, seconds: float) -> None:
    """Ask for pictures so that some always wait."""
    loop = asyncio.get_running_loop()
    end, person = loop.time() + seconds, 0
    while loop.time() < end:
        while len(await app.queue.waiting()) < 3:
            person += 1
            await app.admission.admit(
                Requester(UserId(person), GuildId(1)),
                Options("a red apple on a blue background", images=4),
                Destination(ChannelId(person % 8), MessageId(person)),
            )
        await asyncio.sleep(0.1)


async def run(seconds: float) -> None:
    phases = [await measure("empty loop", lambda: asyncio.sleep(seconds))]
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder), limits=LimitsConfig(pace=10_000, depth=10_000, quota=1_000_000))
        async with open_app(config, Surface.DISCORD) as app:
            counter = Counter()
            app.delivery.attach(counter)
            assert isinstance(app.engine, LocalEngine)
            phases.append(await measure("engine starts", app.engine.ready))
            phases.append(await measure("engine idle", lambda: asyncio.sleep(seconds)))
            phases.append(await measure("engine paints", lambda: keep_painting(app, seconds)))
    print(f"{os.cpu_count()} cores, {seconds:.0f} s a phase, {counter.pictures} pictures painted in the last\n")
    print("| phase | samples | p50 ms | p99 ms | max ms | RSS MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for phase in phases:
        print(phase.row())
    floor, busy = phases[2], phases[3]
    print(f"\nlateness p99, painting over idle: {p99(busy) / p99(floor):.2f}")


def p99(phase: Lateness) -> float:
    return statistics.quantiles(phase.samples, n=100)[98]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    asyncio.run(run(parser.parse_args().seconds))
