"""Where the index is, and how it is deleted: it is derived, so that nothing is lost with it."""

from __future__ import annotations

from pathlib import Path

from bot.storage.erasure import SIDE_FILES

NAME = "search.db"


def index_of(data: Path) -> Path:
    """The index in a data folder."""
    return data / NAME


def delete(path: Path) -> None:
    """Delete an index file and what SQLite keeps beside it. Raises OSError."""
    for file in files_of(path):
        file.unlink(missing_ok=True)


def files_of(path: Path) -> list[Path]:
    """An index file and what SQLite keeps beside it."""
    return [path.with_name(path.name + ending) for ending in ("", *SIDE_FILES)]
