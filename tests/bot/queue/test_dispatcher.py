"""The dispatcher in a real house without weights: what becomes of a job when all goes well and when it does not."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from bot.app import App, open_app
from bot.config import Config, LimitsConfig
from bot.delivery import gate, progress
from bot.delivery.poster import Repost, Shown
from bot.engine import Event, Lane, Order, Pace, Progress
from bot.engine.fake import FakeEngine
from bot.errors import EngineDied, PaintFailed, StorageError
from bot.jobs import (
    Cancelled,
    ChannelId,
    Clock,
    Destination,
    Failed,
    GenerationRequest,
    GuildId,
    Job,
    JobId,
    JobStatus,
    MessageId,
    News,
    Painted,
    Painting,
    Requester,
    Retrying,
    Surface,
    UserId,
    utcnow,
)
from bot.queue import dispatcher
from bot.queue.scheduler import Turn
from bot.storage import encryption, sqlite

APPLE = GenerationRequest(
    prompt="a red apple", model="emoji", width=8, height=8, num_inference_steps=3, guidance_scale=3.0, seed=7
)
ADA = UserId(1)
GRACE = UserId(2)
LONG_SECONDS = 30.0


class Recorder:
    """A poster that remembers what it was given."""

    def __init__(self) -> None:
        self.shown: list[tuple[JobId, News]] = []

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        self.shown.append((job.id, news))
        return Shown()

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete nothing."""

    def of(self, job: Job) -> list[News]:
        """What was shown of one job."""
        return [news for job_id, news in self.shown if job_id == job.id]


class House:
    """An open app, its engine, and what it says."""

    def __init__(self, app: App, engine: FakeEngine, recorder: Recorder) -> None:
        self.app = app
        self.engine = engine
        self.recorder = recorder

    async def ask(self, user: UserId = ADA, request: GenerationRequest = APPLE, *, acknowledged: bool = True) -> Job:
        """Put a request into the queue."""

        async def admit(_: aiosqlite.Connection) -> None:
            return

        job = await self.app.queue.enqueue(
            Requester(user, GuildId(1)),
            Destination(ChannelId(1), MessageId(1) if acknowledged else None),
            request,
            interaction_id=None,
            admit=admit,
            seconds=1.0,
        )
        assert job is not None
        return job

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until the database makes the condition true; returns what it gave."""
        changed = self.app.database.listen()
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                changed.clear()
                if found := await condition():
                    return found
                await changed.wait()

    async def reached(self, job: Job, status: JobStatus) -> Job:
        """Wait until a job is in a state."""

        async def there() -> Job | None:
            now = await self.app.queue.get(job.id)
            return now if now is not None and now.status is status else None

        return await self.until(there)

    async def ended(self, job: Job) -> Job:
        """Wait until a job has ended and its message says so."""

        async def posted() -> Job | None:
            now = await self.app.queue.get(job.id)
            return now if now is not None and now.posted_at is not None else None

        return await self.until(posted)

    async def held(self, count: int) -> None:
        """Wait until so many orders are in the engine, held before their first step."""
        async with asyncio.timeout(LONG_SECONDS):
            while self.engine.held < count:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)

    async def pulse(self) -> None:
        """Let the order that is held go on; later ones are held again."""
        await self.held(1)
        self.engine.open.set()
        self.engine.open.clear()


@asynccontextmanager
async def opened(
    config: Config, engine: FakeEngine, recorder: Recorder | None = None, clock: Clock = utcnow
) -> AsyncIterator[House]:
    """A house on the config's data folder."""
    recorder = recorder or Recorder()
    async with open_app(config, Surface.DISCORD, engine=engine, clock=clock) as app:
        app.delivery.attach(recorder)
        yield House(app, engine, recorder)


@pytest.fixture(autouse=True)
def unhurried_by_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's rate limits but the ones a test is about."""
    for module, name in ((progress, "EDIT_SECONDS"), (progress, "PROGRESS_SECONDS"), (gate, "THROTTLE_SECONDS")):
        monkeypatch.setattr(module, name, 0.0)


@pytest.fixture
async def house(config: Config) -> AsyncIterator[House]:
    """A house whose engine paints at once."""
    async with opened(config, FakeEngine()) as house:
        yield house


