"""Several engines as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bot.engine.fake import FakeEngine
from bot.engine.fleet import Fleet
from bot.jobs import JobId


def lanes(*names: str) -> list[FakeEngine]:
    """Engines of one lane each."""
    engines = []
    for name in names:
        engine = FakeEngine()
        engine.name = name
        engines.append(engine)
    return engines


class Noting(FakeEngine):
    """Notes what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.told: list[object] = []

    def cancel(self, job_id: JobId) -> None:
        """Note the job."""
        self.told.append(job_id)

    async def run(self) -> None:
        """Note the start and the end."""
        self.told.append("runs")
        try:
            await super().run()
        finally:
            self.told.append("stopped")


class TestFleet:
    def test_has_the_lanes_of_all_engines_in_order(self) -> None:
        first, second, third = lanes("gpu 0", "gpu 1", "api")
        assert Fleet([Fleet([first, second]), third]).lanes == (first, second, third)

    @pytest.mark.parametrize(("names", "words"), [([], "needs an engine"), (["gpu 0", "gpu 0", "api"], "gpu 0")])
    def test_refuses_no_engine_and_two_lanes_of_one_name(self, names: Sequence[str], words: str) -> None:
        with pytest.raises(ValueError, match=words):
            Fleet(lanes(*names))

    def test_model_is_in_trouble_when_no_lane_that_has_it_can_use_it(self) -> None:
        first, second = lanes("gpu 0", "gpu 1")
        fleet = Fleet([first, second], ["emoji", "flux"])
        first.trouble("emoji", "Its file is gone.")
        assert fleet.troubles == {}, "the second lane paints with it"
        second.missing.add("emoji")
        assert fleet.troubles == {"emoji": "Its file is gone."}
        second.missing.clear()
        second.trouble("emoji", "It is too large.")
        assert fleet.troubles == {"emoji": "gpu 0: Its file is gone. gpu 1: It is too large."}

    def test_lane_that_does_not_start_takes_only_the_models_with_it_that_no_other_has(self) -> None:
        first, second = lanes("gpu 0", "gpu 1")
        second.missing.add("flux")
        first.trouble("", "It does not start.")
        assert Fleet([first, second], ["emoji", "flux"]).troubles == {"flux": "It does not start."}

    def test_all_lanes_in_trouble_are_one_trouble_of_the_engine(self) -> None:
        fleet = Fleet(lanes("gpu 0", "gpu 1"), ["emoji"])
        for lane in fleet.lanes:
            assert isinstance(lane, FakeEngine)
            lane.trouble("", "It does not start.")
        assert fleet.troubles == {"": "It does not start."}

    def test_counts_the_steps_of_all(self) -> None:
        first, second = lanes("gpu 0", "gpu 1")
        first.step_histogram.count(2, 0.1)
        second.step_histogram.count(4, 0.3)
        whole = Fleet([first, second]).step_histogram
        assert sum(whole.rows.counts) == 2
        assert whole.rows.sum == 6
        assert whole.seconds.sum == pytest.approx(0.4)
        assert sum(first.step_histogram.rows.counts) == 1, "its own counts stay"

    async def test_runs_stops_and_cancels_in_all(self) -> None:
        first, second = Noting("gpu 0"), Noting("gpu 1")
        fleet = Fleet([first, second])
        running = asyncio.create_task(fleet.run())
        await asyncio.sleep(0.01)
        fleet.cancel(JobId(7))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert first.told == second.told == ["runs", JobId(7), "stopped"]
