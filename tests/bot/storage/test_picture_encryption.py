"""Pictures on the disk that only the database's key opens: kept, read, turned from one kind into another, and lost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bot.app import open_app
from bot.config import Config
from bot.doctor import CheckStatus, examine
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError, StorageError, StorageFull
from bot.jobs import Surface, UserId
from bot.offline import encrypt_database, forget_person
from bot.secrets import DATABASE_KEY, NEW_DATABASE_KEY
from bot.storage import encryption, picture_folder
from bot.storage.encryption import new_key
from bot.storage.picture_folder import Census, PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.sealing import Seal, seal_of
from tests.bot.storage.conftest import ADA, open_store
from tests.bot.storage.test_encryption import key_of, no_key_of_the_machine, start  # noqa: F401 - a fixture
from tests.bot.storage.test_recovery import kill_everywhere

DATA = [b"\x89PNG a picture", b"", bytes(100_000)]
FILES = {hashlib.sha256(data).hexdigest(): data for data in DATA}


def on_disk(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "pictures").rglob("*") if path.is_file())


def shows_nothing(folder: Path) -> bool:
    """Whether neither a name nor the bytes of a file tell what a picture is."""
    files = on_disk(folder)
    return not any(path.name in FILES or b"PNG a picture" in path.read_bytes() for path in files)


def contents(folder: PictureFolder) -> dict[str, bytes]:
    return {name: folder.read(name) for name in folder.names()}


def test_neither_name_nor_bytes_of_an_encrypted_file_tell_what_it_is(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, Seal(new_key()), seals=True)
    folder.write(FILES)
    assert shows_nothing(tmp_path)
    assert contents(folder) == FILES
    assert all(map(folder.has, FILES))
    first = on_disk(tmp_path)
    contents_before = [path.read_bytes() for path in first]
    folder.write(FILES)
    assert on_disk(tmp_path) == first, "the same picture is kept once"
    assert [path.read_bytes() for path in first] != contents_before, "no two encryptions are equal"
    folder.remove(FILES)
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_changed_byte_is_found(tmp_path: Path, at: int) -> None:
    folder = PictureFolder(tmp_path, Seal("a word"), seals=True)
    folder.write(FILES)
    for path in on_disk(tmp_path):
        changed = bytearray(path.read_bytes())
        changed[at] ^= 1
        path.write_bytes(changed)
    for name in FILES:
        with pytest.raises(StorageError, match="damaged on the disk"):
            folder.read(name)


def test_files_that_change_places_are_found(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, Seal("a word"), seals=True)
    folder.write(FILES)
    first, second, _ = on_disk(tmp_path)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    damaged = 0
    for name in FILES:
        try:
            folder.read(name)
        except StorageError:
            damaged += 1
    assert damaged == 2


def test_each_key_has_names_and_contents_of_its_own() -> None:
    name, seals = hashlib.sha256(b"x").hexdigest(), [Seal(key) for key in (new_key(), new_key(), "a word", "a wort")]
    assert len({seal.name(name) for seal in seals}) == 4
    for seal in seals:
        assert [other.sha256(seal.name(name)) for other in seals].count(name) == 1
        assert [other.open(name, seal.seal(name, b"x")) for other in seals].count(b"x") == 1


async def kept(folder: Path) -> None:
    """The files, plain, named by the rows of a plain database."""
    async with open_store(folder) as store, store.pictures.kept(FILES):
        for name in FILES:
            await store.asked(ADA, image=name, prompt=f"picture {name}")


async def test_the_host_turns_it_on_for_pictures_of_before_and_off_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    (tmp_path / "data").mkdir()
    await kept(config.data)
    with pytest.raises(ConfigError, match=r"no key that pictures could be encrypted with\. Run: atelier encrypt"):
        async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
            pass
    assert "Pictures encrypted: 3." in await encrypt_database(config, again=False)
    assert shows_nothing(config.data)
    key = start(config.data / "atelier.db")
    assert contents(PictureFolder(config.data, seal_of(key))) == FILES
    with pytest.raises(StorageError, match="encrypted already"):
        await encrypt_database(config, again=False)

    plain = config.model_copy(update={"encrypt_pictures": False})
    caplog.clear()
    async with open_app(plain, Surface.DISCORD, engine=FakeEngine()):
        assert "pictures" not in caplog.text
    assert await encrypt_database(plain, again=False) == "Pictures decrypted: 3."
    assert sorted(path.name for path in on_disk(config.data)) == sorted(FILES)
    async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
        assert "3 pictures are not encrypted. To encrypt them, stop Atelier and run: atelier encrypt" in caplog.text
    assert await encrypt_database(config, again=False) == "Pictures encrypted: 3."
    assert shows_nothing(config.data)


@pytest.mark.parametrize("action", ["encrypt", "rekey", "seal", "unseal"])
async def test_a_change_killed_anywhere_loses_no_picture(tmp_path: Path, action: str) -> None:
    """`seal` and `unseal` leave the database's key as it is."""
    home = tmp_path / "start"
    home.mkdir()
    await kept(home)
    config = Config(data=home, encrypt_pictures=action != "unseal")
    if action != "encrypt":
        await encrypt_database(config.model_copy(update={"encrypt_pictures": action != "seal"}), again=False)
    left = kill_everywhere(f"{action} pictures", tmp_path)
    assert len(left) > 2 * len(FILES), "it was killed at many steps"
    both = 0
    for database in left:
        key = start(database)
        folder = encryption.pictures_of(database, key, seals=config.encrypt_pictures and key is not None)
        assert contents(folder) == FILES, "whatever the moment, a start shows all pictures"
        census = folder.census()
        assert census.foreign == 0
        both += census.plain + census.sealed > len(FILES)
        if action == "rekey":
            assert census == Census(0, len(FILES), 0)
        # The same command finishes what the kill left.
        if key is None or (census.plain and config.encrypt_pictures) or (census.sealed and not config.encrypt_pictures):
            await encrypt_database(config.model_copy(update={"data": database.parent}), again=False)
        key = start(database)
        folder = encryption.pictures_of(database, key, seals=config.encrypt_pictures)
        assert contents(folder) == FILES
        assert len(on_disk(database.parent)) == len(FILES), "no second kind and no part is left"
        assert shows_nothing(database.parent) == config.encrypt_pictures
    assert both or action == "rekey", "it was killed between the writing of a file and the deletion of the other"


