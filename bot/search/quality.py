"""How well people like a picture, as a number that counts with how many people said so."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from bot.storage.reactions import DISLIKE, FAVOURITES, LIKE, NUMBERS

Z = 1.959964
"""The quantile of the normal distribution for 95 %, two-sided."""


class Score(NamedTuple):
    """How many people like a picture, how many dislike it, and the score in 0…1."""

    likes: int
    dislikes: int
    value: float


def wilson(likes: int, dislikes: int, z: float = Z) -> float:
    """The lower bound of Wilson's interval for the share of people who like something; 0 without a rating.

    (p + z²/2n − z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n) with n ratings and the share p of likes. A single like gives
    0.21, and 50 of 50 give 0.93, so few ratings never beat many good ones. From E. B. Wilson, "Probable inference, the
    law of succession, and statistical inference", Journal of the American Statistical Association 22 (1927),
    https://doi.org/10.1080/01621459.1927.10502953.
    """
    # The formula gives 0 for no like, but for rounding.
    return interval(likes / (likes + dislikes), likes + dislikes, z)[0] if likes else 0.0


def interval(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """Wilson's interval for a share of `count` people; `share` may also be the mean of a share of each of them.

    The mean of values between 0 and 1 varies no more than a share of yes and no, so then it is wide enough.
    """
    square = z * z
    middle = share + square / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return max((middle - spread) / (1 + square / count), 0.0), min((middle + spread) / (1 + square / count), 1.0)


def scores(reactions: Iterable[tuple[int, str]], pictures: int, *, is_alone: bool) -> list[Score]:
    """The scores of the pictures of a post, from its reactions: who gave them, and the emoji as it is stored.

    👍 and the favourites like every picture, 👎 dislikes every picture, and a number likes that picture, if the post
    shows one request alone. A person counts once; somebody who likes and dislikes a picture counts as neither.
    """
    given: dict[int, set[str]] = defaultdict(set)
    for user_id, emoji in reactions:
        given[user_id].add(emoji)
    found = []
    for number in range(1, pictures + 1):
        liking = {LIKE, *FAVOURITES, *(NUMBERS[number - 1 : number] if is_alone else ())}
        likes = sum(bool(emojis & liking) and DISLIKE not in emojis for emojis in given.values())
        dislikes = sum(not emojis & liking and DISLIKE in emojis for emojis in given.values())
        found.append(Score(likes, dislikes, wilson(likes, dislikes)))
    return found
