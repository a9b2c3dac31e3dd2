"""Everything about a person deleted at their request: the words in one transaction, then files, bytes and backups.

The transaction is the decision. What is left to do after it is done again at every start until it is done, whatever
was killed in between; nothing of it needs to be known but what the tables say.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite

from bot.errors import StorageError
from bot.jobs import Clock, JobId, Surface, UserId, to_text
from bot.language.reasons import unpacked
from bot.storage import sqlite
from bot.storage.backups import clear_leftovers, formers_of
from bot.storage.database import Database
from bot.storage.erasure import COLUMNS, DeletionRequest, columns_of, erase_copies, statements
from bot.storage.pictures import Pictures

log = logging.getLogger(__name__)

NAMED_FOR = timedelta(days=3)
"""How long the numbers of deleted requests still say whose they are, so that a deletion resets no quota: the day that
quotas look back, and one day in each direction for a clock that goes wrong."""

REMEMBERED_FOR = timedelta(days=90)
"""How long it is known who asked for a deletion, in case a backup is restored."""

LOOK_SECONDS = 3600.0
"""Seconds between two checks for data that is too old."""
RETRY_SECONDS = 5.0

OPEN_REQUESTS = "SELECT user_id, at FROM deletion_requests WHERE done_at IS NULL ORDER BY id"

OPEN_JOBS = "SELECT id, status FROM jobs WHERE user_id = ? AND status IN ('queued', 'running')"

# Only once their messages are gone: those are found by the person's id.
UNNAME = """
UPDATE jobs SET user_id = 0, interaction_id = NULL
WHERE forgotten_at IS NOT NULL AND user_id != 0 AND removed_at IS NOT NULL AND max(forgotten_at, asked_at) < ?
RETURNING post_id
"""
UNNAME_POST = """
UPDATE posts SET message_id = NULL
WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE post_id = ?1 AND (forgotten_at IS NULL OR user_id != 0))
"""

# In every schema: generated columns are hidden, and table_xinfo lists them, too.
PICTURE_COLUMNS = """
SELECT tables.name AS "table", columns.name AS "column"
FROM sqlite_schema AS tables JOIN pragma_table_xinfo(tables.name) AS columns
WHERE tables.type = 'table' AND (tables.name = 'images' AND columns.name IN ('sha256', 'delivered_sha256')
  OR tables.name = 'jobs' AND columns.name IN
    ('image', 'blended_1', 'blended_2', 'blended_3', 'mask_image', 'control_image'))
"""

BLENDED_COLUMNS = {"blended_1", "blended_2", "blended_3"}
"""The generated columns of the further pictures of a blend; in the request they are one list."""

HELD = """
SELECT (SELECT count(*) FROM jobs WHERE user_id = ?1 AND forgotten_at IS NULL) AS requests,
       (SELECT count(*) FROM jobs WHERE user_id = ?1 AND status IN ('queued', 'running', 'rendered')) AS open,
       (SELECT count(*) FROM images JOIN jobs ON jobs.id = images.job_id WHERE jobs.user_id = ?1) AS pictures,
       (SELECT count(*) FROM ratings WHERE user_id = ?1) AS ratings
