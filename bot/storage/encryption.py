"""The key that a database and its pictures are encrypted with, and the change from one key to another.

A key comes from the host, in the environment or in a file that the environment names. Otherwise Atelier makes one for a
new database and keeps it in a file beside the data folder, not in it, so that a copy of the folder alone tells nothing.

A change of key is decided when the database itself has the new key. Before that, nothing has changed; after that,
`finish`, which every start runs, carries the change out, however often it is killed: it encrypts the copies of the
database and the pictures again, and then the new key takes the place of the old one.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError, StorageError
from bot.secrets import DATABASE_KEY, NEW_DATABASE_KEY, read_database_key, read_secret
from bot.storage import backups, sqlite
from bot.storage.erasure import SIDE_FILES
from bot.storage.picture_folder import PictureFolder
from bot.storage.recovery import STAGED
from bot.storage.sealing import Seal, seal_of
from bot.system import is_open_to_others

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key of a database is: in the environment, or in a file that may not be there yet."""

    database: Path
    file: Path | None
    """None where the environment holds the key itself."""

    @property
    def new_file(self) -> Path | None:
        """The file of the key that a change of key is about to bring."""
        return None if self.file is None else self.file.with_name(f"{self.file.name}.new")


def place_of(database: Path, environ: Mapping[str, str] = os.environ) -> KeyPlace:
    """Where the key of a database is, or would be."""
    if environ.get(DATABASE_KEY, "").strip():
        return KeyPlace(database, None)
    if named := environ.get(f"{DATABASE_KEY}_FILE", "").strip():
        return KeyPlace(database, Path(named))
    folder = database.resolve().parent
    return KeyPlace(database, folder.with_name(f"{folder.name}.key"))


