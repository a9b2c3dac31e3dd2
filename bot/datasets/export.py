"""Versions of a data set in a folder: v1, v2 and so on. Each is whole or absent, and says what changed before it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bot.datasets import files
from bot.datasets.card import card
from bot.datasets.rows import Selection, select
from bot.errors import StorageError, StorageFull
from bot.storage import sqlite
from bot.storage.picture_folder import PictureFolder

_VERSION = re.compile(r"v([1-9][0-9]{0,6})")
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written: the folder, which version it is, and whether that is new."""

    folder: Path
    version: int
    is_new: bool
    chosen: Selection


def export(
    database: Path, key: str | None, pictures: PictureFolder, out: Path, name: str, server: int | None = None
) -> Export:
    """Write the next version of the data set `name` into `out`; none if nothing changed since the last one.

    If no picture may be in it any more, the next version has no row, and its list of changes names what to delete.
    Raises StorageError, and leaves nothing half-made, if there is no picture and no version, or if the disk is full.
    """
    files.arrow()
    chosen = select(database, key, pictures, server)
    if not chosen.pictures and not _last_version(out):
        raise StorageError(
            "There is nothing to export: no result of a person who joined by /dataset join is in a channel that "
            "moderators allowed by /dataset channel."
        )
    part: Path | None = None
    lock = lock_of(database, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        last = _last_version(out)
        for left in out.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left)
        version, before = last + 1, out / f"v{last}"
        part = out / f"{_PARTIAL}v{version}"
        sizes = _write_rows(part, chosen)
        if last and all(_digest(part / file) == _digest(before / file) for file in _data_files()):
            return Export(before, last, False, chosen)
        _write_words(part, name, version, chosen, sizes, before if last else None)
        for path in (*part.rglob("*"), part):
            sqlite.sync_folder(path) if path.is_dir() else _sync(path)
        part.rename(out / f"v{version}")
        sqlite.sync_folder(out)
    except Timeout as error:
        raise StorageError(f"Another export writes to {out}. Export again when it has ended.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"The disk is full, so no version was written to {out}. Free some space.") from error
        raise StorageError(f"The data set cannot be written to {out}: {error.strerror or error}.") from error
    finally:
        if part is not None:
            with suppress(OSError):
                shutil.rmtree(part, ignore_errors=True)
        lock.release()
    return Export(out / f"v{version}", version, True, chosen)


def lock_of(database: Path, out: Path) -> FileLock:
    """What an export into a folder holds; it is beside the database, because people publish the folder."""
    name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
    return FileLock(database.with_name(f"export-{name}.lock"))


def _last_version(out: Path) -> int:
    """The newest version in a folder; 0 if there is none."""
    return max((int(found[1]) for path in out.glob("v*") if (found := _VERSION.fullmatch(path.name))), default=0)


def _data_files() -> list[str]:
    return [f"data/{split}.parquet" for split in files.SPLITS]


def _write_rows(folder: Path, chosen: Selection) -> dict[str, int]:
    """Write the pictures and their rows; returns how many each split has."""
    (folder / "data").mkdir(parents=True)
    sizes = {}
    for split in files.SPLITS:
        some = [picture for picture in chosen.pictures if files.split_of(picture) == split]
        files.write_parquet(folder / "data" / f"{split}.parquet", some)
        sizes[split] = len(some)
    return sizes


def _write_words(
    folder: Path, name: str, version: int, chosen: Selection, sizes: dict[str, int], before: Path | None
) -> None:
    """Write what describes the rows, and the hashes of all files."""
    digests = {file: _digest(folder / file) for file in _data_files()}
    # The day of the newest request and not of the export, so that the same state gives the same bytes.
    days = [picture.values["asked_on"] for picture in chosen.pictures] or files.days_of(before or folder)
    texts = {
        "README.md": card(name, version, chosen, sizes),
        "croissant.json": files.croissant(name, version, digests, sizes, max(days)),
        "CHANGELOG.md": _changes(folder, version, before),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
        digests[file] = _digest(folder / file)
    sums = "".join(f"{digest}  {file}\n" for file, digest in sorted(digests.items()))
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8", newline="\n")


def _changes(folder: Path, version: int, before: Path | None) -> str:
    """What changed since the last version, before what changed earlier."""
    now = files.rows_of(folder)
    if before is None:
        return f"# Changes\n\n## Version {version}\n\n{len(now):,} rows, the first version.\n"
    then = files.rows_of(before)
    gone, new = sorted(then.keys() - now.keys()), now.keys() - then.keys()
    changed = Counter(then[row] != now[row] for row in now.keys() & then.keys())[True]
    lines = [f"# Changes\n\n## Version {version}\n", f"- {len(new):,} rows are new.", f"- {changed:,} rows changed."]
    if gone:
        lines += [
            f"- {len(gone):,} rows are gone: a person left, a result was deleted, or a channel is no longer allowed.",
            "  Delete them from copies of earlier versions, by the column `id`:\n",
            *(f"  - `{row}`" for row in gone),
        ]
    else:
        lines.append("- No row is gone.")
    try:
        earlier = (before / "CHANGELOG.md").read_text(encoding="utf-8").removeprefix("# Changes\n\n")
    except FileNotFoundError:
        earlier = ""
    return "\n".join(lines) + "\n\n" + earlier


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
