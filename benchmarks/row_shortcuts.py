"""Fewer rows in the forwards of one request: guidance in part of the steps, or rows whose output hardly changes.

Each row is decided by itself and all state belongs to one request, so that a request in a batch equals the same request
alone. `shortcuts.py` measures them; the engine has neither, because fewer steps are better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from bot.worker.rows import mapped

GUIDED = 0.6
"""The part of the steps with guidance, as docs/performance.md measured it."""

Forward = Callable[[Any, Any], Any]
"""Runs the denoiser with positional and named arguments."""


class Shortcut(Protocol):
    """What decides which rows of a request's forwards are run."""

    def __call__(self, forward: Forward, args: Any, kwargs: Any, step: int, steps: int, *, guided: bool) -> Any:
        """Return the denoiser's output for step `step` of `steps`, from 0, with as few rows as possible.

        `guided` says whether the first half of the rows is unconditional, and the second half conditional.
        """
        ...


class PartialGuidance:
    """Guidance in the first part of the steps only: https://arxiv.org/abs/2506.08351.

    Afterwards the conditional prediction stands for both, so that the pipeline's own formula gives it back, whatever
    the scale.
    """

    def __init__(self, part: float = GUIDED, start: float = 0.0) -> None:
        """Guide from `start` to `part` of the steps, as fractions of them."""
        self._part, self._start = part, start

    def __call__(self, forward: Forward, args: Any, kwargs: Any, step: int, steps: int, *, guided: bool) -> Any:
        """See `Shortcut`."""
        if not guided or self._start * steps <= step < self._part * steps:
            return forward(args, kwargs)
        rows = args[0].shape[0]
        half = list(range(rows // 2, rows))
        output = forward(*chosen((args, kwargs), rows, half))
        return mapped(output, lambda leaf: torch.cat([leaf, leaf]) if _has_rows(leaf, rows // 2) else leaf)


class SkippedRows:
    """Leaves out a row whose output is expected to change by less than a threshold since it was last computed.

    As ComfyUI's EasyCache: how much the output changes for a change of the input is taken from the last two forwards of
    the row; the expected changes add up until they reach the threshold. A row that is left out gets its input and the
    difference that its last forward made.
    """

    def __init__(self, threshold: float, begin: float = 0.15, end: float = 0.95) -> None:
        """Leave out rows only between these fractions of the steps; `threshold` is a part of the output's size."""
        self._threshold, self._begin, self._end = threshold, begin, end
        self._rows: dict[int, _Row] = {}

    def __call__(self, forward: Forward, args: Any, kwargs: Any, step: int, steps: int, *, guided: bool) -> Any:
        """See `Shortcut`."""
        sample = args[0]
        allowed = self._begin * steps <= step < self._end * steps
        states = [self._rows.setdefault(row, _Row()) for row in range(len(sample))]
        due = [row for row, state in enumerate(states) if state.is_due(sample[row], self._threshold) or not allowed]
        computed: dict[int, torch.Tensor] = {}
        output: Any = None
        if due:
            output = forward(*chosen((args, kwargs), len(sample), due))
            for place, row in enumerate(due):
                computed[row] = output[0][place]
                states[row].computed(sample[row], computed[row])
        whole = torch.stack(
            [computed[row] if row in computed else state.guess(sample[row]) for row, state in enumerate(states)]
        )
        return (whole,)


class _Row:
    """What is known of one row."""

    def __init__(self) -> None:
        self._input: torch.Tensor | None = None
        self._output: torch.Tensor | None = None
        self._seen: torch.Tensor | None = None
        self._rate: float | None = None
        self._expected = 0.0

    def is_due(self, sample: torch.Tensor, threshold: float) -> bool:
        """Whether the row must be computed; counts what this step is expected to change."""
        if self._rate is None or self._seen is None or self._output is None:
            return True
        moved = float((sample - self._seen).abs().mean())
        self._expected += self._rate * moved / max(float(self._output.abs().mean()), 1e-9)
        self._seen = sample
        return self._expected >= threshold

    def computed(self, sample: torch.Tensor, output: torch.Tensor) -> None:
        """Remember a forward."""
        if self._input is not None and self._output is not None:
            moved = float((sample - self._input).abs().mean())
            self._rate = float((output - self._output).abs().mean()) / max(moved, 1e-9)
        self._input, self._seen, self._output, self._expected = sample, sample, output, 0.0

    def guess(self, sample: torch.Tensor) -> torch.Tensor:
        """The output for an input without a forward."""
        assert self._input is not None
        assert self._output is not None
        return sample + (self._output - self._input)


def chosen(tree: Any, rows: int, wanted: Sequence[int]) -> Any:
    """The tree with only these rows of each leaf that has all rows."""
    index = torch.tensor(list(wanted))
    return mapped(tree, lambda leaf: leaf[index.to(leaf.device)] if _has_rows(leaf, rows) else leaf)


def _has_rows(leaf: Any, rows: int) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and leaf.shape[0] == rows