async def test_a_change_in_the_environment_that_was_cut_short_is_named_and_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    config.data.mkdir()
    await kept(config.data)
    monkeypatch.setenv(DATABASE_KEY, "correct horse")
    await encrypt_database(config, again=False)
    monkeypatch.setenv(NEW_DATABASE_KEY, "battery staple")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as fault:
        fault.setattr(picture_folder, "_write", full)
        with pytest.raises(StorageFull, match=r"No space left on device\. Some pictures are still as they were\. Run"):
            await encrypt_database(config, again=True)
    monkeypatch.delenv(NEW_DATABASE_KEY)
    monkeypatch.setenv(DATABASE_KEY, "battery staple")
    async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
        assert "3 pictures are encrypted with another key and cannot be shown." in caplog.text
        assert (
            f"the old one as {DATABASE_KEY}, the new one as {NEW_DATABASE_KEY}, and run: atelier rekey" in caplog.text
        )
    assert len(on_disk(config.data)) == 3, "what cannot be opened is not swept away"
    monkeypatch.setenv(DATABASE_KEY, "correct horse")
    monkeypatch.setenv(NEW_DATABASE_KEY, "battery staple")
    await encrypt_database(config, again=True)
    assert contents(PictureFolder(config.data, Seal("battery staple"))) == FILES


async def test_a_lost_key_is_named_and_no_picture_is_deleted(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    config.data.mkdir()
    await kept(config.data)
    await encrypt_database(config, again=False)
    key_of(config.data).rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="check its key"):
        async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
            pass
    for folder in (PictureFolder(config.data), PictureFolder(config.data, Seal(new_key()))):
        assert folder.census() == Census(0, 0, 3)
        assert folder.names() == []
    assert len(on_disk(config.data)) == 3


async def test_a_damaged_picture_is_counted_and_stays(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    config.data.mkdir()
    await kept(config.data)
    on_disk(config.data)[0].write_bytes(b"damaged")
    words = await encrypt_database(config, again=False)
    assert "Pictures encrypted: 2. Damaged, and left as they are: 1." in words


async def test_a_sweep_deletes_encrypted_files_that_no_row_names_and_parts_but_spares_those_being_kept(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path) as store:
        seal = Seal("a word")
        pictures = Pictures(store.database, PictureFolder(tmp_path, seal, seals=True))
        pictures.folder.write(FILES)
        first, second, third = FILES
        await store.asked(image=first)
        (tmp_path / "pictures" / "ab").mkdir(exist_ok=True)
        held = seal.name(second)
        (tmp_path / "pictures" / "ab" / f"{held}.x.part").write_bytes(b"half")
        (tmp_path / "pictures" / "ab" / f"{seal.name(third)}.x.part").write_bytes(b"half")
        async with pictures.kept({second: FILES[second]}):
            assert await pictures.sweep() == 1
            left = {path.name for path in on_disk(tmp_path)}
            assert left == {seal.name(first), held, f"{held}.x.part"}
        assert await pictures.read([first]) == {first: FILES[first]}


async def test_a_deletion_takes_the_encrypted_files(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    config.data.mkdir()
    await kept(config.data)
    await encrypt_database(config, again=False)
    await forget_person(config, UserId(ADA))
    assert on_disk(config.data) == []


async def test_the_doctor_says_which_pictures_are_encrypted(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data")
    config.data.mkdir()
    await kept(config.data)

    async def said(config: Config) -> tuple[CheckStatus, str, str]:
        (found,) = [one async for one in examine(config) if one.what == "Picture encryption"]
        return found.status, found.words, found.remedy

    status, words, remedy = await said(config)
    assert (status, "everybody who can read the disk" in words) == (CheckStatus.NOTE, True)
    on = config.model_copy(update={"encrypt_pictures": True})
    assert (await said(on))[0] is CheckStatus.BAD
    await encrypt_database(config, again=False)
    status, words, remedy = await said(on)
    assert (status, words) == (CheckStatus.BAD, "3 pictures are not encrypted.")
    assert "atelier encrypt" in remedy
    await encrypt_database(on, again=False)
    status, words, _ = await said(on)
    assert status is CheckStatus.GOOD
    assert "lost with it" in words
