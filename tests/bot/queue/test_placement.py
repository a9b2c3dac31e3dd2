"""Which lane takes which job: where its model is loaded, with no lane idle and nobody starved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.timing import STEP, Timings
from bot.jobs import Shape
from bot.queue.engine_forecast import EngineForecast, LaneForecast
from bot.queue.placement import Borrowing, Fit, Spot, fit, painter
from bot.queue.scheduler import FairQueue, schedule
from tests.bot.queue.test_scheduler import NOON, ASecondAForward, asks, at, generous


def spot(name: str = "here", warm: Sequence[str] = (), *, models: str = "abcdm", **changes: Any) -> Spot:
    """A lane that can paint with the models of these letters."""
    return Spot(name, lambda model: model in models, frozenset(warm), **changes)


ASKS = {"takes_anyone": True}


@pytest.mark.parametrize(
    ("here", "others", "expected"),
    [
        (spot(), [], Fit.WARM),
        (spot(warm="a"), [spot("other")], Fit.WARM),
        (spot(), [spot("other", models="b")], Fit.WARM),
        (spot(), [spot("drained", "a", is_open=False, takes_anyone=True)], Fit.WARM),
        (spot(), [spot("other")], Fit.COLD),
        (spot(), [spot("full", "a")], Fit.COLD),
        (spot(), [spot("other", "a", **ASKS)], Fit.LEFT),
        (spot(), [spot("half full", "a", load=0.5, **ASKS)], Fit.COLD),
        (spot(warm="a", load=0.5), [spot("idle", **ASKS)], Fit.LEFT),
        (spot(warm="a", load=0.25), [spot("idle", **ASKS)], Fit.WARM),
        (spot(warm="a", load=0.5), [spot("less full", "a", load=0.25, **ASKS)], Fit.LEFT),
        (spot(warm="a"), [spot("alike", "a", **ASKS)], Fit.WARM),
        (spot(models="b"), [spot("other")], Fit.UNABLE),
        (spot(models="b"), [spot("drained", is_open=False)], Fit.UNABLE),
        (spot(models="b"), [spot("other", models="b")], Fit.WARM),
    ],
)
def test_how_a_model_fits_to_a_lane(here: Spot, others: list[Spot], expected: Fit) -> None:
    assert fit("a", here, others) is expected


SPOTS = st.lists(
    st.builds(
        Spot,
        st.uuids().map(str),
        st.frozensets(st.sampled_from("ab")).map(lambda models: lambda model: model in models),
        st.frozensets(st.sampled_from("ab")),
        st.booleans(),
        st.just(value=True),
        st.sampled_from((0.0, 0.25, 0.5, 0.75)),
    ),
    min_size=1,
    max_size=4,
)


@given(SPOTS)
def test_of_the_lanes_with_a_free_place_one_takes_a_model_that_any_of_them_can_paint(spots: list[Spot]) -> None:
    """No two lanes leave a request to each other, and nobody waits for a lane that will not take it."""
    free = [each for each in spots if each.is_open]
    found = [fit("a", each, [other for other in spots if other is not each]) for each in free]
    if any(each.can("a") for each in free):
        assert {Fit.WARM, Fit.COLD} & set(found)


@pytest.mark.parametrize(
    ("spots", "index"),
    [
        ([spot(), spot(warm="a")], 1),
        ([spot(warm="a", is_open=False), spot()], 1),
        ([spot(models="b"), spot()], 1),
        ([spot(load=1.0), spot(load=0.5)], 1),
        ([spot(models="b"), spot(models="b")], 0),
    ],
)
def test_the_lane_that_will_probably_paint(spots: list[Spot], index: int) -> None:
    assert painter("a", spots) == index


def test_a_lane_that_never_painted_a_model_borrows_what_another_one_knows() -> None:
    own, other, shape = Timings(), Timings(), ("m", 8, 8)
    other.record(shape, STEP, 1, 3.0)
    assert Borrowing(own, [other]).forward_seconds(shape, 1) == pytest.approx(3.0)
    own.record(shape, STEP, 1, 1.0)
    assert Borrowing(own, [other]).forward_seconds(shape, 1) == pytest.approx(1.0)


def shape(model: str) -> Shape:
    """A size of a model."""
    return (model, 8, 8)


class TestFairQueue:
    """What a lane gets that asks."""

    def queue(self, *models: str) -> FairQueue:
        """One person for each model, in this order."""
        queue = FairQueue(generous)
        for number, model in enumerate(models):
            queue.joins(asks(number, chr(ord("a") + number), -9 + number * 0.01, shape=shape(model)))
        return queue

    def test_a_loaded_model_goes_before_one_that_would_have_to_be_loaded(self) -> None:
        queue = self.queue("x", "y")
        turn = queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else Fit.COLD)
        assert turn is not None
        assert turn.job_id == 1

    def test_a_lane_without_a_loaded_model_that_waits_does_not_stay_idle(self) -> None:
        turn = self.queue("x", "y").next(NOON, (), fit=lambda _: Fit.COLD)
        assert turn is not None
        assert turn.job_id == 0

    @pytest.mark.parametrize("fitting", [Fit.LEFT, Fit.UNABLE])
    def test_what_is_left_to_others_is_passed_over_however_long_the_line_is(self, fitting: Fit) -> None:
        queue = self.queue(*["x"] * 20, "y")
        turn = queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else fitting)
        assert turn is not None
        assert turn.job_id == 20
        assert queue.next(NOON, (), fit=lambda _: fitting) is None

    def test_looks_at_the_first_32_and_no_further(self) -> None:
        for ahead, expected in ((31, 31), (32, 0)):
            queue = self.queue(*["x"] * ahead, "y")
            turn = queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else Fit.COLD)
            assert turn is not None
            assert turn.job_id == expected

    def test_an_interrupted_request_goes_only_to_a_lane_that_can_paint_it(self) -> None:
        queue = self.queue("y")
        queue.joins(asks(9, "z", again=True, shape=shape("x")))
        turn = queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else Fit.UNABLE)
        assert turn is not None
        assert turn.job_id == 0

    def test_each_other_person_goes_before_a_cold_request_at_most_once(self) -> None:
        queue = FairQueue(generous)
        queue.joins(asks(0, "z", -9, shape=shape("x")))
        for number in range(1, 60):
            queue.joins(asks(number, "abc"[number % 3], -8, seconds=1, shape=shape("y")))
        order = []
        while (turn := queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else Fit.COLD)) is not None:
            order.append(turn.job_id)
            queue.take_and_start(turn)
        assert order.index(0) <= 3, "one of each other person"
        assert len(order) == 60

    def test_a_request_whose_pace_keeps_it_does_not_hide_one_that_the_lane_can_paint(self) -> None:
        queue = FairQueue(generous)
        queue.joins(asks(0, "a", 5, shape=shape("x")))
        queue.joins(asks(1, "b", 9, shape=shape("y")))
        turn = queue.next(NOON, (), fit=lambda model: Fit.WARM if model == "y" else Fit.UNABLE)
        assert turn is not None
        assert (turn.job_id, turn.starts_at) == (1, at(9))
        again = queue.next(at(6), ())
        assert again is not None
        assert again.job_id == 0, "asking changed nothing"


def lane(slots: int, name: str, warm: Sequence[str] = (), **changes: Any) -> LaneForecast:
    return LaneForecast(slots, ASecondAForward(), NOON, spot(name, warm, **changes))


class TestForecast:
    """The schedule over several lanes."""

    def plan(self, lanes: list[LaneForecast], *models: str, beside: Sequence[Spot] = ()) -> list[tuple[int, float]]:
        waiting = [
            asks(number, chr(ord("a") + number), -9 + number * 0.01, shape=shape(model))
            for number, model in enumerate(models)
        ]
        turns = schedule(waiting, [], generous, EngineForecast(lanes, beside))
        return [(int(turn.job_id), (turn.starts_at - NOON).total_seconds()) for turn in turns]

    def test_jobs_go_to_the_lanes_that_have_their_models(self) -> None:
        lanes = [lane(1, "first", "a"), lane(1, "second", "b")]
        assert self.plan(lanes, "b", "a", "b", "a") == [(1, 0), (0, 0), (3, 10), (2, 10)]

    def test_a_job_that_no_lane_takes_now_has_no_turn(self) -> None:
        drained = spot("drained", is_open=False)
        assert self.plan([lane(1, "first", models="b")], "a", "b", "b", beside=[drained]) == [(1, 0), (2, 10)]

    def test_an_idle_lane_shares_the_load(self) -> None:
        lanes = [lane(4, "first", "a"), lane(4, "second")]
        assert [starts for _, starts in self.plan(lanes, *"aaaaaaaa")] == [0] * 8

    def test_two_that_are_alike_take_turns(self) -> None:
        lanes = [lane(8, "first", "a"), lane(8, "second", "a")]
        self.plan(lanes, *"aaaa")
        assert [each.spot(NOON).load for each in lanes] == [0.25, 0.25]

    def test_a_lane_of_another_model_that_nobody_wants_does_not_stop_the_schedule(self) -> None:
        lanes = [lane(1, "first", models="b"), lane(1, "second")]
        assert self.plan(lanes, "a", "a") == [(0, 0), (1, 10)]

    def test_two_speeds(self) -> None:
        class Slow(ASecondAForward):
            def forward_seconds(self, shape: Shape, rows: int) -> float:
                return 3 * super().forward_seconds(shape, rows)

        lanes = [lane(1, "fast", "a"), LaneForecast(1, Slow(), NOON, spot("slow", "a"))]
        assert self.plan(lanes, *"aaaaa") == [(0, 0), (1, 0), (2, 10), (3, 20), (4, 30)]
