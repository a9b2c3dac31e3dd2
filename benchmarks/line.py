"""How long a choice takes among many who wait, and how soon a restart chooses again.

    python -m benchmarks.line [--waiting 10000] [--claims 300]

A real database on disk. A claim is the whole of it: what has changed is read, whose turn it is is chosen, and the row
is moved in a transaction that is synced. Restart to ready is from opening the file to the first choice.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import aiosqlite

from benchmarks.load import commit_ms
from benchmarks.loads import quantile
from benchmarks.report import table
from bot.config import LimitsConfig
from bot.engine.fake import FakeEngine
from bot.jobs import (
    ChannelId,
    Destination,
    GenerationRequest,
    GuildId,
    MessageId,
    Requester,
    Surface,
    UserId,
    to_text,
    utcnow,
)
from bot.policy.policy import Policy
from bot.queue.line import Line
from bot.storage.database import Database, open_database
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges
from bot.storage.rules import Rules
from bot.storage.spending import Spending
from bot.storage.usage import Usage

REQUEST = GenerationRequest("a red apple", "emoji", 128, 128, 20, 3.0, 7)


async def measure(waiting: int, people: int, claims: int) -> tuple[float, list[float], list[float], list[float]]:
    """Seconds from opening to ready, of each choice, of each claim with its choice, and of as many plain commits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with open_database(folder / "atelier.db") as database:
            await _fill(database, _queue(database, folder), waiting, people)
        started = time.perf_counter()
        async with open_database(folder / "atelier.db") as database:
            queue = _queue(database, folder)
            await queue.recover()
            line = Line(
                QueueChanges(database, Surface.DISCORD, utcnow),
                Policy(
                    Rules(database),
                    Usage(database),
                    Spending(database),
                    LimitsConfig(pace=10_000),
                    lambda: 1.0,
                    utcnow,
                ),
                FakeEngine(),
                utcnow,
            )
            assert await line.next() is not None
            ready = time.perf_counter() - started
            chosen: list[float] = []
            taken: list[float] = []
            for _ in range(claims):
                before = time.perf_counter()
                turn = await line.next()
                assert turn is not None
                chosen.append(time.perf_counter() - before)
                assert await queue.claim(turn.job_id, turn.at, turn.clock) is not None
                taken.append(time.perf_counter() - before)
        return ready, chosen, taken, [ms / 1e3 for ms in commit_ms(folder, claims)]


def _queue(database: Database, folder: Path) -> Queue:
    return Queue(database, Pictures(database, PictureFolder(folder)), Surface.DISCORD, utcnow)


async def _fill(database: Database, queue: Queue, waiting: int, people: int) -> None:
    """Ask once, and copy that row for the others."""

    async def let_in(_: aiosqlite.Connection) -> None:
        return

    where = Destination(ChannelId(1), MessageId(1))
    await queue.enqueue(Requester(UserId(0), GuildId(1)), where, REQUEST, interaction_id=None, admit=let_in)

    async def work(connection: aiosqlite.Connection) -> None:
        columns = [row[1] for row in await connection.execute_fetchall("PRAGMA table_info(jobs)")]
        kept = ", ".join(name for name in columns if name not in ("id", "user_id", "asked_at"))
        await connection.executemany(
            f"INSERT INTO jobs (user_id, asked_at, {kept}) SELECT ?, ?, {kept} FROM jobs WHERE id = 1",
            [(number % people, to_text(utcnow())) for number in range(1, waiting)],
        )

    await database.write(work)


def report(waiting: int, claims: int) -> str:
    rows = []
    for people in sorted({1, max(waiting // 5, 1), waiting}):
        ready, chosen, taken, bare = asyncio.run(measure(waiting, people, claims))
        figures = [quantile(chosen, 0.99), *(quantile(taken, share) for share in (0.5, 0.99, 1.0))]
        figures += [quantile(bare, share) for share in (0.5, 0.99)]
        rows.append([f"{waiting:,}", f"{people:,}", *(f"{seconds * 1e3:.2f}" for seconds in figures), f"{ready:.2f}"])
    claim = ["claim p50 ms", "p99 ms", "longest ms", "bare commit p50 ms", "p99 ms"]
    return table(["waiting", "people", "choice p99 ms", *claim, "restart to ready s"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--claims", type=int, default=300)
    arguments = parser.parse_args()
    print(report(arguments.waiting, arguments.claims))
