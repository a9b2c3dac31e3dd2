"""Progress on its way: the newest, no more often than Discord takes it, and never after the ending."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from bot.delivery import progress
from bot.engine.fake import flat_image
from bot.errors import TryLater, Unreachable
from bot.jobs import (
    Cancelled,
    JobStatus,
    Painted,
    Painting,
    Retrying,
)
from tests.bot.delivery.desk import LONG_SECONDS, THERE, Desk


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


async def test_progress_announced_while_closing_breaks_nothing(desk: Desk) -> None:
    async with desk.running():
        job = await desk.running_job()
        await desk.posted(await desk.painted_job())
    desk.delivery.announce(job, Painting(1, 9))
    assert job.id not in desk.recorder.ids()
