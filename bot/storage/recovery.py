"""The database put back from a backup: at start when the file is damaged, and by hand.

The file in use is never overwritten. A checked copy is made beside it under the name `STAGED`; from that moment the
restore is decided, and `finish`, which every start runs first, carries it out however often it is killed.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bot.errors import StorageError
from bot.jobs import utcnow
from bot.storage import sqlite
from bot.storage.backups import Backup, backups_of, folder_of
from bot.storage.erasure import SIDE_FILES, DeletionRequest, deletion_requests_in, erase
from bot.storage.integrity import find_damage, inspect

log = logging.getLogger(__name__)

STAGED = "restoring"
"""Suffix of a copy that is about to become the database."""

CHECK_SECONDS = 10.0
"""The check at start takes no longer; a file too large for that is checked to its end by the daily upkeep."""

ID_GAP = 100_000
"""How far job ids jump at a restore: buttons under results that the backup does not know must not find new jobs."""


class Restored(NamedTuple):
    """What a restore did: the jobs the database has now, and where the former file is, if there was one."""

    jobs: int
    former: Path | None


def heal(path: Path, key: str | None = None, stop: sqlite.Stop | None = None) -> str | None:
    """Finish a restore, check the file at `path`, and put back the newest good backup when it is damaged.

    Returns a sentence for people when a backup was put back. Raises StorageError, and changes nothing, when the
    file is damaged and no backup is good: a wrong key looks like that, too. A `stop` before a backup is put back
    changes nothing either.
    """
    finish(path)
    there = path.exists()
    # A good database starts although its backups are out of reach.
    if not (there and path.stat().st_size):
        backups = backups_of(path)
        if backups and not there:
            log.warning("%s is missing and a new one is made; `atelier restore FILE` puts back a backup.", path)
        if not (there and backups):
            return None
    end = time.monotonic() + CHECK_SECONDS
    damage = find_damage(
        path,
        key,
        full=_needs_full_check(path, key),
        stop=lambda: time.monotonic() > end or (stop is not None and stop()),
    )
    if damage is None:
        return None
    log.critical("%s is damaged: %s", path, damage)
    for backup in backups_of(path):
        words = _fault_of(backup, key, stop)
        if stop is not None and stop():
            raise StorageError("No backup was put back, because the work was stopped.")
        if words:
            log.error("not put back: %s", words)
            continue
        restored = restore(backup.path, path, key, stop)
        notice = (
            f"The database was damaged and was put back as it was on {backup.made_at:%Y-%m-%d at %H:%M} UTC. "
            "Requests since then are lost."
        )
        log.critical("%s The damaged file is kept as %s.", notice, restored.former)
        return notice
    raise StorageError(
        f"{path} is not a usable database ({damage}), and there is no good backup of it in {folder_of(path)}. "
        "If it is encrypted, check its key, in ATELIER_DATABASE_KEY or in the file beside the data folder. Otherwise "
        "restore a copy with: atelier restore FILE. "
        "Move it aside to start with an empty one."
    )


def restore(source: Path, path: Path, key: str | None = None, stop: sqlite.Stop | None = None) -> Restored:
    """Make a copy of `source` the database at `path`, which no other process may use.

    The former database is moved aside with its WAL. Raises StorageError, and changes nothing, when `source` is
    damaged or not one of ours.
    """
    # A backup from before the database was encrypted gets the key, too.
    has = None if sqlite.is_plain(source) else key
    jobs = check_backup(source, has, stop)
    # One that a kill cut short has what was deleted since; a former database that is gone tells nothing.
    finish(path)
    copy = path.with_suffix(".copy")
    try:
        sqlite.copy(source, copy, has, stop, new_key=None if has == key else key)
        _skip_ids(copy, key)
        erase(copy, key, _requests_since(path, key), stop)
        with copy.open("rb+") as file:
            # Its time, too: the former database is named by it.
            os.fsync(file.fileno())
        copy.replace(path.with_suffix(f".{STAGED}"))
        sqlite.sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be replaced: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            copy.unlink(missing_ok=True)
    return Restored(jobs, finish(path))


def finish(path: Path) -> Path | None:
    """Carry out a restore that was decided, if there is one; return where the former database is."""
    staged = path.with_suffix(f".{STAGED}")
    try:
        if not staged.exists():
            return None
        former = _move_aside(path, datetime.fromtimestamp(staged.stat().st_mtime, UTC))
        staged.replace(path)
        sqlite.sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be replaced: {error.strerror}.") from error
    return former


def check_backup(path: Path, key: str | None = None, stop: sqlite.Stop | None = None) -> int:
    """Check a whole backup and return how many jobs it has; StorageError when it is damaged or none of ours."""
    if not path.is_file():
        raise StorageError(f"{path} does not exist.")
    damage = find_damage(path, key, full=True, stop=stop)
    if stop is not None and stop():
        # What was not looked at to its end is not known to be good.
        raise StorageError(f"{path} was not checked to its end, because the work was stopped.")
    if damage:
        raise StorageError(f"{path} is damaged, or not a database of this key: {damage}.")
    return inspect(path, key).jobs


def _needs_full_check(path: Path, key: str | None) -> bool:
    """Whether the last full check is older than a day, found damage, or cannot be read."""
    try:
        last = inspect(path, key).check
    except StorageError:
        return True
    return last is None or last.damage is not None or abs(utcnow() - last.at).days >= 1


def _fault_of(backup: Backup, key: str | None, stop: sqlite.Stop | None) -> str | None:
    """Say why a backup must not be put back; None when it is good."""
    try:
        if not backup.is_unchanged(stop):
            return f"{backup.path} is damaged: its content is not what was written."
        check_backup(backup.path, key, stop)
    except StorageError as error:
        return str(error)
    return None


def _requests_since(path: Path, key: str | None) -> list[DeletionRequest]:
    """The deletion requests that the former database holds: what they deleted stays deleted."""
    try:
        return deletion_requests_in(path, key) if path.exists() else []
    except StorageError as error:
        log.warning("whether data of a person was deleted since the backup cannot be found out: %s", error)
        return []


def _move_aside(path: Path, decided_at: datetime) -> Path | None:
    """Rename a database with its WAL, so that SQLite would still open it; return its new name, None if it is gone.

    A process that goes on after a kill gives the same name: its time is that of the decision, and until the file itself
    has moved, which it does last, the name is free. A WAL beside another database would be lost, or worse, played back.
    """
    name, number = f"{path.stem}-aside-{decided_at:%Y%m%dT%H%M%S}", 0
    aside = path.with_name(f"{name}.db")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{name}-{number}.db")
    for ending in SIDE_FILES:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    # None of the renames may be lost in a power cut while a later one is not.
    sqlite.sync_folder(path.parent)
    if not path.exists():
        return None
    path.rename(aside)
    sqlite.sync_folder(path.parent)
    return aside


def _skip_ids(path: Path, key: str | None) -> None:
    try:
        with closing(sqlite.connect(path, key)) as connection:
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'jobs', 0 "
                "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'jobs')"
            )
            connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'jobs'", (ID_GAP,))
    except sqlite.Error as error:
        raise StorageError(f"{path} cannot be prepared: {error}.") from error
