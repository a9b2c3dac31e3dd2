"""The files in the folder of pictures, known by the sha256 of their bytes, as they are or encrypted.

A file is whole or absent: it is written aside, synced, then renamed. Encrypted files have other names, so that both
kinds may lie beside each other, such as while one kind is turned into the other.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bot.errors import StorageError, StorageFull
from bot.language import Sentence, sentence
from bot.storage import sqlite
from bot.storage.sealing import SEALED_NAME, Seal

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAMAGED = sentence("The picture was damaged on the disk. If you sent it, send it again.")


class Turned(NamedTuple):
    """How many files were turned into another kind, and how many were not because they are damaged."""

    done: int
    damaged: int


@dataclass(slots=True)
class Census:
    """How many files there are of each kind."""

    plain: int = 0
    sealed: int = 0
    """Encrypted with the key in use."""
    foreign: int = 0
    """Encrypted with another key."""


def _unread(error: str | None) -> Sentence:
    return sentence("The picture could not be read back: {error}.", error=error)


class PictureFolder:
    """The files below `root`/pictures. Where `seals`, new ones are encrypted; files of both kinds are read."""

    def __init__(self, root: Path, seal: Seal | None = None, *, seals: bool = False) -> None:
        assert seal is not None or not seals  # noqa: S101 - the caller has asked for a key
        self._folder = root / "pictures"
        self._seal = seal
        self._seals = seals

    def path(self, sha256: str) -> Path:
        """Where a file is that is not encrypted; StorageError for a name that is no sha256."""
        if not _SHA256.fullmatch(sha256):
            raise StorageError("A picture is named by 64 hexadecimal digits, and this name has others.")
        return self._place(sha256)

    def has(self, sha256: str) -> bool:
        """Whether a file is there."""
        return any(path.is_file() for path in self._paths(sha256))

    def read(self, sha256: str) -> bytes:
        """The bytes of a file as they were given; StorageError when it is gone or damaged."""
        trouble = StorageError(_unread(os.strerror(errno.ENOENT)))
        for path in self._paths(sha256):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(_unread(error.strerror)) from error
            found = self._opened(path, sha256, data)
            if found is not None:
                return found
            trouble = StorageError(_DAMAGED)
        raise trouble

    def write(self, files: Mapping[str, bytes]) -> None:
        """Keep files by their sha256. Raises StorageError, or StorageFull."""
        try:
            targets = {self._target(sha256): self._written(sha256, data) for sha256, data in files.items()}
            for folder in {path.parent for path in targets}:
                if not folder.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    sqlite.sync_folder(folder.parent)
            for path, data in targets.items():
                _write(path, data)
            for folder in {path.parent for path in targets}:
                sqlite.sync_folder(folder)
        except OSError as error:
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"The picture could not be kept: {error.strerror}.") from error

    def names(self, held: Collection[str] = ()) -> list[str]:
        """The sha256 of every file; what an interrupted write left is deleted, unless the file is `held`."""
        found = set()
        try:
            for path in self._folder.glob("*/*"):
                name, dot, _ = path.name.partition(".")
                sha256 = name if _SHA256.fullmatch(name) else self._sha256(name)
                if dot or (sha256 is None and not SEALED_NAME.fullmatch(name)):
                    if sha256 not in held:
                        path.unlink(missing_ok=True)
                elif sha256 is not None:
                    found.add(sha256)
        except OSError as error:
            raise StorageError(f"The folder of pictures cannot be read: {error.strerror}.") from error
        return sorted(found)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files by their sha256, also those that are not there."""
        paths = [path for sha256 in names for path in self._paths(sha256)]
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                if folder.exists():
                    sqlite.sync_folder(folder)
        except OSError as error:
            raise StorageError(f"A picture cannot be deleted: {error.strerror}.") from error

    def census(self) -> Census:
        """Count the files of each kind by their names alone. Raises StorageError."""
        found = Census()
        try:
            for path in self._folder.glob("*/*"):
                if _SHA256.fullmatch(path.name):
                    found.plain += 1
                elif SEALED_NAME.fullmatch(path.name):
                    mine = self._sha256(path.name) is not None
                    found.sealed += mine
                    found.foreign += not mine
        except OSError as error:
            raise StorageError(f"The folder of pictures cannot be read: {error.strerror}.") from error
        return found

    def convert(self) -> Turned:
        """Turn every file into the kind that new ones have, one after the other.

        A kill leaves the file that was being turned as it was, or in both kinds. A damaged file stays as it is.
        """
        wrong = [(sha256, path) for sha256, path in self._files() if path != self._target(sha256)]
        done = [
            self._turn(sha256, path, self._target(sha256), self._opened(path, sha256, _read(path)))
            for sha256, path in wrong
        ]
        return Turned(sum(done), len(done) - sum(done))

    def reseal(self, old: Seal) -> None:
        """Encrypt anew each file that the `old` key encrypts, as `convert` does."""
        seal = self._seal
        assert seal is not None  # noqa: S101 - the new key
        former = PictureFolder(self._folder.parent, old)
        for sha256, path in list(former._files()):
            if SEALED_NAME.fullmatch(path.name):
                found = former._opened(path, sha256, _read(path))
                self._turn(sha256, path, self._place(seal.name(sha256)), found)

    def _turn(self, sha256: str, path: Path, target: Path, data: bytes | None) -> bool:
        """Put the bytes of the file at `path` at `target`, and then delete it; False for a damaged one."""
        if data is None:
            return False
        try:
            if not target.parent.exists():
                target.parent.mkdir(parents=True)
                sqlite.sync_folder(target.parent.parent)
            sealed = bool(SEALED_NAME.fullmatch(target.name))
            _write(target, self._sealed(sha256, data) if sealed else data)
            sqlite.sync_folder(target.parent)
            path.unlink()
            sqlite.sync_folder(path.parent)
        except OSError as error:
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            words = "Some pictures are still as they were. Run the command again."
            raise kind(f"A picture could not be written: {error.strerror}. {words}") from error
        return True

    def _files(self) -> Iterator[tuple[str, Path]]:
        """The files that can be read, with their sha256."""
        for path in self._folder.glob("*/*"):
            sha256 = path.name if _SHA256.fullmatch(path.name) else self._sha256(path.name)
            if sha256 is not None:
                yield sha256, path

    def _paths(self, sha256: str) -> list[Path]:
        """Where a file may be."""
        plain = self.path(sha256)
        return [plain] if self._seal is None else [self._place(self._seal.name(sha256)), plain]

    def _target(self, sha256: str) -> Path:
        """Where a new file goes."""
        plain = self.path(sha256)
        return self._place(self._seal.name(sha256)) if self._seals and self._seal is not None else plain

    def _place(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _sha256(self, name: str) -> str | None:
        return None if self._seal is None else self._seal.sha256(name)

    def _opened(self, path: Path, sha256: str, data: bytes) -> bytes | None:
        """The bytes that were kept; None if the file has others."""
        if SEALED_NAME.fullmatch(path.name):
            return None if self._seal is None else self._seal.open(sha256, data)
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _written(self, sha256: str, data: bytes) -> bytes:
        return self._sealed(sha256, data) if self._seals else data

    def _sealed(self, sha256: str, data: bytes) -> bytes:
        assert self._seal is not None  # noqa: S101 - there is a key
        return self._seal.seal(sha256, data)


def _write(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent, into a folder that is there."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"A picture cannot be read: {error.strerror}.") from error
