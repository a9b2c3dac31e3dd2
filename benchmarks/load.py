"""What many people at once cost: the real bot process on a Discord of this machine, with real sockets.

    python -m benchmarks.load [--seconds 10] [--rate 200] [--people 1000] [--each 10] [--rounds 3]

Four parts: a storm of /imagine, a restart with a long line, a newcomer among busy people, and the event loop while the
real engine paints. All but the last have an engine that needs no torch. Beside each figure stands what this machine
does without the load; the best of the rounds counts. Prints tables and writes them to benchmarks/results/load.md.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiosqlite
from discord.utils import snowflake_time

from benchmarks.probed import SLEEP_SECONDS, Second, probed
from benchmarks.report import table
from bot.config import Config
from bot.engine.catalog import SAMPLERS
from bot.jobs import ChannelId, Destination, GuildId, MessageId, Requester, Surface, UserId, to_text, utcnow
from bot.requests.options import Options
from bot.requests.resolve import resolve
from bot.storage import encryption, sqlite
from bot.storage.database import open_database
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from tests.local_discord import GUILD, Interaction, LocalDiscord, Person, local_discord

RESULTS = Path(__file__).with_name("results")
CHANNELS = 20
ANSWER_MS = 3000.0
"""Seconds after which Discord answers 10062, Unknown interaction."""
NEWCOMERS = 5
CLAIMS = 200
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Figure:
    """One figure of one round, with its goal and what the machine does without the load."""

    name: str
    value: float
    floor: float | None
    goal: Callable[[float, float], bool]
    words: str
    """The goal as text."""
    digits: int = 1


@dataclass(frozen=True)
class Size:
    """How much is asked for."""

    seconds: float = 10.0
    rate: float = 200.0
    people: int = 1000
    each: int = 10


def below(limit: float) -> Callable[[float, float], bool]:
    return lambda value, floor: value < limit


def _milliseconds(snowflake: str) -> int:
    return int(snowflake) >> 22


def answered_after(interaction: Interaction) -> float | None:
    """Milliseconds from a command to its answer, by the times in Discord's ids; None where there is none."""
    if interaction.answer is None:
        return None
    return float(_milliseconds(interaction.answer.id) - _milliseconds(interaction.id))


async def storm(size: Size, home: Path) -> list[Figure]:
    """Many people use /imagine, evenly spread over the time."""
    async with local_discord() as discord, probed(discord, home) as bot:
        await bot.connected()
        alone = [await _ask(discord, number) for number in range(10)]
        floor = statistics.median([answered_after(interaction) or 0.0 for interaction in alone])
        begun, asked = asyncio.get_running_loop().time(), []
        since = time.time()
        for number in range(int(size.seconds * size.rate)):
            await asyncio.sleep(begun + number / size.rate - asyncio.get_running_loop().time())
            asked.append(await discord.type("imagine", _person(number), _channel(number), prompt=f"a fox, {number}"))
        took = asyncio.get_running_loop().time() - begun
        with suppress(TimeoutError):
            await discord.until(lambda: all(one.answer for one in asked), PATIENCE_SECONDS)
        lateness = [ms for second in bot.seconds(since) for ms in second.lateness]
    waits = [ms for one in asked if (ms := answered_after(one)) is not None]
    late = len(asked) - len(waits) + sum(ms > ANSWER_MS for ms in waits)
    refused = sum(1 for one in asked if one.answer is not None and not one.answer.public)
    return [
        Figure("interactions/s that were sent", len(asked) / took, None, lambda v, _: v > 0.95 * size.rate, "all"),
        Figure("answered after, p50 ms", quantile(waits, 0.5), floor, below(1000), "< 1000", 0),
        Figure("answered after, p99 ms", quantile(waits, 0.99), floor, below(1000), "< 1000", 0),
        Figure("never or after 3 s (10062)", late, None, lambda v, _: v == 0, "0", 0),
        Figure("told to try again", refused, None, lambda v, _: v < len(asked), "not all", 0),
        Figure("event loop late in the storm, p99 ms", quantile(lateness, 0.99), None, below(1000), "< 1000"),
    ]


