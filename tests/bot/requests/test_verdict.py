"""The verdict of a blind vote holds its stated error rate."""

from __future__ import annotations

import random

import pytest

from bot.requests.verdict import ERROR, INTERVAL, LEAST_PEOPLE, Outcome, above_half, quantile, verdict

RUNS = 1000
_SLACK = 0.014
"""Two standard errors of a share of 5 % over 1,000 runs."""


def votes(chance: random.Random, share: float, people: int) -> tuple[int, int]:
    first = sum(chance.random() < share for _ in range(people))
    return first, people - first


def shares(share: float, people: int, seed: int = 7) -> dict[Outcome, float]:
    chance = random.Random(seed)
    found = [verdict(*votes(chance, share, people), people).outcome for _ in range(RUNS)]
    return {outcome: found.count(outcome) / RUNS for outcome in Outcome}


@pytest.mark.parametrize("people", [10, 13, 30, 100, 333])
def test_of_two_equal_settings_one_is_named_no_more_often_than_the_stated_error(people: int) -> None:
    said = shares(0.5, people)
    assert said[Outcome.FIRST] + said[Outcome.SECOND] <= ERROR + _SLACK
    assert said[Outcome.UNDECIDED] >= 1 - ERROR - _SLACK


@pytest.mark.parametrize(("share", "people"), [(0.55, 40), (0.6, 20), (0.7, 40), (0.9, 15)])
def test_the_worse_one_is_named_in_less_than_half_of_the_stated_error(share: float, people: int) -> None:
    assert shares(share, people)[Outcome.SECOND] <= ERROR / 2
    assert shares(1 - share, people)[Outcome.FIRST] <= ERROR / 2


@pytest.mark.parametrize(("share", "people", "power"), [(0.9, 30, 0.99), (0.7, 60, 0.85), (0.6, 400, 0.95)])
def test_a_difference_is_found_with_enough_voters(share: float, people: int, power: float) -> None:
    assert shares(share, people)[Outcome.FIRST] >= power


def test_a_named_winner_is_as_sure_as_it_says_whatever_the_true_share_is() -> None:
    chance = random.Random(7)
    said = []
    for _ in range(RUNS):
        share = chance.random()
        people = chance.randrange(LEAST_PEOPLE, 60)
        found = verdict(*votes(chance, share, people), people)
        if found.outcome in (Outcome.FIRST, Outcome.SECOND):
            said.append(((share > 0.5) == (found.outcome is Outcome.FIRST), found.sure))
    wrong = 1 - sum(right for right, _ in said) / len(said)
    assert wrong <= ERROR / 2
    assert wrong == pytest.approx(1 - sum(sure for _, sure in said) / len(said), abs=0.01)


def test_the_interval_covers_the_true_share_as_often_as_it_says() -> None:
    chance = random.Random(7)
    covered = 0
    for _ in range(RUNS):
        share = chance.random()
        found = verdict(*votes(chance, share, 25), 25)
        covered += found.low <= share <= found.high
    assert covered / RUNS == pytest.approx(INTERVAL, abs=_SLACK)


def test_about_so_many_more_votes_would_decide() -> None:
    found = verdict(12, 6, 18)
    assert found.outcome is Outcome.UNDECIDED
    assert found.more is not None
    assert 5 <= found.more <= 60
    share = 13 / 20
    total = 18 + found.more
    wins = round(share * total)
    assert verdict(wins, total - wins, total).outcome is Outcome.FIRST
    assert verdict(500, 500, 1000).more is None


def test_nothing_is_said_of_fewer_than_ten_people() -> None:
    found = verdict(9, 0, 9)
    assert (found.outcome, found.sure, found.low, found.high, found.more) == (Outcome.TOO_FEW, 0.0, 0.0, 1.0, None)
    assert verdict(10, 0, 10).outcome is Outcome.FIRST
    assert verdict(0, 0, 12).outcome is Outcome.UNDECIDED


def test_the_posterior_is_that_of_beta() -> None:
    assert above_half(0, 0) == 0.5
    assert above_half(1, 0) == pytest.approx(0.75)
    # Of Beta(1, 1) every quantile is its part; of Beta(n + 1, 1) it is the root.
    assert quantile(0, 0, 0.3) == pytest.approx(0.3)
    assert quantile(9, 0, 0.5) == pytest.approx(0.5**0.1)
    assert quantile(4000, 4000, 0.5) == pytest.approx(0.5, abs=1e-6)
