"""The folder of pictures, results and uploads alike: each is kept once, named by the sha256 of its bytes.

A file is whole or absent: it is written aside, synced, then renamed. A file belongs to the rows that name it: a row of
`images`, or a request that starts from it. What no row names is deleted.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiosqlite

from bot.errors import StorageError, StorageFull
from bot.storage import sqlite
from bot.storage.database import Database

# The index images_by_sha256 and one of `jobs` for each column serve it; a test asserts it.
# The requests of every surface count: they share the folder. A request that starts from a result does not count: when
# the result is deleted, its file goes, whatever was made of it.
NAMED = """
SELECT value AS sha256 FROM json_each(?) WHERE
  EXISTS (SELECT 1 FROM images WHERE sha256 = value) OR
  EXISTS (SELECT 1 FROM images WHERE delivered_sha256 = value) OR
  EXISTS (SELECT 1 FROM jobs WHERE image = value AND image != '' AND NOT EXISTS (
    SELECT 1 FROM sources WHERE sources.job_id = jobs.id AND number > 0)) OR
  EXISTS (SELECT 1 FROM jobs WHERE blended_1 = value AND blended_1 != '') OR
  EXISTS (SELECT 1 FROM jobs WHERE blended_2 = value AND blended_2 != '') OR
  EXISTS (SELECT 1 FROM jobs WHERE blended_3 = value AND blended_3 != '') OR
  EXISTS (SELECT 1 FROM jobs WHERE mask_image = value AND mask_image != '') OR
  EXISTS (SELECT 1 FROM jobs WHERE control_image = value AND control_image != '')
"""

AT_ONCE = 1000
"""How many files a sweep looks at in one transaction."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """The files below `root`/pictures and the rows that name them."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._folder = root / "pictures"
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def kept(self, files: Mapping[str, bytes]) -> AsyncIterator[None]:
        """Keep files, by their sha256, for rows that the body writes; what no row names at the end goes again.

        Raises StorageError, and keeps none of them, when the disk does not take them.
        """
        if not files:
            yield
            return
        self._held += Counter(files.keys())
        try:
            await asyncio.to_thread(self._write, files)
            yield
        finally:
            self._held -= Counter(files.keys())
            # What cannot be deleted now is swept later.
            with suppress(StorageError):
                if len(await self._named(files)) < len(files):
                    await self.drop(files)

    async def has(self, names: Iterable[str]) -> bool:
        """Whether all files are there, by their sha256."""
        paths = [self.path(name) for name in names]
        return await asyncio.to_thread(lambda: all(path.is_file() for path in paths))

    async def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return files by their sha256; StorageError when one is gone or damaged."""
        return await asyncio.to_thread(self._read, names)

    async def drop(self, names: Iterable[str]) -> int:
        """Delete, for good, the files that no row names and that are not being kept; returns how many those are."""
        wanted = list(names)

        async def work(connection: aiosqlite.Connection) -> int:
            # In this transaction no row can begin to name one.
            rows = await connection.execute_fetchall(NAMED, (json.dumps(wanted),))
            named = {row["sha256"] for row in rows}
            unnamed = [name for name in wanted if name not in named and name not in self._held]
            await asyncio.to_thread(self._remove, unnamed)
            return len(unnamed)

        return await self._database.write(work) if wanted else 0

    async def sweep(self, spared: Collection[str] = ()) -> int:
        """Delete every file that no row names and that is not `spared`; returns how many those were."""
        names = await asyncio.to_thread(self._names)
        swept = 0
        for start in range(0, len(names), AT_ONCE):
            some = [name for name in names[start : start + AT_ONCE] if name not in spared]
            if len(await self._named(some)) < len(some):
                swept += await self.drop(some)
        return swept

    async def _named(self, names: Iterable[str]) -> set[str]:
        """Those of the names that a row has."""
        rows = await self._database.fetch_all(NAMED, (json.dumps(list(names)),))
        return {row["sha256"] for row in rows}

    def _write(self, files: Mapping[str, bytes]) -> None:
        aside: Path | None = None
        try:
            paths = {name: self.path(name) for name in files}
            for folder in {path.parent for path in paths.values()}:
                if not folder.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    sqlite.sync_folder(folder.parent)
            for name, path in paths.items():
                with tempfile.NamedTemporaryFile(
                    dir=path.parent, prefix=f"{name}.", suffix=".part", delete=False
                ) as file:
                    aside = Path(file.name)
                    file.write(files[name])
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(path)
            for folder in {path.parent for path in paths.values()}:
                sqlite.sync_folder(folder)
        except OSError as error:
            if aside is not None:
                with suppress(OSError):
                    aside.unlink(missing_ok=True)
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"The picture could not be kept: {error.strerror}.") from error

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            try:
                data = self.path(name).read_bytes()
            except OSError as error:
                raise StorageError(f"The picture could not be read back: {error.strerror}.") from error
            if hashlib.sha256(data).hexdigest() != name:
                raise StorageError("The picture was damaged on the disk. If you sent it, send it again.")
            found[name] = data
        return found

    def _names(self) -> list[str]:
        """The sha256 of every file; what an interrupted write left is deleted."""
        names = []
        try:
            for path in self._folder.glob("*/*"):
                if _SHA256.fullmatch(path.name):
                    names.append(path.name)
                elif path.name.partition(".")[0] not in self._held:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"The folder of pictures cannot be read: {error.strerror}.") from error
        return names

    def _remove(self, names: Iterable[str]) -> None:
        paths = [self.path(name) for name in names]
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                if folder.exists():
                    sqlite.sync_folder(folder)
        except OSError as error:
            raise StorageError(f"A picture cannot be deleted: {error.strerror}.") from error

    def path(self, name: str) -> Path:
        """Where the file is; StorageError for a name that is no sha256."""
        if not _SHA256.fullmatch(name):
            raise StorageError("A picture is named by 64 hexadecimal digits, and this name has others.")
        return self._folder / name[:2] / name