async def long_line(size: Size, home: Path) -> list[Figure]:
    """A restart while people wait with many requests each."""
    empty = home / "empty"
    empty.mkdir()
    async with local_discord() as discord, probed(discord, empty) as bot:
        floor_ready = await bot.connected()
        await asyncio.sleep(SETTLE_SECONDS)
        floor_rss = bot.rss()
    alone = await _fill(home / "data", size)
    fsync = commit_ms(home / "data")
    async with local_discord() as discord, probed(discord, home) as bot:
        ready = await bot.connected()
        newcomer = await _ask(discord, size.people + 1)
        rss = 0.0
        for _ in range(int(size.seconds)):
            rss = max(rss, bot.rss())
            await asyncio.sleep(1)
        told = bot.seconds()
    claims = [ms for second in told for ms in second.claims]
    choices = [ms for second in told for ms in second.choices]
    return [
        Figure("online after, s", ready, floor_ready, below(2), "< 2", 2),
        Figure(
            "a command then, answered after ms",
            answered_after(newcomer) or PATIENCE_SECONDS * 1e3,
            None,
            below(ANSWER_MS),
            "< 3000",
            0,
        ),
        Figure("memory of the bot, MB", rss, floor_rss, below(300), "< 300", 0),
        Figure(
            "claim while nothing else happens, p99 ms", quantile(alone, 0.99), quantile(fsync, 0.99), below(5), "< 5"
        ),
        Figure("claim, p50 ms", quantile(claims, 0.5), quantile(fsync, 0.5), below(5), "< 5"),
        Figure("claim, p99 ms", quantile(claims, 0.99), quantile(fsync, 0.99), below(5), "< 5"),
        Figure("choice of a turn, p99 ms", quantile(choices, 0.99), None, below(50), "< 50"),
        Figure("event loop late, p99 ms", quantile(_lateness(told), 0.99), await idle_loop(), _late, LATE_WORDS),
    ]


async def newcomers(size: Size, home: Path) -> list[Figure]:
    """A new person asks while others have many requests waiting: how many of those start first."""
    people = min(20, size.people)
    active = people + NEWCOMERS - 1
    await _fill(home / "data", replace(size, people=people, each=5 * size.each))
    async with local_discord() as discord, probed(discord, home) as bot:
        await bot.connected()
        first = [await _ask(discord, 10_000 + number) for number in range(NEWCOMERS)]
        await discord.until(lambda: not any(map(_waits, first)), PATIENCE_SECONDS)
        data = bot.data
    path = data / "atelier.db"
    with closing(sqlite.connect(path, encryption.find_key(path))) as connection:
        overtaken = [
            connection.execute(
                "SELECT count(*) FROM jobs AS other JOIN jobs AS mine ON mine.interaction_id = ? "
                "WHERE other.user_id != mine.user_id AND other.started_at > ? AND other.started_at < mine.started_at",
                (int(one.id), _told_at(one)),
            ).fetchone()[0]
            for one in first
        ]
        left = connection.execute(
            "SELECT count(*) FROM jobs WHERE user_id < 10000 AND (started_at IS NULL OR started_at > ?)",
            (max(_started(connection, one) for one in first),),
        ).fetchone()[0]
    return [
        Figure("requests of others left when the last newcomer began", left, None, lambda v, _: v > 0, "> 0", 0),
        Figure(
            f"others' jobs started first, of {active} active people",
            max(overtaken),
            None,
            lambda v, _: v <= active,
            f"≤ {active}",
            0,
        ),
    ]


async def painting(size: Size, home: Path) -> list[Figure]:
    """The bot's event loop while the real engine paints the model in the box."""
    async with local_discord() as discord, probed(discord, home, engine="real") as bot:
        await bot.connected()
        first = await _ask(discord, 0)
        await discord.until(lambda: not _waits(first), 5 * PATIENCE_SECONDS)
        floor, since, numbers = await idle_loop(), time.time(), count(1)
        end = since + max(size.seconds, 2.0)
        while time.time() < end:
            asked = [await _ask(discord, next(numbers)) for _ in range(3)]
            with suppress(TimeoutError):
                await discord.until(lambda asked=asked: not all(map(_waits, asked)), max(end - time.time(), 0.0))
        told = bot.seconds(since)
    return [Figure("event loop late, p99 ms", quantile(_lateness(told), 0.99), floor, _late, LATE_WORDS)]


LATE_WORDS = "< 50, or floor + 20"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below so great a share of them; not a number where there is none."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)] if values else math.nan


def _late(value: float, floor: float) -> bool:
    return value < max(50.0, floor + 20.0)


def _lateness(told: Sequence[Second]) -> list[float]:
    return [ms for second in told for ms in second.lateness]


async def idle_loop(seconds: float = 2.0) -> float:
    """The p99 of how late a 5 ms sleep ends in a loop with nothing else to do, in milliseconds."""
    loop, late = asyncio.get_running_loop(), []
    end = loop.time() + seconds
    while loop.time() < end:
        asked = loop.time() + SLEEP_SECONDS
        await asyncio.sleep(SLEEP_SECONDS)
        late.append((loop.time() - asked) * 1e3)
    return quantile(late, 0.99)


def commit_ms(folder: Path, times: int = 200) -> list[float]:
    """How long a commit of one small row takes on this disk, durably."""
    found = []
    with closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n)")
        for number in range(times):
            begun = time.perf_counter()
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            found.append((time.perf_counter() - begun) * 1e3)
    return found


