"""How calls share a forward: how many rows it has, which LoRAs its rows use, what runs it, and who learns from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import DECODE, START, STEP, Timings
from bot.jobs import Adapters
from bot.worker.calls import Call
from bot.worker.rows import ApplyLoras, Parked, Run, no_loras, run_eagerly

_PARTS = {"unet": STEP, "transformer": STEP, START: START, DECODE: DECODE}
"""The parts that are timed, by the batcher's names for them."""
_LOOK_BEYOND = 50
"""One forward in this many ignores the knee, so that the times of large forwards stay up to date."""


class RowPolicy(Protocol):
    """What the batcher asks about the rows of a forward. `part` is the module's name, or the VAE's method."""

    def knee(self, call: Call, part: str) -> int | None:
        """How many rows a forward should have at most to use the device well; None if that is unknown."""
        ...

    def light_cap(self, call: Call, part: str, rows: int) -> int | None:
        """How many rows a forward may have so that a call of `rows` rows is delayed little; None if that is unknown."""
        ...

    def apply_loras(self, rows: Sequence[Adapters]) -> AbstractContextManager[None]:
        """Apply LoRAs, one entry for each row, to the forwards that run within the context."""
        ...

    def run(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        """Run the function of a call with other leaves; returns its output. `adapters` are the LoRAs of each row."""
        ...

    def measured(self, call: Call, part: str, rows: int, seconds: float) -> None:
        """Record the seconds of a forward with the call among its calls, or of its start (`timing.START`)."""
        ...


class PlainRows:
    """Fills every forward and records no times."""

    def __init__(self, apply_loras: ApplyLoras = no_loras, run: Run = run_eagerly) -> None:
        self.apply_loras = apply_loras
        self.run = run

    def knee(self, _call: Call, _part: str) -> int | None:
        """No limit."""
        return None

    def light_cap(self, _call: Call, _part: str, _rows: int) -> int | None:
        """No limit."""
        return None

    def measured(self, _call: Call, _part: str, _rows: int, _seconds: float) -> None:
        """Record nothing."""


class MeasuredRows:
    """The engine's policy: it records the time of every forward, and makes no forward larger than the times suggest."""

    def __init__(self, timings: Timings, apply_loras: ApplyLoras, run: Run) -> None:
        self.timings = timings
        self.step_histogram = StepHistogram()
        self.has_news = False
        """Whether a time was recorded since this was set to False."""
        self.apply_loras = apply_loras
        self.run = run
        self._forwards = itertools.count(1)

    def knee(self, call: Call, part: str) -> int | None:
        """The knee of the call's model and size."""
        if _PARTS.get(part) != STEP or next(self._forwards) % _LOOK_BEYOND == 0:
            return None
        return self.timings.knee(call.shape)

    def light_cap(self, call: Call, part: str, rows: int) -> int | None:
        """The rows with which a step takes at most `timing.LIGHT_SLOWDOWN` times as long as the call's own."""
        return self.timings.light_cap(call.shape, rows) if _PARTS.get(part) == STEP else None

    def measured(self, call: Call, part: str, rows: int, seconds: float) -> None:
        """Record the seconds, and count a step."""
        if part not in _PARTS:
            return
        self.timings.record(call.shape, _PARTS[part], rows, seconds)
        self.has_news = True
        if _PARTS[part] == STEP:
            self.step_histogram.count(rows, seconds)
