"""What is deleted at a person's request, as statements; and how a database file is cleaned of it, also in free pages.

The same statements serve the database in use, its backups and former databases, also those of an earlier schema.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bot.errors import StorageError
from bot.jobs import Surface, UserId
from bot.storage import sqlite
from bot.storage.backups import Backup, backups_of, folder_of, formers_of, rename
from bot.storage.integrity import find_damage
from bot.storage.marks import ERASE_MARKS
from bot.storage.picture_hashes import ERASE_HASHES

log = logging.getLogger(__name__)

ERASING = ".erasing"
"""Ending of a backup that is being rewritten."""

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database while it is in use: https://www.sqlite.org/tempfiles.html"""

COLUMNS = """
SELECT tables.name AS "table", columns.name AS "column"
FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
"""

QUOTED = 10
"""Shorter prompts are found in any sentence: a person who asked for "e" must not blank reasons about other people."""

# A moderator's reason may quote a prompt. The reasons about the person go, and so do those on the same server that hold
# a whole prompt of theirs.
ERASE_REASONS = f"""
UPDATE cases SET reason = '' WHERE reason != '' AND (scope = 'person' AND subject_id = :user OR EXISTS (
  SELECT 1 FROM jobs WHERE user_id = :user AND guild_id = cases.guild_id
    AND length(trim(prompt)) >= {QUOTED} AND instr(lower(cases.reason), lower(trim(prompt))) > 0
))
"""  # noqa: S608 - a constant

# The files go because no row names them any more.
ERASE_IMAGES = "DELETE FROM images WHERE job_id IN (SELECT id FROM jobs WHERE user_id = :user)"

_COUNTED = (
    "model",
    "sampler",
    "width",
    "height",
    "num_inference_steps",
    "guidance_scale",
    "num_images_per_prompt",
)
"""Columns that stay, because sums, the order of the queue and forecasts need them."""

ERASED: Mapping[str, str] = {
    # What the person chose.
    "request": "json_object('prompt', '', 'seed', 0, "
    + ", ".join(f"'{name}', request -> '$.{name}'" for name in _COUNTED)
    + ", 'frames', coalesce(request ->> '$.frames', 0))",
    # The same where a request was kept as columns of its own, before schema 10.
    "prompt": "''",
    "negative_prompt": "''",
    "seed": "0",
    "loras": "'[]'",
    "image": "''",
    "mask_image": "''",
    "controlnet": "''",
    "control_image": "''",
    "roles": "'[]'",
    "value_sources": "NULL",
    "series_id": "NULL",
    "follows": "NULL",
    "label": "''",
    # It may quote the prompt.
    "reason": "NULL",
    # What is open ends. Nothing is refunded by it but what had not begun.
    "used_seconds": """CASE WHEN status IN ('queued', 'running') THEN coalesce(used_seconds, 0)
        WHEN status = 'rendered' THEN coalesce(used_seconds, held_seconds) ELSE used_seconds END""",
    "status": "iif(status IN ('queued', 'running', 'rendered'), 'cancelled', status)",
    "forgotten_at": "coalesce(forgotten_at, :at)",
    # What was said on surfaces that ended with their process is gone.
    "removed_at": "iif(surface = :surface, removed_at, coalesce(removed_at, :at))",
}
"""What becomes of the columns of a person's jobs; the numbers that quotas and sums are made of stay."""

# Those on the person's results, and those that the person put on others.
ERASE_TAGS = "DELETE FROM tags WHERE user_id = :user OR job_id IN (SELECT id FROM jobs WHERE user_id = :user)"

# A style may have been made from a result of the person: then its words may be theirs, and its settings stay.
ERASE_STYLES = """
UPDATE styles SET content = json_remove(json_set(content, '$.prompt', '{prompt}'), '$.negative_prompt', '$.description')
WHERE source_id IN (SELECT id FROM jobs WHERE user_id = :user)
"""

# A report stays without its reporter while moderators have not decided; what was written about the person goes.
ERASE_REPORT_REASONS = """
UPDATE reporters SET reason = '' WHERE report_id IN (
  SELECT id FROM member_reports WHERE job_id IN (SELECT id FROM jobs WHERE user_id = :user))
"""
ERASE_REPORTERS = "DELETE FROM reporters WHERE user_id = :user"
ERASE_REPORTS = """
DELETE FROM member_reports
WHERE ended_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM reporters WHERE report_id = member_reports.id)
"""

