"""`atelier run` on the local Discord, which tells once a second how it is.

    python -m benchmarks.probed REST GATEWAY FOLDER light|real run --data FOLDER/data

Nothing in the product knows. FOLDER/probe gets a line of JSON a second: the lateness of a 5 ms sleep, how long each
claim and each choice of a turn took, the memory, the descriptors, the tasks and the size of the WAL. With PROFILE=path
in the environment the process is profiled, and says there at its end where its time went.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any

import discord.gateway
import discord.http
import psutil
import yarl

import bot.__main__
import bot.app
import bot.engine.building
import bot.engine.local
from bot.queue.line import Line
from bot.storage.queue import Queue
from tests.local_discord import LocalDiscord

ROOT = Path(__file__).parents[1]
LIGHT_ENGINE = ROOT / "tests" / "faults" / "light_engine.py"
TOKEN = "a.token.of.nobody"
SLEEP_SECONDS = 0.005
LEAVE_SECONDS = 30.0

CONFIG = """
[discord]
posts_per_channel = 50

[limits]
pace = 10000
depth = 1000
quota = 100000
"""


@dataclass(frozen=True)
class Second:
    """How the bot was in one second; durations in milliseconds, memory in MB."""

    at: float
    lateness: list[float]
    claims: list[float]
    choices: list[float]
    rss: float
    descriptors: int
    tasks: int
    wal: float


class ProbedBot:
    """A bot's process, seen from outside."""

    def __init__(self, discord: LocalDiscord, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.discord = discord
        self.folder = folder
        self.process = process
        self.begun_at = time.monotonic()

    @property
    def data(self) -> Path:
        """The bot's data folder."""
        return self.folder / "data"

    async def connected(self, seconds: float = 60.0) -> float:
        """Wait until it is online; returns the seconds since its start."""
        await self.discord.until(lambda: self.discord.connected, seconds)
        return time.monotonic() - self.begun_at

    def seconds(self, since: float = 0.0) -> list[Second]:
        """What it told since some time of the clock."""
        lines = (self.folder / "probe").read_text(encoding="utf-8").splitlines()
        told = [Second(**json.loads(line)) for line in lines]
        return [second for second in told if second.at >= since]

    def rss(self) -> float:
        """Its memory now, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


@asynccontextmanager
async def probed(discord: LocalDiscord, folder: Path, *, engine: str = "light") -> AsyncIterator[ProbedBot]:
    """Run the bot in `folder`, and stop it at the end as its host does."""
    (folder / "config.toml").write_text(CONFIG)
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.probed", *discord.addresses(), str(folder), engine, "run"),
            *("--config", str(folder / "config.toml"), "--data", str(folder / "data")),
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "DISCORD_TOKEN": TOKEN},
        )
    try:
        yield ProbedBot(discord, folder, process)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class _Probe:
    """Inside the bot: collects, and writes once a second."""

    def __init__(self, folder: Path) -> None:
        self._wal = folder / "data" / "atelier.db-wal"
        self._file = (folder / "probe").open("a", buffering=1, encoding="utf-8")
        self._process = psutil.Process()
        self.claims: list[float] = []
        self.choices: list[float] = []

    def timing(self, call: Callable[..., Awaitable[Any]], durations: str) -> Callable[..., Awaitable[Any]]:
        """The same call, whose duration is noted."""

        @wraps(call)
        async def timed(*arguments: Any) -> Any:
            begun = time.perf_counter()
            result = await call(*arguments)
            getattr(self, durations).append((time.perf_counter() - begun) * 1e3)
            return result

        return timed

    async def run(self) -> None:
        loop, lateness, told_at = asyncio.get_running_loop(), [], time.time()
        while True:
            asked = loop.time() + SLEEP_SECONDS
            await asyncio.sleep(SLEEP_SECONDS)
            lateness.append((loop.time() - asked) * 1e3)
            if time.time() - told_at >= 1:
                told_at = time.time()
                second = Second(
                    told_at,
                    [round(ms, 2) for ms in lateness],
                    self.claims,
                    self.choices,
                    self._process.memory_info().rss / 1e6,
                    self._process.num_fds(),
                    len(asyncio.all_tasks()),
                    self._wal.stat().st_size / 2**20 if self._wal.exists() else 0.0,
                )
                self._file.write(json.dumps(second.__dict__) + "\n")
                lateness, self.claims, self.choices = [], [], []


def main() -> None:
    """Put the probe beside the bot's tasks, then run it."""
    rest, gateway, folder, engine = sys.argv.pop(1), sys.argv.pop(1), Path(sys.argv.pop(1)), sys.argv.pop(1)
    probe, running = _Probe(folder), bot.app._running
    Queue.claim = probe.timing(Queue.claim, "claims")  # type: ignore[method-assign]
    Line.next = probe.timing(Line.next, "choices")  # type: ignore[method-assign]
    bot.app._running = lambda runs: running({**runs, "probe": probe.run()})
    if engine == "light":
        command = (sys.executable, str(LIGHT_ENGINE), str(folder))
        bot.engine.building.LocalEngine = partial(bot.engine.local.LocalEngine, command=command)  # type: ignore[misc,assignment]
    discord.http.Route.BASE = rest
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    profile = os.environ.pop("PROFILE", None)
    if profile is None:
        bot.__main__.main()
    profiler = cProfile.Profile()
    try:
        profiler.runcall(bot.__main__.main)
    finally:
        with Path(profile).open("w", encoding="utf-8") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()
