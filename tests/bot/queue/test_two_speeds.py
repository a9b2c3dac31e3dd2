"""Start times as people were told them, on two lanes of which one is three times as slow, in simulated time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from bot.jobs import JobId, Shape, Waiting, Work
from bot.queue import placement
from bot.queue.engine_forecast import EngineForecast, LaneForecast
from bot.queue.placement import Spot
from bot.queue.scheduler import FairQueue, schedule
from bot.storage.reports import KEPT_SECONDS, KEPT_SHARE
from tests.bot.queue.test_scheduler import NOON, asks, at, generous

NOISE = 0.2
"""By how much of its expected time a request takes longer or shorter."""


@dataclass
class SimulatedLane:
    """A lane with one place."""

    name: str
    seconds: float
    """Of one forward."""
    job: Waiting | None = None
    ends_at: float = 0.0
    expected_end: float = 0.0

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        return self.seconds if rows else 0.0

    def rest_seconds(self, work: Work) -> float:
        return 0.0

    @property
    def spot(self) -> Spot:
        return Spot(self.name, lambda _: True, ("m",), takes_anyone=self.job is None, load=float(self.job is not None))


@dataclass
class Simulation:
    """Requests that come, wait and are painted, and what each person was told."""

    choose: random.Random
    lanes: list[SimulatedLane]
    queue: FairQueue = field(default_factory=lambda: FairQueue(generous))
    waiting: dict[JobId, Waiting] = field(default_factory=dict)
    told: dict[JobId, float] = field(default_factory=dict)
    came: dict[JobId, float] = field(default_factory=dict)

    def fill(self, now: float) -> None:
        """Give every free lane what it takes, as the dispatcher does."""
        for lane in self.lanes:
            if lane.job is not None:
                continue
            others = [other.spot for other in self.lanes if other is not lane]
            turn = self.queue.next(
                at(now), (), fit=lambda model, here=lane.spot, others=others: placement.fit(model, here, others)
            )
            if turn is None or turn.starts_at > at(now):
                continue
            lane.job = self.queue.take_and_start(turn)
            del self.waiting[turn.job_id]
            self.came[turn.job_id] = now
            seconds = lane.job.work.forwards * lane.seconds
            lane.expected_end = now + seconds
            lane.ends_at = now + seconds * self.choose.uniform(1 - NOISE, 1 + NOISE)

    def pass_until(self, now: float) -> None:
        """Let requests end and others begin."""
        while ending := [lane for lane in self.lanes if lane.job is not None and lane.ends_at <= now]:
            lane = min(ending, key=lambda lane: lane.ends_at)
            lane.job = None
            self.fill(lane.ends_at)
        self.fill(now)

    def ask(self, job: Waiting, now: float) -> None:
        """Let a request come, and tell its person when it starts."""
        self.pass_until(now)
        self.waiting[job.job_id] = job
        self.queue.joins(job)
        forecasts = []
        for lane in self.lanes:
            forecasts.append(LaneForecast(1, lane, at(now), replace(lane.spot, takes_anyone=False)))
            if lane.job is not None:
                left = max(round((lane.expected_end - now) / lane.seconds), 0)
                forecasts[-1].start(replace(lane.job.work, forwards=left), lane.job.user_id, at(now))
        turns = schedule(list(self.waiting.values()), self.queue.starts, generous, EngineForecast(forecasts))
        turn = next(turn for turn in turns if turn.job_id == job.job_id)
        self.told[job.job_id] = (turn.starts_at - NOON).total_seconds()
        self.fill(now)


@pytest.mark.parametrize("gap", [4, 8, 12, 18])
def test_four_of_five_start_times_come_true_with_two_lanes_of_different_speed(gap: float) -> None:
    """Requests as in `benchmarks/forecast.py`: five people and some new ones, faster and slower than they are painted.

    Few people and long waits make the share of one run vary, so several runs count together.
    """
    waits: list[tuple[float, float]] = []
    for seed in range(12):
        choose = random.Random(seed)
        simulation = Simulation(choose, [SimulatedLane("fast", 1.0), SimulatedLane("slow", 3.0)])
        now, asked = 0.0, {}
        for number in range(60):
            now += choose.expovariate(1 / gap)
            person = "abcde"[number % 5] if number % 10 else chr(200 + number)
            job = asks(number, person, now, seconds=choose.randint(10, 60) * choose.randint(1, 3) // 3)
            asked[job.job_id] = now
            simulation.ask(job, now)
        simulation.pass_until(now + 100_000)
        told, came = simulation.told, simulation.came
        waits += [(told[job_id] - asked_at, came[job_id] - asked_at) for job_id, asked_at in asked.items()]
    assert sum(real > KEPT_SECONDS for _, real in waits) > len(waits) / 2, "a line formed"
    kept = sum(abs(said - real) <= max(KEPT_SHARE * real, KEPT_SECONDS) for said, real in waits)
    assert kept / len(waits) >= 0.8, f"{kept} of {len(waits)}"
