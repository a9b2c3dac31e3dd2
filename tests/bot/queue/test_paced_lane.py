"""A lane whose requests run beside each other, as those of a provider do: no sum over sizes, and its rate foreseen."""

from __future__ import annotations

import random

import pytest

from bot.engine import Pace
from bot.jobs import JobId, Shape, UserId, Work
from bot.queue.engine_forecast import EngineForecast, LaneForecast, PacedForecast
from bot.queue.scheduler import FairQueue, schedule
from bot.storage.reports import KEPT_SECONDS, KEPT_SHARE
from tests.bot.queue.test_line import engine_taking, line_of, store  # noqa: F401 - a fixture
from tests.bot.queue.test_scheduler import NOON, asks, at, generous
from tests.bot.storage.conftest import ADA, GRACE, Store

SECONDS = 20.0
USUAL = Pace(1000, 60.0)


class Provider:
    """It takes as long for each request, whatever else it paints."""

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        return SECONDS

    def rest_seconds(self, work: Work) -> float:
        return 0.0


def starts(lane: LaneForecast, requests: int) -> list[float]:
    """When requests of different sizes start that all wait now, in seconds."""
    waiting = [asks(number, "abcdefgh"[number], seconds=1, shape=("m", 8 + number, 8)) for number in range(requests)]
    turns = schedule(waiting, [], generous, EngineForecast([lane]))
    return [(turn.starts_at - NOON).total_seconds() for turn in turns]


def test_sizes_do_not_add_up() -> None:
    assert starts(PacedForecast(3, Provider(), NOON, USUAL), 7) == [0, 0, 0, 20, 20, 20, 40]
    assert starts(LaneForecast(3, Provider(), NOON), 4)[-1] > SECONDS, "where they share a device they do"


def test_a_request_beyond_the_rate_keeps_its_place_until_it_is_sent() -> None:
    # The third is sent after a minute and is painted until 80 s.
    assert starts(PacedForecast(3, Provider(), NOON, Pace(2, 60.0)), 6) == [0, 0, 0, 20, 20, 80]
    # Two were sent half a minute ago, and the server asked to be left alone for 45 s.
    assert starts(PacedForecast(1, Provider(), NOON, Pace(2, 60.0, (30.0, 30.0))), 2) == [0, 50]
    assert starts(PacedForecast(1, Provider(), NOON, Pace(2, 60.0, held_seconds=45.0)), 2) == [0, 65]


def test_what_was_sent_before_ends_by_its_own_time() -> None:
    lane = PacedForecast(2, Provider(), NOON, USUAL)
    lane.resume(Work(("m", 8, 8), 1, 1, 1), UserId(1), 15.0)
    lane.resume(Work(("m", 8, 8), 1, 1, 1), UserId(2), 400.0)
    assert starts(lane, 3) == [0, 5, 20]


async def test_the_line_foresees_such_a_lane_by_when_its_requests_were_sent(store: Store) -> None:  # noqa: F811
    engine = engine_taking(8)
    engine.slots = 2
    sent, waits = await store.running(UserId(4)), await store.running(UserId(5))
    await store.asked(ADA)
    await store.asked(GRACE, width=32)
    engine.pace = Pace(1, 60.0, (6.0,), {sent.id: 6.0})
    engine.steps_done[waits.id] = 99
    turns = await line_of(store, engine=engine).turns()
    # The other one is sent when a minute has passed since the first, and so is each that follows.
    assert [(turn.starts_at - store.clock()).total_seconds() for turn in turns] == pytest.approx([2, 62])


def test_four_of_five_start_times_come_true() -> None:
    """Four places and ten requests a minute, of several sizes, with times that differ by a fifth."""
    choose, slots, pace = random.Random(5), 4, 10
    queue, waiting, told, came = FairQueue(generous), {}, {}, {}
    inside: list[tuple[float, float]] = []  # when each ends, and when it was sent
    sent: list[float] = []

    def fill(now: float) -> None:
        while len(inside) < slots and (turn := queue.next(at(now), ())) is not None and turn.starts_at <= at(now):
            queue.take_and_start(turn)
            del waiting[turn.job_id]
            came[turn.job_id] = now
            goes = max(now, sent[-pace] + 60 if len(sent) >= pace else now)
            sent.append(goes)
            inside.append((goes + SECONDS * choose.uniform(0.8, 1.2), goes))

    def pass_until(now: float) -> None:
        while inside and min(inside)[0] <= now:
            ended = min(inside)
            inside.remove(ended)
            fill(ended[0])
        fill(now)

    now, asked = 0.0, {}
    for number in range(200):
        now += choose.expovariate(1 / 5)
        pass_until(now)
        job = asks(number, "abcde"[number % 5], now, seconds=1, shape=("m", choose.choice((8, 16, 24)), 8))
        waiting[job.job_id], asked[job.job_id] = job, now
        queue.joins(job)
        lately = tuple(now - each for each in sent[-pace:] if each <= now)
        lane = PacedForecast(slots, Provider(), at(now), Pace(pace, 60.0, lately))
        for index, (_, goes) in enumerate(inside):
            if goes <= now:
                lane.resume(job.work, UserId(500 + index), now - goes)
            else:
                lane.start(job.work, UserId(500 + index), at(now))
        turns = schedule(list(waiting.values()), queue.starts, generous, EngineForecast([lane]))
        told[job.job_id] = (next(turn for turn in turns if turn.job_id == job.job_id).starts_at - NOON).total_seconds()
        fill(now)
    pass_until(now + 100_000)
    waits = [(told[JobId(n)] - asked[JobId(n)], came[JobId(n)] - asked[JobId(n)]) for n in range(200)]
    assert sum(real > KEPT_SECONDS for _, real in waits) > 100, "a line formed"
    kept = sum(abs(said - real) <= max(KEPT_SHARE * real, KEPT_SECONDS) for said, real in waits)
    assert kept >= 160, f"{kept} of 200"
