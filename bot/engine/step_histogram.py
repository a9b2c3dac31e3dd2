"""Counts denoising steps by their rows and by their seconds, for the page of metrics.

The engine process counts, and sends its counts to the bot.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

ROW_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
STEP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """The number of values up to each bound and above the last one, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def count(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def take(self) -> list[Any]:
        """The counts for JSON, and start again from 0."""
        taken = [self.counts, self.sum]
        self.counts, self.sum = [0] * len(self.counts), 0.0
        return taken

    def add(self, taken: Any) -> None:
        """Add the counts of another histogram. Raises ValueError or TypeError if they do not fit the bounds."""
        counts, total = taken
        self.counts = [mine + int(theirs) for mine, theirs in zip(self.counts, counts, strict=True)]
        self.sum += float(total)


class StepHistogram:
    """Steps by their rows, and by their seconds."""

    def __init__(self) -> None:
        self.rows = Histogram(ROW_BOUNDS)
        self.seconds = Histogram(STEP_BOUNDS)

    @classmethod
    def sum(cls, parts: Iterable[StepHistogram]) -> StepHistogram:
        """All steps that the parts have counted; the parts keep their counts."""
        whole = cls()
        for part in parts:
            whole.rows.add([part.rows.counts, part.rows.sum])
            whole.seconds.add([part.seconds.counts, part.seconds.sum])
        return whole

    def count(self, rows: int, seconds: float) -> None:
        """Count a step."""
        self.rows.count(rows)
        self.seconds.count(seconds)

    def take(self) -> dict[str, Any]:
        """The counts since the last call, for JSON; counting starts again from 0."""
        return {"rows": self.rows.take(), "seconds": self.seconds.take()}

    def add(self, taken: Any) -> None:
        """Add counts of another process. Raises LookupError, ValueError or TypeError if they are not such counts."""
        self.rows.add(taken["rows"])
        self.seconds.add(taken["seconds"])
