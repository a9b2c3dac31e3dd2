"""Pictures, results and uploads alike: each is kept once, known by the sha256 of its bytes.

A file belongs to the rows that name it: a row of `images`, or a request that starts from it. What no row names is
deleted. `picture_folder.py` has the files.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

import aiosqlite

from bot.errors import StorageError
from bot.storage.database import Database
from bot.storage.picture_folder import PictureFolder

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


class Pictures:
    """The files in a folder and the rows that name them."""

    def __init__(self, database: Database, folder: PictureFolder) -> None:
        self._database = database
        self.folder = folder
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
            await asyncio.to_thread(self.folder.write, files)
            yield
        finally:
            self._held -= Counter(files.keys())
            # What cannot be deleted now is swept later.
            with suppress(StorageError):
                if len(await self._named(files)) < len(files):
                    await self.drop(files)

    async def has(self, names: Iterable[str]) -> bool:
        """Whether all files are there, by their sha256."""
        return await asyncio.to_thread(lambda: all(map(self.folder.has, names)))

    async def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return files by their sha256; StorageError when one is gone or damaged."""
        return await asyncio.to_thread(lambda: {name: self.folder.read(name) for name in names})

    async def drop(self, names: Iterable[str]) -> int:
        """Delete, for good, the files that no row names and that are not being kept; returns how many those are."""
        wanted = list(names)

        async def work(connection: aiosqlite.Connection) -> int:
            # In this transaction no row can begin to name one.
            rows = await connection.execute_fetchall(NAMED, (json.dumps(wanted),))
            named = {row["sha256"] for row in rows}
            unnamed = [name for name in wanted if name not in named and name not in self._held]
            await asyncio.to_thread(self.folder.remove, unnamed)
            return len(unnamed)

        return await self._database.write(work) if wanted else 0

    async def sweep(self, spared: Collection[str] = ()) -> int:
        """Delete every file that no row names and that is not `spared`; returns how many those were."""
        names = await asyncio.to_thread(self.folder.names, self._held)
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
