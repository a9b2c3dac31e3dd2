"""Looking for damage in a database file, without changing it."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from bot.errors import StorageError
from bot.storage import sqlite

log = logging.getLogger(__name__)


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
