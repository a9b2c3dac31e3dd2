"""What a second lane gains on this machine, and how many lanes the one bot process can feed.

    python -m benchmarks.lanes [--rounds 5] [--pictures 24] [--steps 20] [--jobs 400] [--seconds 0.5]

First two local lanes with one thread each and the model in the box, in the real app. Each round paints the same
requests with one lane, while the other is drained, and with both; every process is bound to a core of its own. Rounds
alternate which comes first, and the ratio of each round counts. Then lanes without weights that take a given time for
each request, one at a time: how many requests a second the bot process gets through with 1 to 16 of them, beside what
the lanes alone could do, and how much of one core it takes. Prints both and writes benchmarks/results/lanes.md and
lanes.svg.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.forecast import Nowhere
from benchmarks.report import Chart, svg, table
from bot.app import App, open_app
from bot.config import Config, EngineConfig, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.engine.local import LocalEngine
from bot.jobs import ChannelId, Destination, GenerationRequest, GuildId, MessageId, Requester, Surface, UserId

RESULTS = Path(__file__).with_name("results")
GOAL = 1.8
LANES = (1, 2, 4, 8, 16)
PEOPLE = 50
LIMITS = LimitsConfig(pace=10_000, depth=10_000, quota=1_000_000)


async def paint(app: App, count: int, request: GenerationRequest) -> float:
    """The seconds that requests of many people take, from the first until all are delivered."""

    async def admit(_: object) -> None:
        return

    began = time.perf_counter()
    changed = app.database.listen()
    (before,) = tuple(await app.database.fetch_one("SELECT count(*) FROM jobs WHERE posted_at IS NOT NULL") or (0,))
    for number in range(count):
        await app.queue.enqueue(
            Requester(UserId(1 + number % PEOPLE), GuildId(1)),
            Destination(ChannelId(1 + number % PEOPLE), MessageId(1)),
            replace(request, seed=number),
            interaction_id=None,
            admit=admit,
            seconds=1.0,
        )
    while True:
        changed.clear()
        row = await app.database.fetch_one("SELECT count(*) FROM jobs WHERE posted_at IS NOT NULL")
        if row is not None and row[0] >= before + count:
            return time.perf_counter() - began
        await changed.wait()


def bind(lanes: Sequence[LocalEngine]) -> str:
    """Give each process a core of its own, where this system can; says what was done."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < len(lanes):
        return "the processes share the cores"
    for lane, core in zip(lanes, cores, strict=False):
        process = psutil.Process(lane.pid)
        for thread in process.threads():
            psutil.Process(thread.id).cpu_affinity([core])
        process.cpu_affinity([core])
    return "each process has a core of its own"


async def local(rounds: int, pictures: int, steps: int) -> tuple[str, str]:
    """One lane against two, in alternating rounds."""
    request = GenerationRequest("a red apple", "emoji", 128, 128, steps, 4.0, 0)
    engine = EngineConfig(devices=("cpu", "cpu"), threads=1)
    ratios, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder) / "data", limits=LIMITS, engine=engine, log_level="error")
        async with open_app(config, Surface.SANDBOX) as app:
            app.delivery.attach(Nowhere())
            lanes = [lane for lane in app.engine.lanes if isinstance(lane, LocalEngine)]
            await asyncio.gather(*(lane.ready() for lane in lanes))
            bound = bind(lanes)
            await paint(app, 2 * len(lanes) * engine.slots, request)
            for number in range(rounds):
                seconds = {}
                for count in (1, 2) if number % 2 else (2, 1):
                    await (app.lanes.drain if count == 1 else app.lanes.bring_back)(lanes[1].name)
                    seconds[count] = await paint(app, pictures, request)
                ratios.append(seconds[1] / seconds[2])
                rates = [f"{pictures / seconds[count]:.2f}" for count in (1, 2)]
                rows.append([str(number + 1), *rates, f"{ratios[-1]:.2f}"])
    middle = statistics.median(ratios)
    words = f"Two lanes paint {middle:.2f} times as many pictures as one (median; goal {GOAL}); {bound}."
    return words, table(["round", "one lane, pictures/s", "two lanes, pictures/s", "ratio"], rows)


async def fed(lanes: int, jobs: int, seconds: float) -> tuple[float, float]:
    """Requests a second through one bot process with lanes without weights, and the share of a core that it took."""
    engines = [FakeEngine(seconds=seconds) for _ in range(lanes)]
    for number, engine in enumerate(engines):
        engine.name = f"fake {number}"
    request = GenerationRequest("a red apple", "emoji", 64, 64, 4, 4.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder) / "data", limits=LIMITS, log_level="error")
        async with open_app(config, Surface.SANDBOX, engine=Fleet(engines)) as app:
            app.delivery.attach(Nowhere())
            busy = time.process_time()
            took = await paint(app, jobs, request)
            return jobs / took, (time.process_time() - busy) / took


async def bound(jobs: int, seconds: float) -> tuple[str, str, Chart]:
    """How the one bot process bounds many lanes."""
    found = {}
    for lanes in LANES:
        # So many that each number of lanes works for about as long.
        found[lanes] = await fed(lanes, max(jobs * lanes // LANES[-1], 4 * lanes), seconds)
    at_once, _ = await fed(LANES[-1], jobs, 0.0)
    rows = [
        [str(lanes), f"{lanes / seconds:.1f}", f"{rate:.1f}", f"{rate * seconds / lanes:.0%}", f"{core:.0%}"]
        for lanes, (rate, core) in found.items()
    ]
    head = ["lanes", "the lanes alone, jobs/s", "the bot with them, jobs/s", "of that", "of one core"]
    words = f"With {LANES[-1]} lanes that paint at once, the bot process gets through {at_once:.0f} jobs/s."
    lines = {
        "the lanes alone": [(lanes, lanes / seconds) for lanes in LANES],
        "the bot with them": [(lanes, rate) for lanes, (rate, _) in found.items()],
    }
    return words, table(head, rows), Chart(f"Lanes that take {seconds:g} s for a job", "lanes", "jobs/s", lines)


async def run(rounds: int, pictures: int, steps: int, jobs: int, seconds: float, results: Path) -> None:
    """Measure both, print them and write them down."""
    gain, gains = await local(rounds, pictures, steps)
    limit, limits, chart = await bound(jobs, seconds)
    command = f"python -m benchmarks.lanes --rounds {rounds} --pictures {pictures} --steps {steps}"
    command += f" --jobs {jobs} --seconds {seconds:g}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    parts = (f"    {command}", machine, "## One lane and two", gain, gains, "## Many lanes", limit, limits)
    text = "\n\n".join(parts) + "\n"
    print(text)
    results.mkdir(parents=True, exist_ok=True)
    (results / "lanes.md").write_text(text, encoding="utf-8")
    (results / "lanes.svg").write_text(svg([chart]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    asyncio.run(run(chosen.rounds, chosen.pictures, chosen.steps, chosen.jobs, chosen.seconds, chosen.results))


if __name__ == "__main__":
    main()
