"""Messages of those who wait stay true: corrected when the line changes, cheaply, and never too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.config import LimitsConfig
from bot.delivery import progress, updates
from bot.delivery.outbox import Delivery
from bot.delivery.updates import AT_ONCE, Updates
from bot.engine.fake import FakeEngine
from bot.errors import TryLater, Unreachable
from bot.jobs import HELD, Cancelled, Job, Painting, Queued, Scope, UserId, to_text
from bot.policy.limits import PAUSED, SERVER
from bot.queue import scheduler
from bot.queue.forecast import statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from tests.bot.delivery.desk import Recorder
from tests.bot.queue.test_line import engine_taking, fill
from tests.bot.storage.conftest import ADA, GRACE, GUILD, NOON, Store, ids, open_store

OTHERS = [UserId(number) for number in range(50, 60)]


class Hall:
    """A line, and messages that say where people stand in it."""

    def __init__(self, store: Store, engine: FakeEngine) -> None:
        self.store = store
        self.line = Line(store.changes, store.policy(LimitsConfig(pace=10_000)), engine, store.clock)
        self.delivery = Delivery(store.database, store.queue, store.changes, 10_000)
        self.recorder = Recorder()
        self.updates = Updates(store.database, store.queue, self.line, self.delivery, store.clock)

    async def asks(self, user: UserId, **changes: Any) -> Job:
        """Ask, and be told what is true then."""
        job = await self.store.asked(user, **changes)
        place, turn = await self.line.place(job.id) or (1, Turn(job.id, user, NOON))
        said = statement(place, turn.starts_at, self.store.clock())
        await self.store.queue.promise(job.id, turn.starts_at, said)
        return job

    async def look(self) -> list[tuple[Job, Queued]]:
        """Let everybody be looked at once; returns what waiting people were told after it."""
        before = len(self.recorder.shown)
        await self.updates.review()
        while any(channel.working for channel in self.delivery._channels.values()):  # noqa: ASYNC110 - nobody else waits
            await asyncio.sleep(0.001)
        return [(job, news) for job, news in self.recorder.shown[before:] if isinstance(news, Queued)]

    async def said(self, job: Job) -> tuple[int, str | None]:
        """What is noted of a job's message."""
        row = await self.store.database.fetch_one("SELECT stated_place, stated_at FROM jobs WHERE id = ?", (job.id,))
        assert row is not None
        return row["stated_place"], row["stated_at"]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDIT_SECONDS", "PROGRESS_SECONDS", "UPDATE_SECONDS"):
        monkeypatch.setattr(progress, name, 0.0)


@asynccontextmanager
async def open_hall(folder: Path) -> AsyncIterator[Hall]:
    async with open_store(folder) as store:
        hall = Hall(store, engine_taking(20))
        hall.delivery.attach(hall.recorder)
        delivering = asyncio.create_task(hall.delivery.run())
        await asyncio.sleep(0)
        yield hall
        delivering.cancel()
        with suppress(asyncio.CancelledError):
            await delivering


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with open_hall(tmp_path) as hall:
        yield hall


async def a_line(hall: Hall) -> tuple[Job, list[Job]]:
    """One is painted and three wait, told to start after 20, 40 and 60 s."""
    running = await hall.store.running(UserId(4))
    return running, [await hall.asks(user) for user in OTHERS[:3]]


async def test_nobody_is_told_twice_what_is_still_true(hall: Hall) -> None:
    await a_line(hall)
    assert await hall.look() == []
    hall.store.clock.forward(4)
    assert await hall.look() == []


async def test_whoever_moves_up_is_told_the_nearest_first_and_so_it_is_after_a_restart(hall: Hall) -> None:
    _, (first, second, third) = await a_line(hall)
    await hall.store.queue.cancel(first.id)
    # One correction of a channel at a time: the next one with the next look.
    assert await hall.look() == [(second, Queued(1, NOON + timedelta(seconds=20)))]
    assert await hall.look() == [(third, Queued(2, NOON + timedelta(seconds=40)))]
    assert await hall.look() == []
    again = Hall(hall.store, engine_taking(20))
    assert await again.look() == []
    rows = await hall.store.database.fetch_all("SELECT promised_at, stated_place FROM jobs WHERE promised_at NOT NULL")
    assert [(row["promised_at"][17:19], row["stated_place"]) for row in rows] == [("20", 1), ("40", 1), ("00", 2)], (
        "what was promised at first stays"
    )


async def test_newcomers_who_go_first_a_slower_engine_and_limits_make_it_wrong(hall: Hall) -> None:
    await hall.store.running(ADA, seconds=20.0)
    mine = await hall.asks(ADA)
    for user in OTHERS[:2]:
        await hall.asks(user)
    assert await hall.look() == [(mine, Queued(3, NOON + timedelta(seconds=60)))]
    await hall.store.rule(GUILD, (Scope.PERSON, ADA), pace=1)
    assert await hall.look() == []
    await hall.store.rule(GUILD, (Scope.PERSON, OTHERS[0]), pace=1)
    engine = engine_taking(60)
    hall.line._engine.timings = engine.timings  # type: ignore[misc]
    told = [await hall.look() for _ in range(3)]
    assert [
        [news.starts_at - NOON for _, news in shown if isinstance(news, Queued) and news.starts_at] for shown in told
    ] == [
        [timedelta(seconds=60)],
        [timedelta(seconds=120)],
        [timedelta(seconds=180)],
    ]


