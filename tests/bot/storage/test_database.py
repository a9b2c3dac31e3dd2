"""The SQLite file: opening, migrating, and transactions that outlive their callers."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from importlib import resources
from pathlib import Path

import aiosqlite
import pytest

from bot.errors import StorageError, StorageFull
from bot.storage import sqlite as sqlite_driver
from bot.storage.cases import LATER, LATEST, RULES_OF
from bot.storage.database import Database, open_database
from bot.storage.forgetting import UNNAME
from bot.storage.job_posts import OWED_AMONG, TO_REMOVE, UNPOSTED
from bot.storage.job_rows import HISTORY, SHOWN_BY
from bot.storage.new_jobs import WITHDRAW
from bot.storage.ratings import ADD
from bot.storage.refusals import FORGET, OF_PERSON
from bot.storage.removals import BY_MESSAGE
from bot.storage.usage import DEPTH, SPENT
from tests.bot.storage.conftest import Store, ids

ORPHAN = "INSERT INTO images (job_id, number, seed, width, height, sha256) VALUES (12345, 1, 1, 8, 8, 's')"
INSERT = "INSERT INTO memory (name, value) VALUES (?, ?)"


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch_all("SELECT name FROM memory ORDER BY name")]


async def test_a_new_file_gets_every_migration_and_an_old_one_none_again(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    scripts = [entry for entry in (resources.files("bot.storage") / "migrations").iterdir() if entry.name[0].isdigit()]
    for _ in range(2):
        async with open_database(path) as database:
            (version,) = await database.fetch_all("PRAGMA user_version")
            tables = await database.fetch_all("SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'jobs'")
            await database.remember("visits", (await database.recall("visits") or "") + "x")
        assert version["user_version"] == len(scripts)
        assert len(tables) == 1
    async with open_database(path) as database:
        assert await database.recall("visits") == "xx"


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)],
)
async def test_what_is_committed_survives_a_power_cut(store: Store, pragma: str, value: object) -> None:
    (row,) = await store.database.fetch_all(f"PRAGMA {pragma}")
    assert row[0] == value


async def test_the_memory_for_pages_of_the_file_is_bounded(store: Store) -> None:
    row = await store.database.fetch_one("PRAGMA cache_size")
    assert row is not None
    assert -3000 < row[0] < 0, "in KiB"


async def test_a_file_of_a_newer_atelier_is_refused_in_words_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match=r"written by a newer Atelier \(schema 99"):
        async with open_database(path):
            pytest.fail("it opened")


@pytest.mark.parametrize("content", [b"This is no database at all. " * 100, b"SQLite format 3\0" + b"\xff" * 4096])
async def test_a_file_that_is_no_database_is_refused_in_words_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "atelier.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"atelier.db is not a usable database .* Move it aside"):
        async with open_database(path):
            pytest.fail("it opened")
    assert path.read_bytes() == content


async def test_somebody_elses_database_is_refused_and_keeps_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ratings (stars INTEGER)")
    connection.close()
    with pytest.raises(StorageError, match="table ratings already exists"):
        async with open_database(path):
            pytest.fail("it opened")
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert (tables, version) == ([("ratings",)], (0,)), "a migration that fails leaves nothing behind"


async def test_a_folder_in_the_place_of_the_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        async with open_database(tmp_path):
            pytest.fail("it opened")


async def test_a_write_that_raises_leaves_nothing_and_the_next_one_works(store: Store) -> None:
    async def half(connection: aiosqlite.Connection) -> None:
        await connection.execute(INSERT, ("half", "x"))
        raise LookupError

    with pytest.raises(LookupError):
        await store.database.write(half)
    await store.database.remember("whole", "x")
    assert await names(store.database) == ["whole"]


async def test_a_commit_that_fails_leaves_nothing_and_the_next_write_works(store: Store) -> None:
    async def orphan(connection: aiosqlite.Connection) -> None:
        # Deferred, so that the missing job is found out by COMMIT and by nothing before it.
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        await connection.execute(INSERT, ("orphan", "x"))
        await connection.execute(ORPHAN)

    with pytest.raises(StorageError, match="refused to commit: FOREIGN KEY"):
        await store.database.write(orphan)
    await store.database.remember("whole", "x")
    assert await names(store.database) == ["whole"]


async def test_a_thousand_writers_at_once_share_a_few_commits(store: Store) -> None:
    heard, commits = store.database.listen(), 0

    async def count() -> None:
        nonlocal commits
        while True:
            await heard.wait()
            heard.clear()
            commits += 1

    counting = asyncio.create_task(count())
    jobs = await asyncio.gather(*(store.asked(user, acknowledged=False) for user in range(1, 1001)))
    counting.cancel()

    assert len(set(ids(jobs))) == 1000
    assert 1 <= commits <= 10
    with sqlite3.connect(store.folder / "atelier.db") as outside:
        assert outside.execute("SELECT count(*) FROM jobs").fetchone() == (1000,), "durable, not only visible here"
    outside.close()


async def test_one_of_a_shared_transaction_that_raises_takes_nobody_with_it(store: Store) -> None:
    async def refuse(connection: aiosqlite.Connection) -> None:
        await connection.execute(INSERT, ("refused", "x"))
        raise LookupError("no")

    async def clash(connection: aiosqlite.Connection) -> None:
        await connection.execute(INSERT, ("first", "again"))

    ended = await asyncio.gather(
        store.database.remember("first", "x"),
        store.database.write(refuse),
        store.database.write(clash),
        store.database.remember("last", "x"),
        return_exceptions=True,
    )
    assert [type(end).__name__ for end in ended] == ["NoneType", "LookupError", "IntegrityError", "NoneType"]
    assert await names(store.database) == ["first", "last"]


async def test_nobody_hears_of_theirs_before_it_is_committed(store: Store) -> None:
    """The first of a shared transaction is answered only after the last has done its work."""
    told: list[str] = []
    gate = asyncio.Event()

    async def wait(_: aiosqlite.Connection) -> None:
        await gate.wait()

    first = asyncio.create_task(store.database.remember("first", "x"))
    first.add_done_callback(lambda _: told.append("first"))
    last = asyncio.create_task(store.database.write(wait))
    await asyncio.sleep(0.05)
    with sqlite3.connect(store.folder / "atelier.db") as outside:
        assert outside.execute("SELECT count(*) FROM memory").fetchone() == (0,)
    outside.close()
    assert told == []
    gate.set()
    await asyncio.gather(first, last)
    assert await names(store.database) == ["first"]


async def test_a_commit_that_fails_fails_everybody_in_it(store: Store) -> None:
    async def orphan(connection: aiosqlite.Connection) -> None:
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        await connection.execute(ORPHAN)

    heard = store.database.listen()
    ended = await asyncio.gather(
        store.database.remember("bystander", "x"), store.database.write(orphan), return_exceptions=True
    )
    assert [type(end) for end in ended] == [StorageError, StorageError]
    assert not heard.is_set()
    assert await names(store.database) == []
    await store.database.remember("bystander", "x")
    assert await names(store.database) == ["bystander"]


async def test_a_rollback_that_fails_stops_nobody_for_good(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def orphan(connection: aiosqlite.Connection) -> None:
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        await connection.execute(ORPHAN)

    async def fail(_: aiosqlite.Connection) -> None:
        raise sqlite_driver.Error("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "rollback", fail)
        with pytest.raises(StorageError):
            await store.database.write(orphan)
    assert "could not be rolled back (disk I/O error)" in caplog.text
    with pytest.raises(StorageError, match="cannot start a transaction within a transaction"):
        await store.database.remember("next", "x")
    await store.database.remember("after", "x")
    assert await names(store.database) == ["after"]


async def test_a_full_disk_in_a_shared_transaction_keeps_what_was_acknowledged_and_recovers(store: Store) -> None:
    acknowledged = [await store.asked(user) for user in range(1, 6)]
    (pages,) = await store.database.fetch_all("PRAGMA page_count")
    await store.database.fetch_all(f"PRAGMA max_page_count = {pages[0]}")
    ended = await asyncio.gather(*(store.asked(9, prompt="x" * 3000) for _ in range(20)), return_exceptions=True)
    assert {str(end) for end in ended} == {"Not accepted: the storage is full."}
    assert ids(await store.waiting()) == ids(acknowledged)
    assert await store.queue.claim(acknowledged[0].id), "what needs no room goes on"

    await store.database.fetch_all(f"PRAGMA max_page_count = {pages[0] + 1000}")
    later = await asyncio.gather(*(store.asked(9, prompt="x" * 3000) for _ in range(20)))
    assert ids(await store.waiting()) == [*ids(acknowledged[1:]), *sorted(ids(later))]


async def test_a_full_disk_is_said_in_words_and_writing_works_again_once_there_is_room(store: Store) -> None:
    (pages,) = await store.database.fetch_all("PRAGMA page_count")
    await store.database.fetch_all(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(StorageFull, match="storage is full"):
        await store.database.remember("large", "x" * 10**6)
    await store.database.fetch_all(f"PRAGMA max_page_count = {pages[0] + 10_000}")
    await store.database.remember("large", "x" * 10**6)
    assert await names(store.database) == ["large"]


async def test_a_storm_of_cancelled_callers_strands_nothing(store: Store) -> None:
    """Every one of 1,000 transactions of two rows is there whole or not at all, and the next write works."""
    dice = random.Random(7)
    calm = asyncio.Event()

    async def pair(number: int) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(INSERT, (f"{number}", "first"))
            await calm.wait()
            await connection.execute(INSERT, (f"{number}'", "second"))

        await store.database.write(work)

    storm = [asyncio.create_task(pair(number)) for number in range(1000)]
    await asyncio.sleep(0)
    for count, task in enumerate(dice.sample(storm, len(storm))):
        if count == 500:
            calm.set()
        await asyncio.sleep(dice.choice((0, 0, 0.0001)))
        task.cancel()
    ended = await asyncio.gather(*storm, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ended) >= 500, "the storm hit"

    await store.database.remember("after", "the storm")
    found = set(await names(store.database)) - {"after"}
    whole = {name for name in found if not name.endswith("'") and f"{name}'" in found}
    assert len(found) == 2 * len(whole)
    assert whole == {str(number) for number in range(1000)}, "what began was finished, caller or not"


async def test_the_wal_is_emptied_when_nobody_writes_and_gone_after_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.database.IDLE_SECONDS", 0.05)
    wal = tmp_path / "atelier.db-wal"
    async with open_database(tmp_path / "atelier.db") as database:
        for number in range(3):
            await database.remember("large", str(number) * 10**6)
            assert wal.stat().st_size > 10**6
            while wal.stat().st_size:  # noqa: ASYNC110 - a file sets no event
                await asyncio.sleep(0.01)
        await database.remember("large", "x" * 10**6)
    assert not wal.exists()


async def test_what_is_asked_of_a_closed_database_is_refused_and_waits_for_nothing(tmp_path: Path) -> None:
    async with open_database(tmp_path / "atelier.db") as database:
        pass
    with pytest.raises(StorageError, match="Atelier is stopping"):
        await database.remember("late", "x")


async def test_a_task_that_dies_refuses_whoever_waits_and_whoever_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(StorageError, match="cannot be used any more"):  # noqa: PT012 - it opens, and raises at the end
        async with open_database(tmp_path / "atelier.db") as database:
            monkeypatch.setattr(database, "_read", broken)
            dying = asyncio.create_task(database.die())
            async with asyncio.timeout(5):
                calls = [database.fetch_all("SELECT 1"), database.remember("a", "b"), database.fetch_all("SELECT 2")]
                answers = await asyncio.gather(*calls, dying, return_exceptions=True)
                assert [type(answer) for answer in answers] == [StorageError] * 4
                with pytest.raises(StorageError, match="cannot be used any more"):
                    await database.remember("late", "x")
    assert "the task that owns the database died" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_the_driver_is_free_of_the_wal_reset_fault_and_knows_full_text_search(store: Store) -> None:
    (version,) = await store.database.fetch_all("SELECT sqlite_version()")
    assert tuple(map(int, version[0].split("."))) >= (3, 51, 3)
    await store.database.fetch_all("CREATE VIRTUAL TABLE words USING fts5(text)")


async def test_cancelled_reads_do_not_block_the_next_one(store: Store) -> None:
    reads = [asyncio.create_task(store.database.fetch_all("SELECT 1")) for _ in range(50)]
    await asyncio.sleep(0)
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    assert [tuple(row) for row in await store.database.fetch_all("SELECT 2")] == [(2,)]


async def test_closing_waits_for_a_transaction_whose_caller_is_gone(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def slow(connection: aiosqlite.Connection) -> None:
        await connection.execute(INSERT, ("first", "x"))
        begun.set()
        await asyncio.sleep(0.02)
        await connection.execute(INSERT, ("second", "x"))

    async with open_database(tmp_path / "atelier.db") as database:
        caller = asyncio.create_task(database.write(slow))
        await begun.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    async with open_database(tmp_path / "atelier.db") as database:
        assert await names(database) == ["first", "second"]


async def test_listeners_hear_of_commits_and_of_nothing_else(store: Store) -> None:
    heard = store.database.listen()

    async def fail(connection: aiosqlite.Connection) -> None:
        await connection.execute(INSERT, ("x", "x"))
        raise LookupError

    await store.database.fetch_all("SELECT 1")
    with pytest.raises(LookupError):
        await store.database.write(fail)
    assert not heard.is_set()
    await store.database.remember("x", "x")
    assert heard.is_set()


async def test_what_is_remembered_is_recalled_and_the_last_word_counts(store: Store) -> None:
    assert await store.database.recall("hash") is None
    await store.database.remember("hash", "one")
    await store.database.remember("hash", "two")
    assert await store.database.recall("hash") == "two"


@pytest.mark.parametrize(
    ("sql", "parameters", "index"),
    [
        (UNPOSTED, ("discord",), "USING INDEX jobs_unposted (surface=?)"),
        (TO_REMOVE, ("discord",), "USING INDEX jobs_to_remove (surface=?)"),
        (UNNAME, ("",), "USING INDEX jobs_forgotten"),
        (SHOWN_BY, (1,), "USING COVERING INDEX posts_by_message (message_id=?)"),
        (BY_MESSAGE, (1, 1), "USING INDEX jobs_by_post (post_id=?)"),
        (ADD, (1, 1, "", ""), "USING COVERING INDEX posts_by_message (message_id=?)"),
        (WITHDRAW, (1,), "USING INTEGER PRIMARY KEY (rowid=?)"),
        (DEPTH, (1, 1), "USING COVERING INDEX jobs_waiting_of_person (user_id=? AND guild_id=?)"),
        (SPENT, (1, 1, ""), "USING INDEX jobs_of_person (user_id=? AND guild_id=? AND asked_at>?)"),
        (RULES_OF, (1, "person", 1), "USING PRIMARY KEY (guild_id=? AND scope=? AND subject_id=?)"),
        (LATEST, (1, 9, None, None, 9), "USING PRIMARY KEY (guild_id=? AND number<?)"),
        (
            LATER,
            (1, "person", 1, 1),
            "USING INDEX cases_of_subject (guild_id=? AND scope=? AND subject_id=? AND number>?)",
        ),
        (OF_PERSON, (1, 1, 9), "USING INDEX refusals_of_person (guild_id=? AND user_id=?)"),
        (FORGET, ("",), "USING INDEX refusals_known (at<?)"),
    ],
    ids=[
        "UNPOSTED",
        "TO_REMOVE",
        "UNNAME",
        "SHOWN_BY",
        "BY_MESSAGE",
        "ADD",
        "WITHDRAW",
        "DEPTH",
        "SPENT",
        "RULES_OF",
        "LATEST",
        "LATER",
        "OF_PERSON",
        "FORGET",
    ],
)
async def test_hot_queries_use_their_index(store: Store, sql: str, parameters: tuple[object, ...], index: str) -> None:
    plan = await store.plan(sql, parameters)
    assert index in plan
    assert "SCAN" not in plan.replace("USE TEMP B-TREE FOR count(DISTINCT)", "")


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (UNPOSTED, ("discord",)),
        (SPENT, (1, 1, "")),
        (HISTORY, (1, 1, "discord", None, None, None, None, 6, 0)),
    ],
    ids=["UNPOSTED", "SPENT", "HISTORY"],
)
async def test_hot_queries_read_in_order_and_sort_nothing(
    store: Store, sql: str, parameters: tuple[object, ...]
) -> None:
    assert "TEMP B-TREE" not in await store.plan(sql, parameters)


async def test_what_a_few_jobs_owe_is_found_without_reading_the_others(store: Store) -> None:
    plan = await store.plan(OWED_AMONG, ("[1, 2]", "discord"))
    assert "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert "SCAN jobs" not in plan
