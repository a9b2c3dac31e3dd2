"""Everything about a person deleted at their request: the words in one transaction, then files, bytes and backups.

The transaction is the decision. What is left to do after it is done again at every start until it is done, whatever
was killed in between; nothing of it needs to be known but what the tables say.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite

from bot.errors import StorageError
from bot.jobs import Clock, JobId, Surface, UserId, to_text
from bot.storage import sqlite
from bot.storage.backups import clear_leftovers
from bot.storage.database import Database
from bot.storage.erasure import COLUMNS, DeletionRequest, columns_of, erase_copies, statements
from bot.storage.images import ImageFolder
from bot.storage.queue import UPLOADS
from bot.storage.uploads import UploadFolder

log = logging.getLogger(__name__)

NAMED_FOR = timedelta(days=3)
"""How long the numbers of deleted requests still say whose they are, so that a deletion resets no quota: the day that
quotas look back, and one day in each direction for a clock that goes wrong."""

REMEMBERED_FOR = timedelta(days=90)
"""How long it is known who asked for a deletion, in case a backup is restored."""

LOOK_SECONDS = 3600.0
"""Between two looks at what has become too old."""
RETRY_SECONDS = 5.0

OPEN_REQUESTS = "SELECT user_id, at FROM wishes WHERE done_at IS NULL ORDER BY id"

OPEN_JOBS = "SELECT id, status FROM jobs WHERE user_id = ? AND status IN ('queued', 'running')"

# Only once their messages are gone: those are found by the person's id.
UNNAME = """
UPDATE jobs SET user_id = 0, interaction_id = NULL, message_id = 0
WHERE forgotten_at IS NOT NULL AND user_id != 0 AND removed_at IS NOT NULL AND max(forgotten_at, asked_at) < ?
"""

HELD = """
SELECT (SELECT count(*) FROM jobs WHERE user_id = ?1 AND forgotten_at IS NULL) AS requests,
       (SELECT count(*) FROM jobs WHERE user_id = ?1 AND status IN ('queued', 'running', 'rendered')) AS open,
       (SELECT count(*) FROM images JOIN jobs ON jobs.id = images.job_id WHERE jobs.user_id = ?1) AS pictures,
       (SELECT count(*) FROM ratings WHERE user_id = ?1) AS ratings
