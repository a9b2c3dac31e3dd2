"""What was forgotten is said no more, and its messages are deleted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiosqlite
import pytest

from bot.delivery import gate, outbox, removals
from bot.delivery.removals import REMOVALS
from bot.errors import TryLater, Unreachable
from bot.jobs import (
    ChannelId,
    JobStatus,
    MessageId,
    Painting,
    Surface,
    UserId,
    utcnow,
)
from bot.storage.forgetting import Forgetting
from bot.storage.job_posts import SOME
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from tests.bot.delivery.desk import HERE, LONG_SECONDS, THERE, Desk, until


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
