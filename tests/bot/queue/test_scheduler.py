"""Who is next, and when: tables for the rules, properties for what must hold of any queue."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.jobs import TURN_MEMORY, GuildId, JobId, Shape, Start, UserId, Waiting, Work
from bot.queue.engine_forecast import EngineForecast, LaneForecast, Speed
from bot.queue.scheduler import AFFINITY_SECONDS, FORGIVEN, PACE_WINDOW, FairQueue, Share, Turn, schedule

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
GENEROUS = 1000


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class ASecondAForward:
    """An engine in which everything takes a second a forward."""

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        return 1.0 if rows else 0.0

    def rest_seconds(self, work: Work) -> float:
        return 0.0


def work(seconds: int, *, rows: int = 1, shape: Shape = ("m", 8, 8)) -> Work:
    return Work(shape, rows, seconds, 1)


def generous(_: Waiting) -> Share:
    return Share(GENEROUS)


def one_lane(slots: int, speed: Speed, now: datetime) -> EngineForecast:
    return EngineForecast([LaneForecast(slots, speed, now)])


def forecast(free_at: float, slots: int = 1) -> EngineForecast:
    return one_lane(slots, ASecondAForward(), at(free_at))


def asks(
    job_id: int,
    user: str,
    asked: float = 0,
    *,
    images: int = 1,
    seconds: int = 10,
    again: bool = False,
    shape: Shape = ("m", 8, 8),
) -> Waiting:
    asked_for = work(seconds, shape=shape)
    return Waiting(
        JobId(job_id), UserId(ord(user)), GuildId(9), at(asked), images, asked_for, float(seconds), again=again
    )


_numbers = itertools.count(1_000_000)


def started(user: str, when: float, images: int = 1, *, turn: float = 0, seconds: float = 10) -> Start:
    return Start(JobId(next(_numbers)), UserId(ord(user)), at(when), images, seconds, turn, turn, guild_id=GuildId(9))


def plan(
    waiting: Sequence[Waiting],
    starts: Sequence[Start] = (),
    paces: int | Mapping[str, int] = GENEROUS,
    free_at: float = 0,
) -> list[tuple[str, int, float]]:
    """The schedule as (person, job, seconds after noon)."""

    def share(job: Waiting) -> Share:
        return Share(paces if isinstance(paces, int) else paces[chr(job.user_id)])

    turns = schedule(waiting, starts, share, forecast(free_at))
    return [(chr(turn.user_id), int(turn.job_id), (turn.starts_at - NOON).total_seconds()) for turn in turns]


def test_nobody_waits() -> None:
    assert plan([]) == []
    assert plan([], [started("a", 0)]) == []


def test_one_persons_requests_run_in_the_order_of_asking_one_after_the_other() -> None:
    waiting = [asks(1, "a", -3, seconds=5), asks(2, "a", -2, seconds=7), asks(3, "a", -1)]
    assert plan(waiting) == [("a", 1, 0), ("a", 2, 5), ("a", 3, 12)]


def test_five_people_with_four_requests_each_take_turns() -> None:
    waiting = [asks(4 * n + k, user, 4 * n + k - 100) for n, user in enumerate("abcde") for k in range(4)]
    assert "".join(user for user, _, _ in plan(waiting)) == "abcde" * 4
    assert [job for user, job, _ in plan(waiting) if user == "c"] == [8, 9, 10, 11]


def test_a_crowd_of_requests_does_not_delay_a_newcomer() -> None:
    crowd = [asks(n, "a", n - 100) for n in range(50)]
    assert plan([*crowd, asks(99, "b", -1)])[:3] == [("a", 0, 0), ("b", 99, 10), ("a", 1, 20)]
    assert plan([*crowd, asks(99, "b", -1)], [started("a", -10)])[0] == ("b", 99, 0)


@pytest.mark.parametrize(
    ("case", "starts", "order"),
    [
        ("nobody had anything: in the order of asking", [], "abc"),
        ("a person who used something goes after those who did not", [started("a", -30)], "bca"),
        ("who used less goes first", [started("a", -30, seconds=9), started("b", -40, seconds=12)], "cab"),
        (
            "several add up",
            [started("a", -30, seconds=4), started("a", -20, turn=4, seconds=4), started("b", -9)],
            "cab",
        ),
        ("it counts where the turn was, not when", [started("a", -30, turn=20), started("b", -20, turn=5)], "bca"),
        (
            "the clock has passed what they used: nobody owes, nobody is owed",
            [started("z", -1, turn=99), started("a", -30)],
            "abc",
        ),
    ],
)
def test_who_used_less_gpu_time_goes_first(case: str, starts: list[Start], order: str) -> None:
    waiting = [asks(1, "a", -3), asks(2, "b", -2), asks(3, "c", -1)]
    assert "".join(user for user, _, _ in plan(waiting, starts)) == order, case


def test_large_requests_take_as_many_turns_as_they_are_large() -> None:
    waiting = [asks(n, "a", -50 + n, seconds=30) for n in range(3)] + [asks(9 + n, "b", -50 + n) for n in range(9)]
    order = "".join(user for user, _, _ in plan(waiting))
    assert order[:8] in ("abbbabbb", "babbbabb"), "three of ten seconds for each of thirty"


def test_twice_the_weight_is_twice_the_time() -> None:
    waiting = [asks(n, "a", -9) for n in range(12)] + [asks(20 + n, "b", -9) for n in range(12)]
    turns = schedule(waiting, [], lambda job: Share(GENEROUS, 200 if job.user_id == ord("a") else 100), forecast(0))
    assert Counter(chr(turn.user_id) for turn in list(turns)[:12]) == {"a": 8, "b": 4}


def test_waiting_is_worth_a_second_a_minute() -> None:
    waiting = [asks(1, "a", -1200), asks(2, "b", -1)]
    owes = [started("z", -1900), started("a", -1500, turn=0, seconds=15)]
    assert plan(waiting, owes)[0][0] == "a", "twenty minutes are worth more than fifteen seconds"
    owes = [started("z", -1900), started("a", -1500, turn=0, seconds=25)]
    assert plan(waiting, owes)[0][0] == "b"


def test_paused_ones_keep_their_place_and_do_not_start() -> None:
    waiting = [asks(1, "a", -9), asks(2, "b", -8)]
    turns = schedule(waiting, [], lambda job: Share(GENEROUS, paused=job.job_id == 1), forecast(0))
    assert [turn.job_id for turn in turns] == [2]


def test_a_size_that_is_painted_anyway_goes_first_within_a_bound() -> None:
    other: Shape = ("m", 16, 16)

    def next_of(waiting: list[Waiting], *starts: Start) -> int:
        fair_queue = FairQueue(generous)
        for start in starts:
            fair_queue.started(start)
        for job in waiting:
            fair_queue.joins(job)
        turn = fair_queue.next(at(0), {other})
        assert turn is not None
        return int(turn.job_id)

    first = asks(1, "a", -3)
    fits = asks(2, "b", -2, shape=other)
    near, far = AFFINITY_SECONDS - 0.5, AFFINITY_SECONDS + 0.5
    assert next_of([first, fits]) == 2
    assert next_of([first, fits], started("b", -50, seconds=near)) == 2
    assert next_of([first, fits], started("b", -50, seconds=far)) == 1, "not for more than the bound"
    assert next_of([first, fits], started("b", -2, seconds=0)) == 1, "not twice past the same request"
    assert next_of([asks(1, "a", -1000), fits]) == 1, "and not for ever"


def test_a_job_that_was_cut_short_goes_first_of_all() -> None:
    waiting = [asks(1, "b", -9), asks(2, "a", -8, again=True), asks(3, "c", -7, again=True, seconds=4)]
    served = [started("a", -3, images=GENEROUS), started("c", -2)]
    assert plan(waiting, served) == [("a", 2, 0), ("c", 3, 10), ("b", 1, 14)]


@pytest.mark.parametrize(
    ("case", "waiting", "starts", "pace", "turns"),
    [
        ("within the pace", [asks(1, "a", -1, images=2)], [started("a", -5, 2)], 4, [0]),
        ("over it, the next minute", [asks(1, "a", -1, images=3)], [started("a", -5, 2)], 4, [55]),
        ("a minute ago to the second is another minute", [asks(1, "a", -1, images=4)], [started("a", -60, 4)], 4, [0]),
        ("a second less is not", [asks(1, "a", -1, images=4)], [started("a", -59, 4)], 4, [1]),
        ("only as long as need be", [asks(1, "a", -1)], [started("a", -50, 1), started("a", -10, 3)], 4, [10]),
        ("not before it was asked for", [asks(1, "a", 50)], [started("a", -30, 4)], 4, [50]),
        ("more than the pace, on an empty minute", [asks(1, "a", -1, images=9)], [], 4, [0]),
        ("more than the pace, after the others", [asks(1, "a", -1, images=9)], [started("a", -20)], 4, [40]),
        (
            "and then the others wait as long as it takes at the pace",
            [asks(1, "a", -2, images=8), asks(2, "a", -1)],
            [],
            4,
            [0, 120],
        ),
        ("one a minute", [asks(n, "a", n - 9) for n in range(4)], [], 1, [0, 60, 120, 180]),
        ("two a minute", [asks(n, "a", n - 9) for n in range(5)], [], 2, [0, 10, 60, 70, 120]),
        ("what others started is theirs", [asks(1, "a", -1)], [started("b", -1, 9)], 1, [0]),
    ],
)
def test_a_persons_queue_is_drained_at_their_pace(
    case: str, waiting: list[Waiting], starts: list[Start], pace: int, turns: list[float]
) -> None:
    assert [when for _, _, when in plan(waiting, starts, pace)] == turns, case


def test_whoever_is_over_their_pace_leaves_their_turn_to_the_others() -> None:
    waiting = [asks(1, "a", -9), asks(2, "a", -8), asks(3, "b", -7), asks(4, "b", -6), asks(5, "b", -5)]
    assert plan(waiting, paces={"a": 1, "b": 9}) == [
        ("a", 1, 0),
        ("b", 3, 10),
        ("b", 4, 20),
        ("b", 5, 30),
        ("a", 2, 60),
    ]


def test_the_engine_is_free_when_it_is() -> None:
    assert plan([asks(1, "a", -9)], free_at=33) == [("a", 1, 33)]
    assert plan([asks(1, "a", 40)], free_at=33) == [("a", 1, 40)], "nothing starts before it is asked for"


def test_the_forecast_for_a_thousand_people_with_ten_requests_each() -> None:
    waiting = [
        Waiting(JobId(n), UserId(n // 10), GuildId(9), NOON + timedelta(milliseconds=n), 1, work(2))
        for n in range(10_000)
    ]
    turns = list(schedule(waiting, [], lambda _: Share(20), forecast(60)))
    assert len({turn.job_id for turn in turns}) == 10_000
    for lap in range(10):
        assert len({turn.user_id for turn in turns[1000 * lap : 1000 * lap + 1000]}) == 1000
    assert turns[-1].starts_at == at(60 + 2 * 9_999)


NINE: Shape = ("m", 9, 9)


class SharedForwards:
    """A forward of B rows takes 1 + B seconds; each picture another four."""

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        return 1.0 + rows

    def rest_seconds(self, work: Work) -> float:
        return 4.0 * work.images


@pytest.mark.parametrize(
    ("case", "slots", "works", "starts"),
    [
        ("a place for everybody", 3, [work(10), work(10), work(10)], [0, 0, 0]),
        # Together a step takes three seconds instead of twice two.
        ("the third waits for the first", 2, [work(10), work(10), work(1)], [0, 0, 34]),
        ("the shorter one makes room", 2, [work(10), work(2), work(1)], [0, 0, 10]),
        ("other sizes take forwards of their own", 2, [work(10), work(2, shape=NINE), work(1, shape=NINE)], [0, 0, 12]),
        # Eight steps of the long one are left: the fourth waits for the third, which came later and is shorter.
        ("and so on", 2, [work(10), work(2), work(1), work(1)], [0, 0, 10, 17]),
        ("one after the other", 1, [work(10, rows=4), work(1), work(1)], [0, 54, 60]),
    ],
)
def test_those_in_the_engine_share_its_forwards(case: str, slots: int, works: list[Work], starts: list[float]) -> None:
    waiting = [
        Waiting(JobId(n), UserId(n), GuildId(9), at(n - 9), 1, wanted, again=False) for n, wanted in enumerate(works)
    ]
    turns = schedule(waiting, [], generous, one_lane(slots, SharedForwards(), NOON))
    assert [(turn.starts_at - NOON).total_seconds() for turn in turns] == starts, case


def test_a_request_starts_in_the_lane_that_has_a_place_first() -> None:
    waiting = [asks(n, "abcd"[n], n - 9, seconds=s) for n, s in enumerate((10, 4, 3, 5))]
    lanes = [LaneForecast(1, ASecondAForward(), NOON) for _ in range(2)]
    turns = list(schedule(waiting, [], generous, EngineForecast(lanes)))
    assert [(turn.job_id, (turn.starts_at - NOON).total_seconds()) for turn in turns] == [
        (0, 0),
        (1, 0),
        (2, 4),
        (3, 7),
    ]


def test_the_last_places_are_kept_for_whoever_has_none_without_moving_the_clock() -> None:
    """One of four: she fills three, and the last goes to somebody whose turn would come after all of hers."""
    waiting = [asks(n, "a", -9 + n) for n in range(6)] + [asks(n, "z", -1) for n in (7, 8)]
    turns = list(schedule(waiting, [started("z", -99, seconds=500)], generous, forecast(0, slots=4)))
    assert [(turn.job_id, (turn.starts_at - NOON).total_seconds()) for turn in turns] == [
        (0, 0), (1, 0), (2, 0), (7, 0), (3, 10), (4, 10), (5, 10), (8, 10),
    ]  # fmt: skip
    assert max(turn.clock for turn in turns[:7]) < 500, "his turn came early, and that is nobody's loss"


@dataclass(frozen=True)
class Case:
    """Any queue, after any hour."""

    waiting: list[Waiting]
    starts: list[Start]
    paces: dict[JobId, int]
    free_at: datetime
    weights: dict[UserId, int]

    def turns(self) -> list[Turn]:
        return list(
            schedule(
                self.waiting,
                self.starts,
                self.share,
                one_lane(1, ASecondAForward(), self.free_at),
            )
        )

    def share(self, job: Waiting) -> Share:
        return Share(self.paces[job.job_id], self.weights[job.user_id])


PEOPLE = "abcd"


@st.composite
def cases(draw: st.DrawFn, *, again: bool = True, paced: bool = True) -> Case:
    person = st.sampled_from(PEOPLE)
    waiting = draw(
        st.lists(
            st.builds(
                asks,
                st.just(0),
                person,
                st.integers(-120, 60),
                images=st.integers(1, 6),
                seconds=st.integers(1, 40),
                again=st.integers(0, 9).map(lambda n: n == 0) if again else st.just(False),
                shape=st.sampled_from([("m", 8, 8), ("m", 16, 16)]),
            ),
            max_size=14,
        )
    )
    waiting = [replace(job, job_id=JobId(n)) for n, job in enumerate(sorted(waiting, key=lambda job: job.asked_at))]
    begun = st.builds(
        started, person, st.integers(-150, 0), st.integers(1, 6), turn=st.just(0), seconds=st.integers(1, 40)
    )
    starts = draw(st.lists(begun, max_size=8))
    pace = st.integers(1, 8) if paced else st.just(GENEROUS)
    of = draw(st.fixed_dictionaries(dict.fromkeys(PEOPLE, pace)))
    weights = {UserId(ord(person)): draw(st.sampled_from([50, 100, 200])) for person in PEOPLE}
    return Case(
        waiting,
        sorted(starts, key=lambda start: start.at),
        {job.job_id: of[chr(job.user_id)] for job in waiting},
        at(draw(st.integers(0, 30))),
        weights,
    )


def counts_for(images: int, pace: int) -> timedelta:
    """How long a start counts: a minute, or as long as its images take at the pace."""
    return PACE_WINDOW * max(images / pace, 1.0)


def counting(case: Case, turns: Sequence[Turn], user: UserId, when: datetime, pace: int) -> int:
    """Images of a person's starts that still count at `when`, each start up to a minute's worth."""
    images = {job.job_id: job.images for job in case.waiting if not job.again}
    begun = [(start.at, start.images) for start in case.starts if start.user_id == user]
    begun += [(turn.starts_at, images.get(turn.job_id, 0)) for turn in turns if turn.user_id == user]
    return sum(min(count, pace) for start, count in begun if start <= when < start + counts_for(count, pace))


@given(cases())
@settings(max_examples=500, deadline=None)
def test_every_job_has_exactly_one_turn_and_the_first_is_the_one_that_is_chosen(case: Case) -> None:
    turns = case.turns()
    assert sorted((turn.job_id, turn.user_id) for turn in turns) == [(job.job_id, job.user_id) for job in case.waiting]
    fair_queue = FairQueue(case.share)
    for start in case.starts:
        fair_queue.started(start)
    for job in case.waiting:
        fair_queue.joins(job)
    assert fair_queue.next(case.free_at, ()) == (turns[0] if turns else None)


@given(cases())
@settings(max_examples=500, deadline=None)
def test_one_job_is_painted_at_a_time_and_none_before_it_was_asked_for(case: Case) -> None:
    jobs = {job.job_id: job for job in case.waiting}
    free_at = case.free_at
    for turn in case.turns():
        job = jobs[turn.job_id]
        assert turn.starts_at >= free_at
        assert job.again or turn.starts_at >= job.asked_at
        free_at = turn.starts_at + timedelta(seconds=job.work.forwards)


@given(cases())
@settings(max_examples=500, deadline=None)
def test_a_persons_jobs_start_in_the_order_of_asking_and_interrupted_ones_before_everybodys(case: Case) -> None:
    again = {job.job_id for job in case.waiting if job.again}
    order = [turn.job_id for turn in case.turns()]
    assert set(order[: len(again)]) == again
    assert order[: len(again)] == sorted(again)
    for person in {job.user_id for job in case.waiting}:
        theirs = [job.job_id for job in case.waiting if job.user_id == person and not job.again]
        assert [job_id for job_id in order if job_id in theirs] == theirs


@given(cases())
@settings(max_examples=500, deadline=None)
def test_nobody_exceeds_their_pace_in_any_minute_but_by_a_request_larger_than_it(case: Case) -> None:
    turns = case.turns()
    jobs = {job.job_id: job for job in case.waiting}
    for turn in turns:
        job = jobs[turn.job_id]
        if not job.again:
            pace = case.paces[turn.job_id]
            assert counting(case, turns, turn.user_id, turn.starts_at, pace) <= pace


@given(cases())
@settings(max_examples=500, deadline=None)
def test_the_engine_never_idles_while_somebody_may_start(case: Case) -> None:
    turns = case.turns()
    jobs = {job.job_id: job for job in case.waiting}
    idle_from = case.free_at
    for index, turn in enumerate(turns):
        done = turns[:index]
        first = {jobs[later.job_id].user_id: jobs[later.job_id] for later in reversed(turns[index:])}
        begun = [(start.at, start.images) for start in case.starts]
        begun += [(before.starts_at, jobs[before.job_id].images) for before in done]
        moments = {idle_from} | {job.asked_at for job in first.values()}
        moments |= {at + counts_for(images, pace) for at, images in begun for pace in set(case.paces.values())}
        for moment in moments:
            if not idle_from <= moment < turn.starts_at:
                continue
            for person, job in first.items():
                pace = case.paces[job.job_id]
                count = counting(case, done, person, moment, pace)
                fits = count == 0 or count + job.images <= pace
                assert not (job.asked_at <= moment and fits), f"{job} might have started at {moment}"
        idle_from = turn.starts_at + timedelta(seconds=jobs[turn.job_id].work.forwards)


@given(cases(again=False, paced=False))
@settings(max_examples=500, deadline=None)
def test_a_newcomer_waits_for_at_most_one_job_of_anybody_else(case: Case) -> None:
    turns = case.turns()
    served = {start.user_id for start in case.starts}
    for newcomer in {job.user_id for job in case.waiting} - served:
        asked_at = next(job.asked_at for job in case.waiting if job.user_id == newcomer)
        before: Counter[UserId] = Counter()
        for turn in turns:
            if turn.user_id == newcomer:
                break
            before[turn.user_id] += turn.starts_at >= asked_at
        assert all(count <= 1 for count in before.values()), before


def backlog(draw: st.DrawFn) -> list[Waiting]:
    """Three people who all wait for longer than is looked at."""
    jobs = []
    for user in "abc":
        size = draw(st.integers(1, 40))
        jobs += [
            asks(len(jobs) + n, user, -1, seconds=draw(st.integers(1, size)), shape=draw(st.sampled_from(SHAPES)))
            for n in range(12)
        ]
    return [replace(job, job_id=JobId(n)) for n, job in enumerate(jobs)]


SHAPES: list[Shape] = [("m", 8, 8), ("m", 16, 16)]


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_gpu_time_over_weight_is_shared_evenly_while_people_wait(data: st.DataObject) -> None:
    """While all of them have something waiting, for one and two places in the engine."""
    waiting = backlog(data.draw)
    weights = {UserId(ord(user)): data.draw(st.sampled_from([50, 100, 300])) for user in "abc"}
    slots = data.draw(st.integers(1, 2))
    jobs = {job.job_id: job for job in waiting}
    left = Counter(job.user_id for job in waiting)
    got: dict[UserId, float] = defaultdict(float)
    largest = {user: max(j.seconds for j in waiting if j.user_id == user) * 100 / weights[user] for user in weights}
    for turn in schedule(
        waiting,
        [],
        lambda job: Share(GENEROUS, weights[job.user_id]),
        one_lane(slots, ASecondAForward(), NOON),
    ):
        job = jobs[turn.job_id]
        got[job.user_id] += job.seconds * 100 / weights[job.user_id]
        left[job.user_id] -= 1
        if not all(left.values()):
            break
        forgiven = FORGIVEN * (turn.starts_at - at(-1)).total_seconds()
        for one, other in itertools.combinations(weights, 2):
            bound = largest[one] + largest[other] + AFFINITY_SECONDS + forgiven
            assert abs(got[one] - got[other]) <= bound + 1e-6


@given(st.integers(1, 8), st.integers(4, 20), st.integers(1, 3))
@settings(max_examples=500, deadline=None)
def test_an_endless_stream_of_newcomers_starves_nobody(owed: int, seconds: int, others: int) -> None:
    """Somebody who used a lot waits while new people keep coming, faster than they are served."""
    fair_queue = FairQueue(generous)
    fair_queue.started(started("z", -1, seconds=owed))
    fair_queue.joins(asks(1, "z", 0))
    numbers, people, now = itertools.count(2), itertools.count(1000), 0.0
    while True:
        for _ in range(others):
            fair_queue.joins(asks(next(numbers), chr(next(people)), now, seconds=seconds))
        turn = fair_queue.next(at(now), ())
        assert turn is not None
        fair_queue.take_and_start(turn)
        if turn.job_id == 1:
            break
        now += seconds
    assert now <= others * (owed / FORGIVEN + seconds), "those who asked before its turn came have one job each"


@given(cases(again=False), st.data())
@settings(max_examples=500, deadline=None)
def test_what_is_kept_up_to_date_is_what_is_built_anew(case: Case, data: st.DataObject) -> None:
    """However the rows came to be: told one by one, in any order, with cancels in between."""
    gone = data.draw(st.sets(st.sampled_from([job.job_id for job in case.waiting]))) if case.waiting else set()
    kept, anew = FairQueue(case.share), FairQueue(case.share)
    for change in data.draw(st.permutations([*case.waiting, *case.starts])):
        if isinstance(change, Start):
            kept.started(change)
        else:
            kept.joins(change)
    for job_id in gone:
        kept.leaves(job_id)
    for start in case.starts:
        anew.started(start)
    for job in case.waiting:
        if job.job_id not in gone:
            anew.joins(job)
    assert kept.next(case.free_at, ()) == anew.next(case.free_at, ())


@given(cases(), st.integers(1, 9))
@settings(max_examples=500, deadline=None)
def test_with_places_kept_everybody_has_a_turn_in_order_and_nobody_takes_what_is_kept_for_others(
    case: Case, slots: int
) -> None:
    jobs = {job.job_id: job for job in case.waiting}
    turns = list(
        schedule(
            case.waiting,
            case.starts,
            case.share,
            one_lane(slots, ASecondAForward(), case.free_at),
        )
    )
    assert Counter(turn.job_id for turn in turns) == Counter(jobs.keys())
    assert all(before.starts_at <= after.starts_at for before, after in itertools.pairwise(turns))
    for n, turn in enumerate(turns):
        # Everything takes a second a forward in any company, so it is known when a request leaves.
        ends = [
            (before.starts_at + timedelta(seconds=jobs[before.job_id].work.forwards), before) for before in turns[:n]
        ]
        inside = [before.user_id for until, before in ends if until > turn.starts_at + timedelta(milliseconds=1)]
        assert len(inside) < slots
        if turn.at is not None:
            assert turn.user_id not in inside or slots - len(inside) > slots // 4


@given(cases())
@settings(max_examples=500, deadline=None)
def test_every_job_is_charged_once_and_one_that_had_its_turn_is_not(case: Case) -> None:
    jobs = {job.job_id: job for job in case.waiting}
    turns = case.turns()
    assert len({turn.job_id for turn in turns}) == len(turns)
    assert all((turn.at is None) == jobs[turn.job_id].again for turn in turns)
    charged: dict[UserId, float] = {}
    for turn in turns:
        if turn.at is not None:
            assert turn.at >= turn.clock - AFFINITY_SECONDS - 1e-6 or turn.at >= charged.get(turn.user_id, 0.0)
            charged[turn.user_id] = turn.at


@st.composite
def histories(draw: st.DrawFn) -> list[Start]:
    """What is told of one person's starts, as it comes: each when it begins, most once more when it has ended."""
    told: list[Start] = []
    open_: list[Start] = []
    when = 0.0
    for number in range(1, draw(st.integers(1, 40)) + 1):
        when += draw(st.sampled_from([0, 1, 30, 200, 900]))
        turn = float(draw(st.integers(0, 50)))
        seconds = float(draw(st.integers(1, 9)))
        images = draw(st.integers(1, 4))
        told.append(
            Start(JobId(number), UserId(1), at(when), images, seconds, turn, settled=False, guild_id=GuildId(9))
        )
        open_.append(told[-1])
        while len(open_) > 1 and draw(st.booleans()):
            ended = open_.pop(draw(st.integers(0, len(open_) - 2)))
            used = float(draw(st.integers(0, 9)))
            told.append(replace(ended, images=draw(st.sampled_from([0, ended.images])), seconds=used, settled=True))
    # The newest is what everything is old by.
    return sorted(told, key=lambda start: start.job_id == JobId(number))


