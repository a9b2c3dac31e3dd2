"""One ranking from several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

K = 60
"""How little the first places are above the next ones; the value of the paper."""


def fuse(rankings: Iterable[tuple[Sequence[int], float]], k: int = K) -> list[int]:
    """Reciprocal rank fusion: a result of weight w at place r of a ranking gets w / (k + r), and the sums are ranked.

    The score of a ranking does not count, only its order, so that BM25 and a cosine need no common scale. Of equal sums
    the newer result, which has the larger id, is first. From Cormack, Clarke and Büttcher, "Reciprocal rank fusion
    outperforms Condorcet and individual rank learning methods", SIGIR 2009, https://doi.org/10.1145/1571941.1572114;
    the weights are ours.
    """
    sums: dict[int, float] = defaultdict(float)
    for ranking, weight in rankings:
        for place, name in enumerate(ranking, start=1):
            sums[name] += weight / (k + place)
    return sorted(sums, key=lambda name: (-sums[name], -name))
