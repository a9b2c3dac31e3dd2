"""The folder of pictures: each file is kept once, whole, for as long as a row names it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.errors import StorageError
from bot.jobs import JobStatus, Operation, Surface
from bot.storage.former_folders import empty_former_folders
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import NAMED, Pictures
from tests.bot.storage.conftest import ADA, GRACE, Store, pictures

ROLES = ("image", "mask_image", "control_image", "blended")


class Killed(BaseException):
    """Ends the process in the middle of its work."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def some(*data: bytes) -> dict[str, bytes]:
    return {sha256(one): one for one in data}


async def kept_for(store: Store, files: Mapping[str, bytes], **changes: Any) -> None:
    """Keep files that a job names as what it starts from."""
    async with store.pictures.kept(files):
        for name in files:
            await store.asked(**({"image": name} | changes))


async def test_files_are_written_whole_and_read_back_by_their_hash(store: Store) -> None:
    files = some(b"one", b"two")
    await kept_for(store, files)
    assert await store.pictures.read(files) == files
    assert await store.pictures.read([]) == {}
    assert store.files() == sorted(f"pictures/{name[:2]}/{name}" for name in files), "nothing else, no .part either"


async def test_the_data_folder_can_move(store: Store) -> None:
    files = some(b"one")
    await kept_for(store, files)
    shutil.move(store.folder / "pictures", store.folder / "elsewhere" / "pictures")
    assert await Pictures(store.database, PictureFolder(store.folder / "elsewhere")).read(files) == files


async def test_the_same_bytes_are_kept_once_however_many_people_send_them_together(store: Store) -> None:
    files = some(bytes(100_000))
    await asyncio.gather(*(kept_for(store, files) for _ in range(8)))
    assert len(store.files()) == 1
    assert await store.pictures.read(files) == files


async def test_what_no_row_names_at_the_end_goes_again_unless_somebody_else_keeps_it(store: Store) -> None:
    files = some(b"refused", b"kept by two")
    async with store.pictures.kept(some(b"kept by two")):
        with pytest.raises(ZeroDivisionError):
            async with store.pictures.kept(files):
                raise ZeroDivisionError
        assert await store.pictures.read(some(b"kept by two"))
        assert len(store.files()) == 1
    assert store.files() == []


async def test_a_caller_that_is_cancelled_while_its_row_is_written_keeps_the_file(store: Store) -> None:
    job = await store.running()
    started, go_on = asyncio.Event(), asyncio.Event()
    image = pictures(job.request)[0]

    async def slow(connection: Any) -> None:
        started.set()
        await go_on.wait()

    blocking = asyncio.create_task(store.database.write(slow))
    await started.wait()
    rendering = asyncio.create_task(store.queue.render(job, [image], None))
    # The file is written and the row waits for the other transaction.
    while not store.database._calls.qsize():  # noqa: ASYNC110 - what waits sets no event
        await asyncio.sleep(0.001)
    assert store.files()
    assert not rendering.done()
    rendering.cancel()
    go_on.set()
    await asyncio.wait([blocking, rendering])
    assert (await store.now(job)).status is JobStatus.RENDERED, "the transaction goes on without its caller"
    assert await store.queue.images(job.id) == (image,)


async def test_a_file_that_is_gone_is_said_in_words(store: Store) -> None:
    with pytest.raises(StorageError, match="could not be read back: No such file"):
        await store.pictures.read(some(b"never kept"))


async def test_a_damaged_file_is_told_and_mended_by_keeping_it_again(store: Store) -> None:
    files = some(b"picture")
    await kept_for(store, files)
    (store.folder / store.files()[0]).write_bytes(b"pict")
    with pytest.raises(StorageError, match=r"damaged on the disk\. If you sent it, send it again\."):
        await store.pictures.read(files)
    await kept_for(store, files)
    assert await store.pictures.read(files) == files


