"""How late the bot's event loop is while the engine loads, compiles and paints, beside an empty one.

    python -m benchmarks.event_loop [--seconds 20]

Runs the real app with the real engine process and the model in the box, in one go: an empty loop (this machine's
noise floor), the app while the engine starts, idle, painting without a pause, painting with two models of which only
one fits into memory, so that one is always loaded, and painting while a denoiser is compiled in a process beside it:
on a CPU the engine itself compiles nothing. Lateness is how much later than asked a 5 ms sleep ends, in milliseconds;
the memory is that of the bot process. The goal: while loading, compiling and painting p99 is at most 20 ms above the
idle app's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bot.app import App, open_app
from bot.config import EMBEDDED_MODEL, Config, EngineConfig, LimitsConfig, ModelConfig
from bot.delivery.poster import Repost, Shown
from bot.jobs import ChannelId, Destination, GuildId, Job, MessageId, News, Painted, Requester, Surface, UserId
from bot.requests.options import Options

SLEEP_SECONDS = 0.005
USUAL = Options("a red apple on a blue background", images=4)
GOAL_MS = 20.0
"""By how much p99 may be above the idle app's."""
ROOM_FOR_ONE = 0.001
"""GiB for models: less than any of them takes, and then each is tried alone."""
COMPILE = (
    sys.executable,
    "-c",
    "import torch; from benchmarks import models; unet = models.build('sd15', toy=True).unet\n"
    "torch.compile(unet, dynamic=False)(torch.randn(2, 4, 8, 8), torch.tensor(1), torch.randn(2, 24, 32))",
)
"""What an engine with `engine.compile` does while it compiles."""


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


class Counted:
    """A Poster that only counts results, by model."""

    def __init__(self) -> None:
        self.pictures: Counter[str] = Counter()

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        self.pictures[job.request.model] += len(news.images) if isinstance(news, Painted) else 0
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""


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


async def keep_painting(
    app: App, seconds: float, asked: Options, counted: Counted, models: Sequence[ModelConfig]
) -> None:
    """Ask for the same, of the models in turn, so that some always wait; ends when each model has painted some."""
    loop = asyncio.get_running_loop()
    end, person, before = loop.time() + seconds, 0, counted.pictures.copy()
    while loop.time() < end or any(counted.pictures[model.name] == before[model.name] for model in models):
        while await app.queue.depth() < 3:
            person += 1
            quote = await app.admission.quote(
                Requester(UserId(person), GuildId(1)),
                replace(asked, model=models[person % len(models)].name),
                Destination(ChannelId(person % 8), MessageId(person)),
            )
            await app.admission.admit(quote)
        await asyncio.sleep(0.1)


async def run(seconds: float, asked: Options, models: Sequence[ModelConfig]) -> tuple[list[Lateness], int]:
    """The phases, and the pictures that were painted in them. `models` are two."""
    phases = [await measure("empty loop", lambda: asyncio.sleep(seconds))]
    counted = Counted()
    async with opened(counted, models, memory=ROOM_FOR_ONE) as app:
        phases.append(await measure("engine starts", app.engine.lanes[0].ready))
        phases.append(await measure("engine idle", lambda: asyncio.sleep(seconds)))
        phases.append(await measure("engine paints", lambda: keep_painting(app, seconds, asked, counted, models[:1])))
        phases.append(
            await measure("engine loads and paints", lambda: keep_painting(app, seconds, asked, counted, models))
        )
        if shutil.which("g++"):
            compiler = await asyncio.create_subprocess_exec(
                *COMPILE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            phases.append(
                await measure(
                    "a process compiles, engine paints",
                    lambda: asyncio.gather(compiler.wait(), keep_painting(app, 0, asked, counted, models[:1])),
                )
            )
            assert compiler.returncode == 0, "the denoiser was not compiled"
    return phases, counted.pictures.total()


@asynccontextmanager
async def opened(
    counted: Counted, models: Sequence[ModelConfig], data: Path | None = None, **engine: Any
) -> AsyncIterator[App]:
    """The real app, in a folder of its own if none is given."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data=data or Path(folder),
            models=tuple(models),
            engine=EngineConfig(**engine),
            limits=LimitsConfig(pace=10_000, depth=10_000, quota=1_000_000),
            log_level="error",
        )
        async with open_app(config, Surface.DISCORD) as app:
            app.delivery.attach(counted)
            yield app


def report(seconds: float, asked: Options = USUAL) -> str:
    """Measure, and say it in words."""
    with tempfile.TemporaryDirectory() as folder:
        # Built by a process of its own: torch must not come into this one.
        subprocess.run([sys.executable, "-m", "benchmarks.models", "sd15", folder, "--toy"], check=True)
        second = ModelConfig(name="sd15-toy", source=folder, width=64, height=64, steps=10, guidance_scale=5.0)
        phases, pictures = asyncio.run(run(seconds, asked, (EMBEDDED_MODEL, second)))
    idle = next(p99(phase) for phase in phases if phase.name == "engine idle")
    lines = [
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end, {seconds:.0f} s a phase, "
        f"{pictures} pictures painted\n",
        "| phase | samples | p50 ms | p99 ms | max ms | RSS MB | p99 above idle |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for phase in phases:
        above = p99(phase) - idle
        held = f"{above:+.2f} ms: {'pass' if above <= GOAL_MS else 'miss'}" if phase.name.endswith("paints") else ""
        lines.append(f"{phase.row()} {held} |")
    if "compiles" not in phases[-1].name:
        lines.append("\nCompiling was left out: there is no g++ here.")
    return "\n".join(lines)


def p99(phase: Lateness) -> float:
    return statistics.quantiles(phase.samples, n=100)[98]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    print(report(parser.parse_args().seconds))
