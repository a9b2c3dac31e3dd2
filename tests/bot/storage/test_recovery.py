"""Damage found, backups put back, and kills at every step of a migration, a backup and a restore."""

from __future__ import annotations

import itertools
import logging
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from bot.errors import StorageError
from bot.jobs import utcnow
from bot.storage import recovery, sqlite
from bot.storage.backups import back_up, backups_of
from bot.storage.database import open_database, schema_scripts
from bot.storage.integrity import CHECKED, Check, find_damage
from bot.storage.recovery import ID_GAP, check_backup, heal, restore
from tests.bot.storage.conftest import NOON, open_store

KEY = "correct horse"


async def a_folder(folder: Path, jobs: int = 3) -> Path:
    """A data folder whose database has some jobs, and a backup of all but the last of them."""
    folder.mkdir(parents=True, exist_ok=True)
    async with open_store(folder) as store:
        for number in range(jobs - 1):
            await store.asked(prompt=f"picture {number} " + "x" * 900)
        back_up(folder / "atelier.db", None, now=NOON)
        await store.asked(prompt="the last picture")
    return folder / "atelier.db"


def prompts(path: Path, key: str | None = None) -> list[str]:
    with closing(sqlite.connect(path, key, readonly=True)) as connection:
        return [row["prompt"].split(" xx")[0] for row in connection.execute("SELECT prompt FROM jobs ORDER BY id")]


BACKED_UP = ["picture 0", "picture 1"]
ALL = [*BACKED_UP, "the last picture"]


def truncate(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2 + 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(b"This is no database at all. " * 1000)


def flip(offset: Callable[[Path], int]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset(path)] ^= 0x40
        path.write_bytes(content)

    return change


def root_of(name: str) -> Callable[[Path], int]:
    """The offset of the first page of a table or an index."""

    def offset(path: Path) -> int:
        with closing(sqlite.connect(path, readonly=True)) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        return (page - 1) * 4096

    return offset


def within_index(path: Path) -> int:
    """The offset of a person's id in an entry of the index that counts what they used."""
    start = root_of("jobs_of_person")(path)
    return start + path.read_bytes()[start : start + 4096].rindex(b"2026-05-01") - 3


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(truncate, id="truncated"),
        pytest.param(empty, id="zero length"),
        pytest.param(overwrite, id="no database"),
        pytest.param(flip(lambda _: 3), id="a bit of the magic"),
        pytest.param(flip(lambda _: 16), id="a bit of the page size"),
        pytest.param(flip(lambda _: 100), id="a bit of the schema's page type"),
        pytest.param(flip(root_of("jobs")), id="a bit of a table's page type"),
        pytest.param(flip(lambda path: root_of("jobs")(path) + 8), id="a bit of a cell pointer"),
        pytest.param(flip(within_index), id="a bit of an index entry"),
    ],
)
async def test_a_damaged_file_is_kept_aside_and_the_newest_backup_takes_its_place(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = await a_folder(tmp_path)
    damage(path)
    damaged = path.read_bytes()
    notice = heal(path)

    assert notice == (
        "The database was damaged and was put back as it was on 2026-05-01 at 12:00 UTC. Requests since then are lost."
    )
    assert [record.levelno for record in caplog.records if record.levelno > logging.WARNING] == [logging.CRITICAL] * 2
    (aside,) = tmp_path.glob("atelier-aside-*.db")
    assert str(aside) in caplog.text
    assert aside.read_bytes() == damaged
    assert prompts(path) == BACKED_UP
    assert heal(path) is None
    async with open_store(tmp_path) as store:
        job = await store.asked()
        assert job.id > ID_GAP, "a button under a lost result must not find a new job"
        assert [waiting.job_id for waiting in await store.waiting()] == [1, 2, job.id]


async def test_any_flipped_bit_of_an_encrypted_database_is_found(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path, KEY) as database:
        for number in range(40):
            await database.remember(f"{number}", "x" * 1000)
    whole = path.read_bytes()
    dice = random.Random(7)
    missed = []
    for place in [0, 20, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(12))]:
        content = bytearray(whole)
        content[place] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        if find_damage(path, KEY, full=False) is None:
            missed.append(place)
    assert missed == []


