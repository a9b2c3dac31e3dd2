"""The database's key: made for a new one, changed for an old one, and never lost on the way."""

from __future__ import annotations

import shutil
import stat
from contextlib import closing
from pathlib import Path

import pytest

from bot.app import open_app
from bot.config import Config
from bot.doctor import CheckStatus, examine
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError, StorageError
from bot.jobs import Surface
from bot.offline import encrypt_database
from bot.secrets import DATABASE_KEY, NEW_DATABASE_KEY
from bot.storage import encryption, sqlite
from bot.storage.backups import back_up, backups_of
from bot.storage.database import open_database
from bot.storage.recovery import heal, restore
from tests.bot.storage.conftest import NOON, open_store
from tests.bot.storage.test_recovery import ALL, BACKED_UP, a_folder, kill_everywhere, prompts, truncate


@pytest.fixture(autouse=True)
def no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DATABASE_KEY, f"{DATABASE_KEY}_FILE", NEW_DATABASE_KEY):
        monkeypatch.delenv(name, raising=False)


def start(path: Path, *, encrypt: bool = True) -> str | None:
    """What a start does before it opens the database; returns the key."""
    key = encryption.prepare(path, encrypt=encrypt)
    heal(path, key)
    return key


def key_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.key")


def words_on_disk(folder: Path) -> bool:
    """Whether a prompt can be read in the bytes of any file."""
    return any(b"picture" in file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_a_new_database_is_encrypted_with_a_key_beside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with open_app(Config(data=folder), Surface.DISCORD, engine=FakeEngine()) as app:
        await app.database.remember("a secret", "picture")
        back_up(folder / "atelier.db", encryption.find_key(folder / "atelier.db"))
        assert not words_on_disk(folder), "neither the database, its WAL nor a backup"
    key = key_of(folder)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert list(folder.glob("*.key*")) == []
    async with open_app(Config(data=folder), Surface.DISCORD, engine=FakeEngine()) as app:
        assert await app.database.recall("a secret") == "picture"
    with closing(sqlite.connect(folder / "atelier.db")) as connection, pytest.raises(sqlite.Error):
        connection.execute("SELECT * FROM memory").fetchall()


async def test_a_host_may_do_without(tmp_path: Path) -> None:
    async with open_app(Config(data=tmp_path / "data", encrypt=False), Surface.DISCORD, engine=FakeEngine()):
        pass
    assert not key_of(tmp_path / "data").exists()
    assert sqlite.is_plain(tmp_path / "data" / "atelier.db")


async def test_a_key_file_that_is_named_and_not_there_is_missed_only_where_something_is_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = tmp_path / "keys" / "database.key", tmp_path / "data"
    file.parent.mkdir()
    monkeypatch.setenv(f"{DATABASE_KEY}_FILE", str(file))
    for encrypt in (False, True):
        async with open_app(Config(data=data, encrypt=encrypt), Surface.DISCORD, engine=FakeEngine()):
            pass
        assert sqlite.is_plain(data / "atelier.db"), "the database from before stays as it is"
    new = tmp_path / "new"
    async with open_app(Config(data=new), Surface.DISCORD, engine=FakeEngine()):
        pass
    assert not sqlite.is_plain(new / "atelier.db")
    file.unlink()
    with pytest.raises(ConfigError, match=r"database\.key cannot be read"):
        encryption.find_key(new / "atelier.db")


async def test_a_plain_database_stays_as_it_is_until_the_host_encrypts_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = await a_folder(tmp_path / "data")
    async with open_app(Config(data=path.parent), Surface.DISCORD, engine=FakeEngine()):
        assert "atelier encrypt" in caplog.text
    assert start(path) is None
    assert not key_of(path.parent).exists()
    (path.parent / "search.db").write_bytes(b"picture")
    assert "keep a copy" in await encrypt_database(Config(data=path.parent), again=False)
    assert not words_on_disk(path.parent)
    key = start(path)
    assert key is not None
    assert prompts(path, key) == ALL
    (backup,) = backups_of(path)
    assert (prompts(backup.path, key), backup.made_at, backup.is_unchanged()) == (BACKED_UP, NOON, True)
    async with open_database(path, key) as database:
        (version,) = await database.fetch_all("PRAGMA user_version")
        assert version[0] > 0
    with pytest.raises(StorageError, match="is encrypted already"):
        await encrypt_database(Config(data=path.parent), again=False)


async def test_every_row_survives_a_change_of_key(tmp_path: Path) -> None:
    """Generated columns, sequences and triggers are in the copy, too."""
    path = await a_folder(tmp_path / "data")

    def content(key: str | None) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite.connect(path, key)) as connection:
            tables = ["sqlite_sequence", *(row[0] for row in connection.execute(TABLES))]
            found = {name: [tuple(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in tables}
            found["schema"] = sorted(
                tuple(row) for row in connection.execute("SELECT type, name, sql FROM sqlite_schema")
            )
            return found

    before = content(None)
    assert len(before["jobs"]) == 3
    await encrypt_database(Config(data=path.parent), again=False)
    assert content(encryption.find_key(path)) == before
    await encrypt_database(Config(data=path.parent), again=True)
    assert content(encryption.find_key(path)) == before


TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


async def test_a_new_key_replaces_the_old_one(tmp_path: Path) -> None:
    path = await a_folder(tmp_path / "data")
    with pytest.raises(StorageError, match="is not encrypted"):
        await encrypt_database(Config(data=path.parent), again=True)
    await encrypt_database(Config(data=path.parent), again=False)
    old = encryption.find_key(path)
    await encrypt_database(Config(data=path.parent), again=True)
    new = start(path)
    assert new != old
    assert prompts(path, new) == ALL
    assert [prompts(backup.path, new) for backup in backups_of(path)] == [BACKED_UP]
    assert not sqlite.opens(path, old)


async def test_a_change_of_the_key_takes_the_wal_and_former_databases_along(tmp_path: Path) -> None:
    path = await a_folder(tmp_path / "data")
    restore(backups_of(path)[0].path, path)
    async with open_store(path.parent) as store:
        await store.asked(prompt="picture in the WAL")
        shutil.copytree(path.parent, tmp_path / "killed")
    path = tmp_path / "killed" / "atelier.db"
    assert path.with_name("atelier.db-wal").stat().st_size
    await encrypt_database(Config(data=path.parent), again=False)
    key = start(path)
    assert prompts(path, key) == [*BACKED_UP, "picture in the WAL"]
    (former,) = path.parent.glob("atelier-aside-*.db")
    assert prompts(former, key) == ALL
    assert not words_on_disk(path.parent)


@pytest.mark.parametrize("action", ["encrypt", "rekey"])
async def test_a_change_of_the_key_killed_anywhere_loses_nothing(tmp_path: Path, action: str) -> None:
    path = await a_folder(tmp_path / "start")
    if action == "rekey":
        await encrypt_database(Config(data=path.parent), again=False)
    before = encryption.find_key(path)
    left = kill_everywhere(action, tmp_path)
    assert len(left) > 10, "it was killed at many steps"
    changed = []
    for database in left:
        key = start(database)
        changed.append(key != before)
        assert prompts(database, key) == ALL
        assert {tuple(prompts(backup.path, key)) for backup in backups_of(database)} == {tuple(BACKED_UP)}
        assert not key_of(database.parent).with_name(f"{database.parent.name}.key.new").exists()
        truncate(database)
        heal(database, key)
        assert prompts(database, key) == BACKED_UP, "a backup of this key was put back"
    assert changed == sorted(changed), "once changed, always changed"
    assert (changed[0], changed[-1]) == (False, True)


async def test_a_full_disk_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await a_folder(tmp_path / "data")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite.os, "fsync", full)
        with pytest.raises((StorageError, ConfigError), match="No space left"):
            await encrypt_database(Config(data=path.parent), again=False)
    assert start(path) is None
    assert prompts(path) == ALL
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data"]


async def test_a_key_in_the_environment_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await a_folder(tmp_path / "data")
    monkeypatch.setenv(DATABASE_KEY, "correct horse")
    with pytest.raises(StorageError, match="run `atelier encrypt`"):
        start(path)
    assert "correct horse" not in await encrypt_database(Config(data=path.parent), again=False)
    assert start(path) == "correct horse"
    with pytest.raises(ConfigError, match="ATELIER_DATABASE_KEY_NEW"):
        await encrypt_database(Config(data=path.parent), again=True)
    monkeypatch.setenv(NEW_DATABASE_KEY, "battery staple")
    await encrypt_database(Config(data=path.parent), again=True)
    monkeypatch.setenv(DATABASE_KEY, "battery staple")
    monkeypatch.delenv(NEW_DATABASE_KEY)
    assert prompts(path, start(path)) == ALL
    assert [prompts(backup.path, "battery staple") for backup in backups_of(path)] == [BACKED_UP]
    assert not key_of(path.parent).exists()


async def test_a_backup_from_before_is_restored_with_the_key(tmp_path: Path) -> None:
    path = await a_folder(tmp_path / "data")
    shutil.copy(backups_of(path)[0].path, tmp_path / "elsewhere.db")
    await encrypt_database(Config(data=path.parent), again=False)
    key = encryption.find_key(path)
    assert restore(tmp_path / "elsewhere.db", path, key).jobs == len(BACKED_UP)
    assert prompts(path, key) == BACKED_UP


async def test_a_lost_key_is_named_and_changes_nothing(tmp_path: Path) -> None:
    path = await a_folder(tmp_path / "data")
    await encrypt_database(Config(data=path.parent), again=False)
    key_of(path.parent).rename(tmp_path / "moved")
    before = path.read_bytes()
    with pytest.raises(
        StorageError, match="check its key, in ATELIER_DATABASE_KEY or in the file beside the data folder"
    ):
        start(path)
    with pytest.raises(StorageError, match=r"its key .*data\.key is missing"):
        await encrypt_database(Config(data=path.parent), again=True)
    assert path.read_bytes() == before
    (tmp_path / "moved").rename(key_of(path.parent))
    assert prompts(path, start(path)) == ALL


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"\xff\xfe", "not UTF-8")])
async def test_a_file_without_a_key_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = await a_folder(tmp_path / "data")
    await encrypt_database(Config(data=path.parent), again=False)
    key_of(path.parent).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        start(path)


async def test_the_doctor_says_where_the_key_is_and_who_can_read_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = await a_folder(tmp_path / "data")

    async def said() -> tuple[CheckStatus, str, str]:
        found = [one async for one in examine(Config(data=path.parent)) if one.what == "Database key"]
        return found[0].status, found[0].words, found[0].remedy

    assert (await said())[0] is CheckStatus.NOTE
    assert "atelier encrypt" in (await said())[2]
    await encrypt_database(Config(data=path.parent), again=False)
    status, words, _ = await said()
    assert status is CheckStatus.GOOD
    assert str(key_of(path.parent)) in words
    key_of(path.parent).chmod(0o644)
    status, words, remedy = await said()
    assert status is CheckStatus.BAD
    assert "Other users of this machine" in words
    assert f"chmod 600 {key_of(path.parent)}" in remedy
    start(path)
    assert "chmod 600" in caplog.text
