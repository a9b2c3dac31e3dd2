"""The dispatcher with several lanes: a broken one holds up nobody, and what one loses another one paints."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.config import EMBEDDED_MODEL, Config, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.engine.timing import STEP
from bot.errors import EngineDied, Rejected
from bot.jobs import ChannelId, Destination, GuildId, JobStatus, Requester
from bot.queue import dispatcher
from bot.requests.options import Options
from tests.bot.queue.house import ADA, GRACE, opened


class Stopped(FakeEngine):
    """A lane that does not come up until a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_up = False
        self.comes_up = asyncio.Event()

    async def ready(self) -> None:
        """Wait for the test."""
        await self.comes_up.wait()
        self.is_up = True


@pytest.fixture
def config(tmp_path: Path) -> Config:
    other = EMBEDDED_MODEL.model_copy(update={"name": "other"})
    return Config(data=tmp_path, limits=LimitsConfig(pace=1000, depth=1000), models=(EMBEDDED_MODEL, other))


def fleet(*lanes: FakeEngine) -> Any:
    """Lanes with names of their own."""
    for number, lane in enumerate(lanes):
        lane.name = f"gpu {number}"
    return Fleet(lanes, ["emoji", "other"])


async def test_a_lane_that_does_not_come_up_holds_up_nobody_and_takes_part_once_it_is_up(config: Config) -> None:
    broken, good = Stopped(), FakeEngine()
    broken.trouble("", "The engine does not start.")
    async with opened(config, fleet(broken, good)) as house:
        for _ in range(3):
            assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED
        assert (len(broken.orders), len(good.orders)) == (0, 3)
        broken._troubles.clear()
        broken.comes_up.set()
        good.open.clear()
        jobs = [await house.ask() for _ in range(2)]
        async with asyncio.timeout(30):
            while not broken.orders:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
        good.open.set()
        for job in jobs:
            assert (await house.ended(job)).status is JobStatus.DELIVERED


async def test_a_lane_in_trouble_with_a_model_leaves_its_jobs_to_others(config: Config) -> None:
    first, second = FakeEngine(), FakeEngine()
    first.trouble("emoji", "Its file is gone.")
    async with opened(config, fleet(first, second)) as house:
        for _ in range(3):
            assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED
        assert (len(first.orders), len(second.orders)) == (0, 3)


async def test_a_job_whose_lane_died_because_of_another_one_goes_to_another_lane(config: Config) -> None:
    first, second = FakeEngine(), FakeEngine()
    first.raises = [EngineDied("gone", is_blamed=False)]
    async with opened(config, fleet(first, second)) as house:
        second.open.clear()
        busy, lost = [await house.ask(user) for user in (ADA, GRACE)]
        async with asyncio.timeout(30):
            while not second.held:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
        second.open.set()
        for job in (busy, lost):
            ended = await house.ended(job)
            assert (ended.status, ended.deaths) == (JobStatus.DELIVERED, 0)
        assert len(first.orders) + len(second.orders) == 3


async def test_a_job_does_not_enter_a_lane_that_stopped_after_it_was_claimed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = FakeEngine(), FakeEngine()
    engine = fleet(first, second)
    async with opened(config, engine) as house:
        claim = house.app.queue.claim

        async def stopping(*arguments: Any) -> Any:
            job = await claim(*arguments)
            first.is_up = False
            return job

        monkeypatch.setattr(house.app.queue, "claim", stopping)
        job = await house.ended(await house.ask())
        assert (job.status, job.deaths) == (JobStatus.DELIVERED, 0)
        assert not first.orders


async def test_a_lane_that_was_passed_over_looks_again_by_itself(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a lane can paint with a model changes without a commit."""
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 0.05)
    first, second = FakeEngine(), FakeEngine()
    second.trouble("emoji", "Its file is gone.")
    async with opened(config, fleet(first, second)) as house:
        await house.app.lanes.drain("gpu 0")
        job = await house.ask()
        await asyncio.sleep(0.2)
        assert not second.orders, "the drained lane could paint it"
        second._troubles.clear()
        assert (await house.ended(job)).status is JobStatus.DELIVERED
        assert (len(first.orders), len(second.orders)) == (0, 1)


async def test_the_cost_is_that_of_the_lane_that_will_paint(config: Config) -> None:
    fast, slow = FakeEngine(), FakeEngine()
    slow.warm = ("other",)
    for lane, seconds in ((fast, 0.1), (slow, 0.3)):
        for model in ("emoji", "other"):
            lane.timings.record((model, 128, 128), STEP, 2, seconds)
    async with opened(config, fleet(fast, slow)) as house:

        async def cost(model: str) -> float:
            who, where = Requester(ADA, GuildId(1)), Destination(ChannelId(1))
            return (await house.app.admission.quote(who, Options("a cat", model=model), where)).seconds

        assert await cost("other") == pytest.approx(3 * await cost("emoji"))
        await house.app.lanes.drain("gpu 1")
        assert await cost("other") == pytest.approx(await cost("emoji"))


async def test_a_model_that_no_lane_can_paint_is_refused_with_the_reasons_of_all(config: Config) -> None:
    first, second = FakeEngine(), FakeEngine()
    first.trouble("other", "Its file is gone.")
    second.trouble("other", "It is too large.")
    async with opened(config, fleet(first, second)) as house:
        who, where = Requester(ADA, GuildId(1)), Destination(ChannelId(1))
        with pytest.raises(Rejected, match=r"gpu 0: Its file is gone\. gpu 1: It is too large\."):
            await house.app.admission.quote(who, Options("a cat", model="other"), where)