async def _fill(data: Path, size: Size) -> list[float]:
    """Write a line of acknowledged requests as the bot itself would have; returns what some claims take then, in ms."""
    data.mkdir()
    request = resolve(Options("a fox in the snow"), Config().models, tuple(SAMPLERS)).request
    path = data / "atelier.db"
    async with open_database(path, encryption.prepare(path, encrypt=True)) as database:
        queue = Queue(
            database, Pictures(database, PictureFolder(data)), Surface.DISCORD, lambda: utcnow() - timedelta(minutes=1)
        )

        async def admit(_: object) -> None: ...

        numbers = range(size.people * size.each)
        await asyncio.gather(
            *(
                queue.enqueue(
                    Requester(UserId(1000 + number % size.people), GuildId(int(GUILD))),
                    Destination(ChannelId(int(_channel(number))), MessageId(10**6 + number)),
                    request,
                    interaction_id=number + 1,
                    admit=admit,
                )
                for number in numbers
            )
        )
        durations = []
        for row in (await database.fetch_all("SELECT id FROM jobs"))[:: max(len(numbers) // CLAIMS, 1)]:
            begun = time.perf_counter()
            await queue.claim(row["id"])
            durations.append((time.perf_counter() - begun) * 1e3)

        async def undo(connection: aiosqlite.Connection) -> None:
            await connection.execute("UPDATE jobs SET status = 'queued', attempt = 0, started_at = NULL")

        await database.write(undo)
        return durations


def _told_at(asked: Interaction) -> str:
    """The time at which the person saw that the request was accepted, from which the job may start."""
    assert asked.answer is not None
    return to_text(snowflake_time(int(asked.answer.id)))


def _started(connection: Any, asked: Interaction) -> str:
    """When the job of an interaction was begun."""
    sql = "SELECT started_at FROM jobs WHERE interaction_id = ?"
    started: str = connection.execute(sql, (int(asked.id),)).fetchone()[0]
    return started


def _waits(interaction: Interaction) -> bool:
    return interaction.answer is None or bool(interaction.answer.cancels())


def _person(number: int) -> Person:
    return Person(str(1000 + number % 400 if number < 10_000 else number), f"Person{number}")


def _channel(number: int) -> str:
    return str(400 + number % CHANNELS)


async def _ask(discord: LocalDiscord, number: int) -> Interaction:
    """Let a person ask, and wait for the answer."""
    asked = await discord.type("imagine", _person(number), _channel(number), prompt=f"a fox, {number}")
    await discord.until(lambda: asked.answer is not None, PATIENCE_SECONDS)
    return asked


PARTS: dict[str, tuple[str, Callable[[Size, Path], Awaitable[list[Figure]]]]] = {
    "storm": ("A storm of /imagine", storm),
    "line": ("A restart with a long line", long_line),
    "newcomer": ("A newcomer among busy people", newcomers),
    "painting": ("The event loop while the engine paints", painting),
}


async def measure(part: Callable[[Size, Path], Awaitable[list[Figure]]], size: Size, rounds: int) -> str:
    """A part, so many times, as a table; of each figure the best."""
    taken: list[list[Figure]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            taken.append(await part(size, Path(home)))
    rows = []
    for figures in zip(*taken, strict=True):
        more_is_better = figures[0].words in ("all", "> 0")
        best = (max if more_is_better else min)(figures, key=lambda figure: figure.value)
        rows.append(
            [
                best.name,
                f"{best.value:.{best.digits}f}",
                "" if best.floor is None else f"{best.floor:.{best.digits}f}",
                " ".join(f"{figure.value:.{figure.digits}f}" for figure in figures),
                best.words,
                "holds" if best.goal(best.value, best.floor or 0.0) else "**does not hold**",
            ]
        )
    return table(["figure", "best", "without load", "each round", "goal", ""], rows)


def run(words: Sequence[str] | None = None) -> Path:
    """Measure, print, and write the report; returns where."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=Size.seconds, help="of the storm, the line and the painting")
    parser.add_argument("--rate", type=float, default=Size.rate, help="interactions a second in the storm")
    parser.add_argument("--people", type=int, default=Size.people, help="who wait in the long line")
    parser.add_argument("--each", type=int, default=Size.each, help="requests of each of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    size = Size(arguments.seconds, arguments.rate, arguments.people, arguments.each)
    lines = [
        f"# Under load\n\n{os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{size.rate:.0f} interactions/s for {size.seconds:.0f} s; a line of {size.people} people "
        f"with {size.each} requests each; best of {arguments.rounds}. `python -m benchmarks.load` writes this page."
    ]
    for name in arguments.parts:
        title, part = PARTS[name]
        text = asyncio.run(measure(part, size, arguments.rounds))
        lines.append(f"## {title}\n\n{text}\n\nLoad average after it: {os.getloadavg()[0]:.1f}.")
        print(lines[-1], flush=True)
    report: Path = arguments.out / "load.md"
    report.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    run()
