"""The SQLite file: opening, migrating, and the one task through which everything is read and written.

A cancelled call must not strand a transaction half way, so every transaction is one function, and the task that
owns the connection runs it to its end, also when the caller is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiosqlite

from bot.errors import StorageError, StorageFull
from bot.jobs import Row
from bot.language import mark
from bot.storage import sqlite
from bot.storage.backups import back_up

log = logging.getLogger(__name__)

T = TypeVar("T")

INSIST_SECONDS = 5.0
"""Seconds between two tries of `insist`."""

IDLE_SECONDS = 5.0
"""Seconds after the last commit until the WAL is written into the file."""

_CACHE_KIB = 2048
"""How much of the file SQLite keeps in memory. The driver would take up four times that, a megabyte for every thousand
requests; the system caches the file as well."""

_ROWS_AT_A_TIME = 64
"""How many rows aiosqlite fetches from its thread at once; its own default."""


_DIED = mark("The database cannot be used any more, because of a bug. Start Atelier again; the log says more.")


class _Call(NamedTuple):
    work: Callable[[aiosqlite.Connection], Awaitable[Any]]
    writes: bool
    answer: asyncio.Future[Any]


class Database:
    """One aiosqlite connection and the task that owns it; all other tasks hand over work and wait.

    Writers that wait while others are being committed share the next transaction, each in a savepoint of its own if
    there are several: one sync of the disk for all of them.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._calls: asyncio.Queue[_Call | None] = asyncio.Queue()
        self._batch: list[_Call | None] = []
        """The work that runs now."""
        self._closed = False
        self._died = asyncio.Event()
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """An event that is set after every commit; a task that waits for it clears it before it reads."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    def wake(self) -> None:
        """Set the events of all listeners, because something changed that was not committed here."""
        for listener in self._listeners:
            listener.set()

    async def write(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Run `work` as one transaction and return its result once it is durable; undo it if it raises.

        A caller that is cancelled leaves the transaction to finish by itself. Raises StorageError when the storage
        refuses; then nothing was written.
        """
        return await self._ask(work, writes=True)

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement as a transaction and return how many rows it changed, once that is durable."""

        async def work(connection: aiosqlite.Connection) -> int:
            return (await connection.execute(sql, parameters)).rowcount

        return await self.write(work)

    async def fetch_all(self, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
        """Return every row of a query."""

        async def query(connection: aiosqlite.Connection) -> list[Row]:
            return list(await connection.execute_fetchall(sql, parameters))

        return await self._ask(query, writes=False)

    async def fetch_one(self, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    async def remember(self, name: str, value: str) -> None:
        """Keep a small fact under `name`."""
        await self.execute(
            "INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (name, value),
        )

    async def recall(self, name: str) -> str | None:
        """Return what was remembered under `name`, or None."""
        row = await self.fetch_one("SELECT value FROM memory WHERE name = ?", (name,))
        return None if row is None else row["value"]

    async def scrub(self) -> None:
        """Rewrite the file, so that neither it nor its WAL holds a byte of what was deleted.

        Raises StorageError while another process reads the file.
        """

        async def work(connection: aiosqlite.Connection) -> None:
            ((patience,),) = await connection.execute_fetchall("PRAGMA busy_timeout")
            # All work waits for this, so it does not wait for a process that reads the file: it is tried again.
            await connection.execute_fetchall("PRAGMA busy_timeout = 0")
            try:
                await connection.execute_fetchall("VACUUM")
                ((busy, _, _),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                await connection.execute_fetchall(f"PRAGMA busy_timeout = {patience}")
            if busy:
                raise StorageError("The database is being read by another program.")

        # Not a transaction: SQLite rewrites a file by one of its own.
        await self._ask(work, writes=False)

    async def _ask(self, work: Callable[[aiosqlite.Connection], Awaitable[T]], *, writes: bool) -> T:
        if self._died.is_set():
            raise StorageError(_DIED)
        if self._closed:
            raise StorageError(mark("Atelier is stopping."))
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put_nowait(_Call(work, writes, answer))
        return await answer

    def close(self) -> None:
        """Take no more work; `own` ends after what was handed over."""
        self._closed = True
        self._calls.put_nowait(None)

    async def die(self) -> None:
        """Wait for the task that owns the database to end before its time, and raise StorageError then."""
        await self._died.wait()
        raise StorageError(_DIED)

    async def own(self) -> None:
        """Do the work that is handed over until `close`, then empty the WAL.

        Raises StorageError if it cannot go on; the calls that wait are then refused, and so are later ones.
        """
        finished = False
        try:
            await self._serve()
            finished = True
        except Exception as error:
            raise StorageError(_DIED) from error
        finally:
            if not finished:
                self._bury()

    def _bury(self) -> None:
        """Refuse the calls that wait, and all later ones."""
        self._died.set()
        while not self._calls.empty():
            self._batch.append(self._calls.get_nowait())
        for call in self._batch:
            if call is not None:
                _refuse(call, StorageError(_DIED))

    async def _serve(self) -> None:
        time = asyncio.get_running_loop().time
        # Since something is read every few seconds, only commits count.
        empty_at: float | None = None
        open_ = True
        while open_:
            try:
                async with asyncio.timeout_at(empty_at):
                    self._batch = [await self._calls.get()]
            except TimeoutError:
                await self._empty_wal()
                empty_at = None
                continue
            while not self._calls.empty():
                self._batch.append(self._calls.get_nowait())
            calls = [call for call in self._batch if call is not None]
            open_ = len(calls) == len(self._batch)
            for call in calls:
                if not call.writes:
                    await self._read(call)
            if writers := [call for call in calls if call.writes]:
                await self._write(writers)
                empty_at = time() + IDLE_SECONDS
        await self._empty_wal()

    async def _read(self, call: _Call) -> None:
        try:
            result = await call.work(self._connection)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            _refuse(call, sqlite.in_words(error) or error)
        else:
            _accept(call, result)

    async def _write(self, calls: Sequence[_Call]) -> None:
        """Run the work of all calls in one transaction; no caller gets an answer before it is committed."""
        outcomes: list[tuple[_Call, Any, Exception | None]] = []
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [(call, *await self._tried(call, alone=len(calls) == 1)) for call in calls]
            await self._connection.commit()
        except Exception as error:  # noqa: BLE001 - the callers get it
            for call in calls:
                _refuse(call, sqlite.in_words(error) or StorageError(f"The database refused to commit: {error}."))
            await self._roll_back()
            return
        for call, result, failure in outcomes:
            if failure is None:
                _accept(call, result)
            else:
                _refuse(call, failure)
        if any(failure is None for _, _, failure in outcomes):
            self.wake()

    async def _tried(self, call: _Call, *, alone: bool) -> tuple[Any, Exception | None]:
        """Return the result of a work, or why it was undone; raises when the whole transaction is lost.

        What is `alone` in its transaction needs no savepoint, and each statement is a way to another thread and back.
        """
        if not alone:
            await self._connection.execute("SAVEPOINT call")
        result, failure = None, None
        try:
            result = await call.work(self._connection)
        except Exception as error:
            # A full disk or a failing one can end the transaction: https://www.sqlite.org/lang_transaction.html
            if not self._connection.in_transaction:
                raise
            await self._connection.execute("ROLLBACK" if alone else "ROLLBACK TO call")
            failure = sqlite.in_words(error) or error
        if not alone:
            await self._connection.execute("RELEASE call")
        return result, failure

    async def _roll_back(self) -> None:
        try:
            await self._connection.rollback()
        except sqlite.Error as error:
            log.error("A transaction could not be rolled back (%s); the next one that fails tries it again.", error)  # noqa: TRY400

    async def _empty_wal(self) -> None:
        try:
            await self._connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite.Error as error:
            log.warning("The WAL could not be emptied (%s); it is tried again after the next write.", error)


def _accept(call: _Call, result: Any) -> None:
    if not call.answer.done():
        call.answer.set_result(result)


def _refuse(call: _Call, error: Exception) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)


def _mourn(owner: asyncio.Task[None]) -> None:
    if not owner.cancelled() and (error := owner.exception()):
        log.critical("the task that owns the database died: nothing can be kept any more", exc_info=error)


async def insist(call: Callable[..., Awaitable[T]], *arguments: Any, tries: int | None = None) -> T:
    """Repeat a call while the storage refuses, for ever or `tries` times: what was promised must not be dropped.

    A disk that is full is waited for in both cases.
    """
    tried = 0
    while True:
        try:
            return await call(*arguments)
        except StorageError as error:
            tried += not isinstance(error, StorageFull)
            if tried == tries:
                raise
            log.warning("%s Trying again in %.0f s.", error, INSIST_SECONDS)
        await asyncio.sleep(INSIST_SECONDS)


@asynccontextmanager
async def open_database(path: Path, key: str | None = None) -> AsyncIterator[Database]:
    """Open the database at `path`, create or migrate it, and close it at the end.

    Raises StorageError when the file cannot be opened or was written by a newer Atelier.
    """
    try:
        # Where aiosqlite cannot connect, its thread outlives the event loop and says so in a traceback.
        sqlite.connect(path, key).close()
        connection = await aiosqlite.Connection(lambda: sqlite.connect(path, key), _ROWS_AT_A_TIME)
    except sqlite.Error as error:
        raise StorageError(f"The database {path} cannot be opened: {error}.") from error
    try:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
            await connection.execute("PRAGMA synchronous = FULL")
            await connection.execute("PRAGMA foreign_keys = ON")
            # What is deleted is overwritten, here and in the WAL.
            await connection.execute("PRAGMA secure_delete = ON")
            await connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
            await _migrate(connection, path, key)
        except sqlite.Error as error:
            raise StorageError(
                f"{path} is not a usable database ({error}). Move it aside to start with an empty one."
            ) from error
        database = Database(connection)
        owner = asyncio.create_task(database.own(), name="database")
        owner.add_done_callback(_mourn)
        try:
            yield database
        finally:
            database.close()
            await asyncio.wait([owner])
            owner.result()
    finally:
        await connection.close()


def schema_scripts() -> list[str]:
    """The migrations in order; the first makes schema 1 of an empty file."""
    folder = resources.files("bot.storage") / "migrations"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


async def _migrate(connection: aiosqlite.Connection, path: Path, key: str | None) -> None:
    """Apply the migrations the file has not seen, all in one transaction, after a backup of what there is."""
    ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
    scripts = schema_scripts()
    if version > len(scripts):
        raise StorageError(
            f"{path} was written by a newer Atelier (schema {version}, this one knows {len(scripts)}). "
            "Upgrade Atelier, or restore an older copy of the file."
        )
    if version == len(scripts):
        return
    if version:
        backup = await sqlite.in_thread(lambda stop: back_up(path, key, stop))
        log.info("schema %d becomes %d; the database as it was is kept as %s", version, len(scripts), backup)
    steps = [f"{sql}\nPRAGMA user_version = {number};" for number, sql in enumerate(scripts, start=1)]
    await connection.executescript("\n".join(("BEGIN IMMEDIATE;", *steps[version:], "COMMIT;")))
