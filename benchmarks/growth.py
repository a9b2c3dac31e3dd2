"""What a request costs the bot while many others wait, and many results cannot be posted.

    python -m benchmarks.growth [--sizes 0 1000 10000] [--requests 200] [--rounds 3]

Each round opens the real app on a database with so many waiting requests and as many painted ones whose messages
Discord does not take. Then requests are made one after the other: quoted, admitted and acknowledged. The CPU time of
the process is divided by their number. The rounds of the sizes take turns, and the least of the rounds counts, since
other work of the machine can only add to it. Prints a table; the last column says how the cost has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from pathlib import Path

import aiosqlite

from benchmarks.report import table
from bot.app import App, open_app
from bot.config import Config, LimitsConfig
from bot.delivery.poster import Repost, Shown
from bot.engine.fake import FakeEngine
from bot.errors import TryLater
from bot.jobs import ChannelId, Destination, GuildId, Job, MessageId, News, Requester, Surface, UserId
from bot.requests.options import Options

PEOPLE, CHANNELS, WARM_UP = 1000, 20, 50


class Away:
    """A Discord that takes no post."""

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        """Refuse for now."""
        raise TryLater("away")

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""


async def ask(app: App, number: int) -> None:
    """One request, from the options to the acknowledgement."""
    who = Requester(UserId(10**6 + number % PEOPLE), GuildId(1))
    quote = await app.admission.quote(who, Options("a red apple", steps=20), Destination(ChannelId(number % CHANNELS)))
    admitted = await app.admission.admit(quote, interaction_id=10**9 + number)
    assert admitted is not None
    await app.queue.place_message(admitted.job.id, MessageId(10**9 + number))


async def fill(app: App, size: int) -> None:
    """Copy one waiting request until so many wait, and as many are painted and not posted."""
    await ask(app, -PEOPLE)

    async def work(connection: aiosqlite.Connection) -> None:
        columns = [row[1] for row in await connection.execute_fetchall("PRAGMA table_info(jobs)")]
        kept = ", ".join(
            name for name in columns if name not in ("id", "user_id", "interaction_id", "post_id", "status")
        )
        for status in ("queued", "rendered"):
            await connection.executemany(
                "INSERT INTO posts (channel_id, message_id) VALUES (?, ?)",
                [(number % CHANNELS, 10**8 + number) for number in range(size)],
            )
            await connection.execute(
                f"INSERT INTO jobs (user_id, post_id, status, {kept}) SELECT 1000 + posts.id % {PEOPLE}, posts.id, ?, "
                f"{kept} FROM posts, jobs WHERE jobs.id = 1 AND posts.id NOT IN (SELECT post_id FROM jobs)",
                (status,),
            )

    await app.database.write(work)


async def measure(size: int, requests: int) -> float:
    """CPU seconds of a request."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder) / "data", limits=LimitsConfig(pace=10**4, depth=10**3, quota=10**6))
        engine = FakeEngine()
        engine.open.clear()
        async with open_app(config, Surface.DISCORD, engine=engine) as app:
            await fill(app, size)
        async with open_app(config, Surface.DISCORD, engine=engine) as app:
            app.delivery.attach(Away())
            for number in range(-WARM_UP, 0):
                await ask(app, number)
            await asyncio.sleep(2.0)
            began = time.process_time()
            for number in range(1, requests + 1):
                await ask(app, number)
            return (time.process_time() - began) / requests


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 1000, 10_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    # Each post that is not taken would be a line.
    logging.disable(logging.WARNING)
    costs: dict[int, list[float]] = {size: [] for size in asked.sizes}
    for _ in range(asked.rounds):
        for size in asked.sizes:
            costs[size].append(asyncio.run(measure(size, asked.requests)))
    least = {size: min(found) for size, found in costs.items()}
    rows = [
        [f"{size:,}", f"{cost * 1e3:.2f}", f"{max(costs[size]) * 1e3:.2f}", f"{cost / least[asked.sizes[0]]:.2f}"]
        for size, cost in least.items()
    ]
    print(table(["waiting, and as many unposted", "CPU ms a request", "most of the rounds", "to the first"], rows))


if __name__ == "__main__":
    main()
