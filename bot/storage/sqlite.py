"""SQLite as Atelier uses it: the driver, its errors in words, and long work in a thread that can be stopped.

The driver is sqlcipher3. SQLite before 3.51.3 can corrupt a WAL that two connections reset at once
(https://www.sqlite.org/wal.html#walresetbug), and most Pythons are built with an older one. Without a key it reads
and writes ordinary SQLite files; its exceptions are not `sqlite3.Error`, and only this module knows them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlcipher3 import dbapi2

from bot.errors import StorageError, StorageFull
from bot.language import mark

T = TypeVar("T")

VERSION: str = dbapi2.sqlite_version

Error = dbapi2.Error
"""What every failure of the driver is an instance of."""

Stop = Callable[[], bool]
"""Asked now and then by long work: True ends it."""

_PLAIN_HEADER = b"SQLite format 3\0"

_STEPS_BETWEEN_STOPS = 100_000
"""Virtual machine instructions of SQLite, some milliseconds of work."""

_WORDS = {
    dbapi2.SQLITE_FULL: mark("Not accepted: the storage is full."),
    dbapi2.SQLITE_BUSY: mark("The database is locked by another program."),
    dbapi2.SQLITE_LOCKED: mark("The database is locked by another program."),
    dbapi2.SQLITE_IOERR: mark("The storage does not work."),
    dbapi2.SQLITE_READONLY: mark("The storage cannot be written."),
    dbapi2.SQLITE_CANTOPEN: mark("The database cannot be opened."),
    dbapi2.SQLITE_CORRUPT: mark(
        "The database is damaged. Stop and start Atelier, and it takes up the newest good backup."
    ),
    dbapi2.SQLITE_NOTADB: mark(
        "The database is damaged. Stop and start Atelier, and it takes up the newest good backup."
    ),
    dbapi2.SQLITE_INTERRUPT: mark("The work on the database was stopped."),
}
"""Errors that a host can repair, in words."""

# SQLITE_ERROR is an unknown file format: the statements that look for damage are constants and right.
_DAMAGE = {dbapi2.SQLITE_CORRUPT, dbapi2.SQLITE_NOTADB, dbapi2.SQLITE_ERROR}


def connect(path: Path, key: str | None = None, *, readonly: bool = False, stop: Stop | None = None) -> Any:
    """Open the file at `path`, with `key` where it is encrypted; a wrong key shows at the first read.

    Returns a connection with the interface of `sqlite3.Connection` in autocommit mode. Raises `Error`, and
    StorageError when a key is given for a file that is not encrypted.
    """
    if key and is_plain(path):
        raise StorageError(
            f"{path} is not encrypted, but there is a key for it. Stop Atelier and run `atelier encrypt` to encrypt it."
        )
    where = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    # More than one thread may use it, one after the other.
    connection = dbapi2.connect(where, uri=True, isolation_level=None, check_same_thread=False)
    try:
        # SQLCipher would write to standard error by itself, around our log.
        connection.execute("PRAGMA cipher_log_level = NONE")
        if key:
            connection.set_key(key)
        connection.row_factory = dbapi2.Row
        if stop is not None:
            connection.set_progress_handler(stop, _STEPS_BETWEEN_STOPS)
    except BaseException:
        connection.close()
        raise
    return connection


def in_words(error: Exception) -> StorageError | None:
    """Say what a host can mend; None where the error is a bug of ours."""
    words = _WORDS.get(_code(error))
    if words is None:
        return None
    return StorageFull(words) if _code(error) == dbapi2.SQLITE_FULL else StorageError(words)


def is_damage(error: Exception) -> bool:
    """Whether the error says that the file is no whole database, or not one of this key."""
    return _code(error) in _DAMAGE


def is_stop(error: Exception) -> bool:
    """Whether the work ended because its `Stop` said so."""
    return bool(_code(error) == dbapi2.SQLITE_INTERRUPT)


async def in_thread(work: Callable[[Stop], T]) -> T:
    """Run `work` in a thread; when the caller is cancelled, `work` is told to stop and awaited."""
    stopped = threading.Event()
    thread = asyncio.create_task(asyncio.to_thread(work, stopped.is_set))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([thread])
        with suppress(StorageError):
            thread.result()
        raise


def opens(path: Path, key: str | None) -> bool:
    """Whether a file is a database of this key; None is a database without one."""
    if not path.is_file() or is_plain(path) != (key is None):
        return False
    try:
        with closing(connect(path, key, readonly=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except Error:
        return False
    return True


def copy(
    source: Path, target: Path, key: str | None = None, stop: Stop | None = None, *, new_key: str | None = None
) -> None:
    """Write the content of one database into another file, durably and in one step.

    VACUUM INTO, not the backup API: it reads one snapshot while others write, leaves deleted rows behind, and
    stops at damage, where the backup API copies damaged pages as they are. The copy has the source's key, unless it is
    given a new one. `target` may be the source if no one else uses it. Raises StorageError in words, also when the
    source is damaged.
    """
    aside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        aside.unlink(missing_ok=True)
        connection = connect(source, key, readonly=True, stop=stop)
        try:
            if new_key is None:
                connection.execute("VACUUM INTO ?", (str(aside),))
            else:
                _export(connection, aside, new_key)
        finally:
            connection.close()
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(target)
        sync_folder(target.parent)
    except Error as error:
        raise in_words(error) or StorageError(f"{source} cannot be copied to {target}: {error}.") from error
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _export(connection: Any, target: Path, key: str) -> None:
    """Write a database into a new file with another key; the export does not take over the version of the schema.

    See https://www.zetetic.net/sqlcipher/sqlcipher-api/#sqlcipher_export
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("ATTACH ? AS changed KEY ?", (str(target), key))
    connection.execute("SELECT sqlcipher_export('changed')").fetchone()
    connection.execute(f"PRAGMA changed.user_version = {version:d}")
    connection.execute("DETACH changed")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can sync a folder at all."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _code(error: Exception) -> int:
    # The low byte is the primary code: https://www.sqlite.org/rescode.html
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_plain(path: Path) -> bool:
    """Whether a file is there that is a database without a key."""
    try:
        with path.open("rb") as file:
            return file.read(len(_PLAIN_HEADER)) == _PLAIN_HEADER
    except OSError:
        return False
