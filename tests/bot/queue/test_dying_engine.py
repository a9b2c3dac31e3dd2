"""What the dispatcher does with jobs whose engine dies, refuses or is deaf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from bot.config import Config
from bot.delivery.poster import Repost, Shown
from bot.engine import Event, Order, Pace
from bot.engine.fake import FakeEngine
from bot.errors import EngineDied, PaintFailed
from bot.jobs import (
    Cancelled,
    Failed,
    Job,
    JobStatus,
    News,
    Painted,
    Retrying,
)
from tests.bot.queue.house import ADA, GRACE, LONG_SECONDS, DeafEngine, House, opened, pictures, second_attempt

pytestmark = pytest.mark.usefixtures("unhurried_by_discord")


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
