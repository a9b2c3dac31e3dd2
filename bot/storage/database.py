"""The SQLite file: opening, migrating, and the one connection through which everything is read and written.

A cancelled call must not strand a transaction half way, so every transaction is one function that runs to its
end in a task of its own, whatever happens to the caller.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from bot.errors import StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

_PASSING = {
    sqlite3.SQLITE_FULL: "The storage is full, so nothing new can be accepted.",
    sqlite3.SQLITE_BUSY: "The database is locked by another program.",
    sqlite3.SQLITE_LOCKED: "The database is locked by another program.",
    sqlite3.SQLITE_IOERR: "The storage does not work.",
    sqlite3.SQLITE_READONLY: "The storage cannot be written.",
}
"""What a host can mend while Atelier runs, in words."""

INSIST_SECONDS = 5.0
"""Between two tries of `insist`."""


class Database:
    """One aiosqlite connection, used by one caller at a time."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._listeners: list[asyncio.Event] = []
        self._calls: set[asyncio.Task[Any]] = set()

    def listen(self) -> asyncio.Event:
        """An event that is set after every commit; whoever waits for it clears it before reading."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    async def write(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Run `work` as one immediate transaction and commit it; roll back if it raises.

        A caller that is cancelled leaves the transaction to finish by itself.
        """

        async def transaction() -> T:
            async with self._turn:
                await self._connection.execute("BEGIN IMMEDIATE")
                try:
                    result = await work(self._connection)
                    await self._connection.commit()
                except BaseException:
                    await self._connection.rollback()
                    raise
                for listener in self._listeners:
                    listener.set()
                return result

        return await self._finish(transaction())

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Return every row of a query."""

        async def query() -> list[sqlite3.Row]:
            async with self._turn:
                return list(await self._connection.execute_fetchall(sql, parameters))

        return await self._finish(query())

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    async def remember(self, name: str, value: str) -> None:
        """Keep a small fact under `name`."""

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (name, value),
            )

        await self.write(work)

    async def recall(self, name: str) -> str | None:
        """Return what was remembered under `name`, or None."""
        row = await self.fetch_one("SELECT value FROM memory WHERE name = ?", (name,))
        return None if row is None else row["value"]

    async def settle(self) -> None:
        """Wait for the transactions whose callers were cancelled."""
        if self._calls:
            await asyncio.wait(self._calls)

    async def _finish(self, call: Coroutine[Any, Any, T]) -> T:
        """Await `call` shielded from cancellation, with a full disk in our words."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            return await asyncio.shield(task)
        except sqlite3.OperationalError as error:
            # The low byte is the primary code: https://www.sqlite.org/rescode.html
            if words := _PASSING.get(error.sqlite_errorcode & 0xFF):
                raise StorageError(words) from error
            raise


async def insist(call: Callable[..., Awaitable[T]], *arguments: Any, tries: int | None = None) -> T:
    """Repeat a call while the storage refuses, for ever or so many times: what was promised must not be dropped."""
    for number in itertools.count(1):
        try:
            return await call(*arguments)
        except StorageError as error:
            if number == tries:
                raise
            log.warning("%s Trying again in %.0f s.", error, INSIST_SECONDS)
        await asyncio.sleep(INSIST_SECONDS)
    raise AssertionError  # count() does not end


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open the database at `path`, create or migrate it, and close it at the end.

    Raises StorageError when the file cannot be opened or was written by a newer Atelier.
    """
    try:
        # Where aiosqlite cannot connect, its thread outlives the event loop and says so in a traceback.
        sqlite3.connect(path).close()
        connection = await aiosqlite.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise StorageError(f"The database {path} cannot be opened: {error}.") from error
    try:
        connection.row_factory = sqlite3.Row
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("PRAGMA synchronous = FULL")
            await connection.execute("PRAGMA foreign_keys = ON")
            await connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
            await _migrate(connection, path)
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"{path} is not a usable database ({error}). Move it aside to start with an empty one."
            ) from error
        database = Database(connection)
        try:
            yield database
        finally:
            await database.settle()
    finally:
        await connection.close()


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    """Apply the migrations the file has not seen, each in a transaction of its own."""
    cursor = await connection.execute("PRAGMA user_version")
    row = await cursor.fetchone()
    version = 0 if row is None else int(row[0])
    folder = resources.files("bot.storage") / "migrations"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    if version > len(scripts):
        raise StorageError(
            f"{path} was written by a newer Atelier (schema {version}, this one knows {len(scripts)}). "
            "Upgrade Atelier, or restore an older copy of the file."
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        sql = script.read_text(encoding="utf-8")
        await connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
