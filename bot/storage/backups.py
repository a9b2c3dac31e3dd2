"""The folder of backups: whole copies of the database, each named by its time and its content's hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped,unused-ignore]

from bot.errors import StorageError
from bot.jobs import utcnow
from bot.storage import sqlite

DAILY = 7
WEEKLY = 4
BACKUP_INTERVAL = timedelta(days=1)
"""The time between two daily backups."""

_NAME = re.compile(r"(\d{8}T\d{6})-([0-9a-f]{16})\.db")
_TIME = "%Y%m%dT%H%M%S"

_CHUNK = 2**20
"""Bytes that are read between two checks whether to stop: a backup may be gigabytes on a slow disk."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One file of the folder; `digest` is the start of its sha256 in hexadecimal digits."""

    path: Path
    made_at: datetime
    digest: str

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The backup that a file's name stands for; None for a file of another kind."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        try:
            made_at = datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
        except ValueError:
            # Digits that are no time: this is not one of our names.
            return None
        return cls(path, made_at, match[2])

    def is_unchanged(self, stop: sqlite.Stop | None = None) -> bool:
        """Whether the file still has the content it was made with. Raises StorageError when it cannot be read."""
        return _digest_of(self.path, stop) == self.digest


def folder_of(database: Path) -> Path:
    """The folder of a database's backups."""
    return database.parent / "backups"


def backups_of(database: Path) -> list[Backup]:
    """Every backup of a database, newest first. Raises StorageError when their folder cannot be read."""
    folder = folder_of(database)
    try:
        found = [Backup.at(path) for path in (folder.iterdir() if folder.is_dir() else ())]
    except OSError as error:
        raise StorageError(f"The folder of backups {folder} cannot be read: {error.strerror}.") from error
    return sorted((backup for backup in found if backup is not None), key=lambda backup: backup.path.name, reverse=True)


def formers_of(database: Path) -> list[Path]:
    """The former databases beside a database: each restore moved one aside."""
    return sorted(database.parent.glob(f"{database.stem}-aside-*.db"))


def back_up(database: Path, key: str | None, stop: sqlite.Stop | None = None, now: datetime | None = None) -> Path:
    """Copy a database into its folder of backups and return the copy's path; others may write during that.

    Raises StorageError when the disk does not take it or the database is damaged.
    """
    folder = folder_of(database)
    made_at = now or utcnow()
    unnamed = folder / f"{_stamp(made_at)}.{os.getpid()}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sqlite.copy(database, unnamed, key, stop)
        path = rename(unnamed, made_at, stop=stop)
        sqlite.sync_folder(folder)
    except OSError as error:
        raise StorageError(f"The backup cannot be written to {folder}: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            unnamed.unlink(missing_ok=True)
    return path


def rename(unnamed: Path, made_at: datetime, digest: str | None = None, stop: sqlite.Stop | None = None) -> Path:
    """Give a file of the folder the name of a backup, after its content unless a digest is given; returns its path."""
    return unnamed.replace(unnamed.with_name(f"{_stamp(made_at)}-{digest or _digest_of(unnamed, stop)}.db"))


def clear_leftovers(database: Path, *, start: bool = False) -> bool:
    """Remove the copies that killed processes left unfinished; False while another process is making one.

    They hold what may be deleted elsewhere by now. At a start our own number is left over from before us.
    """
    cleared = True
    try:
        if start:
            database.with_suffix(".copy").unlink(missing_ok=True)
        for path in (*folder_of(database).glob("*.new*"), *database.parent.glob("*.part")):
            pid = re.search(r"\.(\d+)\.(?:new|part)", path.name)
            if pid is not None and psutil.pid_exists(int(pid[1])) and not (start and int(pid[1]) == os.getpid()):
                cleared = False
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"An unfinished copy cannot be deleted: {error.strerror}.") from error
    return cleared


def is_due(backups: Iterable[Backup], now: datetime) -> bool:
    """Whether the newest backup is older than a day, or there is none; one from the future counts for nothing."""
    return not any(timedelta() <= now - backup.made_at < BACKUP_INTERVAL for backup in backups)


def worth_keeping(times: Iterable[datetime]) -> set[datetime]:
    """Which backups stay: the newest of each of the last 7 days, and of the last 4 ISO weeks, that have one.

    As restic's `forget --keep-daily 7 --keep-weekly 4`: days without a backup do not count, so that a pause
    deletes nothing.
    """
    newest_first = sorted(times, reverse=True)

    def newest_of_each(period: Callable[[datetime], Hashable], count: int) -> set[datetime]:
        newest: dict[Hashable, datetime] = {}
        for time in newest_first:
            newest.setdefault(period(time), time)
        return set(list(newest.values())[:count])

    return newest_of_each(lambda time: time.date(), DAILY) | newest_of_each(lambda time: time.isocalendar()[:2], WEEKLY)


def rotate(database: Path) -> list[Path]:
    """Delete the backups that are not worth keeping, and what killed backups left; return their paths."""
    backups = backups_of(database)
    kept = worth_keeping(backup.made_at for backup in backups)
    old = [backup.path for backup in backups if backup.made_at not in kept]
    yesterday = utcnow().timestamp() - BACKUP_INTERVAL.total_seconds()
    try:
        for pattern in ("*.new", "*.part"):
            old += [path for path in folder_of(database).glob(pattern) if path.stat().st_mtime < yesterday]
        for path in old:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Old backups cannot be deleted: {error.strerror}.") from error
    return old


def _stamp(made_at: datetime) -> str:
    return made_at.astimezone(UTC).strftime(_TIME)


def _digest_of(path: Path, stop: sqlite.Stop | None = None) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if stop is not None and stop():
                    raise StorageError(f"{path} was not read to its end, because the work was stopped.")
                digest.update(chunk)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    return digest.hexdigest()[:16]
