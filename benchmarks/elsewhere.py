"""What it costs that an engine process is behind Ray: the same pictures by a local lane and by one on another host.

    python -m benchmarks.elsewhere [--rounds 5] [--pictures 8]

The other host is on this machine, so that both lanes have the same processor, one thread each, and the network costs
nothing. Each round paints the same requests with both, and rounds alternate which comes first: first one request after
the other, then all at once. The ratio of each round counts. Prints a table and writes benchmarks/results/elsewhere.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path

from benchmarks.report import table
from bot.config import Config, EngineConfig, RayConfig
from bot.engine import Order
from bot.engine.cluster import engines
from bot.engine.local import LocalEngine
from bot.jobs import GenerationRequest, JobId, UserId
from tests.bot.engine.ray_cluster import cluster

RESULT = Path(__file__).with_name("results") / "elsewhere.md"
_numbers = count(1)


async def nothing(_: str) -> str:
    """No timings are known."""
    return ""


async def paint(engine: LocalEngine, seed: int) -> None:
    """Paint one picture."""
    request = GenerationRequest("a red apple", "emoji", 128, 128, 12, 4.0, seed=seed)
    async for _ in engine.submit(Order(JobId(next(_numbers)), 1, request, UserId(seed))):
        pass


async def one_by_one(engine: LocalEngine, pictures: int) -> None:
    """Paint one picture after the other."""
    for seed in range(pictures):
        await paint(engine, seed)


async def together(engine: LocalEngine, pictures: int) -> None:
    """Paint all pictures at the same time."""
    await asyncio.gather(*(paint(engine, seed) for seed in range(pictures)))


async def ratios(
    way: Callable[[LocalEngine, int], Coroutine[None, None, None]],
    here: LocalEngine,
    there: LocalEngine,
    rounds: int,
    pictures: int,
) -> list[float]:
    """For each round how much longer the lane behind Ray takes."""
    found = []
    for number in range(rounds):
        seconds = {}
        for engine in (here, there) if number % 2 else (there, here):
            began = time.perf_counter()
            await way(engine, pictures)
            seconds[engine] = time.perf_counter() - began
        found.append(seconds[there] / seconds[here])
    return found


async def measure(address: str, folder: Path, rounds: int, pictures: int) -> list[list[str]]:
    """The rows of the table."""
    ray = RayConfig(lanes=1, address=address, folder=str(folder / "there"))
    config = Config(engine=EngineConfig(threads=1, preview_seconds=0, ray=ray))
    here = LocalEngine(config, calibration=folder / "calibration.json", known_files=folder / "model-files.json")
    (there,) = await engines(config, None, nothing)
    running = [asyncio.create_task(engine.run()) for engine in (here, there)]
    rows = []
    try:
        for engine in (here, there):
            await engine.ready()
            await one_by_one(engine, 2)
        for name, way in (("one after the other", one_by_one), ("all at once", together)):
            found = await ratios(way, here, there, rounds, pictures)
            rows.append([name, f"{statistics.median(found):.2f}", f"{min(found):.2f} to {max(found):.2f}"])
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return rows


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=8)
    options = parser.parse_args()
    with cluster() as made, tempfile.TemporaryDirectory() as folder:
        os.environ["ATELIER_RAY_TOKEN"] = made.token
        rows = asyncio.run(measure(made.address, Path(folder), options.rounds, options.pictures))
    text = "\n".join(
        [
            "# A lane behind Ray",
            "",
            f"`python -m benchmarks.elsewhere --rounds {options.rounds} --pictures {options.pictures}` on "
            f"{os.cpu_count()} cores, Python {platform.python_version()}: pictures of 128×128 in 12 steps by the model "
            "in the box. How much longer the lane behind Ray takes than the local one, side by side in each round.",
            "",
            table(["pictures", "median", "range"], rows),
            "",
        ]
    )
    print(text)
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
