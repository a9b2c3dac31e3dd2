"""How long a provider takes for a request, whatever its size: learned from the last answers."""

from __future__ import annotations

from bot.engine.timing import STEP, Timings
from bot.jobs import Shape, Work

_GUESS_SECONDS = 20.0


class ProviderTimings(Timings):
    """Requests run beside each other, and none makes another one slower."""

    def answered(self, work: Work, seconds: float) -> None:
        """Learn from an answer: the time of each of its steps, since forecasts count in steps."""
        self.record(_any_size(work.shape), STEP, 1, seconds / max(work.forwards, 1))

    def forward_seconds(self, shape: Shape, rows: int) -> float:  # noqa: ARG002 - it does not matter here
        """The time of one step of a model."""
        known = self.known_step(_any_size(shape), 1)
        return _GUESS_SECONDS if known is None else known

    def rest_seconds(self, work: Work) -> float:  # noqa: ARG002
        """Everything is in the steps."""
        return 0.0


def _any_size(shape: Shape) -> Shape:
    return shape[0], 1, 1
