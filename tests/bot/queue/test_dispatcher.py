"""The dispatcher in a real house without weights: what becomes of a job when all goes well and when it does not."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.config import Config, LimitsConfig
from bot.engine import Lane, Progress
from bot.engine.fake import FakeEngine
from bot.errors import EngineDied, PaintFailed, StorageError
from bot.jobs import (
    Cancelled,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Painted,
    Painting,
    UserId,
    utcnow,
)
from bot.queue import dispatcher
from bot.queue.scheduler import Turn
from bot.storage import encryption, sqlite
from tests.bot.queue.house import ADA, APPLE, GRACE, LONG_SECONDS, House, Recorder, opened, pictures

pytestmark = pytest.mark.usefixtures("unhurried_by_discord")


async def test_job_is_painted_and_delivered(house: House, config: Config) -> None:
    job = await house.ended(await house.ask(request=replace(APPLE, num_images_per_prompt=2)))
    assert (job.status, job.attempt, job.reason) == (JobStatus.DELIVERED, 1, None)
    painted = house.recorder.of(job)[-1]
    assert isinstance(painted, Painted)
    assert [image.seed for image in painted.images] == [7, 8]
    assert sorted(path.read_bytes() for path in pictures(config)) == sorted(image.png for image in painted.images)
    row = await house.app.database.fetch_one("SELECT model_hash FROM jobs")
    assert len(row["model_hash"]) == 64


async def test_jobs_that_waited_before_the_house_opened_are_painted(config: Config) -> None:
    engine = FakeEngine()
    engine.open.clear()
    async with opened(config, engine) as house:
        jobs = [await house.ask() for _ in range(3)]
    async with opened(config, FakeEngine()) as house:
        for job in jobs:
            assert (await house.ended(job)).status is JobStatus.DELIVERED


async def test_an_order_brings_the_pictures_that_its_job_names(house: House, config: Config) -> None:
    files = {hashlib.sha256(data).hexdigest(): data for data in (b"image", b"mask")}
    image, mask = files
    request = replace(APPLE, image=image, mask_image=mask, control_image=image, controlnet="canny", strength=0.7)
    async with house.app.queue._pictures.kept(files):
        job = await house.ended(await house.ask(request=request))
    assert (job.status, job.request) == (JobStatus.DELIVERED, request)
    assert house.engine.orders[0].uploads == {image: b"image", mask: b"mask"}


async def test_job_whose_picture_is_gone_fails_in_words_and_is_not_sent(house: House) -> None:
    job = await house.ended(await house.ask(request=replace(APPLE, image="a" * 64)))
    assert job.status is JobStatus.FAILED
    assert "The picture could not be read back: No such file" in job.reason
    assert house.engine.orders == []
    assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED


async def test_pictures_that_no_row_names_are_gone_after_a_restart(config: Config) -> None:
    async with opened(config, FakeEngine()) as house:
        await house.ended(await house.ask())
        (path,) = (config.data / "pictures").glob("*/*")
        (path.parent / f"{path.name[:2]}{'0' * 62}").write_bytes(b"orphan")
    async with opened(config, FakeEngine()):
        assert [file.name for file in (config.data / "pictures").glob("*/*")] == [path.name]


async def test_folder_that_takes_no_pictures_fails_the_job_in_words(
    house: House, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.database.INSIST_SECONDS", 0.01)
    (config.data / "pictures").write_text("not a folder")
    job = await house.ended(await house.ask())
    assert job.status is JobStatus.FAILED
    assert "could not be kept" in job.reason
    (config.data / "pictures").unlink()
    assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED


async def test_a_disk_that_is_full_for_long_fails_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.storage.database.INSIST_SECONDS", 0.01)
    refused = 0

    def fsync(_: int) -> None:
        nonlocal refused
        refused += 1
        if refused < 20:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bot.storage.picture_folder.os.fsync", fsync)
    job = await house.ended(await house.ask())
    assert (job.status, job.attempt) == (JobStatus.DELIVERED, 1)


async def test_cancelled_queued_job_is_never_painted(house: House) -> None:
    house.engine.open.clear()
    first, second, third = await house.ask(), await house.ask(), await house.ask()
    await house.reached(first, JobStatus.RUNNING)
    assert await house.app.dispatcher.cancel(second.id)
    house.engine.open.set()
    assert (await house.ended(second)).status is JobStatus.CANCELLED
    assert (await house.ended(third)).status is JobStatus.DELIVERED
    assert [order.job_id for order in house.engine.orders] == [first.id, third.id]
    assert house.recorder.of(second) == [Cancelled()]


async def test_cancelled_running_job_makes_room_and_leaves_no_picture(house: House, config: Config) -> None:
    house.engine.open.clear()
    first, second = await house.ask(), await house.ask()
    await house.reached(first, JobStatus.RUNNING)
    assert await house.app.dispatcher.cancel(first.id)
    assert (await house.ended(first)).status is JobStatus.CANCELLED
    house.engine.open.set()
    assert (await house.ended(second)).status is JobStatus.DELIVERED
    assert house.recorder.of(first) == [Cancelled()]
    assert len(pictures(config)) == 1


async def test_ended_job_cannot_be_cancelled(house: House) -> None:
    job = await house.ended(await house.ask())
    assert not await house.app.dispatcher.cancel(job.id)
    assert not await house.app.dispatcher.cancel(JobId(404))
    assert (await house.app.queue.get(job.id)).status is JobStatus.DELIVERED


class TwoLanes(FakeEngine):
    """An engine with a second lane beside itself."""

    def __init__(self) -> None:
        super().__init__()
        self.second = FakeEngine()
        self.second.name = "second"

    @property
    def lanes(self) -> Sequence[FakeEngine]:
        """Itself and the second one."""
        return (self, self.second)

    def cancel(self, job_id: JobId) -> None:
        """Stop an order in either lane."""
        super().cancel(job_id)
        self.second.cancel(job_id)


async def test_every_lane_is_fed_and_no_job_is_painted_twice(config: Config) -> None:
    engine = TwoLanes()
    for lane in engine.lanes:
        lane.open.clear()
    async with opened(config, engine) as house:
        jobs = [await house.ask(user) for user in (ADA, GRACE, ADA)]
        async with asyncio.timeout(LONG_SECONDS):
            while engine.held + engine.second.held < 2:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
        assert len(await house.app.line.turns()) == 1
        for lane in engine.lanes:
            lane.open.set()
        for job in jobs:
            assert (await house.ended(job)).status is JobStatus.DELIVERED
    painted = [order.job_id for lane in engine.lanes for order in lane.orders]
    assert sorted(painted) == sorted(job.id for job in jobs)
    assert all(lane.orders for lane in engine.lanes)


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is measured as one second, or the fake engine's milliseconds would decide who is next."""
    monkeypatch.setattr("bot.queue.meter.Meter.used", lambda *_: 1.0)


