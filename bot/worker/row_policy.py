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
from bot.worker.rows import Parked, Run, Wear, bare, eagerly

_PARTS = {"unet": STEP, "transformer": STEP, START: START, DECODE: DECODE}
"""What is timed, by the batcher's names."""
_LOOK_BEYOND = 50
"""Once in so many forwards the knee is ignored: what is known of large forwards must not grow old."""


class RowPolicy(Protocol):
    """What the batcher asks about the rows of a forward. `part` is the module's name, or the VAE's method."""

    def knee(self, call: Call, part: str) -> int | None:
        """How many rows a forward should have at most to use the device well; None if that is unknown."""
        ...

    def company(self, call: Call, part: str, rows: int) -> int | None:
        """How many rows a forward may have so that a call of `rows` is held up little; None if that is unknown."""
        ...

    def wear(self, rows: Sequence[Adapters]) -> AbstractContextManager[None]:
        """Put LoRAs, one entry a row, on the modules that run within it."""
        ...

    def run(self, parked: Parked, leaves: Sequence[Any], worn: Sequence[Adapters]) -> Any:
        """Run a call's function on leaves that take its own leaves' places; returns its output."""
        ...

    def measured(self, call: Call, part: str, rows: int, seconds: float) -> None:
        """Take note of what a forward took, one of whose calls is `call`, or a start (`timing.START`)."""
        ...


class PlainRows:
    """Fills every forward and learns nothing."""

    def __init__(self, wear: Wear = bare, run: Run = eagerly) -> None:
        self.wear = wear
        self.run = run

    def knee(self, _call: Call, _part: str) -> int | None:
        """No limit."""
        return None

    def company(self, _call: Call, _part: str, _rows: int) -> int | None:
        """No limit."""
        return None

    def measured(self, _call: Call, _part: str, _rows: int, _seconds: float) -> None:
        """Learn nothing."""


class MeasuredRows:
    """The engine's own policy: every forward is a measurement, and no forward is larger than its timings advise."""

    def __init__(self, timings: Timings, wear: Wear, run: Run) -> None:
        self.timings = timings
        self.step_histogram = StepHistogram()
        self.has_news = False
        """Whether anything was learned since the last reader set this to False."""
        self.wear = wear
        self.run = run
        self._forwards = itertools.count(1)

    def knee(self, call: Call, part: str) -> int | None:
        """The knee of the call's model and size."""
        if _PARTS.get(part) != STEP or next(self._forwards) % _LOOK_BEYOND == 0:
            return None
        return self.timings.knee(call.shape)

    def company(self, call: Call, part: str, rows: int) -> int | None:
        """The rows with which a step takes at most `timing.COMPANY` times as long as the call's own."""
        return self.timings.company(call.shape, rows) if _PARTS.get(part) == STEP else None

    def measured(self, call: Call, part: str, rows: int, seconds: float) -> None:
        """Learn how long such a forward takes, and count steps."""
        if part not in _PARTS:
            return
        self.timings.record(call.shape, _PARTS[part], rows, seconds)
        self.has_news = True
        if _PARTS[part] == STEP:
            self.step_histogram.count(rows, seconds)
