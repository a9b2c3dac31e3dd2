"""How long a provider takes for a request, whatever its size: learned from the last answers."""

from __future__ import annotations

import statistics
from collections import deque

from bot.engine.timing import Timings
from bot.jobs import Shape, Work

_GUESS_SECONDS = 20.0
_REMEMBERED = 15


class ProviderTimings(Timings):
    """Requests run beside each other, and none makes another one slower."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds: dict[str, deque[float]] = {}

    def answered(self, work: Work, seconds: float) -> None:
        """Learn from an answer: the time of each of its steps, since forecasts count in steps."""
        model = work.shape[0]
        self._seconds.setdefault(model, deque(maxlen=_REMEMBERED)).append(seconds / max(work.forwards, 1))

    def forward_seconds(self, shape: Shape, rows: int) -> float:  # noqa: ARG002 - it does not matter here
        """The time of one step of a model."""
        known = self._seconds.get(shape[0])
        return statistics.median(known) if known else _GUESS_SECONDS

    def rest_seconds(self, work: Work) -> float:  # noqa: ARG002
        """Everything is in the steps."""
        return 0.0