async def test_a_good_file_is_left_alone_and_its_wal_with_it(tmp_path: Path) -> None:
    path = await a_folder(tmp_path)
    async with open_database(path) as database:
        await database.remember("in the WAL", "x")
        assert heal(path) is None
        assert await database.recall("in the WAL") == "x"
    assert list(tmp_path.glob("atelier-aside*")) == []


async def test_a_damaged_backup_is_passed_over_for_the_next(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = await a_folder(tmp_path)
    newer = [back_up(path, None, now=NOON + timedelta(days=number)) for number in (1, 2)]
    truncate(newer[1])
    flip(lambda backup: backup.read_bytes().index(b"the last picture"))(newer[0])
    assert find_damage(newer[0], full=True) is None, "only the hash in its name knows"
    overwrite(path)

    assert "2026-05-01" in (heal(path) or "")
    assert prompts(path) == BACKED_UP
    assert caplog.text.count("its content is not what was written") == 2


@pytest.mark.parametrize("damage", [truncate, overwrite])
async def test_without_a_good_backup_nothing_is_touched(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = await a_folder(tmp_path)
    damage(path)
    for backup in backups_of(path):
        overwrite(backup.path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(StorageError, match=r"is not a usable database .* no good backup .* ATELIER_DATABASE_KEY"):
        heal(path)
    assert {file: file.read_bytes() for file in before} == before


async def test_a_missing_file_starts_empty_and_names_the_backups(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = await a_folder(tmp_path)
    path.unlink()
    assert heal(path) is None
    assert "`atelier restore FILE` puts back a backup" in caplog.text
    assert heal(tmp_path / "new.db") is None


@pytest.mark.parametrize("given", ["passe-partout", None])
async def test_a_wrong_key_is_said_and_nothing_is_touched(
    tmp_path: Path, given: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path, KEY):
        pass
    back_up(path, KEY)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="If it is encrypted, check its key, in ATELIER_DATABASE_KEY") as caught:
        heal(path, given)
    with pytest.raises(StorageError, match="not a usable database"):
        async with open_database(path, given):
            pytest.fail("it opened")
    assert path.read_bytes() == before
    assert "passe-partout" not in str(caught.value) + caplog.text
    assert heal(path, KEY) is None


async def test_a_key_for_a_plain_file_is_said_and_nothing_is_touched(tmp_path: Path) -> None:
    path = await a_folder(tmp_path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="is not encrypted, but there is a key for it"):
        heal(path, KEY)
    assert path.read_bytes() == before


async def test_a_damaged_encrypted_file_is_put_back_where_a_backup_knows_the_key(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path, KEY) as database:
        await database.remember("kept", "x")
        back_up(path, KEY)
    flip(lambda _: 5)(path)
    assert "was put back" in (heal(path, KEY) or "")
    async with open_database(path, KEY) as database:
        assert await database.recall("kept") == "x"


@pytest.mark.parametrize(
    ("remembered", "full"),
    [
        (None, True),
        (Check(utcnow(), None), False),
        (Check(utcnow(), "wrong # of entries"), True),
        (Check(utcnow() - timedelta(days=2), None), True),
        (Check(utcnow() + timedelta(days=2), None), True),
    ],
)
async def test_a_start_checks_fully_once_a_day_and_after_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: Check | None, full: bool
) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path) as database:
        if remembered is not None:
            await database.remember(CHECKED, remembered.text)
    looks: list[bool] = []

    def look(path: Path, key: str | None, *, full: bool, stop: sqlite.Stop) -> str | None:
        looks.append(full)
        return find_damage(path, key, full=full, stop=stop)

    monkeypatch.setattr(recovery, "find_damage", look)
    assert heal(path) is None
    assert looks == [full]


async def test_a_check_that_takes_too_long_ends_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path) as database:
        await database.fetch_all(
            "INSERT INTO memory WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "SELECT i, 'x' FROM n"
        )
    assert find_damage(path, full=True, stop=lambda: True) is None
    assert "was stopped before its end" in caplog.text


