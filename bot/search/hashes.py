"""The perceptual hashes of pictures from before there were any, filled in by `atelier reindex`."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Sequence

import aiosqlite

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.errors import StorageError
from bot.storage.database import Database
from bot.storage.picture_folder import PictureFolder
from bot.storage.picture_hashes import KEEP_HASH

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Pictures that one process looks at; so many large ones fit into one message."""
SECONDS = 300.0
"""How long that may take on a small machine."""

# By the primary keys of both tables, so that each step goes on where the last one ended.
MISSING = f"""
SELECT job_id, number, sha256 FROM images WHERE (job_id, number) > (?, ?) AND NOT EXISTS (
  SELECT 1 FROM picture_hashes WHERE job_id = images.job_id AND number = images.number)
ORDER BY job_id, number LIMIT {AT_ONCE}
"""  # noqa: S608 - a constant


async def fill_hashes(database: Database, folder: PictureFolder) -> int:
    """Hash the pictures that have no hash; returns how many. A file that is gone or damaged stays without one.

    If pictures cannot be looked at on this machine, the log says so, and the others stay as they are.
    """
    after, filled = (0, 0), 0
    while rows := await database.fetch_all(MISSING, after):
        after = rows[-1]["job_id"], rows[-1]["number"]
        files = [await asyncio.to_thread(_read, folder, row["sha256"]) for row in rows]
        there = [(row, data) for row, data in zip(rows, files, strict=True) if data]
        try:
            hashes = await _hashed([data for _, data in there]) if there else []
        except (ChildFailed, BadFrame) as failure:
            log.warning("pictures stay without a hash, because they cannot be looked at: %s", failure)
            break
        known = zip(there, hashes, strict=True)
        values = [(row["job_id"], row["number"], phash) for (row, _), phash in known if phash is not None]
        await _keep(database, values)
        filled += len(values)
    return filled


async def _keep(database: Database, values: Sequence[tuple[int, int, int]]) -> None:
    async def work(connection: aiosqlite.Connection) -> None:
        await connection.executemany(KEEP_HASH, values)

    await database.write(work)


async def _hashed(pictures: Sequence[bytes]) -> list[int | None]:
    """The hash of each picture; None for one that cannot be decoded. Raises ChildFailed or BadFrame."""
    order = {"kind": "look", "folder": "", "limits": None, "lengths": [len(data) for data in pictures]}
    output = await child.run("bot.worker.looking", framing.pack(order, b"".join(pictures)), SECONDS)
    message = framing.read(io.BytesIO(output))
    if message is None or message[0]["kind"] == "refused":
        raise BadFrame("there was no answer")
    return [look.get("phash") for look in message[0]["looks"]]


def _read(folder: PictureFolder, name: str) -> bytes:
    try:
        return folder.read(name)
    except StorageError as error:
        log.warning("a picture stays without a hash: %s", error)
        return b""