def pictures(config: Config) -> list[Path]:
    """Every file in the picture folder."""
    return sorted(path for path in (config.data / "pictures").rglob("*") if path.is_file())


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


async def test_engine_that_dies_once_gets_the_job_again(house: House) -> None:
    house.engine.open.clear()
    house.engine.raises = [EngineDied("gone")]
    job = await house.ask()
    await house.reached(job, JobStatus.RUNNING)
    await house.pulse()
    again = await house.until(lambda: second_attempt(house, job))
    assert (again.status, again.attempt) == (JobStatus.RUNNING, 2)
    house.engine.open.set()
    job = await house.ended(job)
    assert (job.status, job.attempt, job.reason) == (JobStatus.DELIVERED, 2, None)
    assert [order.attempt for order in house.engine.orders] == [1, 2]
    assert sum(isinstance(news, Painted) for news in house.recorder.of(job)) == 1


async def second_attempt(house: House, job: Job) -> Job | None:
    """The job, once it was claimed again."""
    now = await house.app.queue.get(job.id)
    return now if now is not None and now.attempt == 2 else None


async def test_person_is_told_that_the_engine_tries_again(house: House) -> None:
    told = asyncio.Event()
    show = house.recorder.show

    async def listening(job: Job, news: News, repost: Repost) -> Shown:
        if isinstance(news, Retrying):
            told.set()
        return await show(job, news, repost)

    house.recorder.show = listening
    house.engine.open.clear()
    house.engine.raises = [EngineDied("gone")]
    job = await house.ask()
    await house.reached(job, JobStatus.RUNNING)
    await house.pulse()
    async with asyncio.timeout(LONG_SECONDS):
        await told.wait()