async def test_restore_moves_the_present_file_aside_with_its_wal(tmp_path: Path) -> None:
    path = await a_folder(tmp_path)
    given = tmp_path / "given.db"
    shutil.copy(backups_of(path)[0].path, given)
    with closing(sqlite3.connect(path)) as killed:  # a bot that was killed leaves its last commits in the WAL
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("INSERT INTO memory VALUES ('in the WAL', 'x')")
        killed.commit()
        restored = restore(given, path)
    assert restored.jobs == 2
    assert prompts(path) == BACKED_UP
    assert prompts(restored.former) == ALL
    with closing(sqlite3.connect(restored.former)) as former:
        assert former.execute("SELECT value FROM memory WHERE name = 'in the WAL'").fetchone() == ("x",)
    again = restore(given, path)
    assert again.former != restored.former, "never overwritten, even within a second"
    assert prompts(restored.former) == ALL


async def test_restore_refuses_what_is_damaged_or_foreign_and_changes_nothing(tmp_path: Path) -> None:
    path = await a_folder(tmp_path / "data")
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE ratings (stars INTEGER)")
    damaged = tmp_path / "damaged.db"
    shutil.copy(path, damaged)
    truncate(damaged)
    for given, words in (
        (foreign, "is not a database of Atelier"),
        (damaged, "is damaged"),
        (tmp_path / "none.db", "does not exist"),
        (tmp_path, "does not exist"),
    ):
        with pytest.raises(StorageError, match=words):
            restore(given, path)
    assert prompts(path) == ALL
    assert sorted(file.name for file in path.parent.iterdir() if "aside" in file.name or "copy" in file.name) == []


