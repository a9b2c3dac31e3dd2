"""The lanes that the host has drained, as rows: so they stay drained over a restart, and a command can change them.

`atelier engines` writes the row in another process, which wakes nobody here. So the running bot reads the rows every
two seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from bot.errors import StorageError
from bot.jobs import Clock, to_text, utcnow
from bot.storage import sqlite
from bot.storage.database import Database, insist

LOOK_SECONDS = 2.0
"""The time between two looks at the rows."""

DRAIN = "UPDATE lanes SET drained_at = ? WHERE name = ?"
FORGET = "DELETE FROM lanes WHERE drained_at IS NULL AND name NOT IN (SELECT value FROM json_each(?))"
DRAINED = "SELECT name FROM lanes WHERE drained_at IS NOT NULL"

_PATIENCE_SECONDS = 10.0
"""How long a command waits for a writer of the running bot."""


class Lanes:
    """Knows which lanes get nothing new. The task `run` follows the rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.drained: Collection[str] = frozenset()
        """The names of the drained lanes."""

    async def open(self, names: Sequence[str]) -> None:
        """Note which lanes there are; a lane that was drained before stays so, also while it is missing."""

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                "INSERT INTO lanes (name) VALUES (?) ON CONFLICT DO NOTHING", [(name,) for name in names]
            )
            await connection.execute(FORGET, (json.dumps(list(names)),))

        await self._database.write(work)
        await self._look()

    async def drain(self, name: str) -> None:
        """Give a lane nothing new."""
        await self._set(name, to_text(self._clock()))

    async def bring_back(self, name: str) -> None:
        """Give a lane new requests again."""
        await self._set(name, None)

    async def run(self) -> None:
        """Follow what other processes write, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before = self.drained
            await insist(self._look)
            if self.drained != before:
                self._database.wake()

    async def _set(self, name: str, drained_at: str | None) -> None:
        await self._database.execute(DRAIN, (drained_at, name))
        await self._look()
        # Whoever was woken by the commit may have looked before this did.
        self._database.wake()

    async def _look(self) -> None:
        self.drained = frozenset(row["name"] for row in await self._database.fetch_all(DRAINED))


@dataclass(frozen=True, slots=True)
class StoredLane:
    """A lane as its row says."""

    name: str
    is_drained: bool


def stored_lanes(path: Path, key: str | None) -> list[StoredLane]:
    """The lanes of a database that the bot may be using. Raises StorageError."""
    try:
        with closing(sqlite.connect(path, key, readonly=True)) as connection:
            rows = connection.execute("SELECT name, drained_at IS NOT NULL AS is_drained FROM lanes ORDER BY name")
            return [StoredLane(row["name"], bool(row["is_drained"])) for row in rows]
    except sqlite.Error as error:
        raise _in_words(error, path) from error


def store_drained(path: Path, key: str | None, name: str, *, is_drained: bool) -> bool:
    """Drain a lane or bring it back, in a database that the bot may be using; False if there is no such lane.

    Raises StorageError.
    """
    try:
        with closing(sqlite.connect(path, key)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_SECONDS * 1000:.0f}")
            cursor = connection.execute(DRAIN, (to_text(utcnow()) if is_drained else None, name))
            return bool(cursor.rowcount)
    except sqlite.Error as error:
        raise _in_words(error, path) from error


def _in_words(error: Exception, path: Path) -> StorageError:
    words = f"{path} cannot be used ({error}). If an older Atelier wrote it, start this one once."
    return sqlite.in_words(error) or StorageError(words)
