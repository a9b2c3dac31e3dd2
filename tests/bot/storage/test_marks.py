"""A result has two files, the painted one and the marked one that people get; its mark outlives the picture."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from bot.engine.fake import flat_image
from bot.jobs import Image, Job, MessageId, PictureRef
from bot.storage.cases import By
from bot.storage.marks import Marks
from tests.bot.storage.conftest import ADA, GRACE, GUILD, MODERATOR, Store, a_request, let_in, pictures
from tests.bot.storage.test_forgetting import forgotten

NUMBER = 2**48 - 1


def with_copy(image: Image, number: int) -> Image:
    """A picture with a marked copy."""
    copy = flat_image(number, 8, 8)
    return replace(image, delivered=copy.png, delivered_sha256=copy.sha256, mark=number)


async def result(store: Store, user: int = ADA, number: int = NUMBER) -> Job:
    job = await store.running(user)
    (image,) = pictures(job.request)
    assert await store.queue.render(job, [with_copy(image, number)], "weights")
    await store.queue.place_message(job.id, MessageId(78 + user))
    return job


def marks_of(store: Store) -> Marks:
    return Marks(store.database, store.folder / "atelier.db", None)


def names(store: Store) -> set[str]:
    return {Path(path).name for path in store.files()}


async def test_people_get_the_marked_file_and_requests_start_from_the_painted_one(store: Store) -> None:
    job = await result(store)
    (picture,) = await store.queue.pictures(job.id)
    copy = flat_image(NUMBER, 8, 8)
    assert (await store.queue.images(job.id))[0].png == copy.png
    assert (await store.queue.read_painted([picture]))[0].png == pictures(job.request)[0].png
    assert picture.sha256 == pictures(job.request)[0].sha256
    assert names(store) == {picture.sha256, copy.sha256}


async def test_the_marked_file_sent_back_is_the_result(store: Store) -> None:
    job = await result(store)
    copy = flat_image(NUMBER, 8, 8)
    request = a_request(image=copy.sha256)
    sent = await store.queue.enqueue(job.requester, job.destination, request, interaction_id=None, admit=let_in)
    rows = await store.database.fetch_all("SELECT source_id, number FROM sources WHERE job_id = ?", (sent.id,))
    assert [tuple(row) for row in rows] == [(job.id, 1)]
    found = await store.queue.with_file(copy.sha256, GUILD)
    assert found is not None
    assert found.ref == PictureRef(job.id, 1)


async def test_a_mark_leads_to_its_picture_and_its_files_are_not_swept(store: Store) -> None:
    job = await result(store)
    marks = marks_of(store)
    marked = await marks.marked(9)
    assert list(marked.numbers) == [NUMBER]
    (picture,) = await store.queue.pictures(job.id)
    assert list(marked.sizes) == [(picture.width, picture.height)]
    assert await marks.of_number(NUMBER) == PictureRef(job.id, 1)
    assert await marks.of_number(5) is None
    assert await marks.of_file(flat_image(NUMBER, 8, 8).sha256) == PictureRef(job.id, 1)
    assert await marks.of_file(hashlib.sha256(b"").hexdigest()) is None
    assert await store.pictures.sweep() == 0


async def test_a_removed_result_leaves_no_file_and_is_still_known_by_its_mark(store: Store) -> None:
    job = await result(store)
    case, _, _ = await store.removals.remove(By(GUILD, MODERATOR), MessageId(78 + ADA))
    assert case.before["pictures"] == 1, "two files are one picture"
    assert names(store) == set()
    assert await marks_of(store).of_number(NUMBER) == PictureRef(job.id, 1)


async def test_the_marks_of_a_person_are_deleted_with_their_data(store: Store) -> None:
    await result(store)
    kept = await result(store, GRACE, 5)
    forgetting = await forgotten(store)
    assert list((await marks_of(store).marked(9)).numbers) == [5]
    assert names(store) == {flat_image(5, 8, 8).sha256, pictures(kept.request)[0].sha256}
    assert len((await forgetting.export(GRACE))["marks"]) == 1


async def test_a_number_that_comes_twice_stays_with_the_first_picture(store: Store) -> None:
    first = await result(store)
    await result(store, GRACE)
    assert await marks_of(store).of_number(NUMBER) == PictureRef(first.id, 1)
