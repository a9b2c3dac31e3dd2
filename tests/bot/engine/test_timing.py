"""What is learned from forwards: tables for the line and its knee, properties for any measurements."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.timing import DECODE, LIGHT_SLOWDOWN, START, STEP, LinearFit, Timings, fit
from bot.jobs import Work

SHAPE = ("m", 512, 512)


def timed(points: dict[int, float], *, times: int = 3, row_cap: int = 16, device: str = "") -> Timings:
    timings = Timings(device, row_cap)
    for rows, seconds in points.items():
        for _ in range(times):
            timings.record(SHAPE, STEP, rows, seconds)
    return timings


@pytest.mark.parametrize(
    ("points", "base", "per_row"),
    [
        ({1: 3.0, 2: 4.0, 8: 10.0}, 2.0, 1.0),
        ({2: 4.0}, 2.0, 1.0),  # one row count: half of it is taken to be fixed
        ({1: 2.0, 4: 8.0}, 0.0, 2.0),
        ({1: 1.0, 2: 4.0}, 0.0, 1.2),  # no forward takes less than nothing
        ({1: 5.0, 16: 5.0}, 5.0, 0.0),
        ({1: 5.0, 4: 4.0}, 4.3902, 0.0),  # nor does a row
    ],
)
def test_a_line_is_laid_through_what_was_measured(points: dict[int, float], base: float, per_row: float) -> None:
    line = fit(points)
    assert (line.base, line.per_row) == (pytest.approx(base, abs=1e-3), pytest.approx(per_row, abs=1e-3))


@pytest.mark.parametrize(
    ("base", "per_row", "knee"),
    [
        (0.0, 1.0, 1),  # saturated by one row
        (1.0, 9.0, 1),
        (1.0, 3.0, 3),
        (1.0, 1.0, 9),
        (1.0, 0.5, 18),
        (1.0, 0.0, None),  # rows cost nothing
    ],
)
def test_the_knee_is_where_twice_the_rows_gain_less_than_five_percent(
    base: float, per_row: float, knee: int | None
) -> None:
    line = LinearFit(base, per_row)
    assert line.knee() == knee
    if knee is not None:
        assert 2 * line.seconds(knee) / line.seconds(2 * knee) <= 1 / 0.95 + 1e-9
        below = knee - 1
        assert below == 0 or 2 * line.seconds(below) / line.seconds(2 * below) > 1 / 0.95 - 1e-9


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-4, 1e3), min_size=1))
def test_any_measurements_give_a_line_that_rises(points: dict[int, float]) -> None:
    line = fit(points)
    assert line.base >= 0
    assert line.per_row >= 0
    assert line.seconds(1) > 0


@given(st.floats(1e-3, 10), st.floats(1e-3, 10), st.sets(st.integers(1, 32), min_size=2))
def test_what_lies_on_a_line_is_found_again(base: float, per_row: float, rows: set[int]) -> None:
    line = fit({count: base + per_row * count for count in rows})
    assert line.base == pytest.approx(base, rel=1e-3, abs=1e-3)
    assert line.per_row == pytest.approx(per_row, rel=1e-3, abs=1e-3)


def test_one_slow_forward_in_between_teaches_nothing() -> None:
    timings = timed({2: 1.0, 4: 1.5}, times=5)
    before = timings.forward_seconds(SHAPE, 4)
    timings.record(SHAPE, STEP, 4, 90.0)
    assert timings.forward_seconds(SHAPE, 4) == before


def test_a_machine_that_became_slower_is_believed_after_a_while() -> None:
    timings = timed({2: 1.0, 4: 1.5}, times=15)
    for rows in (2, 4):
        for _ in range(8):
            timings.record(SHAPE, STEP, rows, 3.0)
    assert timings.forward_seconds(SHAPE, 4) == pytest.approx(3.0)


def test_noise_of_a_third_moves_the_estimate_by_less_than_a_tenth() -> None:
    dice, timings = random.Random(5), Timings()
    for _ in range(300):
        rows = dice.randint(1, 12)
        timings.record(SHAPE, STEP, rows, (0.1 + 0.02 * rows) * dice.uniform(0.8, 1.5))
    for rows in (1, 4, 12):
        assert timings.forward_seconds(SHAPE, rows) == pytest.approx((0.1 + 0.02 * rows) * 1.15, rel=0.1)


def test_no_knee_is_known_before_two_row_counts_were_timed_thrice() -> None:
    assert Timings().knee(SHAPE) is None
    assert timed({4: 1.0}).knee(SHAPE) is None
    assert timed({2: 1.0, 4: 1.9}, times=2).knee(SHAPE) is None
    assert timed({2: 1.0, 4: 1.9}).knee(SHAPE) == 1 + int(9 * 0.1 / 0.45)


def test_company_takes_a_forward_of_little_no_longer_than_stated() -> None:
    assert Timings().light_cap(SHAPE, 2) is None
    known = timed({1: 4.0, 2: 7.0})  # 1 + 3 B
    rows = known.light_cap(SHAPE, 2)
    assert rows == 4
    assert known.forward_seconds(SHAPE, 2) * LIGHT_SLOWDOWN >= 1 + 3 * rows
    assert timed({1: 4.0, 2: 4.0}).light_cap(SHAPE, 1) is None, "where rows cost nothing, any number may come along"


def test_more_rows_than_the_cap_or_the_knee_go_in_several_forwards() -> None:
    free = timed({1: 1.1, 2: 1.2}, row_cap=4)  # 1 + B / 10, capped by the configuration
    assert free.forward_seconds(SHAPE, 4) == pytest.approx(1.4)
    assert free.forward_seconds(SHAPE, 9) == pytest.approx(1.4 + 1.4 + 1.1)
    kneed = timed({1: 4.0, 2: 7.0})  # 1 + 3 B: the knee is at three rows
    assert kneed.forward_seconds(SHAPE, 7) == pytest.approx(10 + 10 + 4)


def test_an_untimed_size_is_estimated_from_the_nearest_one_by_its_pixels() -> None:
    timings = timed({1: 2.0, 2: 3.0})
    timings.record(("m", 1024, 1024), STEP, 1, 100.0)
    timings.record(("other", 512, 256), STEP, 1, 100.0)
    assert timings.forward_seconds(("m", 512, 256), 1) == pytest.approx(1.0)
    assert timings.forward_seconds(("m", 1024, 512), 1) in (pytest.approx(4.0), pytest.approx(50.0))


def test_of_a_model_nobody_timed_a_megapixel_with_guidance_takes_a_second_a_step() -> None:
    assert Timings().forward_seconds(("new", 1000, 1000), 2) == pytest.approx(1.0)
    assert Timings().rest_seconds(Work(SHAPE, 2, 20, 1)) == 0.0


def test_the_rest_of_a_request_is_its_start_and_its_pictures() -> None:
    timings = Timings()
    timings.record(SHAPE, START, 1, 0.5)
    timings.record(SHAPE, DECODE, 1, 2.0)
    assert timings.rest_seconds(Work(SHAPE, 6, 20, 3)) == pytest.approx(6.5)


def test_what_was_learned_is_there_again_after_a_restart_of_the_same_machine() -> None:
    timings = timed({1: 4.0, 2: 7.0}, device="cpu (1 thread(s)), torch.float32")
    timings.record(SHAPE, DECODE, 1, 2.0)
    again = Timings(timings.device)
    again.load(timings.dump())
    assert again.dump() == timings.dump()
    assert again.knee(SHAPE) == 3
    assert again.forward_seconds(SHAPE, 2) == pytest.approx(7.0)
    unknown, other = Timings(), Timings("cuda (something else)")
    unknown.load(timings.dump())
    other.load(timings.dump())
    assert unknown.dump() == timings.dump(), "the bot takes what there is until its engine has spoken"
    assert other.knee(SHAPE) is None, "another machine has its own speed"
    # And its memory is no longer than before: the next machine is believed as soon.
    for _ in range(8):
        again.record(SHAPE, STEP, 1, 1.0)
        again.record(SHAPE, STEP, 2, 1.0)
    assert again.forward_seconds(SHAPE, 2) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"device": "x"}', '{"device": "x", "seconds": [[1]]}', '{"seconds": []}']
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(text: str) -> None:
    timings = timed({1: 1.0}, device="x")
    before = timings.dump()
    timings.load(text)
    assert timings.dump() == before
    assert json.loads(before)["device"] == "x"