@pytest.mark.parametrize("name", ["", "../atelier.db", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n"])
async def test_only_a_hash_names_a_file(store: Store, name: str) -> None:
    with pytest.raises(StorageError, match="64 hexadecimal digits"):
        await store.pictures.read([name])
    with pytest.raises(StorageError, match="64 hexadecimal digits"):
        async with store.pictures.kept({name: b"x"}):
            pass
    assert store.files() == []


async def test_a_file_in_the_place_of_the_folder_is_said_in_words(store: Store) -> None:
    (store.folder / "pictures").write_text("in the way")
    with pytest.raises(StorageError, match="could not be kept"):
        await kept_for(store, some(b"x"))


async def test_a_disk_that_refuses_the_third_picture_keeps_none_of_them(store: Store) -> None:
    files = some(*(bytes([n]) for n in range(4)))
    third = store.pictures.folder.path(list(files)[2])
    # A folder that cannot be replaced by a file stands in for a disk that fails.
    (third / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match="could not be kept"):
        await kept_for(store, files)
    assert store.files() == []


async def test_a_picture_that_is_cut_off_half_way_leaves_no_part(store: Store) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(StorageError, match="could not be kept: File too large"):
            await kept_for(store, some(b"small", bytes(1_000_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.files() == []


async def test_a_result_can_be_what_a_request_starts_from_and_does_not_stay_for_it(store: Store) -> None:
    job = await store.delivered()
    (image,) = await store.queue.images(job.id)
    child = await store.asked(GRACE, image=image.sha256)
    assert await store.pictures.read(child.request.uploads) == {image.sha256: image.png}
    assert await store.pictures.drop([image.sha256]) == 0
    await store.database.execute("DELETE FROM images WHERE job_id = ?", (job.id,))
    assert await store.pictures.drop([image.sha256]) == 1, "whatever was made of it, a deleted result is gone"
    assert store.files() == []
    rows = await store.database.fetch_all("SELECT * FROM sources")
    assert [tuple(row) for row in rows] == [(child.id, job.id, 1)]
    await store.queue.withdraw(child.id)
    assert await store.database.fetch_all("SELECT * FROM sources") == []


async def test_two_jobs_that_painted_the_same_bytes_share_a_file_until_the_last_goes(store: Store) -> None:
    first, second = await store.delivered(seed=5), await store.delivered(GRACE, seed=5)
    assert await store.names(first) == await store.names(second)
    assert len(store.files()) == 1
    for job, left in ((first, 1), (second, 0)):
        names = await store.names(job)
        await store.database.execute("DELETE FROM images WHERE job_id = ?", (job.id,))
        await store.pictures.drop(names)
        assert len(store.files()) == left


async def test_a_sweep_deletes_what_no_row_names_and_what_an_interrupted_write_left(store: Store) -> None:
    roles = {role: some(role.encode()) for role in ROLES}
    for role, files in roles.items():
        name = next(iter(files))
        value = (name,) if role == "blended" else name
        await kept_for(store, files, **{"image": "", role: value}, queue=store.queue_of(Surface.SANDBOX))
    result = await store.delivered()
    orphans = some(*(f"orphan {n}".encode() for n in range(5)))
    for name, data in orphans.items():
        store.pictures.folder.path(name).parent.mkdir(exist_ok=True, parents=True)
        store.pictures.folder.path(name).write_bytes(data)
    spared = next(iter(orphans))
    part = store.pictures.folder.path(spared).with_name(f"{spared}.abc.part")
    part.write_bytes(b"half")
    async with store.pictures.kept(some(b"being kept")):
        assert await store.pictures.sweep({spared}) == len(orphans) - 1
        named = [next(iter(files)) for files in roles.values()] + await store.names(result)
        left = {*named, spared, *some(b"being kept")}
        assert {Path(path).name for path in store.files()} == left


async def test_each_picture_of_a_blend_is_kept_until_no_request_names_it(store: Store) -> None:
    files = some(b"first", b"second", b"third", b"fourth")
    first, *further = files
    async with store.pictures.kept(files):
        job = await store.asked(image=first, blended=tuple(further), operation=Operation.BLEND)
        other = await store.asked(GRACE, image=further[1], blended=(further[1], first), operation=Operation.BLEND)
    assert await store.pictures.read((await store.now(job)).request.uploads) == files
    assert await store.pictures.sweep() == 0
    await store.queue.withdraw(job.id)
    assert await store.pictures.sweep() == 2, "those that the other blend does not name"
    assert set(await store.pictures.read([first, further[1]])) == {first, further[1]}
    await store.queue.withdraw(other.id)
    assert await store.pictures.sweep() == 2
    assert store.files() == []


async def test_there_is_nothing_to_sweep_before_the_first_picture(store: Store) -> None:
    assert await store.pictures.sweep() == 0


async def test_whether_rows_name_a_file_is_found_by_indexes(store: Store) -> None:
    plan = await store.plan(NAMED, ("[]",))
    columns = ("image", "blended_1", "blended_2", "blended_3", "mask_image", "control_image")
    for index in ("images_by_sha256", *(f"jobs_by_{column}" for column in columns)):
        assert index in plan, plan
    assert "SCAN jobs" not in plan
    assert "SCAN images" not in plan


async def former_folders(store: Store) -> tuple[dict[str, bytes], list[str]]:
    """The folders before schema 13: results, an upload, and what attempts that were cut off left."""
    (store.folder / "images" / "0000").mkdir(parents=True)
    (store.folder / "uploads").mkdir()
    files = {}
    for job in (await store.delivered(ADA, seed=1), await store.delivered(GRACE, seed=1)):
        for number, image in enumerate(await store.queue.images(job.id), start=1):
            name = f"{job.id}-1-{number}-{image.sha256[:12]}"
            (store.folder / "images" / "0000" / f"{name}.png").write_bytes(image.png)
            (store.folder / "images" / "0000" / f"{name}.part").write_bytes(image.png[:4])
            files[image.sha256] = image.png
    (store.folder / "images" / "0000" / f"{job.id}-2-1-{'a' * 12}.png").write_bytes(b"of an attempt that was cut off")
    unknown = f"images/0000/999-1-1-{'b' * 12}.png"
    (store.folder / unknown).write_bytes(b"of a job that a restored backup does not know")
    upload = some(b"upload")
    await store.asked(image=sha256(b"upload"))
    (store.folder / "uploads" / sha256(b"upload")).write_bytes(b"upload")
    (store.folder / "uploads" / "tmp.part").write_bytes(b"half")
    shutil.rmtree(store.folder / "pictures")
    return files | upload, [unknown]


async def test_the_folders_of_earlier_versions_are_emptied_into_this_one(store: Store) -> None:
    files, unknown = await former_folders(store)
    for _ in range(2):
        await empty_former_folders(store.folder, store.database, store.pictures)
        assert await store.pictures.read(files) == files
        everything = (path.relative_to(store.folder).as_posix() for path in store.folder.rglob("*") if path.is_file())
        assert sorted(path for path in everything if path.startswith(("images", "uploads"))) == unknown
        assert sorted(store.files()) == sorted(f"pictures/{name[:2]}/{name}" for name in files)
        assert not (store.folder / "uploads").exists()


async def test_a_move_of_the_former_folders_that_is_killed_anywhere_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = await former_folders(store)
    copy = store.folder / "before"
    for folder in ("images", "uploads"):
        shutil.copytree(store.folder / folder, copy / folder)
    killed = 0
    for step in range(20):
        for folder in ("images", "uploads", "pictures"):
            shutil.rmtree(store.folder / folder, ignore_errors=True)
        for folder in ("images", "uploads"):
            shutil.copytree(copy / folder, store.folder / folder)
        left = step

        def dying(self: Path, target: Path, replace: Any = Path.replace) -> Path:
            nonlocal left, killed
            left -= 1
            if left < 0:
                killed += 1
                raise Killed
            return replace(self, target)

        with monkeypatch.context() as fault:
            fault.setattr(Path, "replace", dying)
            with suppress(Killed):
                await empty_former_folders(store.folder, store.database, store.pictures)
        await empty_former_folders(store.folder, store.database, store.pictures)
        assert await store.pictures.read(files) == files
    assert 0 < killed < 20, "it was killed at every rename, and once not at all"
