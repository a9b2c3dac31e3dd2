"""The folder of uploads, each kept once under the sha256 of its bytes: written aside, synced, then renamed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.errors import StorageError
from bot.jobs import Upload
from bot.storage.sqlite import sync_folder

SPARED_SECONDS = 3600.0
"""How old a file must be before it may be swept."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class UploadFolder:
    """Uploads below `root`/uploads."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "uploads"
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, uploads: Iterable[Upload]) -> Iterator[None]:
        """Keep uploads from being dropped until a row names them."""
        names = [upload.sha256 for upload in uploads]
        self._held.update(names)
        try:
            yield
        finally:
            self._held.subtract(names)

    async def keep(self, upload: Upload) -> None:
        """Write an upload, or write it anew; StorageError when the disk does not take it."""
        await asyncio.to_thread(self._keep, upload)

    async def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the uploads whose sha256 these are, by it; StorageError when one is gone or damaged."""
        return await asyncio.to_thread(self._read, names)

    def drop(self, names: Iterable[str]) -> list[str]:
        """Remove uploads that no row names; returns those that are held and so stay for now."""
        held = []
        try:
            for name in names:
                if self._held[name] > 0:
                    held.append(name)
                else:
                    self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"An upload cannot be deleted: {error.strerror}.") from error
        return held

    async def sync(self) -> None:
        """Make what was removed gone for good."""
        if self._folder.exists():
            await asyncio.to_thread(sync_folder, self._folder)

    async def sweep(self, named: Container[str]) -> int:
        """Remove what is not `named` and older than SPARED_SECONDS; returns how many files that were.

        No upload may come in during that.
        """
        return await asyncio.to_thread(self._sweep, named)

    async def old(self) -> list[str]:
        """The uploads older than SPARED_SECONDS, named by a row or not; other files of that age are removed."""
        return await asyncio.to_thread(self._old)

    def _keep(self, upload: Upload) -> None:
        path = self._path(upload.sha256)
        aside: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
                aside = Path(file.name)
                file.write(upload.data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            sync_folder(self._folder)
        except OSError as error:
            if aside is not None:
                aside.unlink(missing_ok=True)
            raise StorageError(f"The upload could not be kept: {error.strerror}.") from error

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            try:
                data = self._path(name).read_bytes()
            except OSError as error:
                raise StorageError(f"An uploaded picture could not be read back: {error.strerror}.") from error
            if hashlib.sha256(data).hexdigest() != name:
                raise StorageError("An uploaded picture was damaged on the disk. Send it again.")
            found[name] = data
        return found

    def _sweep(self, named: Container[str]) -> int:
        try:
            unnamed = [path for path in self._files() if path.name not in named]
            for path in unnamed:
                path.unlink()
        except OSError as error:
            raise StorageError(f"The folder of uploads cannot be put in order: {error.strerror}.") from error
        return len(unnamed)

    def _old(self) -> list[str]:
        try:
            files = self._files()
            for path in files:
                if not _SHA256.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"The folder of uploads cannot be put in order: {error.strerror}.") from error
        return [path.name for path in files if _SHA256.fullmatch(path.name)]

    def _files(self) -> list[Path]:
        """What is older than SPARED_SECONDS. The folder comes with the first upload."""
        before = time.time() - SPARED_SECONDS
        return [path for path in self._folder.glob("*") if path.is_file() and path.stat().st_mtime < before]

    def _path(self, name: str) -> Path:
        if not _SHA256.fullmatch(name):
            raise StorageError("An upload is named by 64 hexadecimal digits, and this name has others.")
        return self._folder / name
