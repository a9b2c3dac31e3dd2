"""The folder of uploads: each is kept once, whole, for as long as a job names it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from bot.errors import StorageError
from bot.jobs import Surface, Upload
from bot.storage.uploads import SPARED_SECONDS, UploadFolder
from tests.bot.storage.conftest import Store


def an_upload(data: bytes = b"picture") -> Upload:
    return Upload(data, 16, 16, hashlib.sha256(data).hexdigest())


def files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "uploads").glob("*"))


def age(root: Path, name: str, seconds: float) -> None:
    path = root / "uploads" / name
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


async def test_uploads_are_read_back_by_their_hash(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path)
    one, two = an_upload(b"one"), an_upload(b"two")
    await folder.keep(one)
    await folder.keep(two)
    assert await folder.read([two.sha256, one.sha256]) == {two.sha256: b"two", one.sha256: b"one"}
    assert await folder.read([]) == {}


async def test_the_same_bytes_are_kept_once_however_many_people_send_them_together(tmp_path: Path) -> None:
    folder, upload = UploadFolder(tmp_path), an_upload(bytes(100_000))
    await asyncio.gather(*(folder.keep(upload) for _ in range(8)))
    assert files(tmp_path) == [upload.sha256], "nothing else lies there, no .part either"
    assert await folder.read([upload.sha256]) == {upload.sha256: upload.data}


async def test_an_upload_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be read back: No such file"):
        await UploadFolder(tmp_path).read([an_upload().sha256])


async def test_a_damaged_upload_is_told_and_mended_by_sending_it_again(tmp_path: Path) -> None:
    folder, upload = UploadFolder(tmp_path), an_upload()
    await folder.keep(upload)
    (tmp_path / "uploads" / upload.sha256).write_bytes(b"pict")
    with pytest.raises(StorageError, match=r"damaged on the disk\. Send it again\."):
        await folder.read([upload.sha256])
    await folder.keep(upload)
    assert await folder.read([upload.sha256]) == {upload.sha256: b"picture"}


@pytest.mark.parametrize("name", ["", "../atelier.db", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n"])
async def test_nothing_but_a_hash_names_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "atelier.db").write_text("secret")
    (tmp_path / "uploads").mkdir()
    with pytest.raises(StorageError, match="64 hexadecimal digits"):
        await UploadFolder(tmp_path).read([name])
    with pytest.raises(StorageError, match="64 hexadecimal digits"):
        await UploadFolder(tmp_path).keep(Upload(b"x", 16, 16, name))
    assert files(tmp_path) == []


async def test_a_file_in_the_place_of_the_folder_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("in the way")
    with pytest.raises(StorageError, match="could not be kept"):
        await UploadFolder(tmp_path).keep(an_upload())


async def test_an_upload_that_is_cut_off_half_way_leaves_no_part(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="could not be kept: File too large"):
            await UploadFolder(tmp_path).keep(an_upload(bytes(100_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


async def test_what_no_job_names_is_swept_once_it_is_old(store: Store) -> None:
    folder = UploadFolder(store.folder)
    roles = ("image", "mask_image", "control_image")
    named = {role: an_upload(role.encode()) for role in roles}
    orphan, fresh = an_upload(b"orphan"), an_upload(b"fresh")
    for upload in (*named.values(), orphan, fresh):
        await folder.keep(upload)
    part = store.folder / "uploads" / "tmp1.part"
    part.write_bytes(b"half")
    for name in files(store.folder):
        age(store.folder, name, SPARED_SECONDS + 60)
    age(store.folder, fresh.sha256, -120)
    for role, upload in named.items():
        await store.asked(**{role: upload.sha256}, queue=store.queue_of(Surface.SANDBOX))

    assert await store.queue.uploads() == {upload.sha256 for upload in named.values()}
    assert await folder.sweep(await store.queue.uploads()) == 2
    assert files(store.folder) == sorted(upload.sha256 for upload in (*named.values(), fresh))


async def test_there_is_nothing_to_sweep_before_the_first_upload(tmp_path: Path) -> None:
    assert await UploadFolder(tmp_path).sweep(set()) == 0
