"""Who used how much of the engine's time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.jobs import JobId, Work
from bot.queue.meter import Meter

A, B, C = JobId(1), JobId(2), JobId(3)


def work(rows: int = 1, side: int = 8) -> Work:
    return Work(("m", side, side), rows, 10, 1)


def test_whoever_is_alone_uses_all_the_time_and_company_shares_it_by_rows_and_pixels() -> None:
    meter = Meter()
    meter.enter(A, work(), 100.0)
    assert meter.used(A, 102.0) == pytest.approx(2)
    meter.enter(B, work(rows=3), 104.0)
    assert (meter.used(A, 108.0), meter.used(B, 108.0)) == pytest.approx((4 + 1, 3))
    meter.leave(A, 112.0)
    assert (meter.used(A, 113.0), meter.used(B, 113.0)) == pytest.approx((0, 6 + 1))
    meter.enter(A, work(rows=1, side=16), 113.0)
    assert (meter.used(A, 120.0), meter.used(B, 120.0)) == pytest.approx((4, 10))


def test_who_never_entered_or_enters_twice_is_charged_for_nothing_more() -> None:
    meter = Meter()
    assert meter.used(A, 5.0) == 0
    meter.leave(A, 6.0)
    meter.enter(A, work(), 7.0)
    meter.enter(A, work(rows=9), 8.0)
    meter.enter(B, work(), 8.0)
    assert meter.used(A, 10.0) == pytest.approx(2)


def test_jobs_in_different_lanes_do_not_share_time() -> None:
    meter = Meter()
    meter.enter(A, work(), 100.0, "one")
    meter.enter(B, work(), 100.0, "two")
    meter.enter(C, work(), 102.0, "two")
    assert [meter.used(job_id, 104.0) for job_id in (A, B, C)] == pytest.approx([4, 3, 1])
    meter.leave(B, 104.0)
    assert [meter.used(job_id, 105.0) for job_id in (A, B, C)] == pytest.approx([5, 0, 2])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 9), st.floats(0, 100)), max_size=40))
@settings(max_examples=500, deadline=None)
def test_all_that_is_charged_adds_up_to_the_time_somebody_was_in(
    moves: list[tuple[bool, int, int, float]],
) -> None:
    meter, inside, now, busy, charged = Meter(), set[JobId](), 0.0, 0.0, 0.0
    for enters, number, rows, passed in moves:
        busy += passed if inside else 0.0
        now += passed
        job_id = JobId(number)
        if enters:
            meter.enter(job_id, work(rows=rows), now)
            inside.add(job_id)
        elif job_id in inside:
            charged += meter.used(job_id, now)
            meter.leave(job_id, now)
            inside.remove(job_id)
    assert charged + sum(meter.used(job_id, now) for job_id in inside) == pytest.approx(busy)


def test_a_clock_that_runs_back_charges_no_time_twice() -> None:
    meter = Meter()
    meter.enter(A, work(), 100.0)
    assert meter.used(A, 104.0) == pytest.approx(4)
    assert meter.used(A, 0.0) == pytest.approx(4)
    assert meter.used(A, 106.0) == pytest.approx(6)
