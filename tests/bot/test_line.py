"""The waiting line as it is now: rows and rules put before the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot import scheduler
from bot.config import LimitsConfig
from bot.engine.fake import FakeEngine
from bot.engine.timing import STEP
from bot.jobs import GuildId, JobId, Requester, Scope, UserId
from bot.limits import HOST, PAUSED, SERVER, Origin
from bot.line import Line
from bot.scheduler import Turn
from tests.bot.storage.conftest import ADA, GRACE, GUILD, NOON, Store, a_request, ids, open_store, pictures

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
    return Line(store.queue, store.rules, defaults, engine or FakeEngine(), store.clock)


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


async def test_limits_of_a_person_with_who_decided_them(store: Store) -> None:
    line = line_of(store)
    await store.rule(GUILD, SERVER, pace=3, depth=4)
    await store.rule(GUILD, (Scope.PERSON, ADA), depth=9)
    limits = await line.limits(Requester(ADA, GUILD))
    assert [(limit.value, limit.origin) for limit in (limits.pace, limits.depth, limits.quota)] == [
        (3, Origin(*SERVER)),
        (9, Origin(Scope.PERSON, ADA)),
        (200, HOST),
    ]
    assert (await line.limits(Requester(GRACE, GUILD))).depth.value == 4
    assert (await line.limits(Requester(ADA, GuildId(901)))).depth.value == 5


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

    monkeypatch.setattr("bot.line.scheduler", SimpleNamespace(schedule=counted))
    places = await asyncio.gather(*(line.place(job.id) for job in jobs))
    assert [place and place[0] for place in places] == list(range(1, 31))
    assert schedules == 1


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


async def test_the_roles_at_the_time_of_asking_set_the_pace_of_what_waits(store: Store) -> None:
    line = line_of(store)
    jobs = [await store.asked(ADA, roles=(50, 51)) for _ in range(2)]
    for role, pace in ((51, 9), (50, 1)):
        await store.rule(GUILD, (Scope.ROLE, role), pace=pace)
        starts = {turn.job_id: turn.starts_at for turn in await line.turns()}
        assert (starts[jobs[1].id] - NOON >= timedelta(seconds=60)) is (pace == 1)