"""

EXPORTED = {
    "requests": "SELECT * FROM jobs_with_post WHERE user_id = ? ORDER BY id",
    "pictures": "SELECT * FROM images WHERE job_id IN (SELECT id FROM jobs WHERE user_id = ?) ORDER BY job_id, number",
    "picture_hashes": "SELECT * FROM picture_hashes WHERE job_id IN (SELECT id FROM jobs WHERE user_id = ?)",
    "marks": "SELECT * FROM marks WHERE job_id IN (SELECT id FROM jobs WHERE user_id = ?)",
    "ratings": "SELECT * FROM ratings WHERE user_id = ? ORDER BY added_at",
    "tags": "SELECT * FROM tags WHERE user_id = ?1 OR job_id IN (SELECT id FROM jobs WHERE user_id = ?1)",
    "series": "SELECT * FROM series WHERE user_id = ? ORDER BY id",
    "panels": "SELECT * FROM panels WHERE series_id IN (SELECT id FROM series WHERE user_id = ?)",
    "comparisons": "SELECT * FROM comparisons WHERE user_id = ? ORDER BY id",
    "votes": "SELECT * FROM votes WHERE user_id = ? ORDER BY comparison_id, pair",
    "contest_entries": "SELECT * FROM contest_entries WHERE user_id = ? ORDER BY id",
    "contest_votes": "SELECT * FROM contest_votes WHERE user_id = ? ORDER BY contest_id",
    "dataset": "SELECT * FROM consents WHERE user_id = ? ORDER BY id",
    "copies": "SELECT * FROM side_messages WHERE user_id = ?1 OR kind = 'gallery' AND post_id IN "
    "(SELECT post_id FROM jobs WHERE user_id = ?1) ORDER BY id",
    "settings": "SELECT * FROM preferences WHERE user_id = ?",
    "refusals": "SELECT * FROM refusals WHERE user_id = ? ORDER BY id",
    "rules_about_you": "SELECT * FROM rules WHERE scope = 'person' AND subject_id = ?",
    # Which moderator it was is the moderator's own data.
    "cases_about_you": "SELECT guild_id, number, at, action, before, after, reason, undoes FROM cases "
    "WHERE scope = 'person' AND subject_id = ? ORDER BY at",
    "reports_by_you": "SELECT id, guild_id, job_id, reporters.at, reason, outcome, ended_at FROM reporters "
    "JOIN member_reports ON id = report_id WHERE user_id = ? ORDER BY id",
    # Who reported a result is their own data.
    "reports_about_you": "SELECT id, guild_id, job_id, opened_at, outcome, ended_at FROM member_reports "
    "WHERE job_id IN (SELECT id FROM jobs WHERE user_id = ?) ORDER BY id",
    "deletions": "SELECT at, done_at FROM deletion_requests WHERE user_id = ? ORDER BY id",
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
        pictures: Pictures,
        path: Path,
        key: str | None,
        surface: Surface,
        clock: Clock,
        erase_derived: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`erase_derived` leaves nothing of what was deleted in what is derived from the database."""
        self._database = database
        self._pictures = pictures
        self._path = path
        self._key = key
        self._surface = surface
        self._clock = clock
        self._erase_derived = erase_derived
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
            for key in (request.keys() | BLENDED_COLUMNS) & row.keys():
                del row[key]
            row["request"] = request
            if row["reason"] is not None:
                row["reason"] = str(unpacked(row["reason"]))
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
        await self._database.scrub()
        if self._erase_derived is not None:
            await self._erase_derived()
        if not await sqlite.in_thread(lambda _: clear_leftovers(self._path)):
            return False
        missed = await sqlite.in_thread(lambda stop: erase_copies(self._path, self._key, requests, stop))
        for words in missed:
            log.error("deleted words may still be in a file that only you can delete: %s", words)
        # A former database that cannot be read spares no picture here: deleting comes before keeping.
        spared, _ = await self._named_by_formers()
        await self._pictures.sweep(spared)
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "UPDATE deletion_requests SET done_at = ? WHERE user_id = ? AND at = ?",
                [(now, *request) for request in requests],
            )

        await self._database.write(work)
        log.info("deletion requests carried out: %d", len(requests))
        return True

    async def tidy(self) -> None:
        """Forget whose the remaining numbers were and after a while who asked for it; delete what no row names."""
        now = self._clock()

        async def work(connection: aiosqlite.Connection) -> None:
            posts = await connection.execute_fetchall(UNNAME, (to_text(now - NAMED_FOR),))
            await connection.executemany(UNNAME_POST, [(row["post_id"],) for row in posts])
            await connection.execute(
                "DELETE FROM deletion_requests WHERE done_at < ? AND at < ?", (to_text(now - REMEMBERED_FOR),) * 2
            )

        await self._database.write(work)
        await self.sweep()

    async def sweep(self) -> None:
        """Delete the pictures that neither this database nor a former one beside it names.

        Deletes none while a former database cannot be read, since it may be restored.
        """
        spared, unreadable = await self._named_by_formers()
        for words in unreadable:
            log.warning("Pictures that no request names are kept until this file is deleted: %s", words)
        if not unreadable and (swept := await self._pictures.sweep(spared)):
            log.info("%d pictures that no request names were deleted", swept)

    async def _named_by_formers(self) -> tuple[set[str], list[str]]:
        return await sqlite.in_thread(lambda _: named_by_formers(self._path, self._key))

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


def named_by_formers(database: Path, key: str | None) -> tuple[set[str], list[str]]:
    """The sha256 of the pictures that the former databases beside a database name, and why some cannot be read."""
    names: set[str] = set()
    unreadable = []
    for path in formers_of(database):
        try:
            with closing(sqlite.connect(path, key, readonly=True)) as connection:
                for column in connection.execute(PICTURE_COLUMNS).fetchall():
                    sql = f'SELECT "{column["column"]}" FROM "{column["table"]}"'  # noqa: S608 - names of the schema
                    names.update(name for (name,) in connection.execute(sql) if name)
        except sqlite.Error as error:
            unreadable.append(f"{path} cannot be read: {error}.")
    return names, unreadable
