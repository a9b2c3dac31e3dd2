"""Databases of earlier schemas: every row is kept, whatever state it is in, and a kill half way changes nothing.

`rows_of_schema_9.sql` is the dump of a database that schema 9 wrote: jobs in every state, ratings, cases and rules,
refusals of every origin, a removal and a deletion under way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.jobs import GenerationRequest, Job, JobStatus, Operation, Surface
from bot.storage import sqlite
from bot.storage.database import open_database, schema_scripts
from bot.storage.forgetting import Forgetting
from bot.storage.former_folders import empty_former_folders
from bot.storage.pictures import NAMED
from tests.bot.storage.conftest import Store, open_store
from tests.bot.storage.test_recovery import kill_everywhere, schema_of

ROWS = Path(__file__).parent / "rows_of_schema_9.sql"
TABLES = ("jobs", "images", "ratings", "rules", "cases", "refusals", "removals", "wishes", "doomed_files", "memory")
ORIGINS = ["host", "server", "channel:700", "role:50", "person:2", "", "person:0"]
"""Who decided the refusals, in order; schema 9 said it in a sentence for Discord."""
Rows = dict[str, list[dict[str, Any]]]


def make_schema_9(path: Path) -> Rows:
    """Write a database of schema 9; returns its rows by table."""
    with closing(sqlite.connect(path)) as connection:
        for script in schema_scripts()[:9]:
            connection.executescript(script)
        connection.execute("DELETE FROM sqlite_sequence")
        connection.executescript(ROWS.read_text())
        connection.executescript("PRAGMA user_version = 9; PRAGMA journal_mode = WAL;")
    return rows_of(path)


def rows_of(path: Path, tables: Sequence[str] = TABLES) -> Rows:
    with closing(sqlite.connect(path, readonly=True)) as connection:
        return {
            table: [dict(zip(row.keys(), row, strict=True)) for row in connection.execute(f"SELECT * FROM {table}")]
            for table in tables
        }


def request_of(row: dict[str, Any]) -> GenerationRequest:
    """The request of a job of schema 9, which had a column for every field and guessed the operation."""
    names = [name for name in GenerationRequest.__slots__ if name in row]
    operation = Operation.IMAGE2IMAGE if row["image"] else Operation.TEXT2IMAGE
    return GenerationRequest.from_fields(
        {name: row[name] for name in names}
        | {"loras": json.loads(row["loras"]), "operation": Operation.INPAINT if row["mask_image"] else operation}
    )


async def everything_is_there(store: Store, old: Rows) -> None:
    """Check that a database holds what one of schema 9 held."""
    kept_tables = [table for table in TABLES if table not in ("jobs", "wishes", "doomed_files")]
    new = rows_of(store.folder / "atelier.db", ["jobs_with_post", "deletion_requests", "posts", *kept_tables])
    for before, after in zip(old["jobs"], new["jobs_with_post"], strict=True):
        read = Job.from_row(after)  # type: ignore[arg-type]
        assert read.request == request_of(before)
        same = before.keys() & after.keys()
        assert {name: before[name] for name in same} == {name: after[name] for name in same}
        gone = before.keys() - after.keys()
        assert gone < set(GenerationRequest.__slots__), "only fields of the request have no column any more"
    assert [row.pop("origin") for row in new["refusals"]] == ORIGINS
    assert new["deletion_requests"] == old["wishes"]
    for row in new["ratings"]:
        # A message showed one job.
        row["job_id"] = row.pop("post_id")
    assert [row.pop("by_requester") for row in new["removals"]] == [0] * len(old["removals"])
    for row in new["images"]:
        # Pictures of that time were not checked, and people got the files that were painted.
        assert (row.pop("nsfw"), row.pop("delivered_sha256")) == (None, None)
    assert [row.pop("logged_at") for row in new["cases"]] == [row["at"] for row in old["cases"]]
    for table in kept_tables:
        gone = {"refusals": "origin", "images": "path"}.get(table)
        assert new[table] == [{name: row[name] for name in row if name != gone} for row in old[table]], table
    assert await store.database.fetch_all("PRAGMA foreign_key_check") == []
    (check,) = await store.database.fetch_all("PRAGMA integrity_check")
    assert check[0] == "ok"


async def test_a_database_of_schema_9_opens_with_every_row(tmp_path: Path) -> None:
    old = make_schema_9(tmp_path / "atelier.db")
    assert {row["status"] for row in old["jobs"]} == set(JobStatus)
    assert all(old[table] for table in TABLES), "the file has rows in every table"
    async with open_store(tmp_path) as store:
        await everything_is_there(store, old)
        assert (await store.asked()).id == 12, "ids go on where they were"
        named = await store.database.fetch_all(NAMED, (json.dumps([letter * 64 for letter in "abcdef"]),))
        assert {row["sha256"] for row in named} == {letter * 64 for letter in "abcd"}


async def test_a_deletion_under_way_at_schema_9_is_finished(tmp_path: Path) -> None:
    make_schema_9(tmp_path / "atelier.db")
    path = tmp_path / "atelier.db"
    async with open_store(tmp_path) as store:
        # The rows of these two files are gone already.
        doomed = [tmp_path / "images" / "0000" / "10-1-1-ebdc4eb05d69.png", tmp_path / "uploads" / ("e" * 64)]
        for file in doomed:
            file.parent.mkdir(parents=True)
            file.write_bytes(b"to be deleted")
        await empty_former_folders(tmp_path, store.database, store.pictures)
        forgetting = Forgetting(store.database, store.pictures, path, None, Surface.DISCORD, store.clock)
        assert await forgetting.finish()
        assert await store.database.fetch_all("SELECT 1 FROM deletion_requests WHERE done_at IS NULL") == []
        assert not any(file.exists() for file in doomed)
        assert store.files() == []
    assert b"e" * 64 not in path.read_bytes()


async def test_a_migration_of_schema_9_killed_anywhere_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    old = make_schema_9(tmp_path / "start" / "atelier.db")
    left = kill_everywhere("open", tmp_path)
    assert len(left) > 30, "it was killed at many steps"
    assert {schema_of(path)[0] for path in left} == {9, len(schema_scripts())}
    for path in left:
        async with open_store(path.parent) as store:
            await everything_is_there(store, old)
        async with open_database(path):
            pass


async def test_a_copy_from_before_schema_29_shows_the_first_job_with_pictures(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        jobs = [await store.failed(), await store.delivered(seed=8), await store.delivered(seed=9)]
        post = "(SELECT post_id FROM jobs WHERE id = ?)"
        for job in jobs[1:]:
            await store.database.execute(f"UPDATE jobs SET post_id = {post} WHERE id = ?", (jobs[0].id, job.id))
        for number, kind in enumerate(("gallery", "private", "refusal")):
            await store.database.execute(
                f"INSERT INTO side_messages (kind, post_id, user_id, begun_at) VALUES (?, {post}, ?, '')",
                (kind, jobs[0].id, number),
            )
    with closing(sqlite.connect(tmp_path / "atelier.db")) as connection:
        connection.executescript(
            "DROP INDEX jobs_that_cost; ALTER TABLE jobs DROP COLUMN held_micros; "
            "ALTER TABLE jobs DROP COLUMN billed_micros; ALTER TABLE jobs DROP COLUMN sent_at; "
            "ALTER TABLE jobs DROP COLUMN pardoned; DROP TABLE lanes; "
            "DROP TABLE contest_votes; DROP TABLE contest_entries; DROP TABLE contests; DROP INDEX posts_owing; "
            "ALTER TABLE posts DROP COLUMN changed; ALTER TABLE posts DROP COLUMN shown; "
            "DROP INDEX side_messages_by_job; ALTER TABLE side_messages DROP COLUMN job_id; "
            "DROP TRIGGER lead_painted; DROP TRIGGER lead_not_painted; DROP TRIGGER lead_withdrawn; "
            "DROP TRIGGER painted_alone; "
            "DROP INDEX jobs_following; ALTER TABLE jobs DROP COLUMN follows; "
            "ALTER TABLE series DROP COLUMN lead; ALTER TABLE series DROP COLUMN strength; "
            "ALTER TABLE jobs DROP COLUMN painted; PRAGMA user_version = 28;"
        )
    async with open_store(tmp_path) as store:
        rows = await store.database.fetch_all("SELECT job_id FROM side_messages ORDER BY id")
        assert [row["job_id"] for row in rows] == [jobs[1].id, jobs[1].id, None]
