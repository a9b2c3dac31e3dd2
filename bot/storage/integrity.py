"""Looking at a database file without changing it: whether it is whole, and what is in it."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bot.errors import StorageError
from bot.storage import sqlite

log = logging.getLogger(__name__)

CHECKED = "checked"
"""The name under which the database keeps its last full check: a time, a space, and what was found or `ok`."""


class Check(NamedTuple):
    """When the last full check was, and what it found; None is a good file."""

    at: datetime
    damage: str | None

    @classmethod
    def read(cls, text: str | None) -> Check | None:
        """Read what `text` wrote; None when nothing was written."""
        if text is None:
            return None
        at, _, finding = text.partition(" ")
        return cls(datetime.fromisoformat(at), None if finding == "ok" else finding)

    @property
    def text(self) -> str:
        """As it is remembered."""
        return f"{self.at.isoformat(timespec='seconds')} {self.damage or 'ok'}"


class Look(NamedTuple):
    """What is in a database."""

    schema: int
    jobs: int
    check: Check | None
    """The last full check a running Atelier remembers."""


def find_damage(path: Path, key: str | None = None, *, full: bool, stop: sqlite.Stop | None = None) -> str | None:
    """Say what is wrong with the file at `path`; None when nothing was found before `stop`.

    The quick look walks every page of every table and index: it finds broken structure, truncation and a wrong key.
    The full one also compares the indexes with the rows. A changed byte inside a text that no index holds passes
    both in a plain file; in an encrypted one the quick look finds it, since every page carries a keyed hash.
    Raises StorageError when the file cannot be read at all.
    """
    try:
        if not path.stat().st_size:
            return "it is empty"
        with closing(sqlite.connect(path, key, readonly=True, stop=stop)) as connection:
            (finding,) = connection.execute(f"PRAGMA {'integrity_check' if full else 'quick_check'}(1)").fetchone()
    except sqlite.Error as error:
        if sqlite.is_stop(error):
            log.warning("The check of %s was stopped before its end; what it saw is good.", path)
            return None
        if sqlite.is_damage(error):
            return str(error)
        raise sqlite.in_words(error) or error from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    return None if finding == "ok" else str(finding)


def inspect(path: Path, key: str | None = None) -> Look:
    """Read what is in the database at `path`. Raises StorageError when it is none of Atelier's."""
    try:
        with closing(sqlite.connect(path, key, readonly=True)) as connection:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            (jobs,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
            row = connection.execute("SELECT value FROM memory WHERE name = ?", (CHECKED,)).fetchone()
    except sqlite.Error as error:
        raise StorageError(f"{path} is not a database of Atelier: {error}.") from error
    return Look(schema, jobs, Check.read(None if row is None else row["value"]))