# Those that the person asked for go with their votes; in others only the person's own votes go.
ERASE_COMPARISONS = "DELETE FROM comparisons WHERE user_id = :user"
ERASE_VOTES = """
DELETE FROM votes WHERE user_id = :user
  OR comparison_id IN (SELECT id FROM comparisons WHERE user_id = :user)
"""

# Its jobs name it no longer.
ERASE_PANELS = "DELETE FROM panels WHERE series_id IN (SELECT id FROM series WHERE user_id = :user)"
ERASE_SERIES = "DELETE FROM series WHERE user_id = :user"

# Their entries with the votes for them, and their own votes.
ERASE_CONTEST_VOTES = """
DELETE FROM contest_votes WHERE user_id = :user
  OR entry_id IN (SELECT id FROM contest_entries WHERE user_id = :user)
"""
ERASE_CONTEST_ENTRIES = """
DELETE FROM contest_entries WHERE user_id = :user OR job_id IN (SELECT id FROM jobs WHERE user_id = :user)
"""

ERASE_CONSENTS = "DELETE FROM consents WHERE user_id = :user"
ERASE_RATINGS = "DELETE FROM ratings WHERE user_id = :user"

# A message that is there is deleted first: its row goes with it, because the reaction that asked for it is gone.
ERASE_SIDE_MESSAGES = "DELETE FROM side_messages WHERE user_id = :user AND over_at IS NOT NULL"
ERASE_PREFERENCES = "DELETE FROM preferences WHERE user_id = :user"

# Before schema 11 an origin was a sentence for Discord, also in backups.
FORGET_REFUSALS = """
UPDATE refusals SET user_id = 0, origin = iif(origin = 'person:' || :user, 'person:0',
  replace(origin, '<@' || :user || '>', 'a person')) WHERE user_id = :user
"""

REQUESTS = ("deletion_requests", "wishes")
"""The table of deletion requests; before schema 13 it had the second name."""
NOTE_REQUEST = "INSERT INTO {} (user_id, at) VALUES (:user, :at)"


class DeletionRequest(NamedTuple):
    """That everything about a person be deleted; `at` as text."""

    user_id: UserId
    at: str


Columns = Mapping[str, set[str]]
"""The columns of every table by its name."""


