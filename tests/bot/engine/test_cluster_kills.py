"""Kills under load, on a Ray cluster of two hosts: nothing is lost and nothing is doubled, as the database tells."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.bot.engine.ray_bot import request
from tests.bot.engine.ray_cluster import cluster
from tests.faults.light_engine import picture

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals"),
]

ROOT = Path(__file__).parents[3]
JOBS = 40
PATIENCE_SECONDS = 60.0
"""How long to wait for what must happen, on a busy machine."""


class Bot:
    """The bot process, and what its database says."""

    def __init__(self, address: str, token: str, folder: Path) -> None:
        self.folder = folder
        self._address = address
        self._environ = {**os.environ, "ATELIER_RAY_TOKEN": token}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until all its lanes are ready."""
        (self.folder / "ready").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.bot.engine.ray_bot", self._address, str(self.folder), str(JOBS)),
                stderr=log,
                cwd=ROOT,
                env=self._environ,
            )
        await self.until((self.folder / "ready").exists)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.05)

    def rows(self, sql: str) -> list[tuple]:
        """What the database has."""
        with closing(sqlite3.connect(f"file:{self.folder / 'data' / 'atelier.db'}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    @property
    def running(self) -> int:
        """How many jobs are in the lanes."""
        return self.rows("SELECT count(*) FROM jobs WHERE status = 'running'")[0][0]


@pytest.mark.timeout(300)
async def test_kills_of_an_actor_a_host_and_the_bot_lose_and_double_nothing(tmp_path: Path) -> None:
    with cluster() as made:
        other = await asyncio.to_thread(made.add_host)
        bot = Bot(made.address, made.token, tmp_path)
        await bot.start()
        await bot.until(lambda: bot.running == 8)

        actors = made.actors()
        assert len(actors) == 2
        actors[0].kill()
        await bot.until(lambda: len(made.actors()) == 2 and actors[0] not in made.actors())
        await bot.until(lambda: bot.running == 8)

        assert bot.process is not None
        bot.process.kill()
        await bot.process.wait()
        await bot.until(lambda: not made.actors())
        assert bot.running == 8
        await bot.start()
        await bot.until(lambda: bot.running == 8)

        # What was on the lost host goes to the other one.
        await asyncio.to_thread(made.kill, other)
        await bot.until(lambda: len(made.actors()) == 1)
        assert bot.rows("SELECT count(*) FROM images") == [(0,)]
        (tmp_path / "go").touch()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await bot.process.wait() == 0, (tmp_path / "log").read_text()

    jobs = bot.rows("SELECT id, status, deaths FROM jobs ORDER BY id")
    assert [(number, status) for number, status, _ in jobs] == [(number, "rendered") for number in range(1, JOBS + 1)]
    # A lost host is no request's fault: none lost an attempt, so none could be given up.
    assert {deaths for *_, deaths in jobs} == {0}
    pictures = dict(bot.rows("SELECT job_id, sha256 FROM images"))
    assert Counter(job_id for job_id, _ in bot.rows("SELECT job_id, sha256 FROM images")) == Counter(range(1, JOBS + 1))
    for number in range(1, JOBS + 1):
        assert pictures[number] == hashlib.sha256(picture(request(number).prompt, number)).hexdigest()
