"""The score of a picture, and one ranking from several."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.search.fusion import fuse
from bot.search.quality import interval, scores, wilson
from bot.storage.reactions import DISLIKE, HEART, HEART_BUTTON, LIKE, NUMBERS


def test_the_score_is_wilsons_lower_bound() -> None:
    # The values of the table in the article on the binomial proportion confidence interval, and by hand.
    assert wilson(0, 0) == 0
    assert wilson(1, 0) == pytest.approx(0.20654, abs=1e-4)
    assert wilson(10, 0) == pytest.approx(0.72247, abs=1e-4)
    assert wilson(5, 5) == pytest.approx(0.23659, abs=1e-4)
    assert wilson(0, 9) == 0
    assert wilson(90, 10) > wilson(9, 1) > wilson(1, 0) > wilson(1, 1)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_bound_is_the_root_that_it_is_defined_by(likes: int, dislikes: int) -> None:
    count = likes + dislikes
    if not count:
        return
    bound, share, z = wilson(likes, dislikes), likes / count, 1.959964
    assert 0 <= bound <= share
    assert abs(share - bound) == pytest.approx(z * math.sqrt(max(bound * (1 - bound), 0) / count), abs=1e-6)


def test_a_person_counts_once_and_a_number_rates_its_picture_alone() -> None:
    reactions = [
        *((1, LIKE), (1, HEART), (1, HEART_BUTTON)),
        (2, DISLIKE),
        *((3, LIKE), (3, DISLIKE)),
        (4, NUMBERS[1]),
        *((5, NUMBERS[1]), (5, DISLIKE)),
        (6, "✉"),
    ]
    first, second = scores(reactions, 2, is_alone=True)
    assert first[:2] == (1, 2)
    assert second[:2] == (2, 1)
    assert (first.value, second.value) == (wilson(1, 2), wilson(2, 1))
    (only,) = scores(reactions, 1, is_alone=False)
    assert only[:2] == (1, 2), "under a post of several requests, a number names no picture"
    assert scores([(1, NUMBERS[0])], 1, is_alone=False)[0][:2] == (0, 0)


def test_rankings_are_fused_by_their_places() -> None:
    assert fuse([([1, 2, 3], 1.0), ([3, 2, 9], 1.0)]) == [3, 2, 1, 9]
    assert fuse([([1], 1.0), ([2], 1.0)]) == [2, 1], "of equal sums the newer one is first"
    assert fuse([([1, 2], 0.5), ([2, 1], 1.0)]) == [2, 1]
    assert fuse([]) == []


def test_the_interval_contains_the_share_and_is_narrow_with_many_people() -> None:
    low, high = interval(0.9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982), "as in tables of Wilson's interval"
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
    few, many = interval(0.6, 10), interval(0.6, 1000)
    assert few[0] < many[0] < 0.6 < many[1] < few[1]
