"""How long the engine takes, learned from every forward: for the size of batches and for the forecast.

It does not import torch: the engine process measures, and both processes estimate.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.jobs import Shape, Work

STEP = "step"
"""One forward of the denoiser, and the work of its calls until their next forward."""
START = "start"
"""The work of a request before its first forward, such as encoding its prompt."""
DECODE = "decode"
"""The decoding of one picture, from latents to pixels."""

_REMEMBERED = 15
"""The median is taken of so many measurements, the latest."""
_TRUSTED = 3
"""A row count with fewer measurements is not used for the knee."""
_WORTH = 0.05
"""The gain in pictures per second, as a share, for which doubling the rows is worth the longer steps."""
LIGHT_SLOWDOWN = 2.0
"""A forward with a call of a person who asks for little may take so many times as long as the call alone."""
_GUESS = 0.5e-6
"""Seconds per pixel and row for a model that was never timed."""


@dataclass(frozen=True, slots=True)
class LinearFit:
    """t(B) = `base` + `per_row`·B seconds for a forward of B rows."""

    base: float
    per_row: float

    def seconds(self, rows: float) -> float:
        """The time of a forward."""
        return self.base + self.per_row * rows

    def knee(self) -> int | None:
        """The rows from which doubling them gains less than 5 % in rows per second; None if it always gains more.

        That is the smallest B with t(2B) / 2B > 0.95 t(B) / B, solved for B.
        """
        if self.per_row <= 0:
            return None
        return max(1, math.ceil((1 - 2 * _WORTH) / (2 * _WORTH) * self.base / self.per_row))

    def rows_within(self, seconds: float) -> int | None:
        """How many rows a forward of `seconds` has; None if the number of rows makes no difference."""
        return None if self.per_row <= 0 else max(int((seconds - self.base) / self.per_row), 0)


def fit(points: Mapping[int, float]) -> LinearFit:
    """The line through seconds by rows with the least squared relative error, neither part of it below zero.

    From a single row count nothing is known about the slope: half is then taken to be fixed. `points` is not empty.
    """
    if len(points) == 1:
        ((rows, seconds),) = points.items()
        return LinearFit(seconds / 2, seconds / 2 / rows)
    weights = [1 / max(seconds, 1e-9) ** 2 for seconds in points.values()]
    total = sum(weights)
    x = sum(w * rows for w, rows in zip(weights, points, strict=True)) / total
    y = sum(w * seconds for w, seconds in zip(weights, points.values(), strict=True)) / total
    spread = sum(w * (rows - x) ** 2 for w, rows in zip(weights, points, strict=True))
    slope = sum(w * (r - x) * (s - y) for w, (r, s) in zip(weights, points.items(), strict=True)) / spread
    if slope <= 0:
        return LinearFit(y, 0.0)
    if y < slope * x:
        squares = sum(w * rows**2 for w, rows in zip(weights, points, strict=True))
        return LinearFit(0.0, sum(w * r * s for w, (r, s) in zip(weights, points.items(), strict=True)) / squares)
    return LinearFit(y - slope * x, slope)


class Timings:
    """Seconds by model, size, part of the work and rows, on one device."""

    def __init__(self, device: str = "", row_cap: int = 16) -> None:
        self.device = device
        self._row_cap = row_cap
        self._measured: dict[tuple[Shape, str], dict[int, deque[float]]] = defaultdict(dict)
        self._lines: dict[tuple[Shape, str], LinearFit | None] = {}

    def record(self, shape: Shape, part: str, rows: int, seconds: float) -> None:
        """Learn from a measurement. The median of the last few counts, so that a slow one in between does not."""
        self._measured[shape, part].setdefault(rows, deque(maxlen=_REMEMBERED)).append(seconds)
        self._lines.pop((shape, part), None)

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        """How long one step takes with `rows` rows in all; more rows than the cap need several forwards."""
        cap = min(self._row_cap, self.knee(shape) or self._row_cap)
        line = self._estimate(shape, STEP) or LinearFit(0.0, shape[1] * shape[2] * _GUESS)
        full, left = divmod(rows, cap)
        return full * line.seconds(cap) + (line.seconds(left) if left else 0.0)

    def known_step(self, shape: Shape, rows: int) -> float | None:
        """How long a forward of `rows` rows takes, by what was measured; None of an unknown model."""
        line = self._estimate(shape, STEP)
        return None if line is None else line.seconds(rows)

    def rest_seconds(self, work: Work) -> float:
        """How long a request occupies the engine outside its forwards."""
        start, decode = (self._estimate(work.shape, part) for part in (START, DECODE))
        return (start.seconds(1) if start else 0.0) + (decode.seconds(1) * work.images if decode else 0.0)

    def knee(self, shape: Shape) -> int | None:
        """Rows beyond which a larger forward is not worth it; None while that is unknown."""
        measured = self._measured.get((shape, STEP), {})
        if sum(len(seconds) >= _TRUSTED for seconds in measured.values()) < 2:
            return None
        line = self._line(shape, STEP)
        return None if line is None else line.knee()

    def light_cap(self, shape: Shape, rows: int) -> int | None:
        """Rows of a forward that takes at most LIGHT_SLOWDOWN times as long as one of `rows`; None if unknown yet."""
        line = None if self.knee(shape) is None else self._line(shape, STEP)
        return None if line is None else line.rows_within(LIGHT_SLOWDOWN * line.seconds(rows))

    def dump(self) -> str:
        """Everything known, as JSON of one line."""
        rows = [
            [*shape, part, count, round(statistics.median(seconds), 6), len(seconds)]
            for (shape, part), measured in self._measured.items()
            for count, seconds in measured.items()
        ]
        return json.dumps({"device": self.device, "seconds": rows}, separators=(",", ":"))

    def load(self, text: str) -> None:
        """Take over what `dump` wrote. Text that cannot be read or is about another device is ignored."""
        try:
            known: dict[str, Any] = json.loads(text)
            rows: Iterable[Any] = [
                ((str(model), int(width), int(height)), str(part), int(count), float(seconds), int(times))
                for model, width, height, part, count, seconds, times in known["seconds"]
            ]
            device = str(known["device"])
        except (ValueError, TypeError, KeyError):
            return
        if self.device not in ("", device):
            return
        self.device = device
        for shape, part, count, seconds, times in rows:
            self._measured[shape, part][count] = deque([seconds] * min(times, _REMEMBERED), maxlen=_REMEMBERED)
        self._lines.clear()

    def _estimate(self, shape: Shape, part: str) -> LinearFit | None:
        """The line for a shape, or that of the model's nearest size, scaled by pixels; None for an unknown model."""
        if line := self._line(shape, part):
            return line
        pixels = shape[1] * shape[2]
        known = [
            (abs(math.log(other[1] * other[2] / pixels)), pixels / (other[1] * other[2]), line)
            for other, what in list(self._measured)
            if (other[0], what) == (shape[0], part) and (line := self._line(other, part))
        ]
        if not known:
            return None
        _, scale, line = min(known, key=lambda candidate: candidate[0])
        return LinearFit(line.base * scale, line.per_row * scale)

    def _line(self, shape: Shape, part: str) -> LinearFit | None:
        key = (shape, part)
        if key not in self._lines:
            measured = self._measured.get(key, {})
            points = {rows: statistics.median(seconds) for rows, seconds in measured.items() if seconds}
            self._lines[key] = fit(points) if points else None
        return self._lines[key]
