"""The engine from the bot's side, with children that die, hang, and say what makes no sense."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from bot.config import Config, ModelConfig
from bot.engine import Finished, Progress, Started, local
from bot.engine.local import LocalEngine, Timeouts
from bot.engine.local.supervisor import KEEPS_DYING
from bot.errors import EngineDied
from bot.findings import engines
from bot.jobs import Operation
from bot.queue.lane_states import lane_states
from bot.requests.uploads import MOST_BYTES
from tests.bot.engine.children import (
    APPLE,
    LONG_SECONDS,
    PATIENT,
    QUICK,
    Child,
    engine_of,
    gone,
    order,
    paint,
    running,
    until,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals")


@pytest.mark.parametrize(
    ("mode", "timeouts", "words", "exit_code"),
    [
        ("hang", QUICK, "silent for 0 s", -signal.SIGTERM),
        ("hang-after-step", replace(PATIENT, step=0.3), "silent for 0 s", -signal.SIGTERM),
        ("ignore-sigterm", QUICK, "silent for 0 s", -signal.SIGKILL),
        ("exit-on-order", QUICK, "stopped while painting", 3),
        ("garbage", QUICK, "stopped while painting", 0),
        ("flood", QUICK, "stopped while painting", None),
        ("nonsense", QUICK, "stopped while painting", 0),
    ],
)
async def test_order_dies_with_its_child_and_the_next_one_is_painted(
    child: Child,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    timeouts: Timeouts,
    words: str,
    exit_code: int | None,
) -> None:
    engine = engine_of(child, timeouts)
    child.will(mode)
    async with running(engine):
        await engine.ready()
        pid = engine.pid
        assert pid is not None
        child.will("well")
        with pytest.raises(EngineDied, match=words):
            await paint(engine, order())
        assert isinstance((await paint(engine, order()))[-1], Finished), "at once, without a pause"
        assert gone(pid)
        assert engine.troubles == {}
    (ended,) = [record for record in caplog.records if "ended (exit code" in record.message]
    assert exit_code is None or f"exit code {exit_code})" in ended.message


async def test_child_that_never_becomes_ready_for_an_order_is_waited_for(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        painting = asyncio.create_task(paint(engine, order()))
        await until(lambda: engine.pid is not None)
        await asyncio.sleep(2 * QUICK.first_step)
        assert not painting.done(), "its timeout begins when the child takes the order"
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        assert isinstance((await painting)[-1], Finished)


async def test_child_that_exits_at_once_is_started_less_and_less_often(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child)
    child.will("exit")
    async with running(engine):
        await until(lambda: len(starts()) >= 5)
        assert engine.troubles == {"": "The engine does not start. The host can find the reason in its log."}
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.troubles == {}
    gaps = [later - earlier for earlier, later in pairwise(starts()[:5])]
    assert all(gap >= pause for gap, pause in zip(gaps, (0, 0.05, 0.1, 0.2), strict=True)), gaps


@pytest.mark.parametrize("mode", ["exit-on-order", "ready-exit"])
async def test_child_that_dies_again_and_again_opens_the_breaker_and_closes_it_by_itself(
    child: Child, mode: str
) -> None:
    engine = engine_of(child)
    child.will(mode)
    troubled = []

    async with running(engine):
        for _ in range(3):
            if mode == "exit-on-order":
                assert engine.troubles == {}, "two deaths may be one request's"
                with pytest.raises(EngineDied):
                    await paint(engine, order())
        await until(lambda: engine.troubles)
        troubled.append(engine.troubles[""])
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished), "without a restart of the bot"
        assert engine.troubles == {}
    assert troubled == [KEEPS_DYING]


async def test_child_that_says_why_it_leaves_is_quoted_and_blames_no_order(child: Child) -> None:
    engine = engine_of(child)
    child.will("leave")
    async with running(engine):
        with pytest.raises(EngineDied, match=r"^The host is gone\.$") as died:
            await paint(engine, order())
        assert not died.value.is_blamed
        assert engine.troubles == {"": "The host is gone."}
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.troubles == {}


def test_pause_before_a_start_doubles_up_to_a_minute() -> None:
    timeouts = Timeouts(restart=1.0)
    assert [timeouts.pause_before_start(failures) for failures in range(10)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert timeouts.pause_before_start(100_000) == 60, "also after ten weeks"


async def test_a_model_that_cannot_be_loaded_is_tried_again_less_and_less_often_until_it_can(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(QUICK, reload=0.2, file_check=0.01))
    child.will("trouble")
    async with running(engine):
        await until(lambda: len(starts()) >= 4)
        assert engine.troubles == {"emoji": "It is broken."}, "a child that says so is no failed start"
        child.will("well")
        await until(lambda: engine.troubles == {})
        assert isinstance((await paint(engine, order()))[-1], Finished), "without a restart of the bot"
    gaps = [later - earlier for earlier, later in pairwise(starts()[:4])]
    assert all(gap >= pause for gap, pause in zip(gaps, (0.2, 0.4, 0.8), strict=True)), gaps


async def test_a_model_that_is_put_right_is_tried_at_once(
    child: Child, starts: Callable[[], list[float]], tmp_path: Path
) -> None:
    weights = tmp_path / "broken" / "unet" / "weights"
    weights.parent.mkdir(parents=True)
    config = Config(models=(ModelConfig(name="emoji", source=str(tmp_path / "broken")),))
    timeouts = replace(QUICK, reload=LONG_SECONDS, file_check=0.05)
    engine = LocalEngine(config, command=child.command, timeouts=timeouts)
    child.will("trouble")
    async with running(engine):
        await until(lambda: engine.troubles)
        await asyncio.sleep(5 * timeouts.file_check)
        assert len(starts()) == 1, "nothing has changed"
        child.will("well")
        weights.write_bytes(b"whole")
        await until(lambda: engine.troubles == {})
    assert len(starts()) == 2


async def test_nobody_who_paints_with_another_model_is_interrupted_for_it(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(PATIENT, reload=0.01, file_check=0.01))
    child.will("trouble")
    async with running(engine), aclosing(engine.submit(order())) as events:
        await anext(events)
        begun = len(starts())
        await asyncio.sleep(0.2)
        assert len(starts()) == begun


def test_pause_before_a_broken_model_is_tried_again_doubles_up_to_half_an_hour() -> None:
    pauses = [Timeouts().pause_before_reload(tries) for tries in (0, 1, 2, 4, 5, 100_000)]
    assert pauses == [60, 120, 240, 960, 1800, 1800]


async def test_the_host_is_told_of_a_child_that_starts_for_long(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(child, PATIENT)
    child.will("silent")
    async with running(engine):
        await until(lambda: engine.pid is not None)
        assert not engine.advice
        later = time.monotonic() + 4 * 60
        with monkeypatch.context() as patched:
            patched.setattr(local, "_now", lambda: later)
            (finding,) = engines(lane_states(engine, (), {}))
        assert finding.remedy.startswith("It has been starting for 4 minutes. The log of the bot says what it does")
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await engine.ready()
        assert not engine.advice


async def test_one_failed_start_is_no_trouble(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        await until(lambda: engine.pid is not None)
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await engine.ready()
        assert engine.troubles == {}


async def test_result_of_an_earlier_attempt_is_ignored(child: Child) -> None:
    engine = engine_of(child)
    child.will("late")
    async with running(engine):
        events = await paint(engine, order(attempt=2))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert [image.png for image in finished.images] == [b"picture"]


async def test_the_pictures_of_an_order_reach_the_child(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT))
    child.will("echo")
    # As much as one request may bring, and far more than a pipe holds.
    pictures = [bytes([number]) * MOST_BYTES for number in range(3)]
    names = [hashlib.sha256(data).hexdigest() for data in pictures]
    request = replace(
        APPLE,
        operation=Operation.INPAINT,
        image=names[0],
        mask_image=names[1],
        control_image=names[2],
        controlnet="canny",
    )
    async with running(engine):
        events = await paint(engine, replace(order(request), uploads=dict(zip(names, pictures, strict=True))))
        assert isinstance(events[-1], Finished)
        assert events[-1].images[0].png == b"".join(pictures)
        assert isinstance((await paint(engine, order()))[-1], Finished), "one without pictures follows"


async def test_slow_model_teaches_its_pace_with_its_first_step(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, step=0.1))
    child.will("slow")
    async with running(engine):
        events = await paint(engine, order())
    assert events[:-1] == [Started(), Progress(1, 2), Progress(2, 2)]


async def test_order_cancelled_before_the_child_is_ready_is_never_sent(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        cancelled = order()
        painting = asyncio.create_task(paint(engine, cancelled))
        await until(lambda: engine.pid is not None)
        engine.cancel(cancelled.job_id)
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        assert await painting == [], "not even Started"
        assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_order_is_not_given_to_a_child_that_left_as_soon_as_it_was_ready(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT))
    child.will("ready-exit")
    async with running(engine):
        painting = asyncio.create_task(paint(engine, order()))
        await until(lambda: engine.pid is not None)
        # While the bot is busy with something else, the child says it is ready and leaves.
        child_left = psutil.Process(engine.pid)
        while not gone(child_left.pid):
            time.sleep(0.01)  # noqa: ASYNC251 - that is the point
        child.will("well")
        # Either it had the order and it is told so, or the next child gets it.
        async with asyncio.timeout(LONG_SECONDS / 2):
            try:
                assert isinstance((await painting)[-1], Finished)
            except EngineDied:
                assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_closing_does_not_wait_for_a_child_that_ignores_everything(child: Child) -> None:
    engine = engine_of(child)
    child.will("ignore-sigterm")
    async with running(engine), aclosing(engine.submit(order())) as events:
        assert await anext(events) == Started()
        pid = engine.pid
        started_at = time.monotonic()
    assert pid is not None
    assert gone(pid)
    assert time.monotonic() - started_at < QUICK.stop + 2 * QUICK.term + 2


async def test_closing_in_a_hurry_kills_the_child(child: Child) -> None:
    engine = engine_of(child, replace(QUICK, stop=LONG_SECONDS))
    child.will("ignore-sigterm")
    async with running(engine) as task, aclosing(engine.submit(order())) as events:
        assert await anext(events) == Started()
        pid = engine.pid
        assert pid is not None
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not gone(pid), "it is still being asked to leave"
    await until(lambda: gone(pid))


async def test_no_file_descriptor_is_left_behind_by_children_that_die(child: Child) -> None:
    engine = engine_of(child)
    child.will("garbage")
    async with running(engine):
        counts = []
        for _ in range(6):
            with pytest.raises(EngineDied):
                await paint(engine, order())
            await engine.ready()
            counts.append(psutil.Process().num_fds())
    assert counts[-1] <= counts[1], counts


async def test_a_child_that_cannot_be_started_is_trouble_and_no_crash(tmp_path: Path) -> None:
    engine = LocalEngine(Config(data=tmp_path), command=[str(tmp_path / "missing")], timeouts=Timeouts(restart=0.01))
    running = asyncio.create_task(engine.run())
    await until(lambda: "" in engine.troubles)
    assert not running.done()
    assert "does not start" in engine.troubles[""]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_child_that_hangs_before_it_is_ready_is_replaced(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    timeouts = Timeouts(start=0.2, stop=0.1, term=0.1, restart=0.01)
    engine = LocalEngine(Config(data=tmp_path), command=command, timeouts=timeouts)
    running = asyncio.create_task(engine.run())
    await until(lambda: "" in engine.troubles)
    assert "does not start" in engine.troubles[""]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