def columns_of(rows: Iterable[Any]) -> Columns:
    """Sort the rows of COLUMNS."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["table"], set()).add(row["column"])
    return found


def statements(columns: Columns) -> list[str]:
    """What erases a person, in order, for a schema with these columns; the parameters are user, at and surface."""
    erased = ", ".join(f"{name} = {value}" for name, value in ERASED.items() if name in columns["jobs"])
    steps = [
        ("cases", ERASE_REASONS),
        # Before the pictures, with which they go.
        ("contest_votes", ERASE_CONTEST_VOTES),
        ("contest_entries", ERASE_CONTEST_ENTRIES),
        ("picture_hashes", ERASE_HASHES),
        ("marks", ERASE_MARKS),
        ("images", ERASE_IMAGES),
        ("jobs", f"UPDATE jobs SET {erased} WHERE user_id = :user"),  # noqa: S608 - constants
        ("panels", ERASE_PANELS),
        ("series", ERASE_SERIES),
        ("tags", ERASE_TAGS),
        ("styles", ERASE_STYLES),
        ("reporters", ERASE_REPORT_REASONS),
        ("reporters", ERASE_REPORTERS),
        ("member_reports", ERASE_REPORTS),
        ("votes", ERASE_VOTES),
        ("comparisons", ERASE_COMPARISONS),
        ("consents", ERASE_CONSENTS),
        ("ratings", ERASE_RATINGS),
        ("side_messages", ERASE_SIDE_MESSAGES),
        ("preferences", ERASE_PREFERENCES),
        ("refusals", FORGET_REFUSALS),
        *((table, NOTE_REQUEST.format(table)) for table in REQUESTS),
    ]
    return [sql for table, sql in steps if columns.get(table)]


def deletion_requests_in(path: Path, key: str | None = None) -> list[DeletionRequest]:
    """The requests that a database knows of; StorageError when it cannot be read."""
    try:
        with closing(sqlite.connect(path, key, readonly=True)) as connection:
            return _known(connection)
    except sqlite.Error as error:
        raise sqlite.in_words(error) or StorageError(f"{path} cannot be read: {error}.") from error


def erase(
    path: Path,
    key: str | None,
    requests: Sequence[DeletionRequest],
    stop: sqlite.Stop | None = None,
    *,
    survives_kill: bool = False,
) -> None:
    """Carry out requests in a database that no other process uses, except those it knows of.

    Rewrites the file, so that no byte is left of what was deleted. A kill during that damages the file, unless it
    `survives_kill`, which is slower. Raises StorageError when it cannot be written.
    """
    try:
        with closing(sqlite.connect(path, key, stop=stop)) as connection:
            known = _known(connection)
            new = [request for request in requests if request not in known]
            connection.execute("PRAGMA secure_delete = ON")
            if new:
                if not survives_kill:
                    # A journal on the disk would hold what is deleted, and outlive a kill.
                    connection.execute("PRAGMA journal_mode = MEMORY")
                steps = statements(columns_of(connection.execute(COLUMNS)))
                connection.execute("BEGIN IMMEDIATE")
                for request in new:
                    values = {"user": request.user_id, "at": request.at, "surface": Surface.DISCORD}
                    for sql in steps:
                        connection.execute(sql, values)
                connection.execute("COMMIT")
            if new or survives_kill:
                # A kill may have come between the two before.
                connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite.Error as error:
        raise sqlite.in_words(error) or StorageError(f"{path} cannot be rewritten: {error}.") from error


def erase_copies(
    database: Path, key: str | None, requests: Sequence[DeletionRequest], stop: sqlite.Stop | None = None
) -> list[str]:
    """Carry out requests in the backups of a database and in the former ones beside it.

    Returns, in words, what could not be reached: a damaged file, or one with another key. Raises StorageError when
    the disk does not take what is rewritten; the copies that were done by then stay done.
    """
    missed = []
    for path in folder_of(database).glob(f"*{ERASING}*"):
        path.unlink(missing_ok=True)
    for backup in backups_of(database):
        if not backup.path.exists():
            continue  # too old, and just deleted
        if words := _unreadable(backup.path, key, stop):
            missed.append(words)
        elif set(requests) - set(deletion_requests_in(backup.path, key)):
            _rewrite(backup, key, requests, stop)
    for former in formers_of(database):
        if words := _unreadable(former, key, stop):
            missed.append(words)
        else:
            erase(former, key, requests, stop, survives_kill=True)
    _drop_strays(database)
    return missed


def _drop_strays(database: Path) -> None:
    """Remove what SQLite kept beside a former database that is gone: it may hold words, and nothing reads it."""
    try:
        for ending in SIDE_FILES:
            for path in database.parent.glob(f"{database.stem}-aside-*.db{ending}"):
                if not path.with_name(path.name.removesuffix(ending)).exists():
                    log.warning("%s belongs to no database and is deleted", path)
                    path.unlink()
    except OSError as error:
        raise StorageError(f"A part of a former database cannot be deleted: {error.strerror}.") from error


def _rewrite(backup: Backup, key: str | None, requests: Sequence[DeletionRequest], stop: sqlite.Stop | None) -> None:
    """Put a copy without what was deleted in the place of a backup; a kill leaves one of them, or both."""
    aside = backup.path.with_suffix(ERASING)
    # A backup that was damaged before must go on being found damaged.
    digest = None if backup.is_unchanged(stop) else backup.digest
    try:
        sqlite.copy(backup.path, aside, key, stop)
        erase(aside, key, requests, stop)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        if rename(aside, backup.made_at, digest, stop) != backup.path:
            backup.path.unlink()
        sqlite.sync_folder(backup.path.parent)
    except OSError as error:
        raise StorageError(f"The backup {backup.path} cannot be rewritten: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _unreadable(path: Path, key: str | None, stop: sqlite.Stop | None) -> str | None:
    """Why a file cannot be looked into, in words; None if it can."""
    try:
        damage = find_damage(path, key, full=False, stop=stop)
    except StorageError as error:
        return str(error)
    return damage and f"{path} is damaged, or not a database of this key: {damage}."


def _known(connection: Any) -> list[DeletionRequest]:
    columns = columns_of(connection.execute(COLUMNS))
    return [
        DeletionRequest(UserId(row["user_id"]), row["at"])
        for table in REQUESTS
        if table in columns
        for row in connection.execute(f"SELECT user_id, at FROM {table}")  # noqa: S608 - constants
    ]