async def test_a_pause_is_said_and_its_end(hall: Hall) -> None:
    _, jobs = await a_line(hall)
    await hall.store.rule(GUILD, SERVER, paused=True)
    assert [await hall.look() for _ in range(4)] == [*([(job, HELD)] for job in jobs), []]
    assert await hall.said(jobs[0]) == (0, None)
    await hall.store.no_rule(GUILD, SERVER, PAUSED)
    assert await hall.look() == [(jobs[0], Queued(1, NOON + timedelta(seconds=20)))]


async def test_who_was_told_nothing_yet_or_something_else_is_left_alone(hall: Hall) -> None:
    await hall.store.asked(ADA, acknowledged=False)
    job = await hall.store.running(GRACE)
    await hall.store.queue.requeue(job)
    assert await hall.look() == []


async def test_a_message_that_discord_edits_no_more_is_left_to_its_result(hall: Hall) -> None:
    _, (first, second, _) = await a_line(hall)
    hall.store.clock.forward(3300)
    late = await hall.asks(GRACE)
    await hall.store.queue.cancel(first.id)
    await hall.store.queue.cancel(second.id)
    assert {job.id for job, _ in await hall.look()} <= {late.id}


async def test_a_start_that_overtakes_a_correction_stands(hall: Hall) -> None:
    _, (first, second, _) = await a_line(hall)
    hall.recorder.free.clear()
    hall.delivery.announce(first, Painting(1, 9))
    await hall.recorder.until(lambda: len(hall.recorder.shown) == 1)
    await hall.store.queue.cancel(first.id)
    # The channel is busy, and when its turn comes the second one is painted already.
    await hall.updates.review()
    claimed = await hall.store.queue.claim(second.id)
    assert claimed is not None
    hall.recorder.free.set()
    await hall.recorder.until(
        lambda: any(job.id == first.id and not isinstance(news, Painting) for job, news in hall.recorder.shown)
    )
    hall.delivery.announce(claimed, Painting(1, 9))
    await hall.recorder.until(lambda: bool(hall.recorder.of(second)))
    assert hall.recorder.of(second) == [Painting(1, 9)]


async def test_an_ending_that_comes_while_a_correction_is_shown_is_said_last(hall: Hall) -> None:
    _, (_, _, third) = await a_line(hall)
    await hall.store.running(GRACE, seconds=20.0)
    hall.recorder.free.clear()
    await hall.updates.review()
    await hall.recorder.until(lambda: bool(hall.recorder.shown))
    ((corrected, news),) = hall.recorder.shown
    assert isinstance(news, Queued)
    for job in (corrected, third):
        await hall.store.queue.cancel(job.id)
    hall.recorder.free.set()
    await hall.recorder.until(lambda: bool(hall.recorder.of(third)))
    assert hall.recorder.of(corrected) == [news, Cancelled()]


@pytest.mark.parametrize("refusal", [TryLater("busy"), Unreachable("gone")])
async def test_a_correction_that_is_refused_loses_nothing(hall: Hall, refusal: Exception) -> None:
    _, (first, second, third) = await a_line(hall)
    hall.recorder.answer = lambda job, news: refusal if isinstance(news, Queued) and job.id == second.id else None
    await hall.store.queue.cancel(first.id)
    said = [ids(job for job, _ in await hall.look()) for _ in range(2)]
    # A message that cannot be corrected, for now or ever, does not hold up the others.
    assert said == [[second.id], [third.id]]
    assert await hall.said(second) == (2, (NOON + timedelta(seconds=40)).isoformat(timespec="microseconds"))
    hall.recorder.answer = lambda job, news: None
    await hall.store.queue.cancel(second.id)
    await hall.recorder.until(
        lambda: bool(hall.recorder.of(second)) and not isinstance(hall.recorder.of(second)[-1], Queued)
    )


async def test_ten_thousand_in_a_storm_cost_one_schedule_and_a_few_edits(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hall.store.running(UserId(4))
    await fill(hall.store, 10_000, 1)

    async def all_at_once(connection: Any) -> None:
        await connection.execute("UPDATE jobs SET asked_at = ?", (to_text(NOON),))

    await hall.store.database.write(all_at_once)
    schedules = reads = 0
    get = hall.store.queue.get

    def counted(*arguments: Any) -> Iterator[Turn]:
        nonlocal schedules
        schedules += 1
        return scheduler.schedule(*arguments)

    async def read(job_id: Any) -> Job | None:
        nonlocal reads
        reads += 1
        return await get(job_id)

    monkeypatch.setattr("bot.queue.line.scheduler", SimpleNamespace(schedule=counted))
    monkeypatch.setattr(hall.store.queue, "get", read)
    shown = await hall.look()
    assert (schedules, len(shown), reads) == (1, 1, 2), "all in one channel, where one is shown at a time"
    assert shown[0][1] == Queued(1, NOON + timedelta(seconds=20))

    async def spread(connection: Any) -> None:
        await connection.execute(
            "INSERT INTO posts (id, channel_id) SELECT id, id % 100 FROM jobs WHERE id NOT IN (SELECT id FROM posts)"
        )
        await connection.execute("UPDATE jobs SET post_id = id")
        await connection.execute("UPDATE posts SET message_id = id")

    await hall.store.database.write(spread)
    assert len(await hall.look()) == AT_ONCE
    assert schedules == 2


async def test_it_looks_when_something_changes_and_rests_as_long_as_it_takes(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "REVIEW_SECONDS", 0.01)
    _, (first, second, _) = await a_line(hall)
    running = asyncio.create_task(hall.updates.run())
    await hall.store.queue.cancel(first.id)
    await hall.recorder.until(lambda: bool(hall.recorder.of(second)))
    running.cancel()
    assert hall.recorder.of(second) == [Queued(1, NOON + timedelta(seconds=20))]