@pytest.mark.usefixtures("alike")
async def test_people_take_turns(house: House) -> None:
    house.engine.open.clear()
    people = [UserId(number) for number in range(1, 6)]
    jobs = [await house.ask(person) for person in people for _ in range(4)]
    await house.reached(jobs[0], JobStatus.RUNNING)
    house.engine.open.set()
    for job in jobs:
        await house.ended(job)
    asked = {job.id: job.requester.user_id for job in jobs}
    assert [asked[order.job_id] for order in house.engine.orders] == people * 4


async def test_engine_with_three_slots_has_three_orders_at_a_time(config: Config) -> None:
    engine = FakeEngine(slots=3)
    engine.open.clear()
    async with opened(config, engine) as house:
        jobs = [await house.ask() for _ in range(5)]

        await house.held(3)
        assert [order.job_id for order in engine.orders] == [job.id for job in jobs[:3]]
        assert await house.app.dispatcher.cancel(jobs[0].id)
        engine.open.set()
        for job in jobs[1:]:
            assert (await house.ended(job)).status is JobStatus.DELIVERED


async def test_job_is_not_painted_before_it_is_acknowledged(house: House) -> None:
    silent, other = await house.ask(acknowledged=False), await house.ask(UserId(2))
    await house.ended(other)
    assert [order.job_id for order in house.engine.orders] == [other.id]
    await house.app.queue.place_message(silent.id, MessageId(9))
    assert (await house.ended(silent)).destination.message_id == 9


class Timepiece:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utcnow() + self.ahead


async def test_person_beyond_their_pace_waits_until_the_minute_is_over(config: Config) -> None:
    clock = Timepiece()
    slow = config.model_copy(update={"limits": LimitsConfig(pace=1)})
    async with opened(slow, FakeEngine(), clock=clock) as house:
        first, second = await house.ask(), await house.ask()
        first = await house.ended(first)
        other = await house.ended(await house.ask(UserId(2)))
        assert [order.job_id for order in house.engine.orders] == [first.id, other.id]
        # Half a second before the minute is over something else happens; then nothing does.
        clock.ahead = timedelta(seconds=59.5) - (utcnow() - first.started_at)
        await house.app.database.remember("anything", "at all")
        second = await house.ended(second)
        assert second.started_at - first.started_at >= timedelta(minutes=1)


async def test_clock_that_is_set_back_while_a_turn_is_chosen_costs_seconds_not_a_day(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "LOOK_AGAIN_SECONDS", 0.05)
    clock = Timepiece()
    async with opened(config, FakeEngine(), clock=clock) as house:
        choose = house.app.line.next
        # What the first look writes would wake the dispatcher.
        await choose()

        async def then_the_clock_is_set(lane: Lane) -> Turn | None:
            turn = await choose(lane)
            if turn is not None and not clock.ahead:
                clock.ahead = timedelta(days=-1)
            return turn

        monkeypatch.setattr(house.app.line, "next", then_the_clock_is_set)
        job = await house.ended(await house.ask())
        assert job.status is JobStatus.DELIVERED
        assert clock.ahead


