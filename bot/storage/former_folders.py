"""Moves the pictures of earlier versions into the folder of pictures.

Until schema 13 results and uploads had folders of their own. A result was `images/0000/JOB-ATTEMPT-NUMBER-SHA.png`,
with the first twelve digits of its sha256; an upload was `uploads/SHA`. A kill in between leaves files that the next
start moves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path

from bot.errors import StorageError
from bot.storage import sqlite
from bot.storage.database import Database
from bot.storage.pictures import Pictures

_RESULT = re.compile(r"(\d+)-\d+-(\d+)-([0-9a-f]{12})\.(png|part)")
_UPLOAD = re.compile(r"[0-9a-f]{64}")


async def empty_former_folders(root: Path, database: Database, pictures: Pictures) -> None:
    """Move what rows name, delete what is left of attempts that were cut off; StorageError when the disk refuses.

    Results of jobs that the database does not know stay where they are: a newer database may know them.
    """
    if not (root / "images").exists() and not (root / "uploads").exists():
        return
    rows = await database.fetch_all("SELECT job_id, number, sha256 FROM images")
    results = {(row["job_id"], row["number"]): row["sha256"] for row in rows}
    jobs = {row["id"] for row in await database.fetch_all("SELECT id FROM jobs")}
    await asyncio.to_thread(_empty, root, results, jobs, pictures.folder.path)


def _empty(
    root: Path, results: Mapping[tuple[int, int], str], jobs: Container[int], place: Callable[[str], Path]
) -> None:
    targets: set[Path] = set()
    try:
        for path in (root / "uploads").glob("*"):
            if _UPLOAD.fullmatch(path.name):
                targets.add(_move(path, place(path.name)))
            else:
                path.unlink()
        for path in (root / "images").glob("*/*"):
            match = _RESULT.fullmatch(path.name)
            if match is None:
                continue
            job_id, number, start, ending = int(match[1]), int(match[2]), match[3], match[4]
            sha256 = results.get((job_id, number), "")
            if ending == "png" and sha256.startswith(start):
                targets.add(_move(path, place(sha256)))
            elif ending == "part" or job_id in jobs:
                path.unlink()
        for folder in (*targets, root / "pictures"):
            if folder.exists():
                sqlite.sync_folder(folder)
        for folder in (root / "uploads", *(root / "images").glob("*"), root / "images"):
            # A folder that still has files stays.
            with suppress(OSError):
                folder.rmdir()
    except OSError as error:
        raise StorageError(f"The pictures of an earlier version cannot be moved: {error.strerror}.") from error


def _move(path: Path, target: Path) -> Path:
    """Rename a file and return its new folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return target.parent
