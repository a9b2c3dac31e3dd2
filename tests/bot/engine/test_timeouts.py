"""How long the engine may be silent, by what it has shown so far."""

from __future__ import annotations

import pytest

from bot.engine.local.timeouts import SilenceLimit, StepTimes, Timeouts
from bot.engine.wire import LoadingFrame, ProgressFrame, StartedFrame
from bot.jobs import JobId

TIMEOUTS = Timeouts(first_step=1800, warm=120, step=30)
STARTED = StartedFrame(JobId(1), 1)


def step(number: int) -> ProgressFrame:
    return ProgressFrame(JobId(1), 1, number, 20)


def test_a_model_that_has_painted_is_waited_for_less_until_another_is_loaded() -> None:
    times = StepTimes(TIMEOUTS, compiling=False)
    first = SilenceLimit("a", times, 0.0)
    assert first.allowed == 1800
    first.heard(step(1), 1.0)
    assert SilenceLimit("a", times, 2.0).allowed == 120
    assert SilenceLimit("b", times, 2.0).allowed == 1800
    times.forget_warm()
    assert SilenceLimit("a", times, 3.0).allowed == 1800


def test_a_compiler_may_take_its_time_at_any_first_step() -> None:
    times = StepTimes(TIMEOUTS, compiling=True)
    SilenceLimit("a", times, 0.0).heard(step(1), 1.0)
    assert SilenceLimit("a", times, 2.0).allowed == 1800


def test_between_steps_the_slowest_and_the_usual_step_say_how_long() -> None:
    silence = SilenceLimit("a", StepTimes(TIMEOUTS, compiling=False), 0.0)
    silence.heard(step(1), 100.0)
    assert silence.allowed == pytest.approx(300), "thrice the slowest, which was the first"
    for number in range(2, 7):
        silence.heard(step(number), 100.0 + 40 * (number - 1))
    assert silence.allowed == pytest.approx(400), "ten times the usual"


def test_a_quick_model_may_be_silent_for_the_least_time() -> None:
    silence = SilenceLimit("a", StepTimes(TIMEOUTS, compiling=False), 0.0)
    for number in range(1, 4):
        silence.heard(step(number), float(number))
    assert silence.allowed == 30


def test_while_a_model_is_loaded_all_orders_may_wait() -> None:
    times = StepTimes(TIMEOUTS, compiling=False)
    silence = SilenceLimit("a", times, 0.0)
    silence.heard(STARTED, 1.0)
    silence.heard(step(1), 2.0)
    times.forget_warm()
    silence.heard(LoadingFrame(), 3.0)
    assert silence.allowed == 1800
