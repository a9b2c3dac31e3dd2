"""The outbox on a real database: in order, again until it works, paced, and never a word too many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiosqlite
import asyncio_throttle
import pytest

from bot.delivery import endings, gate, outbox, progress, removals
from bot.delivery.outbox import Delivery
from bot.delivery.poster import Repost, Shown, in_time
from bot.delivery.removals import REMOVALS
from bot.engine.fake import flat_image
from bot.errors import StorageError, TryLater, Unreachable
from bot.jobs import (
    Cancelled,
    ChannelId,
    Destination,
    Failed,
    GenerationRequest,
    GuildId,
    Job,
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
from bot.storage.database import Database, open_database
from bot.storage.forgetting import Forgetting
from bot.storage.job_posts import SOME
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges
from bot.storage.usage import Usage

ADA = UserId(1)
APPLE = GenerationRequest(
    prompt="a red apple", model="emoji", width=8, height=8, num_inference_steps=3, guidance_scale=3.0, seed=7
)
HERE, THERE = ChannelId(1), ChannelId(2)
LONG_SECONDS = 30.0

Answer = Exception | MessageId | Shown | None


class Recorder:
    """A poster that remembers what it was given and when, and answers as it is told."""

    def __init__(self) -> None:
        self.shown: list[tuple[Job, News]] = []
        self.at: list[float] = []
        self.answer: Callable[[Job, News], Answer] = lambda job, news: None
        self.free = asyncio.Event()
        """Clear it to keep every post on its way."""
        self.free.set()
        self.removed: list[Job] = []
        self.decorated: list[Job] = []
        self.on_decorate: Callable[[Job], Answer] = lambda job: None
        self.on_remove: Callable[[Job], Answer] = lambda job: None
        self._changed = asyncio.Condition()

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        async with self._changed:
            self.shown.append((job, news))
            self.at.append(time.monotonic())
            self._changed.notify_all()
        await self.free.wait()
        answer = self.answer(job, news)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Shown) else Shown(answer)

    async def decorate(self, job: Job) -> None:
        self.decorated.append(job)
        if isinstance(answer := self.on_decorate(job), Exception):
            raise answer

    async def remove(self, job: Job) -> None:
        self.removed.append(job)
        if isinstance(answer := self.on_remove(job), Exception):
            raise answer

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was shown makes the condition true."""
        async with asyncio.timeout(LONG_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    def ids(self) -> list[int]:
        """The jobs that were spoken of, post by post."""
        return [job.id for job, _ in self.shown]

    def of(self, job: Job) -> list[News]:
        """What was shown of one job."""
        return [news for shown, news in self.shown if shown.id == job.id]


class Desk:
    """A queue, a delivery that may run, and what it says."""

    def __init__(self, database: Database, home: Path, posts_per_channel: int) -> None:
        self.database = database
        self.queue = Queue(database, Pictures(database, PictureFolder(home)), Surface.DISCORD, utcnow)
        changes = QueueChanges(database, Surface.DISCORD, utcnow)
        self.delivery = Delivery(database, self.queue, changes, posts_per_channel)
        self.recorder = Recorder()

    async def running_job(self, channel: ChannelId = HERE, user: UserId = ADA) -> Job:
        """A job in the engine."""

        async def admit(_: aiosqlite.Connection) -> None:
            return

        requester, destination = Requester(user, GuildId(1)), Destination(channel, MessageId(10))
        queued = await self.queue.enqueue(requester, destination, APPLE, interaction_id=None, admit=admit)
        assert queued is not None
        job = await self.queue.claim(queued.id)
        assert job is not None
        return job

    async def painted_job(self, channel: ChannelId = HERE, user: UserId = ADA) -> Job:
        """A job whose pictures are ready."""
        job = await self.running_job(channel, user)
        await self.queue.render(job, [flat_image(7, 8, 8)], "hash")
        return job

    async def posted(self, job: Job) -> Job:
        """Wait until a job's message is known to say how it ended."""
        changed = self.database.listen()
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                changed.clear()
                now = await self.queue.get(job.id)
                assert now is not None
                if now.posted_at is not None:
                    return now
                await changed.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver through the recorder while the body runs."""
        self.delivery.attach(self.recorder)
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody is told of."""
    async with asyncio.timeout(LONG_SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


@pytest.fixture
def posts_per_channel() -> int:
    """So many that nobody waits; the tests of the throttle say otherwise."""
    return 10_000


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses but those a test is about."""
    monkeypatch.setattr("bot.storage.database.INSIST_SECONDS", 0.01)
    monkeypatch.setattr(progress, "EDIT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(endings, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(gate, "LONGEST_PAUSE_SECONDS", 0.0)


@pytest.fixture
async def desk(tmp_path: Path, posts_per_channel: int) -> AsyncIterator[Desk]:
    """A desk on a database of its own."""
    async with open_database(tmp_path / "atelier.db") as database:
        yield Desk(database, tmp_path, posts_per_channel)


async def test_each_ending_is_shown_once_and_noted(desk: Desk) -> None:
    painted, failed, cancelled = await desk.painted_job(), await desk.running_job(), await desk.running_job()
    async with desk.running():
        await desk.queue.fail(failed, "Too large.")
        await desk.queue.cancel(cancelled.id)
        statuses = [(await desk.posted(job)).status for job in (painted, failed, cancelled)]
    assert statuses == [JobStatus.DELIVERED, JobStatus.FAILED, JobStatus.CANCELLED]
    ((picture,), *rest) = [desk.recorder.of(job) for job in (painted, failed, cancelled)]
    assert isinstance(picture, Painted)
    assert [image.png for image in picture.images] == [flat_image(7, 8, 8).png]
    assert rest == [[Failed("Too large.")], [Cancelled()]]


async def test_nothing_is_said_before_somebody_can_speak(desk: Desk) -> None:
    job = await desk.painted_job()
    running = asyncio.create_task(desk.delivery.run())
    desk.delivery.announce(job, Painting(1, 3))
    await desk.database.remember("a commit", "that wakes the listeners")
    assert desk.recorder.shown == []
    desk.delivery.attach(desk.recorder)
    await desk.posted(job)
    running.cancel()
    assert [type(news) for news in desk.recorder.of(job)] == [Painted]


async def test_ending_that_was_not_shown_is_shown_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    job = await desk.painted_job()
    desk.recorder.free.clear()
    async with desk.running():
        await desk.recorder.until(lambda: bool(desk.recorder.shown))
    again = Desk(desk.database, tmp_path, 10)
    async with again.running():
        assert (await again.posted(job)).status is JobStatus.DELIVERED
    assert [type(news) for news in again.recorder.of(job)] == [Painted]


async def test_ending_that_was_shown_is_not_shown_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    async with desk.running():
        first = await desk.posted(await desk.painted_job())
    again = Desk(desk.database, tmp_path, 10)
    async with again.running():
        second = await again.posted(await again.painted_job())
    assert desk.recorder.ids() == [first.id]
    assert again.recorder.ids() == [second.id]


async def test_message_that_moved_is_remembered(desk: Desk) -> None:
    desk.recorder.answer = lambda job, news: MessageId(99)
    async with desk.running():
        assert (await desk.posted(await desk.painted_job())).destination.message_id == 99


async def test_picture_that_is_gone_is_told_in_words(desk: Desk, tmp_path: Path) -> None:
    job = await desk.painted_job()
    for file in (tmp_path / "pictures").glob("*/*"):
        file.unlink()
    desk.recorder.answer = lambda job, news: MessageId(99)
    async with desk.running():
        ended = await desk.posted(job)
    (news,) = desk.recorder.of(job)
    assert isinstance(news, Failed)
    assert "could not be read back" in news.reason
    assert (ended.status, ended.reason, ended.destination.message_id) == (JobStatus.FAILED, news.reason, 99)
    yesterday = utcnow() - timedelta(days=1)
    assert await Usage(desk.database).spent(job.requester, yesterday) == [], "nobody pays for what they cannot see"


async def test_picture_that_cannot_be_read_for_a_moment_is_shown_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = Pictures.read, [StorageError("Too many open files."), StorageError("The database is locked.")]

    async def reluctant(self: Pictures, names: list[str]) -> dict[str, bytes]:
        if failures:
            raise failures.pop()
        return await read(self, names)

    monkeypatch.setattr(Pictures, "read", reluctant)
    job = await desk.painted_job()
    async with desk.running():
        await desk.posted(job)
    (news,) = desk.recorder.of(job)
    assert isinstance(news, Painted)


async def test_busy_discord_is_asked_again_until_it_works(desk: Desk) -> None:
    refusals = [TryLater("503"), TryLater("429"), TryLater("reset"), None]
    desk.recorder.answer = lambda job, news: refusals.pop(0)
    async with desk.running():
        job = await desk.posted(await desk.painted_job())
    assert job.status is JobStatus.DELIVERED
    assert desk.recorder.ids() == [job.id] * 4


def test_pause_before_asking_again_doubles_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LONGEST_PAUSE_SECONDS", 60.0)
    assert [gate.pause(tries) for tries in (1, 2, 3, 6, 7, 1100)] == [1, 2, 4, 32, 60, 60]


async def test_a_result_is_posted_also_after_discord_was_away_for_a_day(desk: Desk) -> None:
    desk.recorder.answer = lambda job, news: TryLater("away") if len(desk.recorder.shown) <= 1100 else None
    async with desk.running():
        job = await desk.posted(await desk.painted_job())
    assert job.status is JobStatus.DELIVERED


async def test_a_post_that_fails_steps_aside_for_other_people_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LONGEST_PAUSE_SECONDS", 60.0)
    stuck, behind = await desk.painted_job(), await desk.painted_job()
    other = await desk.painted_job(user=UserId(2))
    busy = True
    desk.recorder.answer = lambda job, news: TryLater("500") if busy and job.id == stuck.id else None
    async with desk.running():
        assert (await desk.posted(other)).status is JobStatus.DELIVERED
        assert desk.recorder.ids() == [stuck.id, other.id]
        busy = False
        await desk.posted(behind)
    assert desk.recorder.ids()[-2:] == [stuck.id, behind.id], "each person's results come in order"


async def test_a_post_without_an_answer_is_tried_again_with_more_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = []

    def noting(post: Awaitable[Shown], seconds: float) -> Awaitable[Shown]:
        allowed.append(seconds)
        return in_time(post, seconds)

    monkeypatch.setattr(endings, "in_time", noting)
    monkeypatch.setattr(endings, "SHOW_SECONDS", 0.05)
    job = await desk.painted_job()
    desk.recorder.free.clear()
    async with desk.running():
        await desk.recorder.until(lambda: desk.recorder.ids().count(job.id) == 3)
        desk.recorder.free.set()
        assert (await desk.posted(job)).status is JobStatus.DELIVERED
    assert allowed[:3] == [0.05, 0.1, 0.2]


async def test_what_goes_with_a_result_holds_nothing_up(desk: Desk) -> None:
    jobs = [await desk.painted_job() for _ in range(3)]
    desk.recorder.on_decorate = lambda job: TryLater("500") if job.id == jobs[0].id else ZeroDivisionError("a bug")
    async with desk.running():
        statuses = [(await desk.posted(job)).status for job in jobs]
        await until(lambda: len(desk.recorder.decorated) == 3)
    assert statuses == [JobStatus.DELIVERED] * 3


async def test_a_message_that_was_left_behind_is_deleted(desk: Desk) -> None:
    desk.recorder.answer = lambda job, news: Shown(MessageId(99), left=MessageId(10))
    async with desk.running():
        job = await desk.posted(await desk.painted_job())
        await until(lambda: desk.recorder.removed)
        assert desk.recorder.removed[0].left_message_id == 10
        await until(lambda: not desk.delivery._channels[HERE].removals)
    assert (await desk.queue.get(job.id)).left_message_id is None
    assert await desk.queue.to_remove() == []


async def test_a_change_reads_the_changed_jobs_and_not_all_that_wait_to_be_posted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    owed = desk.queue.owed

    async def counted(among: Any) -> Any:
        found = await owed(among)
        read.append(len(found[0]))
        return found

    monkeypatch.setattr(desk.queue, "owed", counted)
    monkeypatch.setattr(gate, "LONGEST_PAUSE_SECONDS", 60.0)
    waiting = [await desk.painted_job() for _ in range(20)]
    desk.recorder.answer = lambda job, news: TryLater("away") if job.id in ids else None
    ids = {job.id for job in waiting}
    async with desk.running():
        await until(lambda: len(desk.recorder.shown) > 0)
        others = [await desk.posted(await desk.painted_job(THERE)) for _ in range(5)]
    assert all(job.status is JobStatus.DELIVERED for job in others)
    assert max(read) == 1


def instantly(sleep: Callable, slept: list[float]) -> Callable:
    """A sleep that notes how long it should have been."""

    async def nap(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    return nap


async def test_order_is_kept_within_a_channel_and_another_is_not_held_up(desk: Desk) -> None:
    away = True
    desk.recorder.answer = lambda job, news: TryLater("away") if away and job.id == first.id else None
    first, second, third = [await desk.painted_job(HERE) for _ in range(3)]
    elsewhere = await desk.painted_job(THERE)
    async with desk.running():
        await desk.posted(elsewhere)
        await desk.recorder.until(lambda: desk.recorder.ids().count(first.id) >= 5)
        assert set(desk.recorder.ids()) == {first.id, elsewhere.id}
        away = False
        for job in (first, second, third):
            await desk.posted(job)
    here = [job_id for job_id in desk.recorder.ids() if job_id != elsewhere.id]
    assert here == sorted(here)
    assert here[-2:] == [second.id, third.id]


async def test_one_post_at_a_time_per_channel(desk: Desk) -> None:
    desk.recorder.free.clear()
    here, later, there = await desk.painted_job(HERE), await desk.painted_job(HERE), await desk.painted_job(THERE)
    async with desk.running():
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 2)
        await desk.database.remember("a commit", "that wakes the delivery")
        # Channels do not wait for each other, so either of them may come first.
        assert sorted(desk.recorder.ids()) == [here.id, there.id]
        desk.recorder.free.set()
        await desk.posted(later)
    assert desk.recorder.ids()[2:] == [later.id]


async def test_channel_that_refuses_everything_is_left_alone_for_a_while(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = True
    desk.recorder.answer = lambda job, news: (
        Unreachable("403") if closed and job.destination.channel_id == HERE else None
    )
    refused = [await desk.painted_job(HERE) for _ in range(gate.REFUSALS + 2)]
    elsewhere = await desk.painted_job(THERE)
    async with desk.running():
        ended = [await desk.posted(job) for job in refused]
        assert {job.status for job in ended} == {JobStatus.FAILED}
        assert ended[-1].reason == "Discord refuses every post in this channel."
        assert {job.id for job in refused[: gate.REFUSALS]} == set(desk.recorder.ids()) - {elsewhere.id}
        assert (await desk.posted(elsewhere)).status is JobStatus.DELIVERED
        closed = False
        assert desk.delivery._channels[HERE]._gate.is_closed
        # As if all of that time had passed.
        desk.delivery._channels[HERE]._gate.closed_until -= gate.CLOSED_SECONDS
        assert (await desk.posted(await desk.painted_job(HERE))).status is JobStatus.DELIVERED


async def test_place_that_is_gone_ends_the_job_with_the_reason(desk: Desk) -> None:
    desk.recorder.answer = lambda job, news: (
        Unreachable("Discord answered 403: Missing Access (code 50001)") if job.id == first.id else None
    )
    first, second = await desk.painted_job(), await desk.painted_job()
    async with desk.running():
        first, second = await desk.posted(first), await desk.posted(second)
    assert (first.status, first.reason) == (
        JobStatus.FAILED,
        "Discord answered 403: Missing Access (code 50001)",
    )
    assert second.status is JobStatus.DELIVERED
    told = [news for job, news in desk.recorder.shown if job.id == first.id]
    assert [type(news) for news in told] == [Painted, Failed], "words may be taken where pictures are refused"
    assert desk.recorder.ids()[-1] == second.id


async def test_cancelled_job_nobody_can_be_told_of_stays_cancelled(desk: Desk) -> None:
    desk.recorder.answer = lambda job, news: Unreachable("gone")
    job = await desk.running_job()
    async with desk.running():
        await desk.queue.cancel(job.id)
        job = await desk.posted(job)
    assert (job.status, job.reason) == (JobStatus.CANCELLED, "gone")


async def test_bug_in_one_message_silences_nobody(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.recorder.answer = lambda job, news: ZeroDivisionError("a bug") if job.id == first.id else None
    first, second = await desk.painted_job(), await desk.painted_job()
    async with desk.running():
        desk.delivery.announce(first, Painting(1, 3))
        first, second = await desk.posted(first), await desk.posted(second)
        third = await desk.posted(await desk.painted_job())
    assert (first.status, second.status, third.status) == (JobStatus.FAILED, JobStatus.DELIVERED, JobStatus.DELIVERED)
    assert first.reason == "It could not be delivered (ZeroDivisionError)."
    (said,) = (record.message for record in caplog.records if f"job {first.id}: it cannot be" in record.message)
    assert said.endswith("ZeroDivisionError: a bug")


async def test_progress_that_cannot_be_shown_is_no_loss(desk: Desk) -> None:
    answers = [TryLater("busy"), ZeroDivisionError("a bug"), Unreachable("gone")]
    desk.recorder.answer = lambda job, news: answers.pop(0) if isinstance(news, Painting) else None
    async with desk.running():
        job = await desk.running_job()
        # What may work later is tried again.
        for step, shown in ((1, 2), (2, 3)):
            desk.delivery.announce(job, Painting(step, 3))
            await desk.recorder.until(lambda shown=shown: len(desk.recorder.shown) == shown)
        # Where it can never be shown it is not tried again: Discord counts refusals.
        desk.delivery.announce(job, Painting(3, 3))
        await desk.queue.render(job, [flat_image(7, 8, 8)], "hash")
        assert (await desk.posted(job)).status is JobStatus.DELIVERED
    assert [type(news) for news in desk.recorder.of(job)] == [Painting] * 3 + [Painted]


async def test_newest_progress_overtakes_what_was_not_shown_yet(desk: Desk) -> None:
    desk.recorder.free.clear()
    async with desk.running():
        job = await desk.running_job()
        desk.delivery.announce(job, Painting(1, 9))
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 1)
        for step in range(2, 9):
            desk.delivery.announce(job, Painting(step, 9))
        desk.delivery.announce(job, Retrying())
        desk.recorder.free.set()
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 2)
    assert desk.recorder.of(job) == [Painting(1, 9), Retrying()]


async def test_ending_overtakes_progress_and_is_the_last_word(desk: Desk) -> None:
    desk.recorder.free.clear()
    async with desk.running():
        job = await desk.running_job()
        desk.delivery.announce(job, Painting(1, 9))
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 1)
        desk.delivery.announce(job, Painting(2, 9))
        await desk.queue.render(job, [flat_image(7, 8, 8)], "hash")
        other = await desk.painted_job(THERE)
        # The other channel's post shows that the delivery has read of both endings.
        await desk.recorder.until(lambda: other.id in desk.recorder.ids())
        desk.delivery.announce(job, Painting(3, 9))
        desk.recorder.free.set()
        await desk.posted(job)
        await desk.posted(await desk.painted_job())
    assert [type(news) for news in desk.recorder.of(job)] == [Painting, Painted]


async def test_message_is_edited_no_more_often_than_it_may(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EDIT_SECONDS", 0.2)
    async with desk.running():
        job, other = await desk.running_job(), await desk.running_job()
        step = 0
        while min(len(desk.recorder.of(one)) for one in (job, other)) < 3:
            step += 1
            desk.delivery.announce(job, Painting(step, 1000))
            desk.delivery.announce(other, Painting(step, 1000))
            await asyncio.sleep(0.01)
        before_end = step
        await desk.queue.render(job, [flat_image(7, 8, 8)], "hash")
        await desk.posted(job)
    for one in (job, other):
        edits = [
            (at, news)
            for at, (shown, news) in zip(desk.recorder.at, desk.recorder.shown, strict=True)
            if shown.id == one.id and isinstance(news, Painting)
        ]
        assert all(later - earlier >= 0.19 for (earlier, _), (later, _) in pairwise(edits))
        steps = [news.step for _, news in edits]
        assert steps == sorted(set(steps))
        assert steps[-1] <= before_end


async def test_slow_post_counts_from_when_it_was_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EDIT_SECONDS", 0.2)
    desk.recorder.free.clear()
    async with desk.running():
        job = await desk.running_job()
        desk.delivery.announce(job, Painting(1, 9))
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 1)
        desk.delivery.announce(job, Painting(2, 9))
        await asyncio.sleep(0.25)
        freed_at = time.monotonic()
        desk.recorder.free.set()
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 2)
    assert desk.recorder.at[1] - freed_at >= 0.19


async def test_first_progress_is_shown_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EDIT_SECONDS", LONG_SECONDS)
    async with desk.running():
        job = await desk.running_job()
        desk.delivery.announce(job, Painting(1, 9))
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 1)
        desk.delivery.announce(job, Painting(2, 9))
        await desk.queue.cancel(job.id)
        await desk.posted(job)
    assert desk.recorder.of(job) == [Painting(1, 9), Cancelled()], "and an ending does not wait"


async def test_channels_progress_leaves_room_for_results(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.2)
    async with desk.running():
        jobs = [await desk.running_job() for _ in range(4)]
        for job in jobs:
            desk.delivery.announce(job, Painting(1, 9))
        await desk.recorder.until(lambda: len(desk.recorder.shown) == 3)
    assert all(later - earlier >= 0.19 for earlier, later in pairwise(desk.recorder.at))
    assert len(set(desk.recorder.ids())) == 3, "each message in its turn"


class TestThrottle:
    """Three posts in 0.3 seconds."""

    @pytest.fixture
    def posts_per_channel(self, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr(gate, "THROTTLE_SECONDS", 0.3)
        return 3

    async def test_posts_of_one_channel_are_paced(self, desk: Desk) -> None:
        jobs = [await desk.painted_job() for _ in range(7)]
        async with desk.running():
            for job in jobs:
                await desk.posted(job)
        at = desk.recorder.at
        for number in range(4):
            assert at[number + 3] - at[number] >= 0.29, "no window of 0.3 seconds holds four"

    async def test_the_first_of_each_channel_go_out_together(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A channel in which four had to be posted, or that shared its pace with another, would wait too long here."""
        monkeypatch.setattr(gate, "THROTTLE_SECONDS", 2 * LONG_SECONDS)
        jobs = [await desk.painted_job(ChannelId(number % 10 + 1)) for number in range(30)]
        async with desk.running():
            for job in jobs:
                await desk.posted(job)

    async def test_progress_and_repeated_posts_count_too(self, desk: Desk) -> None:
        answers = [None, TryLater("busy"), None, None]
        desk.recorder.answer = lambda job, news: answers.pop(0)
        async with desk.running():
            job = await desk.running_job()
            desk.delivery.announce(job, Painting(1, 9))
            await desk.recorder.until(lambda: len(desk.recorder.shown) == 1)
            await desk.queue.render(job, [flat_image(7, 8, 8)], "hash")
            await desk.posted(job)
            await desk.posted(await desk.painted_job())
        assert [type(news) for _, news in desk.recorder.shown] == [Painting, Painted, Painted, Painted]
        assert desk.recorder.at[3] - desk.recorder.at[0] >= 0.29

    def test_the_throttler_is_asyncio_throttles_own(self) -> None:
        assert gate.Throttler is asyncio_throttle.Throttler


async def test_progress_announced_while_closing_breaks_nothing(desk: Desk) -> None:
    async with desk.running():
        job = await desk.running_job()
        await desk.posted(await desk.painted_job())
    desk.delivery.announce(job, Painting(1, 9))
    assert job.id not in desk.recorder.ids()


async def test_what_was_forgotten_is_said_no_more_and_its_message_is_deleted_after_what_was_on_its_way(
    desk: Desk, tmp_path: Path
) -> None:
    on_its_way, waiting, running = await desk.painted_job(), await desk.painted_job(), await desk.running_job()
    pictures = Pictures(desk.database, PictureFolder(tmp_path))
    forgetting = Forgetting(desk.database, pictures, tmp_path / "atelier.db", None, Surface.DISCORD, utcnow)
    desk.recorder.answer = lambda job, news: MessageId(77)
    desk.recorder.free.clear()
    async with desk.running():
        await desk.recorder.until(lambda: desk.recorder.ids() == [on_its_way.id])
        await forgetting.forget(UserId(1))
        await desk.database.remember("a commit", "that is seen after it")
        desk.delivery.announce(running, Painting(1, 3))
        desk.recorder.free.set()
        for job in (on_its_way, waiting, running):
            await desk.posted(job)
    assert desk.recorder.ids() == [on_its_way.id]
    assert [job.id for job in desk.recorder.removed] == [on_its_way.id, waiting.id, running.id]
    assert desk.recorder.removed[0].destination.message_id == 77, "the one that was posted last"
    assert {job.request.prompt for job in desk.recorder.removed} == {""}


async def test_messages_are_deleted_a_few_at_a_time_later_where_discord_is_busy_and_endings_go_first(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "REMOVALS_SECONDS", 0.5)
    forgetting = Forgetting(
        desk.database,
        Pictures(desk.database, PictureFolder(tmp_path)),
        tmp_path / "atelier.db",
        None,
        Surface.DISCORD,
        utcnow,
    )
    jobs = [await desk.running_job() for _ in range(REMOVALS + 2)]
    busy = [TryLater("503"), Unreachable("Missing Access")]
    desk.recorder.on_remove = lambda job: busy.pop(0) if busy else None
    await forgetting.forget(UserId(1))
    async with desk.running():
        begun = time.monotonic()
        await desk.posted(jobs[-1])
        other = await desk.painted_job()
        assert (await desk.posted(other)).status is JobStatus.DELIVERED
        assert time.monotonic() - begun < LONG_SECONDS
        for job in jobs:
            await desk.posted(job)
        assert time.monotonic() - begun > 0.5
    order = [job.id for job in desk.recorder.removed]
    assert order[0] == jobs[0].id
    assert sorted(order) == sorted([jobs[0].id, *(job.id for job in jobs)])
    assert await desk.queue.to_remove() == []


async def test_a_channel_is_forgotten_when_all_is_said_and_no_pause_is_remembered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TIDY_SECONDS", 0.0)
    gone = ChannelId(500)
    desk.recorder.answer = lambda job, news: Unreachable("gone") if job.destination.channel_id == gone else None
    async with desk.running():
        for number in range(50):
            await desk.posted(await desk.painted_job(ChannelId(100 + number)))
        for _ in range(3):
            await desk.posted(await desk.painted_job(gone))
        painting = await desk.running_job(ChannelId(501))
        desk.delivery.announce(painting, Painting(1, 3))
        await desk.recorder.until(lambda: desk.recorder.shown[-1][0].id == painting.id)
        assert len(desk.delivery._channels) == 52, "what was just spoken in is paced"
        monkeypatch.setattr(gate, "CLOSED_SECONDS", 0.0)
        await desk.database.remember("anything", "wakes it")
        await until(lambda: set(desk.delivery._channels) == {gone})


async def test_nothing_is_remembered_of_a_job_that_was_forgotten_while_it_was_painted(
    desk: Desk, tmp_path: Path
) -> None:
    job = await desk.running_job()
    pictures = Pictures(desk.database, PictureFolder(tmp_path))
    forgetting = Forgetting(desk.database, pictures, tmp_path / "atelier.db", None, Surface.DISCORD, utcnow)
    desk.recorder.answer = lambda job, news: Unreachable("no")
    async with desk.running():
        await desk.posted(await desk.painted_job(THERE))
        desk.delivery.announce(job, Painting(1, 3))
        channel = desk.delivery._channels[HERE]
        await until(lambda: channel.progress._mute and channel.progress._edited_at)
        await forgetting.forget(UserId(1))
        await until(lambda: desk.recorder.removed and not channel.working)
    assert (channel.progress._mute, channel.progress._edited_at) == (set(), {})


async def test_more_messages_than_are_read_at_once_are_all_deleted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "REMOVALS_SECONDS", 0.0)
    first = await desk.painted_job()
    await desk.queue.posted(first, None)

    async def copy(connection: aiosqlite.Connection) -> None:
        columns = [row[1] for row in await connection.execute_fetchall("PRAGMA table_info(jobs)")]
        kept = ", ".join(name for name in columns if name not in ("id", "post_id", "forgotten_at"))
        numbers = range(first.id + 1, first.id + SOME + 50)
        await connection.executemany(
            "INSERT INTO posts (id, channel_id, message_id) VALUES (?, ?, ?)",
            [(number, HERE, 1000 + number) for number in numbers],
        )
        await connection.executemany(
            f"INSERT INTO jobs (id, post_id, forgotten_at, {kept}) SELECT ?, ?, 'now', {kept} FROM jobs WHERE id = ?",
            [(number, number, first.id) for number in numbers],
        )

    await desk.database.write(copy)
    await desk.database.execute("UPDATE jobs SET forgotten_at = asked_at WHERE forgotten_at IS NOT NULL")
    left = "SELECT count(*) AS n FROM jobs WHERE forgotten_at IS NOT NULL AND removed_at IS NULL"
    async with desk.running():
        await until(lambda: len(desk.recorder.removed) > 10)
        # One more is forgotten while the first of the others are deleted.
        await desk.database.execute("UPDATE jobs SET forgotten_at = asked_at WHERE id = ?", (first.id,))
        async with asyncio.timeout(LONG_SECONDS):
            while (await desk.database.fetch_one(left))["n"]:  # noqa: ASYNC110 - it takes a while
                await asyncio.sleep(0.05)
    assert len(desk.recorder.removed) == SOME + 50
