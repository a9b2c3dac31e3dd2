"""The outbox on a real database: in order, again until it works, paced, and never a word too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncio_throttle
import pytest

from bot.delivery import endings, gate
from bot.delivery.poster import Shown, in_time
from bot.engine.fake import flat_image
from bot.errors import StorageError, TryLater, Unreachable
from bot.jobs import (
    Cancelled,
    ChannelId,
    Failed,
    JobStatus,
    MessageId,
    Painted,
    Painting,
    UserId,
    utcnow,
)
from bot.storage.pictures import Pictures
from bot.storage.usage import Usage
from tests.bot.delivery.desk import HERE, LONG_SECONDS, THERE, Desk, until


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