"""

EXPORTED = {
    "requests": "SELECT * FROM jobs WHERE user_id = ? ORDER BY id",
    "pictures": "SELECT * FROM images WHERE job_id IN (SELECT id FROM jobs WHERE user_id = ?) ORDER BY job_id, number",
    "ratings": "SELECT * FROM ratings WHERE user_id = ? ORDER BY added_at",
    "refusals": "SELECT * FROM refusals WHERE user_id = ? ORDER BY id",
    "rules_about_you": "SELECT * FROM rules WHERE scope = 'person' AND subject_id = ?",
    # Which moderator it was is the moderator's own data.
    "cases_about_you": "SELECT guild_id, number, at, action, before, after, reason, undoes FROM cases "
    "WHERE scope = 'person' AND subject_id = ? ORDER BY at",
    "deletions": "SELECT at, done_at FROM wishes WHERE user_id = ? ORDER BY id",
}
"""What is known of a person, by what it is."""


@dataclass(frozen=True, slots=True)
class Held:
    """How much is kept about a person; `open` of the requests have not ended."""

    requests: int
    open: int
    pictures: int
    ratings: int


class Forgetting:
    """Deletes what is kept about a person; `run` is the task that finishes it."""

    def __init__(
        self,
        database: Database,
        images: ImageFolder,
        uploads: UploadFolder,
        path: Path,
        key: str | None,
        surface: Surface,
        clock: Clock,
    ) -> None:
        self._database = database
        self._images = images
        self._uploads = uploads
        self._path = path
        self._key = key
        self._surface = surface
        self._clock = clock
        self._requested = asyncio.Event()

    async def held(self, user_id: UserId) -> Held:
        """How much is kept about a person, on every server."""
        row = await self._database.fetch_one(HELD, (user_id,))
        assert row is not None  # noqa: S101 - sums have a row
        return Held(**{key: row[key] for key in row.keys()})  # noqa: SIM118 - a Row iterates over values

    async def export(self, user_id: UserId) -> dict[str, list[dict[str, Any]]]:
        """Every row about a person, by what it is; a request is an object of its own in its row."""
        found = {}
        for name, sql in EXPORTED.items():
            rows = await self._database.fetch_all(sql, (user_id,))
            found[name] = [{key: row[key] for key in row.keys()} for row in rows]  # noqa: SIM118 - see above
        for row in found["requests"]:
            request = json.loads(row["request"])
            # The generated columns repeat what is in there.
            for key in request.keys() & row.keys():
                del row[key]
            row["request"] = request
        return found

    async def forget(self, user_id: UserId, used: Callable[[JobId], float] = lambda _: 0.0) -> list[JobId]:
        """Delete what a person wrote, made and rated, and cancel what is open; returns the jobs that were cancelled.

        `used` says how many GPU seconds a running job has used. From here on it is decided: `run` does the rest.
        """

        async def work(connection: aiosqlite.Connection) -> list[JobId]:
            opened = list(await connection.execute_fetchall(OPEN_JOBS, (user_id,)))
            await connection.executemany(
                "UPDATE jobs SET used_seconds = ? WHERE id = ?",
                [(used(JobId(row["id"])), row["id"]) for row in opened if row["status"] == "running"],
            )
            values = {"user": user_id, "at": to_text(self._clock()), "surface": self._surface}
            for sql in statements(columns_of(await connection.execute_fetchall(COLUMNS))):
                await connection.execute(sql, values)
            return [JobId(row["id"]) for row in opened]

        try:
            return await self._database.write(work)
        finally:
            # Also when the caller is cancelled, for then the transaction goes on by itself.
            self._requested.set()

    async def finish(self) -> bool:
        """Do what is left to do of every request; False while another process uses a file. Raises StorageError."""
        rows = await self._database.fetch_all(OPEN_REQUESTS)
        requests = [DeletionRequest(UserId(row["user_id"]), row["at"]) for row in rows]
        if not requests:
            return True
        dropped = await self._drop_files()
        await self._database.scrub()
        if not await sqlite.in_thread(lambda _: clear_leftovers(self._path)):
            return False
        missed = await sqlite.in_thread(lambda stop: erase_copies(self._path, self._key, requests, stop))
        for words in missed:
            log.error("deleted words may still be in a file that only you can delete: %s", words)
        if not dropped:
            return False
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE wishes SET done_at = ? WHERE user_id = ? AND at = ?", [(now, *request) for request in requests]
            )

        await self._database.write(work)
        log.info("deletion requests carried out: %d", len(requests))
        return True

    async def tidy(self) -> None:
        """Forget whose the remaining numbers were, after a while who asked for it, and uploads of no request."""
        now = self._clock()

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(UNNAME, (to_text(now - NAMED_FOR),))
            await connection.execute(
                "DELETE FROM wishes WHERE done_at < ? AND at < ?", (to_text(now - REMEMBERED_FOR),) * 2
            )

        await self._database.write(work)
        named = {row["sha256"] for row in await self._database.fetch_all(UPLOADS)}
        if unnamed := [name for name in await self._uploads.old() if name not in named]:
            # A person may have sent one of them again since.
            await self._drop_uploads(unnamed)

    async def run(self) -> None:
        """Carry out deletion requests, for ever; trouble is logged and met again a little later."""
        while True:
            self._requested.clear()
            pause = LOOK_SECONDS
            try:
                if not await self.finish():
                    pause = RETRY_SECONDS
                await self.tidy()
            except (StorageError, OSError) as error:
                log.warning("a deletion request is not carried out in every file yet: %s", error)
                pause = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._requested.wait()

    async def _drop_files(self) -> bool:
        """Remove the files whose rows are gone; False when one is held by a request that comes in."""
        rows = await self._database.fetch_all("SELECT path FROM doomed_files")
        paths = [row["path"] for row in rows]
        uploads = {path.removeprefix("uploads/"): path for path in paths if path.startswith("uploads/")}
        try:
            await self._images.drop([path for path in paths if path not in uploads.values()])
            held = await self._drop_uploads(uploads)
            await self._uploads.sync()
        except OSError as error:
            raise StorageError(f"Files cannot be deleted: {error.strerror}.") from error

        async def forget(connection: aiosqlite.Connection) -> None:
            gone = [(path,) for path in paths if path.removeprefix("uploads/") not in held]
            await connection.executemany("DELETE FROM doomed_files WHERE path = ?", gone)

        await self._database.write(forget)
        return not held

    async def _drop_uploads(self, names: Iterable[str]) -> list[str]:
        """Remove uploads that no row names; returns those that are held by a request that comes in."""

        async def work(connection: aiosqlite.Connection) -> list[str]:
            # In this transaction no request can begin to name one.
            named = {row["sha256"] for row in await connection.execute_fetchall(UPLOADS)}
            return self._uploads.drop(name for name in names if name not in named)

        return await self._database.write(work)