async def test_job_that_saw_the_engine_die_is_tried_again_with_nobody_else_in_it(config: Config) -> None:
    engine = FakeEngine(slots=3)
    engine.open.clear()
    engine.raises = [EngineDied("gone")]
    async with opened(config, engine) as house:
        job = await house.ask()
        await house.pulse()
        await house.until(lambda: second_attempt(house, job))
        await house.held(1)
        others = [await house.ask(GRACE) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert [order.job_id for order in engine.orders] == [job.id, job.id]
        engine.open.set()
        for ended in (job, *others):
            assert (await house.ended(ended)).status is JobStatus.DELIVERED


async def test_job_that_lost_its_place_through_another_begins_anew_and_costs_no_attempt(house: House) -> None:
    house.engine.raises = [EngineDied("another hung", is_blamed=False) for _ in range(5)]
    job = await house.ended(await house.ask())
    assert (job.status, job.attempt, job.deaths) == (JobStatus.DELIVERED, 1, 0)
    assert [order.attempt for order in house.engine.orders] == [1] * 6
    assert sum(isinstance(news, Painted) for news in house.recorder.of(job)) == 1


async def test_person_is_told_when_the_engine_begins_anew_because_of_another(house: House) -> None:
    house.engine.raises = [EngineDied("another hung", is_blamed=False)]
    house.engine.open.clear()
    job = await house.ask()
    await house.pulse()
    async with asyncio.timeout(LONG_SECONDS):
        while not any(isinstance(news, Retrying) for news in house.recorder.of(job)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    house.engine.open.set()
    assert (await house.ended(job)).status is JobStatus.DELIVERED


async def test_job_that_lost_its_place_can_be_cancelled(house: House) -> None:
    house.engine.raises = [EngineDied("another hung", is_blamed=False)]
    house.engine.open.clear()
    job = await house.ask()
    await house.pulse()
    await house.held(1)
    assert await house.app.dispatcher.cancel(job.id)
    house.engine.open.set()
    assert (await house.ended(job)).status is JobStatus.CANCELLED


async def test_job_that_takes_the_engine_down_twice_fails_in_words(house: House) -> None:
    house.engine.raises = [EngineDied("gone"), EngineDied("gone again")]
    job = await house.ended(await house.ask())
    assert (job.status, job.attempt) == (JobStatus.FAILED, 2)
    assert job.reason == (
        "The engine died 2 times while painting this, so it was given up. A smaller size or another model may work."
    )
    assert house.recorder.of(job)[-1] == Failed(job.reason)
    assert (await house.ended(await house.ask())).status is JobStatus.DELIVERED


async def test_job_the_engine_refuses_fails_with_its_sentence_and_is_not_tried_again(house: House) -> None:
    house.engine.raises = [PaintFailed("Too large for this machine's memory.")]
    job = await house.ended(await house.ask())
    assert (job.status, job.attempt) == (JobStatus.FAILED, 1)
    assert house.recorder.of(job)[-1] == Failed("Too large for this machine's memory.")
    assert len(house.engine.orders) == 1


async def test_bug_in_the_engine_fails_that_job_alone(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.engine.raises = [RuntimeError("never seen before")]
    first, second = await house.ask(), await house.ask()
    first, second = await house.ended(first), await house.ended(second)
    assert first.status is JobStatus.FAILED
    assert first.reason == f"Something broke inside Atelier. The host can find it in the log as job {first.id}."
    assert second.status is JobStatus.DELIVERED
    (record,) = [record for record in caplog.records if "never seen before" in record.message]
    assert record.message.startswith(f"job {first.id} failed on a bug\nTraceback")


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


class DeafEngine(FakeEngine):
    """An engine that hears of a cancellation too late."""

    def cancel(self, job_id: JobId) -> None:
        """Go on."""


async def test_picture_of_a_job_cancelled_at_the_last_moment_is_dropped(config: Config) -> None:
    engine = DeafEngine()
    engine.open.clear()
    async with opened(config, engine) as house:
        first, second = await house.ask(), await house.ask()
        await house.held(1)
        assert await house.app.dispatcher.cancel(first.id)
        await house.ended(first)
        engine.open.set()
        await house.ended(second)
        assert (await house.app.queue.get(first.id)).status is JobStatus.CANCELLED
        assert not any(isinstance(news, Painted) for news in house.recorder.of(first))
        (image,) = await house.app.queue.images(second.id)
        assert [path.name for path in pictures(config)] == [image.sha256]


async def test_engine_that_dies_after_the_cancellation_says_no_more(config: Config) -> None:
    engine = DeafEngine()
    engine.open.clear()
    async with opened(config, engine) as house:
        first, second = await house.ask(), await house.ask()
        await house.held(1)
        assert await house.app.dispatcher.cancel(first.id)
        await house.ended(first)
        engine.raises = [EngineDied("gone")]
        engine.open.set()
        assert (await house.ended(second)).status is JobStatus.DELIVERED
        # The channel speaks in order, so whatever was to be said of the first has been said.
        assert house.recorder.of(first) == [Cancelled()]
        assert [order.job_id for order in engine.orders] == [first.id, second.id]


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


class FatalEngine(DeafEngine):
    """An engine that dies of a person's first attempts, and knows no order before it has it."""

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Die, or paint."""
        if order.owner == ADA and order.attempt == 1:
            self.orders.append(order)
            raise EngineDied("gone")
        async for event in super().submit(order):
            yield event


async def test_job_cancelled_while_it_waits_to_be_alone_in_the_engine_never_gets_there(config: Config) -> None:
    engine = FatalEngine(slots=2)
    engine.open.clear()
    async with opened(config, engine) as house:
        other = await house.ask(GRACE)
        await house.held(1)
        job = await house.ask(ADA)
        await house.until(lambda: second_attempt(house, job))
        assert await house.app.dispatcher.cancel(job.id)
        await house.ended(job)
        engine.open.set()
        await house.ended(other)
        await house.ended(await house.ask(GRACE))
        assert [order.job_id for order in engine.orders].count(job.id) == 1
        assert house.recorder.of(job)[-1] == Cancelled(), "nothing is said over its end"


async def test_second_attempt_at_a_provider_leaves_the_others_their_places(config: Config) -> None:
    engine = FatalEngine(slots=3)
    engine.pace = Pace(1000, 60.0)
    engine.open.clear()
    async with opened(config, engine) as house:
        other = await house.ask(GRACE)
        await house.held(1)
        job = await house.ask(ADA)
        await house.held(2)
        assert await second_attempt(house, job)
        third = await house.ask(GRACE)
        await house.held(3)
        engine.open.set()
        for each in (other, job, third):
            assert (await house.ended(each)).status is JobStatus.DELIVERED


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
