"""Plays scripts of calls that come and go to a batcher, with a row policy that differs in what a test wants."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Cancel, Event
from bot.worker.row_policy import PlainRows

Script = Mapping[int, Sequence[Call | Cancel]]
"""What comes, by the number of the step before which it does."""


def batcher_of(*, row_cap: int = 16, alone: bool = False, **ways: Callable[..., Any]) -> StepBatcher:
    """A batcher whose policy is the plain one but for these methods."""
    policy = PlainRows()
    for name, way in ways.items():
        assert hasattr(policy, name)
        setattr(policy, name, way)
    return StepBatcher(policy, row_cap=row_cap, alone=alone)


def play(batcher: StepBatcher, script: Script) -> Iterator[tuple[Call, Event]]:
    """Step until the script is over and all calls have ended."""
    with closing(batcher):
        for number in itertools.count():
            if number > max(script) and batcher.is_idle:
                return
            yield from batcher.step(script.get(number, ()))
