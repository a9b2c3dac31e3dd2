"""Models over time, against tables computed by hand."""

from __future__ import annotations

from bot.jobs import Operation, UserId
from bot.storage.drift import ModelStep
from bot.storage.reports import GROUP, Period, Reports
from tests.bot.storage.conftest import ADA, GUILD, Store


async def test_each_model_in_each_step(store: Store) -> None:
    one = await store.delivered(ADA, seconds=8, model="emoji", num_images_per_prompt=2)
    two = await store.delivered(ADA, seconds=4, model="emoji", num_inference_steps=30)
    await store.failed(ADA, model="emoji")
    await store.delivered(ADA, seconds=2, model="other")
    for job, used in ((one, 4.0), (two, 3.0)):
        await store.database.execute("UPDATE jobs SET used_seconds = ? WHERE id = ?", (used, job.id))
    for number in range(GROUP):
        assert one.destination.message_id is not None
        await store.ratings.add(one.destination.message_id, UserId(number), "👍" if number else "👎")
        if number:
            assert two.destination.message_id is not None
            await store.ratings.add(two.destination.message_id, UserId(number), "👎")
    store.clock.forward(3600)
    await store.cancelled(ADA, model="emoji")
    report = await Reports(store.folder / "atelier.db", None, store.clock).report(GUILD, Period.DAY)
    first, other, later = report.drift
    # 2 pictures of 20 steps and 1 of 30 took 7 seconds. Nine people like one result and not the other, one likes none.
    assert first == ModelStep(22, "emoji", 3, 1, 3, first.wait_median, 7 / 70, 9 * 0.5 / GROUP)
    assert round(first.wait_median or 0) == 4
    assert first.failed_share == 1 / 3
    assert (other.model, other.share, other.failed_share) == ("other", None, 0.0)
    assert later == ModelStep(23, "emoji", 1, 0, 0, None, None, None)
    assert later.failed_share is None


async def test_fewer_than_ten_people_are_not_told(store: Store) -> None:
    job = await store.delivered(ADA)
    assert job.destination.message_id is not None
    for number in range(GROUP - 1):
        await store.ratings.add(job.destination.message_id, UserId(number), "👍")
    report = await Reports(store.folder / "atelier.db", None, store.clock).report(GUILD, Period.DAY)
    assert [each.share for each in report.drift] == [None]


async def test_the_seconds_for_a_step_are_of_pictures_from_words_in_the_usual_size_alone(store: Store) -> None:
    usual = [await store.delivered(ADA, model="emoji", width=128, height=128) for _ in range(2)]
    large = await store.delivered(ADA, model="emoji", width=512, height=512)
    varied = await store.delivered(
        ADA, model="emoji", width=128, height=128, operation=Operation.IMAGE2IMAGE, image="a" * 64, strength=0.5
    )
    enlarged = await store.delivered(ADA, model="emoji", operation=Operation.UPSCALE, image="a" * 64)
    for job, used in ((usual[0], 2.0), (usual[1], 4.0), (large, 100.0), (varied, 0.5), (enlarged, 50.0)):
        await store.database.execute("UPDATE jobs SET used_seconds = ? WHERE id = ?", (used, job.id))
    report = await Reports(store.folder / "atelier.db", None, store.clock).report(GUILD, Period.DAY)
    (only,) = report.drift
    assert only.asked == 5
    assert only.step_seconds == 6.0 / sum(job.request.num_inference_steps for job in usual)
