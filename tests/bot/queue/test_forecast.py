"""What is said about a wait, and when it has become wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.jobs import HELD, Queued
from bot.queue.forecast import is_wrong, statement
from tests.bot.storage.conftest import NOON


def at(place: int, seconds: float | None) -> Queued:
    return Queued(place, None if seconds is None else NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "said"), [(-60, None), (0, None), (1.9, None), (2, 2), (60, 60)], ids=lambda value: str(value)
)
def test_a_start_that_is_near_is_a_moment(seconds: float, said: float | None) -> None:
    assert statement(3, NOON + timedelta(seconds=seconds), NOON) == at(3, said)


@pytest.mark.parametrize(
    ("said", "true", "wrong"),
    [
        (None, at(1, None), True),
        (at(4, 60), at(4, 60), False),
        # The start, by seconds and by its share of what is left.
        (at(1, 20), at(1, 29), False),
        (at(1, 20), at(1, 31), True),
        (at(1, 40), at(1, 29), True),
        (at(9, 600), at(9, 800), False),
        (at(9, 600), at(9, 900), True),
        (at(9, 600), at(9, 470), False),
        (at(9, 600), at(9, 450), True),
        # The place, of a job that waits long enough for a person to look at it.
        (at(9, 60), at(8, 60), False),
        (at(9, 60), at(5, 60), False),
        (at(9, 60), at(4, 60), True),
        (at(2, 60), at(1, 60), True),
        (at(2, 9), at(1, 9), False),
        (at(2, 60), at(3, 60), False),
        (at(2, 60), at(4, 60), True),
        (at(1, 60), at(2, 60), True),
        # What starts in a moment says so itself, unless it should have long ago.
        (at(5, 300), at(1, None), False),
        (at(1, None), at(1, None), False),
        (at(3, None), at(1, None), False),
        (at(1, -1), at(1, None), False),
        (at(1, -5), at(1, None), True),
        (at(1, None), at(1, 9), False),
        (at(1, None), at(1, 11), True),
        # Pauses.
        (HELD, HELD, False),
        (HELD, at(1, None), True),
        (at(1, None), HELD, True),
        (at(7, 70), HELD, True),
    ],
)
def test_what_was_said_is_corrected_when_it_matters(said: Queued | None, true: Queued, wrong: bool) -> None:
    assert is_wrong(said, true, NOON) is wrong
