"""Which order is blamed for a stage that takes too long, and who is given more time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from bot.engine import Event, Finished, Order
from bot.engine.local import LocalEngine
from bot.engine.wire import Stage
from bot.errors import EngineDied, PaintFailed
from tests.bot.engine.children import (
    APPLE,
    LONG_SECONDS,
    PATIENT,
    QUICK,
    Child,
    engine_of,
    order,
    paint,
    running,
    until,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals")


async def test_an_engine_that_does_not_take_an_order_is_not_waited_for_as_one_that_loads(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, take=0.3))
    child.will("hang-later")
    async with running(engine):
        assert isinstance((await paint(engine, order()))[-1], Finished)
        child.will("well")
        with pytest.raises(EngineDied, match="silent for 0 s"):
            await paint(engine, order())
        assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_who_waits_for_another_model_to_be_loaded_is_given_the_time(child: Child) -> None:
    engine = engine_of(child, replace(QUICK, load=LONG_SECONDS, take=0.3))
    child.will("load-later")
    async with running(engine):
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert isinstance((await paint(engine, order()))[-1], Finished), "though it took twice as long as that"


BESIDE = replace(APPLE, prompt="a bystander")
TROUBLE = replace(APPLE, prompt="trouble", model="another")

IN_STAGE = {
    "decode": replace(PATIENT, decode=0.3),
    "fetch": replace(PATIENT, fetch=0.3),
    "load": replace(PATIENT, load=0.3),
    "encode": replace(PATIENT, prompt=0.3, cold=0.3),
    "start": replace(PATIENT, prompt=0.3, cold=0.3),
    "step": replace(PATIENT, first_step=0.3),
    "finish": replace(PATIENT, finish=0.3),
}
"""The timeouts of an engine that is impatient with one stage."""


async def end_of(engine: LocalEngine, order: Order) -> EngineDied | Event:
    """How an order ends: with its last event, or the engine's end."""
    try:
        return (await paint(engine, order))[-1]
    except EngineDied as error:
        return error


@pytest.mark.parametrize("stage", IN_STAGE)
@pytest.mark.parametrize("ending", ["hang", "die"])
async def test_only_the_order_in_the_stage_that_stalls_is_blamed(child: Child, stage: str, ending: str) -> None:
    engine = engine_of(child, IN_STAGE[stage])
    child.will(f"{ending}-{stage}")
    async with running(engine):
        bystanders = [asyncio.create_task(end_of(engine, order(BESIDE))) for _ in range(2)]
        await until(lambda: len(engine.steps_done) == 2)
        started_at = time.monotonic()
        culprit = await end_of(engine, order(TROUBLE))
        child.will("well")
        ends = await asyncio.gather(*bystanders)
        assert time.monotonic() - started_at < 10, "the others go on"
        assert isinstance(culprit, EngineDied)
        assert culprit.is_blamed
        assert all(isinstance(end, EngineDied) and not end.is_blamed for end in ends), ends
        if ending == "hang":
            assert f"silent for 0 s while {Stage[stage.upper()]}" in str(culprit)
        assert isinstance(await end_of(engine, order(BESIDE)), Finished)


async def test_a_stalled_order_that_was_cancelled_holds_up_no_other_and_blames_no_other(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, prompt=1.0, cold=1.0))
    child.will("hang-encode")
    async with running(engine):
        bystander = asyncio.create_task(end_of(engine, order(BESIDE)))
        await until(lambda: len(engine.steps_done) == 1)
        trouble = order(TROUBLE)
        culprit = asyncio.create_task(paint(engine, trouble))
        await until(lambda: engine._watch.suspects == {(trouble.job_id, trouble.attempt)})
        engine.cancel(trouble.job_id)
        assert await culprit == []
        end = await bystander
        assert isinstance(end, EngineDied)
        assert not end.is_blamed


async def test_a_model_that_hangs_while_it_is_loaded_takes_the_engine_down_twice_and_not_for_each_request(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(PATIENT, load=0.2, reload=0.5))
    child.will("hang-load")
    async with running(engine):
        for _ in range(2):
            assert isinstance(await end_of(engine, order(TROUBLE)), EngineDied)
        assert "hung or stopped 2 times while it loaded the model another" in engine.troubles["another"]
        for _ in range(3):
            with pytest.raises(PaintFailed, match=r"left alone for a while\. Choose another model"):
                await paint(engine, order(TROUBLE))
        assert len(starts()) <= 3
        child.will("well")
        await until(lambda: not engine.troubles)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: len(starts()) > 3)
        assert isinstance(await end_of(engine, order(TROUBLE)), Finished), "after a while it may try again"


async def test_a_result_that_is_slowly_stored_is_no_stall(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, take=0.2))
    child.will("well")
    async with running(engine):
        async with aclosing(engine.submit(order())) as events:
            async for event in events:
                if isinstance(event, Finished):
                    await asyncio.sleep(0.6)
        assert isinstance(await end_of(engine, order()), Finished)
        assert engine.troubles == {}
