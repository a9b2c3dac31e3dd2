"""The folder of finished pictures. A file is whole or absent: written aside, synced, then renamed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path

from bot.errors import StorageError, StorageFull
from bot.jobs import Image, JobId
from bot.storage.sqlite import sync_folder


class ImageFolder:
    """Pictures below `root`/images; paths are kept relative to `root` so that the data folder can move."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def keep(self, job_id: JobId, attempt: int, images: Sequence[Image]) -> list[str]:
        """Write the pictures of one attempt at a job and return their paths, in the same order.

        Raises StorageError, leaving nothing behind, when the disk does not take them.
        """
        return await asyncio.to_thread(self._keep, job_id, attempt, images)

    async def read(self, paths: Sequence[str]) -> list[bytes]:
        """Return the contents of the files at `paths`; StorageError when one is gone."""
        return await asyncio.to_thread(self._read, paths)

    async def drop(self, paths: Sequence[str]) -> None:
        """Remove files that no row will name, for good."""
        await asyncio.to_thread(self._drop, paths)

    async def sweep(self, named: Container[str], known: Container[int]) -> int:
        """Remove the files of `known` jobs that are not `named`: of attempts that were cut off. Returns how many.

        Nothing may be painted during that.
        """
        return await asyncio.to_thread(self._sweep, named, known)

    def _keep(self, job_id: JobId, attempt: int, images: Sequence[Image]) -> list[str]:
        # A thousand jobs share a folder, so that no folder grows without bound.
        folder = self._root / "images" / f"{job_id // 1000:04d}"
        paths: list[str] = []
        aside: Path | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images, start=1):
                # Attempts paint the same bytes; each has files of its own, so that dropping one's spares the other's.
                path = folder / f"{job_id}-{attempt}-{number}-{image.sha256[:12]}.png"
                aside = path.with_suffix(".part")
                with aside.open("wb") as file:
                    file.write(image.png)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(path)
                paths.append(path.relative_to(self._root).as_posix())
            sync_folder(folder)
        except OSError as error:
            with suppress(OSError):
                self._drop(paths)
                if aside is not None:
                    aside.unlink(missing_ok=True)
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"The picture could not be kept: {error.strerror}.") from error
        return paths

    def _sweep(self, named: Container[str], known: Container[int]) -> int:
        swept = 0
        for path in (self._root / "images").glob("*/*"):
            job_id = path.name.partition("-")[0]
            is_ours = job_id.isdecimal() and int(job_id) in known
            if is_ours and path.relative_to(self._root).as_posix() not in named:
                path.unlink(missing_ok=True)
                swept += 1
        return swept

    def _read(self, paths: Sequence[str]) -> list[bytes]:
        try:
            return [(self._root / path).read_bytes() for path in paths]
        except OSError as error:
            raise StorageError(f"The picture could not be read back: {error.strerror}.") from error

    def _drop(self, paths: Sequence[str]) -> None:
        for path in paths:
            (self._root / path).unlink(missing_ok=True)
        for folder in {(self._root / path).parent for path in paths}:
            if folder.exists():
                sync_folder(folder)
