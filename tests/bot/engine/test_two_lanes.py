"""Two local lanes with the model in the box, behind the real queue: two real processes paint on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from bot.app import open_app
from bot.config import Config, EngineConfig
from bot.engine import Event, Order
from bot.engine.local import LocalEngine
from bot.jobs import Job, JobStatus, Painted, Surface, UserId
from tests.bot.queue.house import ADA, GRACE, House, Recorder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals")


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """The jobs of each lane, in the order in which the lane got them."""
    found: dict[str, list[int]] = defaultdict(list)
    submit = LocalEngine.submit

    def noting(self: LocalEngine, order: Order) -> AsyncGenerator[Event, None]:
        found[self.name].append(order.job_id)
        return submit(self, order)

    monkeypatch.setattr(LocalEngine, "submit", noting)
    return found


@pytest.mark.timeout(600)
async def test_both_paint_one_is_killed_under_load_and_a_drained_one_gets_nothing_new(
    tmp_path: Path, submitted: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.bot.queue.house.LONG_SECONDS", 240.0)
    engine = EngineConfig(devices=("cpu", "cpu"), threads=1, slots=2)
    async with open_app(Config(data=tmp_path, engine=engine), Surface.DISCORD) as app:
        house = House(app, app.engine, recorder := Recorder())  # type: ignore[arg-type]
        app.delivery.attach(recorder)
        lanes: Any = app.engine.lanes
        async with asyncio.timeout(240):
            await asyncio.gather(*(lane.ready() for lane in lanes))
        assert [lane.name for lane in lanes] == ["cpu 0", "cpu 1"]

        async def asked(count: int) -> list[Job]:
            return [await house.ask((ADA, GRACE, UserId(3), UserId(4))[number % 4]) for number in range(count)]

        async def all_painted(jobs: list[Job]) -> None:
            for job in jobs:
                ended = await house.ended(job)
                assert ended.status is JobStatus.DELIVERED, ended.reason
                assert sum(isinstance(news, Painted) for news in recorder.of(job)) == 1

        jobs = await asked(10)
        async with asyncio.timeout(240):
            while not all(lane.steps_done for lane in lanes):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.01)
        victim = lanes[0].pid
        os.kill(victim, signal.SIGKILL)
        await all_painted(jobs)
        assert set(submitted) == {"cpu 0", "cpu 1"}
        rows = await app.database.fetch_all("SELECT job_id, count(*) AS count FROM images GROUP BY job_id")
        assert {row["job_id"]: row["count"] for row in rows} == {job.id: 1 for job in jobs}, "none lost, none doubled"

        await app.lanes.drain("cpu 1")
        before = list(submitted["cpu 1"])
        await all_painted(await asked(4))
        assert submitted["cpu 1"] == before
        assert lanes[0].pid != victim, "the killed one came back"
        await app.lanes.bring_back("cpu 1")
        await app.lanes.drain("cpu 0")
        jobs = await asked(2)
        await all_painted(jobs)
        assert submitted["cpu 1"] == [*before, *(job.id for job in jobs)]
    calibrations = sorted(path.name for path in tmp_path.glob("calibration*.json"))
    assert set(calibrations) <= {"calibration-cpu-0.json", "calibration-cpu-1.json"}