async def test_a_backup_of_an_older_schema_is_restored_and_migrated(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    make_schema_1(old)
    path = await a_folder(tmp_path / "data")
    assert restore(old, path).jobs == 1
    async with open_database(path) as database:
        (version,) = await database.fetch_all("PRAGMA user_version")
        assert version[0] == len(schema_scripts())


def make_schema_1(path: Path) -> None:
    """A database of the first release, with one job."""
    with closing(sqlite.connect(path)) as connection:
        connection.executescript(schema_scripts()[0] + "PRAGMA user_version = 1; PRAGMA journal_mode = WAL;")
        connection.execute(
            "INSERT INTO jobs (surface, guild_id, channel_id, user_id, prompt, negative_prompt, model, sampler, width, "
            "height, num_inference_steps, guidance_scale, seed, num_images_per_prompt, cost, asked_at) "
            "VALUES ('discord', 1, 1, 1, 'an old picture', '', 'emoji', 'default', 8, 8, 1, 1, 1, 1, 1, 'then')"
        )


def kill_everywhere(action: str, folder: Path) -> list[Path]:
    """Kill `action` at each of its steps; the databases that were left, the survivor's last."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.bot.storage.killed_child", action, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return [folder / str(number) / "atelier.db" for number in range(1, int(child.stdout) + 1)]


def schema_of(path: Path) -> tuple[int, int]:
    """The schema's number, and how many columns the table of jobs has."""
    with closing(sqlite.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return version, len(connection.execute("SELECT * FROM pragma_table_info('jobs')").fetchall())


async def test_a_migration_killed_anywhere_leaves_the_old_schema_or_the_new(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    make_schema_1(tmp_path / "start" / "atelier.db")
    old = schema_of(tmp_path / "start" / "atelier.db")
    left = kill_everywhere("open", tmp_path)
    schemas = [schema_of(path) for path in left]
    new = schemas[-1]

    assert len(left) > 15, "it was killed at many steps"
    assert new[0] == len(schema_scripts())
    assert set(schemas) == {old, new}
    assert schemas == sorted(schemas), "once new, always new"
    for path in left:
        if schema_of(path) == new:
            (backup,) = (copy for copy in backups_of(path) if schema_of(copy.path) == old)
            assert prompts(backup.path) == ["an old picture"], "the backup came first"
        async with open_database(path):
            pass
        assert (schema_of(path), prompts(path)) == (new, ["an old picture"])


async def test_a_backup_killed_anywhere_is_whole_or_not_there(tmp_path: Path) -> None:
    await a_folder(tmp_path / "start")
    shutil.rmtree(tmp_path / "start" / "backups")
    left = kill_everywhere("back up", tmp_path)
    made = [[prompts(backup.path) for backup in backups_of(path)] for path in left]
    assert len(left) > 4
    assert made[0] == []
    assert made[-1] == [ALL]
    assert all(backups in ([], [ALL]) for backups in made)
    assert all(backup.is_unchanged() for path in left for backup in backups_of(path))
    assert all(prompts(path) == ALL for path in left)


@pytest.mark.parametrize("action", ["heal", "restore"])
async def test_a_restore_killed_anywhere_is_undone_or_finished_by_the_next_start(tmp_path: Path, action: str) -> None:
    path = await a_folder(tmp_path / "start")
    shutil.copy(backups_of(path)[0].path, path.parent / "given.db")
    if action == "heal":
        truncate(path)
    before = path.read_bytes()
    left = kill_everywhere(action, tmp_path)
    assert len(left) > 8
    outcomes = []
    for database in left:
        heal(database)
        outcomes.append(prompts(database))
        async with open_database(database):
            pass
        kept = [database, *database.parent.glob("atelier-aside-*.db")]
        assert outcomes[-1] == ALL or before in [file.read_bytes() for file in kept], "the former file is kept"
        assert not list(database.parent.glob("*.restoring"))
    if action == "heal":
        assert outcomes == [BACKED_UP] * len(left)
    else:
        assert outcomes == sorted(outcomes, key=len, reverse=True), "once restored, always restored"
        assert (outcomes[0], outcomes[-1]) == (ALL, BACKED_UP)


@pytest.mark.parametrize("action", ["heal", "restore"])
async def test_a_former_database_keeps_its_wal_wherever_a_restore_is_killed(tmp_path: Path, action: str) -> None:
    path = await a_folder(tmp_path / "alive")
    (tmp_path / "start").mkdir()
    with closing(sqlite.connect(path)) as killed:
        killed.execute("INSERT INTO memory VALUES ('in the WAL', 'x')")
        shutil.copytree(tmp_path / "alive", tmp_path / "start", dirs_exist_ok=True)
    shutil.copy(backups_of(path)[0].path, tmp_path / "start" / "given.db")
    if action == "heal":
        overwrite(tmp_path / "start" / "atelier.db")
    before = {ending: (tmp_path / "start" / f"atelier.db{ending}").read_bytes() for ending in ("", "-wal")}
    for database in kill_everywhere(action, tmp_path):
        heal(database)
        formers = list(database.parent.glob("atelier-aside-*.db"))
        wals = list(database.parent.glob("atelier-aside-*.db-wal"))
        assert wals == [former.with_name(f"{former.name}-wal") for former in formers], "each beside its own"
        if not formers:
            continue
        assert [file.read_bytes() for file in (*formers, *wals)] == list(before.values())
        if action == "restore":
            with closing(sqlite.connect(formers[0])) as former:
                assert former.execute("SELECT value FROM memory WHERE name = 'in the WAL'").fetchone()[0] == "x"


async def test_a_stop_while_a_backup_is_looked_at_puts_nothing_back(tmp_path: Path) -> None:
    path = await a_folder(tmp_path)
    truncate(path)
    before = path.read_bytes()
    looks = itertools.count()
    # The damage is found, the hash is read: the stop comes right after.
    for patience in range(4):
        with pytest.raises(StorageError, match="stopped"):
            heal(path, stop=lambda patience=patience: next(looks) >= patience)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*aside*"))
    with pytest.raises(StorageError, match="not checked to its end"):
        check_backup(backups_of(path)[0].path, stop=lambda: True)
