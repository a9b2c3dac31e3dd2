"""The waiting line as it is now: rows and rules given to the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiosqlite
import pytest

from bot.config import LimitsConfig
from bot.engine.fake import FakeEngine
from bot.engine.timing import STEP
from bot.jobs import GuildId, Job, JobId, Requester, Scope, UserId
from bot.policy.limits import PAUSED, SERVER
from bot.queue import scheduler
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.queue.shared import Shared
from bot.storage.queue import CLAIM
from bot.storage.queue_changes import LIVE, TOUCHED, Touched
from tests.bot.storage.conftest import (
    ADA,
    CHANNEL,
    GRACE,
    GUILD,
    NOON,
    HandClock,
    Store,
    a_request,
    ids,
    open_store,
    pictures,
)

DEFAULTS = LimitsConfig(pace=20, depth=5, quota=200)


@pytest.fixture
async def store(tmp_path: Path):
    async with open_store(tmp_path) as store:
        yield store


def engine_taking(seconds: float) -> FakeEngine:
    """An engine that takes so long for a picture of the usual kind, and twice as long for two."""
    engine = FakeEngine()
    work = a_request().work
    for count in (1, 2):
        engine.timings.record(work.shape, STEP, count * work.rows, count * seconds / work.forwards)
    return engine


def line_of(store: Store, defaults: LimitsConfig = DEFAULTS, engine: FakeEngine | None = None) -> Line:
    return Line(store.changes, store.policy(defaults), engine or FakeEngine(), store.clock)


async def test_an_empty_line(store: Store) -> None:
    line = line_of(store)
    assert await line.next() is None
    assert await line.turns() == []
    assert await line.place(JobId(1)) is None


async def test_whoever_was_not_told_yet_has_a_place_but_does_not_start(store: Store) -> None:
    line = line_of(store)
    untold = await store.asked(ADA, acknowledged=False)
    assert await line.next() is None
    told = await store.asked(GRACE)
    assert ids(await line.turns()) == [untold.id, told.id]
    turn = await line.next()
    assert turn is not None
    assert turn.job_id == told.id


async def test_places_count_from_one_and_end_with_the_wait(store: Store) -> None:
    line = line_of(store)
    first, second = await store.asked(ADA), await store.asked(ADA)
    third = await store.asked(GRACE)
    places = [await line.place(job.id) for job in (first, third, second)]
    assert [place and place[0] for place in places] == [1, 2, 3]
    await store.queue.claim(first.id)
    assert await line.place(first.id) is None


async def test_the_forecast_goes_by_what_the_engine_measured_and_by_what_is_left_of_the_running_one(
    store: Store,
) -> None:
    engine = engine_taking(8)
    line = line_of(store, engine=engine)
    running = await store.running(UserId(4))
    await store.asked(ADA)
    await store.asked(GRACE, num_images_per_prompt=2)
    await store.asked(UserId(5))
    for done, left in ((0, 8), (5, 6), (20, 0), (99, 0)):
        engine.steps_done[running.id] = done
        starts = [(turn.starts_at - store.clock()).total_seconds() for turn in await line.turns()]
        assert starts == pytest.approx([left, left + 8, left + 24]), done


async def test_a_job_starts_at_once_while_there_is_a_place(store: Store) -> None:
    engine = engine_taking(8)
    engine.slots = 3
    await store.running(UserId(4))
    for user in (ADA, GRACE, UserId(3)):
        await store.asked(user)
    starts = [(turn.starts_at - store.clock()).total_seconds() for turn in await line_of(store, engine=engine).turns()]
    # Three together take three times as long as one: this engine gains nothing by sharing.
    assert starts == pytest.approx([0, 0, 24])


async def test_the_next_turn_lies_in_the_future_when_everyone_is_over_their_pace(store: Store) -> None:
    line = line_of(store, LimitsConfig(pace=2))
    await store.delivered(num_images_per_prompt=2)
    job = await store.asked()
    turn = await line.next()
    assert turn is not None
    assert (turn.job_id, turn.starts_at) == (job.id, NOON + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("rules", "starts"),
    [
        ({}, [0, 0, 0, 0]),
        ({(GUILD, None): 1}, [0, 60, 0, 60]),
        ({(GUILD, None): 1, (GUILD, ADA): 9}, [0, 0, 0, 60]),
        ({(GUILD, GRACE): 1}, [0, 0, 0, 60]),
        ({(GuildId(901), None): 1}, [0, 0, 0, 0]),
    ],
    ids=["none", "the server's", "hers beats the server's", "one person's", "another server's"],
)
async def test_moderators_rules_set_the_pace(
    store: Store, rules: dict[tuple[GuildId, UserId | None], int], starts: list[int]
) -> None:
    for (guild, user), pace in rules.items():
        await store.rule(guild, SERVER if user is None else (Scope.PERSON, user), pace=pace)
    jobs = [await store.asked(user) for user in (ADA, ADA, GRACE, GRACE)]
    turns = {turn.job_id: turn.starts_at for turn in await line_of(store).turns()}
    assert [int((turns[job.id] - NOON).total_seconds()) for job in jobs] == starts


async def test_what_turns_foretells_is_what_next_does(store: Store) -> None:
    """Run a line of three people by `next` alone and compare it with the forecast made at the start."""
    line = line_of(store, LimitsConfig(pace=2), engine_taking(7))
    await store.delivered(UserId(9), seconds=7)
    await store.rule(GUILD, (Scope.PERSON, GRACE), pace=1)
    for user in (ADA, ADA, ADA, GRACE, GRACE, UserId(3)):
        await store.asked(user)
        store.clock.forward(0.5)
    foretold = await line.turns()
    done = []
    while turn := await line.next():
        store.clock.now = max(store.clock(), turn.starts_at)
        job = await store.queue.claim(turn.job_id)
        assert job is not None
        done.append((turn.job_id, store.clock()))
        store.clock.forward(7)
        await store.queue.render(job, pictures(job.request), None)
    assert [job for job, _ in done] == [turn.job_id for turn in foretold]
    for (_, at), turn in zip(done, foretold, strict=True):
        assert abs(at - turn.starts_at) < timedelta(milliseconds=1)
    assert len(done) == 6


@pytest.mark.parametrize("slots", [3, 4, 8])
async def test_what_is_foretold_counts_with_the_places_that_are_kept(store: Store, slots: int) -> None:
    """One who floods and others who ask for little, by `next` alone; many together take as long as one alone."""
    engine = FakeEngine(slots=slots)
    work = a_request().work
    for rows in (work.rows, 9 * work.rows):
        engine.timings.record(work.shape, STEP, rows, 20 / work.forwards)
    line = line_of(store, LimitsConfig(pace=10_000, depth=10_000), engine)
    for user in (GRACE, UserId(3)):
        await store.delivered(user, num_inference_steps=150, seconds=99)
    for number in range(20):
        await store.asked(ADA, seconds=2.0)
        if number % 7 == 0:
            await store.asked(UserId(GRACE + number % 3), seconds=2.0)
    foretold = [(turn.job_id, turn.starts_at) for turn in await line.turns()]
    done, inside = [], []
    while len(done) < len(foretold):
        turn = await line.next() if len(inside) < slots else None
        if turn is not None and turn.starts_at <= store.clock():
            job = await store.queue.claim(turn.job_id, turn.at, turn.clock)
            assert job is not None
            inside.append((store.clock() + timedelta(seconds=20), job))
            done.append((turn.job_id, store.clock()))
            continue
        ends_at, ended = inside.pop(0)
        store.clock.now = ends_at
        await store.queue.render(ended, pictures(ended.request), None)
    assert [job_id for job_id, _ in done] == [job_id for job_id, _ in foretold]
    for (_, at), (_, told) in zip(done, foretold, strict=True):
        assert abs(at - told) < timedelta(milliseconds=1)


async def test_what_is_paused_keeps_its_place_and_does_not_start(store: Store) -> None:
    line = line_of(store)
    jobs = [await store.asked(user) for user in (ADA, GRACE)]
    elsewhere = await store.asked(UserId(3), guild=901)
    await store.rule(GUILD, SERVER, paused=True)
    assert ids(await line.turns()) == [elsewhere.id]
    turn = await line.next()
    assert turn is not None
    assert turn.job_id == elsewhere.id
    await store.no_rule(GUILD, SERVER, PAUSED)
    assert ids(await line.turns()) == [*ids(jobs), elsewhere.id]


@pytest.mark.parametrize("rule", [{"paused": True}, {"pace": 1}])
async def test_what_moderators_pause_or_slow_holds_up_nothing_of_the_same_person_on_another_server(
    store: Store, rule: dict[str, Any]
) -> None:
    line = line_of(store)
    here = [await store.asked(ADA) for _ in range(3)]
    there = [await store.asked(ADA, guild=901) for _ in range(2)]
    await store.rule(GUILD, SERVER, **rule)
    soon = [turn.job_id for turn in await line.turns() if turn.starts_at < NOON + timedelta(seconds=60)]
    assert soon == ids([*here[: 0 if "paused" in rule else 1], *there])
    await store.no_rule(GUILD, SERVER, *rule)
    assert ids(await line.turns()) == ids([*here, *there])


async def test_a_paused_channel_holds_up_nothing_of_the_same_person_in_another_channel(store: Store) -> None:
    line = line_of(store)
    await store.asked(ADA)
    elsewhere = await store.asked(ADA, channel=402)
    await store.rule(GUILD, (Scope.CHANNEL, CHANNEL), paused=True)
    assert ids(await line.turns()) == [elsewhere.id]


async def test_the_roles_at_the_time_of_asking_set_the_pace_of_what_waits(store: Store) -> None:
    line = line_of(store)
    jobs = [await store.asked(ADA, roles=(50, 51)) for _ in range(2)]
    for role, pace in ((51, 9), (50, 1)):
        await store.rule(GUILD, (Scope.ROLE, role), pace=pace)
        starts = {turn.job_id: turn.starts_at for turn in await line.turns()}
        assert (starts[jobs[1].id] - NOON >= timedelta(seconds=60)) is (pace == 1)


async def test_a_pace_keeps_what_waits_on_its_own_server_alone(store: Store) -> None:
    line = line_of(store)
    await store.rule(GUILD, SERVER, pace=1)
    await store.running(ADA)
    await store.asked(ADA)
    await store.asked(ADA, guild=901)
    await line.turns()
    assert line.paced_until(Requester(ADA, GUILD)) == NOON + timedelta(seconds=60)
    assert line.paced_until(Requester(ADA, GuildId(901))) is None
    assert line.paced_until(Requester(ADA, GuildId(902))) is None


@pytest.mark.parametrize("rule", [{}, {"weight": 10_000}])
async def test_a_weight_takes_nothing_from_another_server(store: Store, rule: dict[str, int]) -> None:
    """Two people with four requests each on two servers: by turns, whatever share one server gives everybody."""
    line = line_of(store)
    await store.rule(GUILD, SERVER, **rule)
    for _ in range(4):
        for user, guild in ((ADA, 901), (GRACE, GUILD)):
            await store.asked(user, guild=guild, seconds=2.0)
    people = {job.job_id: job.user_id for job in await store.waiting()}
    assert [people[turn.job_id] for turn in await line.turns()] == [ADA, GRACE] * 4


async def test_weights_divide_the_share_of_their_own_server(store: Store) -> None:
    """A person with four times the weight gets four times as much as others there, and as much as others elsewhere."""
    line = line_of(store)
    await store.rule(GUILD, (Scope.PERSON, ADA), weight=400)
    for _ in range(9):
        for user, guild in ((ADA, GUILD), (GRACE, GUILD), (UserId(3), 901)):
            await store.asked(user, guild=guild, seconds=2.0)
    people = {job.job_id: job.user_id for job in await store.waiting()}
    first = [people[turn.job_id] for turn in await line.turns()][:18]
    assert [first.count(user) for user in (ADA, GRACE, 3)] == [8, 2, 8]


@pytest.mark.parametrize("slots", [1, 8])
async def test_whoever_asks_for_one_starts_before_the_next_but_one_of_who_asked_for_a_hundred(
    store: Store, slots: int
) -> None:
    """Through the real rows: one person queues a hundred, and when some are painted twenty others ask for one each."""
    engine = engine_taking(2)
    engine.slots = slots
    line = line_of(store, LimitsConfig(pace=10_000, depth=10_000), engine)
    for _ in range(100):
        await store.asked(ADA, seconds=2.0)
    order: list[UserId] = []
    inside: list[Job] = []

    async def start_one() -> None:
        turn = await line.next()
        assert turn is not None
        assert turn.starts_at <= store.clock()
        job = await store.queue.claim(turn.job_id, turn.at, turn.clock)
        assert job is not None
        order.append(job.requester.user_id)
        inside.append(job)

    for _ in range(slots + 5):
        await start_one()
        if len(inside) == slots - slots // 4:
            store.clock.forward(2)
            ended = inside.pop(0)
            await store.queue.render(ended, pictures(ended.request), None)
    others = [UserId(100 + n) for n in range(20)]
    for user in others:
        await store.asked(user, seconds=2.0)
    order.clear()
    while len(set(order) - {ADA}) < 20:
        await start_one()
        store.clock.forward(2)
        ended = inside.pop(0)
        await store.queue.render(ended, pictures(ended.request), None)
    assert order.count(ADA) <= 1, "each of the twenty starts before her next but one"


@pytest.mark.parametrize(("slots", "taken"), [(1, 1), (3, 3), (4, 3), (8, 6)])
async def test_the_last_places_are_kept_for_people_who_have_none(store: Store, slots: int, taken: int) -> None:
    engine = engine_taking(2)
    engine.slots = slots
    line = line_of(store, LimitsConfig(pace=10_000, depth=10_000), engine)
    mine = [await store.asked(ADA) for _ in range(2 * slots)]

    async def start_those_who_may() -> list[Job]:
        started = []
        while len(await store.queue.running()) < slots and (turn := await line.next()):
            job = await store.queue.claim(turn.job_id, turn.at, turn.clock)
            assert job is not None
            started.append(job)
        return started

    running = await start_those_who_may()
    assert ids(running) == ids(mine[:taken])
    if taken < slots:
        theirs = [await store.asked(user) for user in (GRACE, GRACE)]
        assert ids(await start_those_who_may()) == ids(theirs[:1]), "one place for everybody who had none"
    else:
        await store.queue.render(running[0], pictures(running[0].request), None)
        assert ids(await start_those_who_may()) == ids(mine[taken : taken + 1])


async def test_a_rule_changed_mid_queue_holds_for_what_waits(store: Store) -> None:
    line = line_of(store)
    await store.asked(ADA, num_images_per_prompt=2)
    first = await line.next()
    assert first is not None
    await store.queue.claim(first.job_id, first.at, first.clock)
    job = await store.asked(ADA)
    turn = await line.next()
    assert turn is not None
    assert (turn.job_id, turn.starts_at) == (job.id, NOON)
    await store.rule(GUILD, SERVER, pace=1)
    turn = await line.next()
    assert turn is not None
    assert (turn.job_id, turn.starts_at) == (job.id, NOON + timedelta(seconds=120)), "two images take two minutes"


async def test_whoever_is_told_of_a_row_by_another_hand_has_it_too(store: Store) -> None:
    """The view hears of every write, also of those that do not come through the queue."""
    line = line_of(store)
    jobs = [await store.asked(user) for user in (ADA, GRACE)]
    assert ids(await line.turns()) == ids(jobs)

    async def cancel(connection: aiosqlite.Connection) -> None:
        await connection.execute("UPDATE jobs SET status = 'cancelled' WHERE id = ?", (jobs[0].id,))

    await store.database.write(cancel)
    assert ids(await line.turns()) == ids(jobs[1:])

    async def forget(connection: aiosqlite.Connection) -> None:
        await connection.execute("DELETE FROM jobs")

    await store.database.write(forget)
    assert await line.turns() == []


async def test_after_a_restart_the_same_one_is_next(tmp_path: Path) -> None:
    """Nothing but rows is kept: who used how much is read off them."""
    order = []
    for restarts in (False, True):
        folder = tmp_path / str(restarts)
        folder.mkdir()
        clock, done = HandClock(), []
        async with open_store(folder, clock=clock) as store:
            for user, seconds in ((ADA, 9.0), (ADA, 9.0), (GRACE, 4.0), (GRACE, 4.0), (GRACE, 4.0), (UserId(3), 1.0)):
                await store.asked(user, seconds=seconds)
        for _ in range(2 if restarts else 1):
            async with open_store(folder, clock=clock) as store:
                line = line_of(store)
                for _ in range(3 if restarts else 6):
                    clock.forward(9)
                    turn = await line.next()
                    assert turn is not None
                    job = await store.queue.claim(turn.job_id, turn.at, turn.clock)
                    assert job is not None
                    await store.queue.render(job, pictures(job.request), None)
                    done.append(turn)
        order.append(done)
    assert order[0] == order[1]


async def fill(store: Store, people: int, each: int) -> None:
    """Copy one waiting job until so many people have as many waiting each."""
    first = await store.asked(UserId(1000))

    async def work(connection: aiosqlite.Connection) -> None:
        columns = [row[1] for row in await connection.execute_fetchall("PRAGMA table_info(jobs)")]
        kept = [name for name in columns if name not in ("id", "user_id", "interaction_id", "asked_at")]
        rows = f"""
        WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < {people * each - 1})
        INSERT INTO jobs (user_id, asked_at, {", ".join(kept)})
        SELECT 1000 + i % {people}, strftime('%Y-%m-%dT%H:%M:%S', asked_at, '-' || i || ' seconds') || '.000000+00:00',
        {", ".join(kept)} FROM n, jobs WHERE jobs.id = {first.id}
        """
        await connection.execute(rows)

    await store.database.write(work)


@pytest.mark.parametrize("people", [1, 2000, 10_000])
async def test_ten_thousand_waiting_are_chosen_from_without_reading_them_all(store: Store, people: int) -> None:
    """A time is benchmarks/line.py's to tell; here: the work of a choice does not grow with those who wait."""
    await fill(store, people, 10_000 // people)
    line = line_of(store, LimitsConfig(pace=10_000))
    assert await line.next() is not None
    looked: list[int] = []
    look = store.changes.look

    async def counted(touched: Collection[int]) -> Touched:
        looked.append(len(touched))
        return await look(touched)

    store.changes.look = counted  # type: ignore[method-assign]
    for _ in range(20):
        turn = await line.next()
        assert turn is not None
        assert await store.queue.claim(turn.job_id, turn.at, turn.clock) is not None
    assert await line.next() is not None
    assert looked == [1] * 20


async def test_the_queries_of_a_choice_use_their_indexes(store: Store) -> None:
    await fill(store, 100, 10)
    plan = await store.plan(TOUCHED, ("discord", "[1, 2]"))
    assert "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert "SCAN jobs" not in plan
    plan = await store.plan(CLAIM, ("now", 0.0, 0.0, 1))
    assert "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)" in plan
    plan = await store.plan(LIVE, ("discord", "discord", "discord", "then"))
    for index in ("jobs_waiting", "jobs_running", "jobs_started"):
        assert f"INDEX {index} " in plan
    assert "SCAN jobs" not in plan


async def test_a_crowd_that_asks_for_its_places_shares_few_schedules(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_of(store)
    jobs = [await store.asked(UserId(number)) for number in range(1, 31)]
    schedules = 0

    def counted(*arguments: Any) -> Iterator[Turn]:
        nonlocal schedules
        schedules += 1
        return scheduler.schedule(*arguments)

    monkeypatch.setattr("bot.queue.line.scheduler", SimpleNamespace(schedule=counted))
    places = await asyncio.gather(*(line.place(job.id) for job in jobs))
    assert [place and place[0] for place in places] == list(range(1, 31))
    assert schedules == 1


async def test_a_short_line_is_foreseen_anew_for_each_request_however_long_the_event_loop_stalled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.queue.line._LONG_SECONDS", 0.0)
    line = line_of(store, LimitsConfig(pace=1, depth=9, quota=200))
    starts = []
    for place in (1, 2, 3):
        job = await store.asked(ADA)
        (told, turn) = await line.place(job.id) or (0, None)
        assert told == place
        assert turn is not None
        starts.append((turn.starts_at - store.clock()).total_seconds())
    assert starts == [0, 60, 120]


async def test_a_new_request_in_a_long_line_is_placed_without_a_schedule_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 500, 4)
    line = line_of(store)
    await line.turns()
    schedules = 0
    schedule = line._schedule

    async def counted() -> list[Turn]:
        nonlocal schedules
        schedules += 1
        return await schedule()

    line._schedules = Shared(counted)
    monkeypatch.setattr("bot.queue.line._REST_SHARE", 1e6)
    monkeypatch.setattr("bot.queue.line._LONG_SECONDS", 0.0)
    newcomer = await store.asked(UserId(9))
    behind = await store.asked(UserId(1003))
    told = {job.id: await line.place(job.id) for job in (newcomer, behind)}
    assert schedules == 0
    true = {turn.job_id: (place, turn) for place, turn in enumerate(await line.turns(), 1)}
    for job, tolerance in ((newcomer, 20), (behind, 300)):
        place, turn = told[job.id]
        assert abs(place - true[job.id][0]) <= tolerance, (place, true[job.id][0])
        off = abs((turn.starts_at - true[job.id][1].starts_at).total_seconds())
        whole = (true[behind.id][1].starts_at - store.clock()).total_seconds()
        assert off <= 0.15 * whole, (off, whole)
