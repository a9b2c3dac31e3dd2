"""Each picture of a result has a perceptual hash, which is written and deleted together with it."""

from __future__ import annotations

from dataclasses import replace

from bot.jobs import Job
from bot.storage.cases import By
from tests.bot.storage.conftest import ADA, GRACE, GUILD, MODERATOR, Store, pictures
from tests.bot.storage.test_forgetting import forgotten

HASHES = (-(2**63), 2**63 - 1)


async def with_hashes(store: Store, user: int = ADA) -> Job:
    """A rendered job whose pictures have the hashes."""
    job = await store.running(user, num_images_per_prompt=2)
    images = [replace(image, phash=phash) for image, phash in zip(pictures(job.request), HASHES, strict=True)]
    assert await store.queue.render(job, images, "weights")
    return job


async def hashes(store: Store) -> list[tuple[int, int, int]]:
    rows = await store.database.fetch_all("SELECT job_id, number, phash FROM picture_hashes ORDER BY job_id, number")
    return [tuple(row) for row in rows]


async def test_the_hashes_of_a_result_are_kept_with_its_pictures(store: Store) -> None:
    job = await with_hashes(store)
    assert await hashes(store) == [(job.id, 1, HASHES[0]), (job.id, 2, HASHES[1])]


async def test_a_picture_without_a_hash_has_no_row(store: Store) -> None:
    job = await store.running()
    assert await store.queue.render(job, pictures(job.request), "weights")
    assert await hashes(store) == []


async def test_a_hash_goes_when_its_picture_is_removed(store: Store) -> None:
    job = await with_hashes(store)
    await store.queue.place_message(job.id, 78)
    await store.removals.remove(By(GUILD, MODERATOR), 78)
    assert await hashes(store) == []


async def test_the_hashes_of_a_person_are_deleted_and_those_of_others_stay(store: Store) -> None:
    await with_hashes(store)
    kept = await with_hashes(store, GRACE)
    await forgotten(store)
    assert [job_id for job_id, *_ in await hashes(store)] == [kept.id, kept.id]
