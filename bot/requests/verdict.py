"""What a blind vote between two settings says: a Bayesian verdict with a stated error rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

ERROR = 0.05
"""Of two settings that are equally good, at most this share of votes names one as better, in either direction. So a
vote names the worse one of two in less than half of that."""
INTERVAL = 0.95
LEAST_PEOPLE = 10
"""What fewer people like is not told: Discord's policy allows taste in aggregate only."""
MOST_MORE = 2000
"""If more votes than this would be needed, the settings are called about equally good."""

_MOST_STEPS = 500
_EXACT = 1e-12


class Outcome(Enum):
    """What a vote says."""

    FIRST = auto()
    SECOND = auto()
    UNDECIDED = auto()
    TOO_FEW = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a vote says, how sure that is, and the interval of the share of people who prefer the first setting."""

    outcome: Outcome
    people: int
    sure: float = 0.0
    """The probability that more than half of all people prefer the setting that leads."""
    low: float = 0.0
    high: float = 1.0
    more: int | None = None
    """About how many more votes would decide, if they are as those so far; None if more than MOST_MORE."""


def verdict(first: int, second: int, people: int) -> Verdict:
    """The verdict on a vote that is looked at once, after its end.

    `first` and `second` people prefer a setting; `people` voted, also those who prefer neither. The share p of people
    who prefer the first setting has the uniform prior Beta(1, 1), and so the posterior Beta(first + 1, second + 1). A
    setting is named if p is above (or below) one half with a probability of at least 1 - ERROR / 2.
    """
    if people < LEAST_PEOPLE:
        return Verdict(Outcome.TOO_FEW, people)
    leads = max(first, second)
    sure = above_half(leads, min(first, second))
    low, high = (quantile(first, second, part) for part in ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    if _decides(sure):
        return Verdict(Outcome.FIRST if first > second else Outcome.SECOND, people, sure, low, high)
    return Verdict(Outcome.UNDECIDED, people, sure, low, high, _more(first, second))


def _decides(sure: float) -> bool:
    return sure >= 1 - ERROR / 2


def above_half(wins: int, losses: int) -> float:
    """The probability that p is above one half under Beta(wins + 1, losses + 1)."""
    return 1 - _below(0.5, wins + 1, losses + 1)


def quantile(wins: int, losses: int, part: float) -> float:
    """The value below which p is with a probability of `part` under Beta(wins + 1, losses + 1)."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, wins + 1, losses + 1) < part else (low, middle)
    return (low + high) / 2


def _below(x: float, a: float, b: float) -> float:
    """The probability that a value of Beta(a, b) is below x: the regularized incomplete beta function.

    By its continued fraction, https://dlmf.nist.gov/8.17.E22, which converges fast on this side of the mean.
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - _below(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    value, c, d = 1.0, 1.0, 0.0
    for step in range(2 * _MOST_STEPS):
        m = step // 2
        if step == 0:
            factor = 1.0
        elif step % 2 == 0:
            factor = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            factor = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + factor * d)
        c = 1 + factor / c
        value *= c * d
        if abs(c * d - 1) < _EXACT and step:
            break
    return front * (value - 1) / a


def _more(first: int, second: int) -> int | None:
    """About how many more votes would decide if people go on as they did."""
    count, share = first + second, (max(first, second) + 1) / (first + second + 2)

    def decides(more: int) -> bool:
        wins = round(share * (count + more))
        return _decides(above_half(wins, count + more - wins))

    if not decides(MOST_MORE):
        return None
    low, high = 0, MOST_MORE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
