"""Which lane takes which job: where its model is loaded, as long as no lane stays idle for that. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from bot.engine import Lane
from bot.engine.timing import Timings
from bot.jobs import Shape, Work

_HALF = 0.5


class Fit(Enum):
    """How a model fits to a lane that has a free place."""

    WARM = "it is loaded here, or it makes no difference"
    COLD = "it would have to be loaded here, and another lane can paint with it, too"
    LEFT = "another lane has a free place now and suits it better"
    UNABLE = "only other lanes can paint with it"


ANYWHERE: Callable[[str], Fit] = lambda _: Fit.WARM  # noqa: E731 - the fit of every model where there is one lane


@dataclass(frozen=True, slots=True)
class Spot:
    """A lane at one moment."""

    name: str
    can: Callable[[str], bool]
    """Whether it can paint with a model."""
    warm: Collection[str]
    """The models that are loaded."""
    is_open: bool = True
    """Whether it takes orders: it is up, and the host has not drained it."""
    takes_anyone: bool = False
    """Whether it has a free place that is kept from nobody, and asks for a job now."""
    load: float = 0.0
    """Which part of its places is taken."""

    @classmethod
    def of(cls, lane: Lane, *, is_drained: bool, takes_anyone: bool, load: float) -> Spot:
        """The lane as it is now."""
        troubles = lane.troubles

        def can(model: str) -> bool:
            return lane.has(model) and model not in troubles and "" not in troubles

        return cls(lane.name, can, frozenset(lane.warm), lane.is_up and not is_drained, takes_anyone, load)


def fit(model: str, here: Spot, others: Sequence[Spot]) -> Fit:
    """How a model fits to a lane, beside all other lanes.

    A model that no lane can paint with fits everywhere: its job then fails with the reason.
    """
    able = [other for other in others if other.can(model)]
    if not here.can(model):
        return Fit.UNABLE if able else Fit.WARM
    rest = [other for other in able if other.is_open]
    if any(other.takes_anyone and _suits_better(other, here, model) for other in rest):
        return Fit.LEFT
    return Fit.WARM if model in here.warm or not rest else Fit.COLD


def _suits_better(other: Spot, here: Spot, model: str) -> bool:
    """Whether another lane with a free place should take a request for a model, and not this one.

    It is the one that has the model loaded, until half of its places are taken; then an idle one loads the model, too.
    Of two that are alike, it is the one with less to do.
    """
    is_warm_there, is_warm_here = model in other.warm, model in here.warm
    if is_warm_there == is_warm_here:
        return other.load < here.load
    if is_warm_there:
        return other.load < _HALF
    return here.load >= _HALF and other.load == 0


def painter(model: str, spots: Sequence[Spot]) -> int:
    """The index of the lane that will probably paint a request that comes now.

    It is one that can and takes orders; then one that has the model loaded; then the least full.
    """

    def rank(index: int) -> tuple[bool, bool, bool, float]:
        spot = spots[index]
        return not spot.can(model), not spot.is_open, model not in spot.warm, spot.load

    return min(range(len(spots)), key=rank)


class Borrowing:
    """A lane's speed; for a model that it never painted, that of the first lane that did."""

    def __init__(self, own: Timings, others: Sequence[Timings]) -> None:
        self._own = own
        self._others = others

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        """One step of requests of a shape with so many rows together."""
        return self._knowing(shape).forward_seconds(shape, rows)

    def rest_seconds(self, work: Work) -> float:
        """What a request takes beside its steps."""
        return self._knowing(work.shape).rest_seconds(work)

    def _knowing(self, shape: Shape) -> Timings:
        known = (timings for timings in (self._own, *self._others) if timings.known_step(shape, 1) is not None)
        return next(known, self._own)