@given(histories(), st.integers(1, 9), st.sampled_from([1, 50, 100, 700]))
@settings(max_examples=500, deadline=None)
def test_what_is_forgotten_of_a_person_decided_nothing(told: list[Start], pace: int, weight: int) -> None:
    fair_queue = FairQueue(lambda _: Share(pace, weight))
    for start in told:
        fair_queue.started(start)
    now = told[-1].at
    fair_queue.joins(asks(1000, chr(1), asked=(now - NOON).total_seconds()))
    last = {start.job_id: start for start in told}.values()

    ended = max(start.turn + start.seconds * 100 / weight for start in last if start.at > now - TURN_MEMORY)
    counting = [(start.at + PACE_WINDOW * max(start.images / pace, 1), min(start.images, pace)) for start in last]
    counting.sort(reverse=True)
    images = itertools.accumulate(count for _, count in counting)
    ready_at = next((until for (until, _), sum_ in zip(counting, images, strict=True) if sum_ > pace - 1), now)
    turn = fair_queue.next(now, ())
    assert turn is not None
    assert turn.starts_at == max(now, ready_at)
    forgiven = FORGIVEN * (turn.starts_at - now).total_seconds()
    assert turn.at == pytest.approx(max(ended - forgiven, 0), abs=1e-4)


def test_of_an_hour_of_starts_little_is_remembered() -> None:
    fair_queue = FairQueue(generous)
    for number in range(3600):
        seconds = 1 + number * 7919 % 10
        fair_queue.started(Start(JobId(number), UserId(1), at(number), 1, seconds, float(number)))
    assert len(fair_queue.starts) < 2 * PACE_WINDOW.total_seconds() + 20