def find_key(database: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of a database; None where it is not encrypted, or not there. Nothing is changed.

    Raises ConfigError where a file that should hold the key cannot be read.
    """
    place = place_of(database, environ)
    if place.file is None:
        return read_database_key(environ)
    if environ.get(f"{DATABASE_KEY}_FILE", "").strip():
        # A file that is named and not there is no fault where nothing is encrypted.
        needs_none = not database.exists() or sqlite.is_plain(database)
        return None if needs_none and not place.file.exists() else read_database_key(environ)
    return None if sqlite.is_plain(database) else _known(place)


def trouble_of(place: KeyPlace) -> tuple[str, str] | None:
    """What is wrong with the rights of the file with the key, and the remedy; None if nothing is."""
    with suppress(OSError):
        if place.file is not None and is_open_to_others(place.file):
            return "Other users of this machine can read the key of the database.", f"Run: chmod 600 {place.file}"
    return None


def prepare(database: Path, *, encrypt: bool, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of a database before it is opened: a change of key is finished, and a new database gets a new key.

    Raises ConfigError and StorageError.
    """
    place = place_of(database, environ)
    finish(place)
    if encrypt and _is_new(database) and place.file is not None and not place.file.exists():
        _write(place.file, new_key())
        log.info("the key of the new database is in %s: without this file the data are lost", place.file)
    key = find_key(database, environ)
    if key is not None and any(sqlite.is_plain(backup.path) for backup in backups.backups_of(database)):
        # The change was cut short, or the host put a plain backup there.
        _convert_copies(database, None, key)
    if trouble := trouble_of(place):
        log.warning("%s %s", *trouble)
    return key


def _is_new(database: Path) -> bool:
    """Whether neither the database nor a copy that may become it is there."""
    is_empty = not database.exists() or not database.stat().st_size
    return is_empty and not database.with_suffix(f".{STAGED}").exists() and not backups.backups_of(database)


def new_key() -> str:
    """A random key of 256 bits, in the form that SQLCipher uses as it is.

    See https://www.zetetic.net/sqlcipher/sqlcipher-api/#key
    """
    return f"x'{secrets.token_hex(32)}'"


def pictures_of(database: Path, key: str | None, *, seals: bool) -> PictureFolder:
    """The pictures of a database; where `seals`, new ones are encrypted. Raises ConfigError without a key for that."""
    if seals and key is None:
        raise ConfigError(
            "encrypt_pictures is on, but the database has no key that pictures could be encrypted with. Run: atelier "
            "encrypt. Or set encrypt_pictures = false in config.toml."
        )
    return PictureFolder(database.parent, seal_of(key), seals=seals)


def picture_trouble(folder: PictureFolder, *, seals: bool) -> tuple[str, str] | None:
    """What is wrong with the pictures' encryption, and the remedy; None if nothing is. Raises StorageError."""
    found = folder.census()
    if found.foreign:
        return (
            f"{found.foreign} pictures are encrypted with another key and cannot be shown.",
            "Put that key back. If a change of the key in the environment was cut short, set the old one as "
            f"{DATABASE_KEY}, the new one as {NEW_DATABASE_KEY}, and run: atelier rekey",
        )
    if seals and found.plain:
        return f"{found.plain} pictures are not encrypted.", "To encrypt them, stop Atelier and run: atelier encrypt"
    return None


def change(
    database: Path,
    *,
    again: bool,
    seals: bool = False,
    derived: Iterable[Path] = (),
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Encrypt a plain database, or one with a key `again`; its backups, too. Returns what was done, in words.

    Pictures are encrypted where `seals`, and otherwise decrypted. No other process may use the database. `derived` are
    files that are made anew from it, and are deleted. A new key is made, unless the host keeps the key in the
    environment. Raises StorageError and ConfigError; then the database is as it was, or has the new key, and a start
    or the same command carries out the rest.
    """
    place = place_of(database, environ)
    if not database.exists():
        raise StorageError(f"{database} does not exist: there is nothing to encrypt.")
    finish(place)
    if again and sqlite.is_plain(database):
        raise StorageError(f"{database} is not encrypted. To encrypt it, run: atelier encrypt")
    if not again and not sqlite.is_plain(database):
        if words := _convert_pictures(database, find_key(database, environ), seals=seals):
            return words.rstrip()
        raise StorageError(f"{database} is encrypted already. To give it a new key, run: atelier rekey")
    if place.file is None:
        return _change_in_environment(place, seals, derived, environ)
    known, old, key = _known(place), None, new_key()
    if not sqlite.is_plain(database):
        old = known
        if old is None:
            raise StorageError(f"{database} is encrypted, and its key {place.file} is missing. Put the file back.")
    elif known is not None:
        # The host wrote it, or it was made for a database that was never encrypted with it.
        key = known
    new_file = place.new_file
    assert new_file is not None  # noqa: S101 - there is a file
    _write(new_file, key)
    try:
        _convert(database, old, key)
    finally:
        if not sqlite.opens(database, key):
            new_file.unlink()
    _forget(derived)
    finish(place)
    words = _convert_pictures(database, key, seals=seals)
    return f"{database} and its backups are encrypted. {words}The key is in {place.file}: keep a copy of it elsewhere."


def finish(place: KeyPlace) -> None:
    """Carry out a change of key that was decided, if there is one. Raises StorageError and ConfigError."""
    new_file = place.new_file
    if place.file is None or new_file is None or not new_file.exists():
        return
    key, old = read_secret(new_file, "the new key of the database"), _known(place)
    if sqlite.opens(place.database, key):
        _convert_copies(place.database, None if old == key else old, key)
        _reseal_pictures(place.database, old, key)
        new_file.replace(place.file)
        sqlite.sync_folder(place.file.parent)
        log.warning("the database, its backups and the pictures that are encrypted have a new key: %s", place.file)
    elif sqlite.opens(place.database, old) or sqlite.opens(place.database, None):
        # The change was not decided.
        new_file.unlink()
    else:
        # A damaged database: which key its backups have shows when one is put back.
        log.error("neither %s nor %s opens the database; both are kept", place.file, new_file)


def _known(place: KeyPlace) -> str | None:
    """The key in the file; None without the file."""
    if place.file is None or not place.file.exists():
        return None
    return read_secret(place.file, "the key of the database")


def _change_in_environment(place: KeyPlace, seals: bool, derived: Iterable[Path], environ: Mapping[str, str]) -> str:
    """Give the database the key of the host: the first one, or the next one."""
    old = read_database_key(environ)
    new = environ.get(NEW_DATABASE_KEY, "").strip()
    if sqlite.is_plain(place.database):
        old, new = None, old or ""
    elif not new:
        raise ConfigError(
            f"The database is encrypted with the key in {DATABASE_KEY}. Put the next key into {NEW_DATABASE_KEY} to "
            "change it."
        )
    if not sqlite.opens(place.database, new):
        _convert(place.database, old, new)
        _forget(derived)
    _convert_copies(place.database, old, new)
    _reseal_pictures(place.database, old, new)
    words = _convert_pictures(place.database, new, seals=seals)
    where = (
        f"the one in {DATABASE_KEY}" if old is None else f"the one in {NEW_DATABASE_KEY}: put it into {DATABASE_KEY}"
    )
    return f"{place.database} and its backups are encrypted. {words}The key is {where}."


def _reseal_pictures(database: Path, old: str | None, new: str) -> None:
    """Encrypt again the pictures that are encrypted with another key."""
    if old is not None and old != new:
        PictureFolder(database.parent, Seal(new)).reseal(Seal(old))


def _convert_pictures(database: Path, key: str | None, *, seals: bool) -> str:
    """Encrypt or decrypt pictures; returns what was done, in words, and nothing if there was nothing to do."""
    turned = pictures_of(database, key, seals=seals).convert()
    words = f"Pictures {'encrypted' if seals else 'decrypted'}: {turned.done}. " if turned.done else ""
    return words + (f"Damaged, and left as they are: {turned.damaged}. " if turned.damaged else "")


def _convert_copies(database: Path, old: str | None, new: str) -> None:
    """Encrypt the backups and the former databases again; one that cannot be opened stays as it is."""
    for former in backups.formers_of(database):
        if _is_to_convert(former, old, new):
            _convert(former, old, new)
    done = {copy.made_at for copy in backups.backups_of(database) if sqlite.opens(copy.path, new)}
    for backup in backups.backups_of(database):
        if not _is_to_convert(backup.path, old, new):
            continue
        if backup.made_at not in done:
            unnamed = backup.path.with_suffix(f".{os.getpid()}.new")
            sqlite.copy(backup.path, unnamed, old, new_key=new)
            backups.rename(unnamed, backup.made_at)
            sqlite.sync_folder(backup.path.parent)
        backup.path.unlink()


def _is_to_convert(path: Path, old: str | None, new: str) -> bool:
    if sqlite.opens(path, new):
        return False
    if sqlite.opens(path, old):
        return True
    log.warning("%s has another key, or is damaged: it stays as it is", path)
    return False


def _convert(path: Path, old: str | None, new: str) -> None:
    """Put a database with a new key in the place of one, in one step, without what SQLite keeps beside it."""
    try:
        with closing(sqlite.connect(path, old)) as connection:
            # What is only in the WAL goes into the file; afterwards the WAL is empty.
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageError(f"{path} is used by another program: stop it first.")
    except sqlite.Error as error:
        raise sqlite.in_words(error) or StorageError(f"{path} cannot be opened: {error}.") from error
    sqlite.copy(path, path, old, new_key=new)
    _forget(path.with_name(path.name + ending) for ending in SIDE_FILES)


def _forget(files: Iterable[Path]) -> None:
    try:
        for file in files:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be deleted: {error.strerror}.") from error


def _write(file: Path, key: str) -> None:
    """Write a key that only our user may read, durably; the file is there with its key, or not at all."""
    aside = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"{key}\n")
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
        sqlite.sync_folder(file.parent)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise ConfigError(
            f"The key of the database cannot be written to {file}: {error.strerror}. Name another place in "
            f"{DATABASE_KEY}_FILE, or set encrypt = false in config.toml."
        ) from error
