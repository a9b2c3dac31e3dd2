"""Thousands of requests through one bot process: what grows with them, and what must not.

    python -m benchmarks.soak [--jobs 10000] [--people 40]

The real bot process on a Discord of this machine, with an engine that needs no torch. Each person asks, waits for the
picture, and asks again. At the end the invariants of tests/faults/invariants.py must hold. Slopes are least squares
over one sample a second, after the first tenth of the jobs, in which caches fill; of the memory once more over the
second half, which tells what goes on growing from what the allocator keeps. Prints a table, writes it to
benchmarks/results/soak.md, and exits with 1 when something was lost, doubled or grew.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from benchmarks.load import RESULTS
from benchmarks.probed import probed
from benchmarks.report import table
from bot.storage import encryption, sqlite
from tests.faults.invariants import Remains, violations
from tests.local_discord import Person, local_discord

CHANNELS = 40
PATIENCE_SECONDS = 120.0
IDLE_SECONDS = 7.0
"""After the last job: the WAL is emptied when nothing was written for a while."""
WARM = 0.1


async def soak(jobs: int, people: int, home: Path) -> tuple[str, list[str]]:
    """Run the load; returns the report and the promises that were broken."""
    numbers, done = count(1), [0]
    progress: list[tuple[float, int]] = []
    async with local_discord() as discord, probed(discord, home) as bot:
        await bot.connected()
        begun = time.time()

        async def ask_on(number: int) -> None:
            person = Person(str(1000 + number), f"Person{number}")
            while (asked := next(numbers)) <= jobs:
                words = await discord.type("imagine", person, str(400 + number % CHANNELS), prompt=f"a fox, {asked}")
                await discord.until(
                    lambda words=words: words.answer is not None and not words.answer.cancels(), PATIENCE_SECONDS
                )
                done[0] += 1
                progress.append((time.time(), done[0]))

        await asyncio.gather(*(ask_on(number) for number in range(people)))
        took = time.time() - begun
        await asyncio.sleep(IDLE_SECONDS)
        last = bot.seconds()[-1]
        # A short one may be over before the first second is.
        told = [second for second in bot.seconds(begun) if second.at <= begun + took] or [last]
    path = home / "data" / "atelier.db"
    with closing(sqlite.connect(path, encryption.find_key(path))) as connection:
        rows = [dict(row) for row in connection.execute("SELECT * FROM jobs_with_post")]
        images = [dict(row) for row in connection.execute("SELECT * FROM images ORDER BY job_id, number")]
    broken = violations(Remains(discord, home / "data", rows, images, deaths=0))
    samples = [(_done_by(progress, second.at) / 1000, second) for second in told]
    samples = [(thousands, second) for thousands, second in samples if thousands >= WARM * jobs / 1000] or samples
    table_rows, grown = [], []
    second_half = samples[len(samples) // 2 :]
    for name, attribute, goal, words, points in (
        ("memory, MB", "rss", 1.0, "< 1", samples),
        ("memory in the second half, MB", "rss", 1.0, "< 1", second_half),
        ("descriptors", "descriptors", 0.5, "flat", samples),
        ("tasks", "tasks", 0.5, "flat", samples),
    ):
        values = [getattr(second, attribute) for _, second in points]
        slope = slope_of([(at, value) for (at, _), value in zip(points, values, strict=True)])
        held = slope < goal
        grown += [] if held else [f"{name} grow by {slope:.2f} per 1,000 jobs"]
        table_rows.append(
            [
                name,
                *(f"{value:.0f}" for value in (values[0], statistics.median(values), max(values), values[-1])),
                f"{slope:+.2f}",
                words,
                "holds" if held else "**does not hold**",
            ]
        )
    largest = max(second.wal for second in told)
    grown += [] if largest < 64 else [f"the WAL grew to {largest:.0f} MiB"]
    table_rows.append(
        [
            "WAL, MiB",
            *(f"{size:.1f}" for size in (told[0].wal, statistics.median(second.wal for second in told), largest)),
            f"{last.wal:.1f} (idle)",
            "",
            "< 64",
            "holds" if largest < 64 else "**does not hold**",
        ]
    )
    head = ["", "first", "median", "largest", "last", "slope per 1,000 jobs", "goal", ""]
    text = (
        f"# Many requests through one process\n\n{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f} at the end; {jobs} requests of {people} people in {took:.0f} s "
        f"({jobs / took:.1f}/s); {sum(row['status'] == 'delivered' for row in rows)} delivered, broken promises: "
        f"{len(broken)}. `python -m benchmarks.soak` writes this page.\n\n{table(head, table_rows)}\n"
    )
    return text, broken + grown


def _done_by(progress: Sequence[tuple[float, int]], at: float) -> int:
    return next((number for when, number in reversed(progress) if when <= at), 0)


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line through points, by least squares; 0 where there are too few."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def run(words: Sequence[str] | None = None) -> tuple[Path, list[str]]:
    """Run the load, print and write the report; returns its path and the promises that were broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as home:
        text, broken = asyncio.run(soak(arguments.jobs, arguments.people, Path(home)))
    print("\n".join((text, *broken[:50])))
    report: Path = arguments.out / "soak.md"
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write_text(text, encoding="utf-8")
    return report, broken


if __name__ == "__main__":
    sys.exit(bool(run()[1]))
