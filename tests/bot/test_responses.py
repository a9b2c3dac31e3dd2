"""How old interactions are, and how long messages may be; tests/faults/test_lost_answers.py has the lost replies."""

from __future__ import annotations

import pytest

from bot.responses import OLD_SECONDS, Ages, fitted, units

EPOCH = 1_800_000_000.0


def made_at(seconds: float) -> int:
    """The id of an interaction of that time, in seconds since 1970."""
    return int(seconds * 1000 - 1420070400000) << 22


@pytest.mark.parametrize("skew", [0.0, 3600.0, -3600.0, 0.7])
def test_an_age_does_not_depend_on_how_far_the_clocks_differ(skew: float) -> None:
    ages = Ages()
    assert ages.of(made_at(EPOCH), EPOCH + skew) == pytest.approx(0, abs=0.01)
    assert ages.of(made_at(EPOCH + 10), EPOCH + 13 + skew) == pytest.approx(3, abs=0.05)
    assert ages.of(made_at(EPOCH + 20), EPOCH + 20.2 + skew) == pytest.approx(0.2, abs=0.05)


def test_a_first_interaction_that_came_late_is_corrected_by_one_that_came_at_once() -> None:
    ages = Ages()
    assert ages.of(made_at(EPOCH), EPOCH + 2) == 0
    assert ages.of(made_at(EPOCH + 5), EPOCH + 5.1) == 0
    assert ages.of(made_at(EPOCH + 6), EPOCH + 8.1) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_drops_no_interaction(jump: float) -> None:
    ages = Ages()
    ages.of(made_at(EPOCH), EPOCH)
    for seconds in (1, 2, 3):
        assert ages.of(made_at(EPOCH + seconds), EPOCH + seconds + jump) < OLD_SECONDS
    assert ages.of(made_at(EPOCH + 4), EPOCH + 9 + jump) == pytest.approx(5, abs=0.05)


def test_clocks_that_drift_apart_drop_no_interaction() -> None:
    ages = Ages()
    drifting = [ages.of(made_at(EPOCH + hour * 3600), EPOCH + hour * 3600 + hour * 0.5) for hour in range(48)]
    assert max(drifting) < OLD_SECONDS


def test_a_text_is_cut_by_what_discord_counts() -> None:
    assert fitted("😀" * 1000) == "😀" * 1000
    cut = fitted("😀" * 1001)
    assert units(cut) <= 2000
    assert cut.endswith("😀…")
