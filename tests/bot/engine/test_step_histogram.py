"""Counts of steps on their way from one process to another."""

from __future__ import annotations

import json

import pytest

from bot.engine.step_histogram import ROW_BOUNDS, STEP_BOUNDS, StepHistogram


@pytest.mark.parametrize(
    ("rows", "place"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (128, 7), (129, 8)], ids=lambda value: str(value)
)
def test_a_bound_includes_its_own_value_as_prometheus_has_it(rows: int, place: int) -> None:
    step_histogram = StepHistogram()
    step_histogram.count(rows, 0.0)
    assert step_histogram.rows.counts.index(1) == place
    assert (sum(step_histogram.rows.counts), step_histogram.rows.sum) == (1, rows)


def test_what_was_taken_is_added_elsewhere_and_counted_once() -> None:
    child, bot = StepHistogram(), StepHistogram()
    for rows, seconds in ((2, 0.01), (4, 0.3), (4, 99.0)):
        child.count(rows, seconds)
        bot.add(json.loads(json.dumps(child.take())))
    bot.add(child.take())
    assert (bot.rows.sum, sum(bot.rows.counts)) == (10, 3)
    assert bot.seconds.sum == pytest.approx(99.31)
    assert bot.seconds.counts == [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert (len(bot.rows.counts), len(bot.seconds.counts)) == (len(ROW_BOUNDS) + 1, len(STEP_BOUNDS) + 1)


@pytest.mark.parametrize("taken", [None, {}, {"rows": [[1], 1.0], "seconds": []}, {"rows": 3, "seconds": 3}])
def test_what_is_no_tally_is_refused(taken: object) -> None:
    with pytest.raises((LookupError, ValueError, TypeError)):
        StepHistogram().add(taken)
