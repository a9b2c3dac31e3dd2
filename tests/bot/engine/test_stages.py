"""How long each stage of the engine may take, by what it has shown so far, and who is blamed for one that stalls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.engine.local.stages import StageWatch, Stall
from bot.engine.local.timeouts import Timeouts
from bot.engine.wire import FinishedFrame, OrderKey, ProgressFrame, Stage, StageFrame, StartedFrame
from bot.jobs import GenerationRequest, JobId

TIMEOUTS = Timeouts()
FOX = GenerationRequest(
    prompt="a fox", model="a", width=64, height=64, num_inference_steps=20, guidance_scale=3.0, seed=1
)
OTHER = replace(FOX, model="b")
A, B, C = ((JobId(number), 1) for number in (1, 2, 3))


def watch(*, known: float | None = None, compiling: bool = False, **orders: GenerationRequest) -> StageWatch:
    """A watch over a process with these orders, sent at 0."""
    made = StageWatch(TIMEOUTS, lambda _: known, compiling=compiling)
    for name, request in (orders or {"a": FOX, "b": FOX, "c": OTHER}).items():
        made.sent({"a": A, "b": B, "c": C}[name], request, 0.0)
    return made


def begin(watch: StageWatch, now: float, stage: Stage, *orders: OrderKey, **more: str | int) -> None:
    thread = str(more.pop("thread", "loop"))
    watch.heard(StageFrame(thread, stage, orders, **more), now)  # type: ignore[arg-type]


def stepped(watch: StageWatch, now: float, *orders: OrderKey, step: int = 1) -> None:
    for order in orders:
        watch.heard(ProgressFrame(*order, step, 20), now)


def allowed(watch: StageWatch, now: float = 1e6) -> float:
    """How long the first stage that stalls may take, if nothing more is heard."""
    stall = watch.stall(now)
    assert stall is not None
    return stall.allowed


@pytest.mark.parametrize(
    ("stage", "seconds"),
    [
        (Stage.DECODE, TIMEOUTS.decode),
        (Stage.ENCODE, TIMEOUTS.cold),
        (Stage.START, TIMEOUTS.cold),
        (Stage.STEP, TIMEOUTS.first_step),
        (Stage.FINISH, TIMEOUTS.finish),
    ],
)
def test_each_stage_has_a_time_of_its_own_and_only_its_orders_are_blamed(stage: Stage, seconds: float) -> None:
    following = watch()
    begin(following, 10.0, stage, B)
    assert following.due_at == 10 + seconds
    assert following.stall(9.9 + seconds) is None
    assert following.stall(10 + seconds) == Stall(stage, "", seconds, frozenset({B}))


@pytest.mark.parametrize(("stage", "seconds"), [(Stage.LOAD, TIMEOUTS.load + 10), (Stage.FETCH, TIMEOUTS.fetch)])
def test_all_who_wait_for_a_model_are_blamed_for_it_also_those_who_came_later(stage: Stage, seconds: float) -> None:
    following = watch()
    begin(following, 0.0, stage, model="a", size=int(500e6))
    following.sent((JobId(4), 1), FOX, 1.0)
    assert following.stall(seconds) == Stall(stage, "a", seconds, frozenset({A, B, (JobId(4), 1)}))


def test_a_model_that_is_wanted_no_more_blames_no_other_order() -> None:
    following = watch(c=OTHER)
    begin(following, 0.0, Stage.LOAD, model="a")
    stall = following.stall(1000)
    assert stall is not None
    assert stall.blamed == frozenset()


def test_a_stage_that_ended_is_watched_no_more() -> None:
    following = watch()
    begin(following, 0.0, Stage.LOAD, model="a")
    begin(following, 50.0, Stage.ENCODE, A)
    assert allowed(following) == TIMEOUTS.cold
    begin(following, 60.0, Stage.REST)
    assert allowed(following) == TIMEOUTS.take


def test_while_one_order_stalls_the_others_silence_is_not_theirs() -> None:
    following = watch()
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 1.0, A)
    begin(following, 1.0, Stage.ENCODE, B)
    for now in range(2, 1000, 10):
        if stall := following.stall(float(now)):
            assert (stall.stage, stall.blamed) == (Stage.ENCODE, {B})
            return
    pytest.fail("the stall was not found")


def test_threads_are_watched_beside_each_other() -> None:
    following = watch()
    begin(following, 0.0, Stage.DECODE, C, thread="decoder")
    for second in range(59):
        begin(following, float(second), Stage.STEP, A, B)
        stepped(following, second + 0.5, A, B, step=second + 1)
    assert following.stall(59.0) is None
    assert following.stall(60.0) == Stall(Stage.DECODE, "", TIMEOUTS.decode, frozenset({C}))
    begin(following, 60.0, Stage.REST, thread="decoder")
    begin(following, 60.0, Stage.STEP, A, B)
    assert following.stall(60.0) is None


def test_a_model_that_has_painted_is_warm_until_another_is_loaded() -> None:
    following = watch()
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 1.0, A)
    begin(following, 1.0, Stage.ENCODE, B)
    assert allowed(following) == TIMEOUTS.prompt
    begin(following, 2.0, Stage.STEP, B)
    assert allowed(following) == TIMEOUTS.warm
    begin(following, 3.0, Stage.ENCODE, C)
    assert allowed(following) == TIMEOUTS.cold, "another model"
    begin(following, 3.0, Stage.LOAD, model="b")
    begin(following, 4.0, Stage.ENCODE, B)
    assert allowed(following) == TIMEOUTS.cold


def test_a_model_whose_speed_is_known_is_not_waited_for_as_an_unknown_one() -> None:
    for known, seconds in ((None, TIMEOUTS.first_step), (0.1, TIMEOUTS.warm), (20.0, 200.0)):
        following = watch(known=known)
        begin(following, 0.0, Stage.STEP, A)
        assert allowed(following) == pytest.approx(seconds)


def test_a_slow_prompt_teaches_how_long_prompts_take() -> None:
    following = watch()
    begin(following, 0.0, Stage.ENCODE, A)
    begin(following, 40.0, Stage.STEP, A)
    stepped(following, 41.0, A)
    begin(following, 41.0, Stage.ENCODE, B)
    assert allowed(following) == pytest.approx(400)


def test_a_newcomer_shares_the_step_of_those_who_have_shown_how_long_it_takes() -> None:
    following = watch()
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 1.0, A)
    begin(following, 1.0, Stage.STEP, A, B)
    assert following.stall(31.0) == Stall(Stage.STEP, "", TIMEOUTS.step, frozenset({A, B}))


def test_between_steps_the_slowest_and_the_usual_step_say_how_long() -> None:
    following, now = watch(), 100.0
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, now, A)
    begin(following, now, Stage.STEP, A)
    assert allowed(following) == pytest.approx(300), "thrice the slowest, which was the first"
    for step in range(2, 7):
        now += 40
        stepped(following, now, A, step=step)
        begin(following, now, Stage.STEP, A)
    assert allowed(following) == pytest.approx(400), "ten times the usual"


def test_a_first_step_that_took_long_is_no_stall_when_it_is_reported() -> None:
    following = watch()
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 500.0, A)
    assert following.stall(500.0) is None


def test_the_last_step_leaves_time_to_decode_where_no_time_is_known() -> None:
    following = watch()
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 1.0, A, step=20)
    begin(following, 1.0, Stage.STEP, A)
    assert allowed(following) == TIMEOUTS.first_step


def test_a_compiler_may_take_its_time_at_any_step() -> None:
    following = watch(compiling=True)
    begin(following, 0.0, Stage.STEP, A)
    stepped(following, 1.0, A)
    begin(following, 1.0, Stage.STEP, A)
    assert allowed(following) == TIMEOUTS.compile


def test_an_engine_that_does_nothing_with_its_orders_is_hung_and_says_so_of_the_overdue_ones() -> None:
    following = watch()
    begin(following, 5.0, Stage.REST)
    following.sent((JobId(4), 1), FOX, 20.0)
    assert following.due_at == 35.0
    assert following.stall(35.0) == Stall(Stage.REST, "", TIMEOUTS.take, frozenset({A, B, C}))
    stepped(following, 30.0, A)
    assert following.due_at == 60.0, "it has said something"


def test_without_orders_there_is_nothing_to_wait_for() -> None:
    following = watch(a=FOX, b=FOX)
    following.heard(StartedFrame(*A), 1.0)
    following.heard(FinishedFrame(*A, (), ""), 2.0)
    assert following.due_at is not None
    following.ended(B)
    assert following.due_at is None
    assert following.stall(1e6) is None


def test_an_engine_that_dies_is_blamed_on_what_it_was_doing() -> None:
    following = watch()
    assert following.suspects == {A, B, C}, "nothing is known"
    begin(following, 0.0, Stage.DECODE, C, thread="decoder")
    assert following.suspects == {C}
    begin(following, 0.0, Stage.STEP, A)
    assert following.suspects == {A, C}
    begin(following, 0.0, Stage.LOAD, model="a")
    assert following.suspects == {A, B, C}
    assert following.loading == ["a"]


def test_another_process_begins_with_nothing() -> None:
    following = watch()
    begin(following, 0.0, Stage.LOAD, model="a")
    following.restart()
    assert following.due_at is None
    following.sent(A, FOX, 100.0)
    assert following.due_at == 100 + TIMEOUTS.take
