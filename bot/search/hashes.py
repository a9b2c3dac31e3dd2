"""The perceptual hashes of pictures from before there were any, filled in by `atelier reindex`."""

from __future__ import annotations

import asyncio
import logging

import aiosqlite

from bot.errors import StorageError
from bot.search.sight import AT_ONCE
from bot.search.viewer import Viewer, ViewerFailed
from bot.storage.database import Database
from bot.storage.picture_folder import PictureFolder
from bot.storage.picture_hashes import KEEP_HASH

log = logging.getLogger(__name__)

# By the primary keys of both tables, so that each step goes on where the last one ended.
MISSING = f"""
SELECT job_id, number, sha256 FROM images WHERE (job_id, number) > (?, ?) AND NOT EXISTS (
  SELECT 1 FROM picture_hashes WHERE job_id = images.job_id AND number = images.number)
ORDER BY job_id, number LIMIT {AT_ONCE}
"""  # noqa: S608 - a constant


async def fill_hashes(database: Database, folder: PictureFolder) -> int:
    """Hash the pictures that have no hash; returns how many. A file that is gone or damaged stays without one.

    Raises StorageError if the pictures cannot be looked at at all.
    """
    after, filled, viewer = (0, 0), 0, Viewer("")
    try:
        while rows := await database.fetch_all(MISSING, after):
            after = rows[-1]["job_id"], rows[-1]["number"]
            files = [await asyncio.to_thread(_read, folder, row["sha256"]) for row in rows]
            there = [(row, data) for row, data in zip(rows, files, strict=True) if data]
            if not there:
                continue
            hashes = await asyncio.to_thread(viewer.hashes, [data for _, data in there])
            known = zip(there, hashes, strict=True)
            values = [(row["job_id"], row["number"], phash) for (row, _), phash in known if phash is not None]
            await _keep(database, values)
            filled += len(values)
    except ViewerFailed as failure:
        raise StorageError(f"The pictures could not be looked at: {failure}.") from failure
    finally:
        viewer.close()
    return filled


async def _keep(database: Database, values: list[tuple[int, int, int]]) -> None:
    async def work(connection: aiosqlite.Connection) -> None:
        await connection.executemany(KEEP_HASH, values)

    await database.write(work)


def _read(folder: PictureFolder, name: str) -> bytes:
    try:
        return folder.read(name)
    except StorageError as error:
        log.warning("a picture stays without a hash: %s", error)
        return b""
