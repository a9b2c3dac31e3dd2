"""A kill at any moment: every accepted request ends once, and visibly.

The tests kill the bot at a few of its side effects and lose a few replies of Discord; `python -m tests.faults.sweep`
does so at all of them.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.sweep import Outcome, afternoon, play, sweep

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by POSIX signals")

FEW = 8
AT_A_TIME = 4
"""A run waits most of the time."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same afternoon without a fault."""
    return asyncio.run(play(afternoon, tmp_path_factory.mktemp("undisturbed") / "0"))


async def test_a_kill_at_any_side_effect_loses_nothing_and_doubles_nothing(
    tmp_path: Path, undisturbed: Outcome
) -> None:
    count, outcomes = await sweep(
        tmp_path, lambda count: range(count // FEW, count + 1, count // FEW), AT_A_TIME, undisturbed=undisturbed
    )
    print(f"{count} crash points, killed at {[outcome.number for outcome in outcomes if outcome.deaths]}")
    assert {f"{outcome.number} {outcome.name}": outcome.broken for outcome in outcomes if outcome.broken} == {}
    # The number of the last points changes a little from run to run.
    assert sum(outcome.deaths for outcome in outcomes) >= FEW - 1


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_reply_that_is_lost_loses_nothing_and_doubles_nothing(
    tmp_path: Path, undisturbed: Outcome, lost: str
) -> None:
    _, outcomes = await sweep(
        tmp_path, lambda count: range(count // 4, count + 1, count // 4), AT_A_TIME, lost, undisturbed
    )
    assert {f"{outcome.number} {outcome.name}": outcome.broken for outcome in outcomes if outcome.broken} == {}
    assert sum(bool(outcome.lost) for outcome in outcomes) >= 3
