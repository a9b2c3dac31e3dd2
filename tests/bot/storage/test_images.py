"""The folder of pictures: a file is whole or absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.engine.fake import flat_image
from bot.errors import StorageError
from bot.jobs import JobId
from bot.storage.images import ImageFolder

IMAGES = tuple(flat_image(seed, 8, 8) for seed in range(4))


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def test_pictures_are_written_whole_and_read_back_in_order(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    paths = await folder.keep(JobId(1234), 1, IMAGES)
    assert await folder.read(paths) == [image.png for image in IMAGES]
    assert files(tmp_path) == sorted(paths), "nothing else lies there, no .part either"


@pytest.mark.parametrize(("job_id", "folder"), [(1, "images/0000"), (999, "images/0000"), (1000, "images/0001")])
async def test_a_thousand_jobs_share_a_folder(tmp_path: Path, job_id: int, folder: str) -> None:
    (path,) = await ImageFolder(tmp_path).keep(JobId(job_id), 1, IMAGES[:1])
    assert Path(path).parent.as_posix() == folder


async def test_the_data_folder_can_move(tmp_path: Path) -> None:
    paths = await ImageFolder(tmp_path / "here").keep(JobId(1), 1, IMAGES)
    (tmp_path / "here").rename(tmp_path / "there")
    assert await ImageFolder(tmp_path / "there").read(paths) == [image.png for image in IMAGES]


async def test_jobs_attempts_and_equal_pictures_never_share_a_file(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    twins = (IMAGES[0], IMAGES[0])
    kept = [
        *await folder.keep(JobId(1), 1, twins),
        *await folder.keep(JobId(1), 2, twins),
        *await folder.keep(JobId(11), 1, twins),
    ]
    assert len(set(kept)) == 6


async def test_dropping_removes_these_files_and_no_others_even_twice(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    kept = await folder.keep(JobId(1), 1, IMAGES[:1])
    dropped = await folder.keep(JobId(2), 1, IMAGES)
    await folder.drop(dropped)
    await folder.drop(dropped)
    assert files(tmp_path) == kept


async def test_a_picture_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    paths = await folder.keep(JobId(1), 1, IMAGES[:2])
    (tmp_path / paths[1]).unlink()
    with pytest.raises(StorageError, match="could not be read back: No such file"):
        await folder.read(paths)


async def test_a_file_in_the_place_of_the_folder_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(StorageError, match="could not be kept"):
        await ImageFolder(tmp_path).keep(JobId(1), 1, IMAGES)


async def test_a_disk_that_refuses_the_third_picture_keeps_none_of_them(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    third = (await folder.keep(JobId(1), 1, IMAGES))[2]
    await folder.drop(await folder.keep(JobId(1), 1, IMAGES))
    # A folder that cannot be replaced by a file stands in for a disk that fails.
    (tmp_path / third).mkdir()
    with pytest.raises(StorageError, match="could not be kept"):
        await folder.keep(JobId(1), 1, IMAGES)
    assert files(tmp_path) == []


async def test_a_picture_that_is_cut_off_half_way_leaves_no_part(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    large = replace(IMAGES[1], png=bytes(100_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="could not be kept: File too large"):
            await ImageFolder(tmp_path).keep(JobId(1), 1, (IMAGES[0], large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []
