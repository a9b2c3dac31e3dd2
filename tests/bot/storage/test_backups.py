"""Backups: named by time and content, kept by a rule, made while others write."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.errors import StorageError
from bot.storage import sqlite, upkeep
from bot.storage.backups import Backup, back_up, backups_of, folder_of, is_due, rotate, worth_keeping
from bot.storage.database import open_database
from bot.storage.integrity import CHECKED, Check
from bot.storage.recovery import heal
from tests.bot.storage.conftest import NOON, Store

KEY = "correct horse"
MIDDAY = datetime(2026, 5, 1, 12, tzinfo=UTC)  # a Friday


def days(*ago: float) -> set[datetime]:
    return {MIDDAY - timedelta(days=number) for number in ago}


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - files and logs set no event
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ([], []),
        ([0], [0]),
        ([0, 0.1, 0.2], [0]),  # of one day the newest
        ([0, 0.1, 1, 1.1], [0, 1]),
        (range(7), range(7)),
        (range(40), [*range(7), 12, 19]),  # this week, and the Sundays of the three before it: 5, 12 and 19 days ago
        ([0, 100, 200, 300, 400, 500, 600, 700], [0, 100, 200, 300, 400, 500, 600]),  # a pause deletes nothing
        ([-1, 0], [-1, 0]),  # a clock that was ahead
    ],
)
def test_seven_days_and_four_weeks_are_kept(made: list[float], kept: list[float]) -> None:
    assert worth_keeping(days(*made)) == days(*kept)


@pytest.mark.parametrize(
    ("ages", "due"),
    [([], True), ([0.5], False), ([1.1], True), ([0.9, 3], False), ([-0.5], True), ([-0.5, 0.5], False)],
)
def test_a_backup_is_due_a_day_after_the_last_whatever_the_clock_did(ages: list[float], due: bool) -> None:
    backups = [Backup(Path(str(age)), MIDDAY - timedelta(days=age), "") for age in ages]
    assert is_due(backups, MIDDAY) is due


async def test_a_backup_holds_what_was_committed_and_only_that_while_others_write(store: Store) -> None:
    await store.asked()
    database = store.folder / "atelier.db"
    writing = asyncio.create_task(_keep_writing(store))
    try:
        copies = [
            await sqlite.in_thread(lambda stop, second=second: back_up(database, None, stop, NOON + second))
            for second in (timedelta(seconds=number) for number in range(5))
        ]
    finally:
        writing.cancel()
    assert [backup.path for backup in backups_of(database)] == copies[::-1]
    assert all(backup.is_unchanged() for backup in backups_of(database))
    for copy in copies:
        with closing(sqlite3.connect(copy)) as outside:
            pairs = outside.execute("SELECT name, value FROM memory").fetchall()
            assert outside.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert {name.removesuffix("'") for name, _ in pairs} == {name for name, _ in pairs if not name.endswith("'")}
    assert sorted(path.name for path in folder_of(database).iterdir()) == [copy.name for copy in copies]


async def _keep_writing(store: Store) -> None:
    number = 0
    while True:
        number += 1

        async def pair(connection: object, number: int = number) -> None:
            for name in (f"{number}", f"{number}'"):
                await connection.execute("INSERT INTO memory VALUES (?, 'x')", (name,))  # type: ignore[attr-defined]

        await store.database.write(pair)


async def test_a_backup_leaves_deleted_rows_behind(store: Store) -> None:
    await store.database.remember("secret", "zebra" * 1000)
    await store.database.fetch_all("DELETE FROM memory")
    copy = back_up(store.folder / "atelier.db", None)
    assert b"zebrazebra" not in copy.read_bytes()


async def test_a_backup_of_an_encrypted_database_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path, KEY) as database:
        await database.remember("secret", "zebra")
        copy = back_up(path, KEY)
    for file in (path, copy):
        assert b"zebra" not in file.read_bytes()
        assert not file.read_bytes().startswith(b"SQLite")
    async with open_database(copy, KEY) as database:
        assert await database.recall("secret") == "zebra"


async def test_a_cancelled_backup_stops_and_leaves_nothing(store: Store) -> None:
    await store.database.fetch_all(
        "INSERT INTO memory WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "SELECT i, hex(randomblob(50)) FROM n"
    )
    database = store.folder / "atelier.db"
    copying = asyncio.create_task(sqlite.in_thread(lambda stop: back_up(database, None, stop)))
    await until(lambda: list(folder_of(database).glob("*.part")))
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert list(folder_of(database).iterdir()) == []


async def test_a_backup_that_finds_no_room_is_said_in_words_and_leaves_nothing(store: Store) -> None:
    blocked = folder_of(store.folder / "atelier.db")
    blocked.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot be written to .*backups: File exists"):
        back_up(store.folder / "atelier.db", None)


async def test_rotation_deletes_old_backups_and_what_killed_ones_left_and_nothing_else(store: Store) -> None:
    database = store.folder / "atelier.db"
    for number in range(9):
        back_up(database, None, now=NOON - timedelta(days=number))
    folder = folder_of(database)
    for name in ("old.new", "old.part", "young.part", "notes.txt"):
        (folder / name).write_text("x")
    for name in ("old.new", "old.part", "notes.txt"):
        os.utime(folder / name, (0, 0))
    gone = rotate(database)
    assert sorted(path.name.split("T")[0] for path in gone) == ["20260423", "20260424", "old.new", "old.part"]
    assert {path.name for path in folder.iterdir()} >= {"young.part", "notes.txt"}
    assert len(backups_of(database)) == 7


async def test_a_name_that_looks_like_a_backups_is_passed_over(store: Store) -> None:
    database = store.folder / "atelier.db"
    made = back_up(database, None, now=NOON)
    (folder_of(database) / "99999999T999999-0123456789abcdef.db").write_text("x")
    assert [backup.path for backup in backups_of(database)] == [made]


async def test_a_folder_of_backups_that_cannot_be_read_is_said_in_words_and_keeps_no_good_database_from_starting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store.folder / "atelier.db"
    back_up(database, None, now=NOON)

    def iterdir(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(StorageError, match=r"The folder of backups .* cannot be read: Permission denied"):
        backups_of(database)
    assert heal(database) is None


async def test_reading_a_large_backup_stops_when_told_to(store: Store) -> None:
    (backup,) = [Backup.at(back_up(store.folder / "atelier.db", None, now=NOON))]
    assert backup is not None
    with pytest.raises(StorageError, match="not read to its end"):
        backup.is_unchanged(lambda: True)


async def test_the_daily_upkeep_checks_backs_up_and_remembers(store: Store) -> None:
    path = await upkeep.check_and_back_up(store.database, store.folder / "atelier.db", None, store.clock)
    assert Check.read(await store.database.recall(CHECKED)) == Check(NOON, None)
    assert [backup.path for backup in backups_of(store.folder / "atelier.db")] == [path]


async def test_a_damaged_database_pushes_no_good_backup_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    database = store.folder / "atelier.db"
    for number in range(9):
        back_up(database, None, now=NOON - timedelta(days=number))
    kept = backups_of(database)
    monkeypatch.setattr(upkeep, "find_damage", lambda *_, **__: "wrong # of entries in index jobs_waiting")
    with pytest.raises(StorageError, match=r"is damaged .wrong # of entries"):
        await upkeep.check_and_back_up(store.database, database, None, store.clock)
    assert backups_of(database) == kept
    assert Check.read(await store.database.recall(CHECKED)) == Check(NOON, "wrong # of entries in index jobs_waiting")


async def test_the_upkeep_makes_one_backup_a_day_and_outlives_a_storage_that_refuses(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.01)
    database = store.folder / "atelier.db"
    folder_of(database).write_text("in the way")
    keeping = asyncio.create_task(upkeep.keep_up(store.database, database, None, store.clock))
    heard = store.database.listen()
    try:
        await heard.wait()
        await until(lambda: "There is no backup of today yet" in caplog.text)
        folder_of(database).unlink()
        await until(lambda: backups_of(database))
        await asyncio.sleep(0.1)
        assert len(backups_of(database)) == 1
        store.clock.forward(86_401)
        await until(lambda: len(backups_of(database)) == 2)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