async def test_clock_that_is_set_back_delays_nobody_who_waits(config: Config) -> None:
    clock, engine = Timepiece(), FakeEngine(slots=1)
    engine.open.clear()
    clock.ahead = timedelta(days=1)
    async with opened(config, engine, clock=clock) as house:
        first, second = await house.ask(), await house.ask()
        await house.reached(first, JobStatus.RUNNING)
        assert [turn.job_id for turn in await house.app.line.turns()] == [second.id]
        clock.ahead = timedelta()
        engine.open.set()
        assert (await house.ended(second)).status is JobStatus.DELIVERED


async def test_job_that_was_running_when_the_house_closed_is_painted_by_the_next(config: Config) -> None:
    engine, recorder = FakeEngine(), Recorder()
    engine.open.clear()
    async with opened(config, engine, recorder) as house:
        job = await house.ask()
        await house.reached(job, JobStatus.RUNNING)
    path = config.data / "atelier.db"
    with closing(sqlite.connect(path, encryption.find_key(path))) as connection:
        assert [tuple(row) for row in connection.execute("SELECT status, reason FROM jobs")] == [("running", None)]
    assert recorder.shown == []
    async with opened(config, FakeEngine()) as house:
        job = await house.ended(job)
        assert (job.status, job.attempt) == (JobStatus.DELIVERED, 2)


@pytest.mark.parametrize("ticks", range(6))
@pytest.mark.parametrize("commits", range(10))
async def test_house_closed_at_any_moment_loses_nothing_and_says_nothing_twice(
    config: Config, commits: int, ticks: int
) -> None:
    recorder = Recorder()
    async with opened(config, FakeEngine(), recorder) as house:
        changed = house.app.database.listen()
        jobs = [await house.ask() for _ in range(3)]
        async with asyncio.timeout(LONG_SECONDS):
            for _ in range(commits):
                changed.clear()
                # Writers that meet share a commit, so that there may be fewer than moves.
                if all([(await house.app.queue.get(job.id)).posted_at for job in jobs]):
                    break
                await changed.wait()
            for _ in range(ticks):
                await asyncio.sleep(0)
    async with opened(config, FakeEngine(), recorder) as house:
        for job in jobs:
            assert (await house.ended(job)).status is JobStatus.DELIVERED
    for job in jobs:
        assert sum(isinstance(news, Painted) for news in recorder.of(job)) == 1


async def test_progress_counts_up_to_the_result(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "SHORT_SECONDS", 0.0)
    async with opened(config, FakeEngine(seconds=0.2)) as house:
        job = await house.ended(await house.ask(request=replace(APPLE, num_inference_steps=20)))
        *progress, painted = house.recorder.of(job)
        assert isinstance(painted, Painted)
        assert progress
        assert all(isinstance(news, Painting) and news.of == 20 for news in progress)
        steps = [news.step for news in progress]
        assert steps == sorted(set(steps))


async def test_what_is_painted_at_once_shows_no_progress(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine that stands still for a moment between two steps seems to paint slowly.
    monkeypatch.setattr(dispatcher, "SHORT_SECONDS", LONG_SECONDS)
    async with opened(config, FakeEngine(seconds=0.05)) as house:
        job = await house.ended(await house.ask())
        assert [type(news) for news in house.recorder.of(job)] == [Painted]


@pytest.mark.parametrize(
    ("seconds", "step", "shown"), [(0.2, 1, False), (0.3, 1, True), (4.9, 20, False), (1.3, 5, True), (6.0, 0, True)]
)
def test_progress_is_shown_if_the_whole_will_take_long(seconds: float, step: int, shown: bool) -> None:
    assert dispatcher.takes_long(seconds, Progress(step, 20)) is shown


async def test_a_restart_of_the_bot_costs_a_job_none_of_its_attempts(config: Config) -> None:
    held, deadly = FakeEngine(), FakeEngine()
    held.open.clear()
    deadly.raises = [EngineDied("gone")]
    async with opened(config, held) as house:
        job = await house.reached(await house.ask(), JobStatus.RUNNING)
    async with opened(config, deadly) as house:
        job = await house.ended(job)
    assert (job.status, job.attempt, job.deaths) == (JobStatus.DELIVERED, 3, 1)


async def test_a_storage_that_refuses_for_a_while_stops_nobody_for_good(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.database.INSIST_SECONDS", 0.01)
    refusals = [StorageError("Not accepted: the storage is full.")] * 3
    claim = house.app.queue.claim

    async def full(job_id: JobId, turn: float, clock: float) -> Job | None:
        if refusals:
            raise refusals.pop()
        return await claim(job_id, turn, clock)

    monkeypatch.setattr(house.app.queue, "claim", full)
    assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED
    assert not refusals


@pytest.mark.usefixtures("alike")
async def test_whoever_fails_all_the_time_still_waits_for_their_turn(house: House) -> None:
    house.engine.open.clear()
    first = await house.reached(await house.ask(GRACE), JobStatus.RUNNING)
    jobs = [await house.ask(user) for user in (GRACE, GRACE, ADA, ADA, ADA)]
    house.engine.raises = [PaintFailed("no")] * 6
    house.engine.open.set()
    for job in (first, *jobs):
        await house.ended(job)
    owners = [order.owner for order in house.engine.orders]
    assert owners == [GRACE, ADA, GRACE, ADA, GRACE, ADA]
