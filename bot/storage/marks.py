"""The numbers in the invisible marks of pictures, and which picture each one is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bot.errors import StorageError
from bot.jobs import JobId, PictureRef
from bot.storage import sqlite
from bot.storage.database import Database

# Of two pictures with the same 48 random bits the first keeps them; the mark of the second says only where it was made.
KEEP_MARK = "INSERT OR IGNORE INTO marks (id, job_id, number) VALUES (?, ?, ?)"

ERASE_MARKS = "DELETE FROM marks WHERE job_id IN (SELECT id FROM jobs WHERE user_id = :user)"

NUMBERS = "SELECT id FROM marks ORDER BY id"

OF_NUMBER = "SELECT job_id, number FROM marks WHERE id = ?"

# The sizes of pictures that were marked, the most frequent first. A removed picture leaves no size, but others of its
# model do.
SIZES = """
SELECT width, height FROM images WHERE delivered_sha256 IS NOT NULL
GROUP BY width, height ORDER BY count(*) DESC LIMIT ?
"""

PHASH = "SELECT phash FROM picture_hashes WHERE job_id = ? AND number = ?"

BY_FILE = """
SELECT job_id, number FROM images WHERE sha256 = ?1 OR delivered_sha256 = ?1 ORDER BY job_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Marked:
    """What was marked: every number, and the sizes of pictures."""

    numbers: Sequence[int]
    sizes: Sequence[tuple[int, int]]


class Marks:
    """Which picture a file is."""

    def __init__(self, database: Database, path: Path, key: str | None) -> None:
        """Look in a database, and in its file at `path` by connections of its own."""
        self._database = database
        self._path, self._key = path, key

    async def marked(self, most_sizes: int) -> Marked:
        """Every number that is known, and at most so many sizes, the most frequent first.

        It reads both tables whole, so no write waits for it. Raises StorageError.
        """

        def read(stop: sqlite.Stop) -> Marked:
            try:
                with closing(sqlite.connect(self._path, self._key, readonly=True, stop=stop)) as connection:
                    numbers = [number for (number,) in connection.execute(NUMBERS)]
                    return Marked(
                        numbers, [(width, height) for width, height in connection.execute(SIZES, (most_sizes,))]
                    )
            except sqlite.Error as error:
                raise sqlite.in_words(error) or StorageError(f"The marks cannot be read: {error}.") from error

        return await sqlite.in_thread(read)

    async def phash(self, ref: PictureRef) -> int | None:
        """The perceptual hash of a picture; None if it is not there any more."""
        row = await self._database.fetch_one(PHASH, (ref.job_id, ref.number))
        return None if row is None else int(row["phash"])

    async def of_number(self, number: int) -> PictureRef | None:
        """The picture with a number in its mark; also one that was removed since."""
        row = await self._database.fetch_one(OF_NUMBER, (number,))
        return None if row is None else PictureRef(JobId(row["job_id"]), row["number"])

    async def of_file(self, sha256: str) -> PictureRef | None:
        """The newest picture with these bytes, on any server."""
        row = await self._database.fetch_one(BY_FILE, (sha256,))
        return None if row is None else PictureRef(JobId(row["job_id"]), row["number"])
