"""The sha256 of the weights of each model, LoRA and ControlNet, from their first use here.

Weights that changed afterwards, while config.toml still names the same source, are not loaded until the host accepts
them: somebody may have replaced them, on this machine or on the hub. The built-in model comes with Atelier itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from bot.config import EMBEDDED
from bot.errors import StorageError, UnusableFiles

FILE = "model-files.json"
"""Its name in the data folder."""

UPSCALER = "upscaler"
"""What the host's upscaler is called."""

Entries = Mapping[str, Mapping[str, str]]
"""What is known, by the name of the thing: its `model`, `source`, `sha256` and the day `since` it is known."""


def digest_of(path: Path) -> str:
    """The sha256 of a file, or of the names and hashes of all weights in a folder. Raises OSError."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for each in sorted(path.rglob("*.safetensors")):
        whole.update(f"{each.relative_to(path).as_posix()} {digest_of(each)}\n".encode())
    return whole.hexdigest()


class KnownFiles:
    """The file in which they are noted; without a path nothing is noted and everything is accepted."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self, what: str, model: str, source: str, sha256: str) -> None:
        """Note weights that are used for the first time. `what` is what people call them.

        Raises UnusableFiles for weights that changed since then, or if the file of what is known cannot be used.
        """
        if self._path is None or source == EMBEDDED:
            return
        entries = self._read()
        if trouble := _change(entries, what, model, source, sha256):
            raise trouble
        if entries.get(what, {}).get("source") != source:
            today = datetime.now(UTC).date().isoformat()
            entry = {"model": model, "source": source, "sha256": sha256, "since": today}
            try:
                # The engine process of another device may note something at the same time.
                with FileLock(self._path.with_name(f"{self._path.name}.lock")):
                    entries = self._read()
                    if trouble := _change(entries, what, model, source, sha256):
                        raise trouble
                    _write(self._path, {**entries, what: entry})
            except OSError as error:
                words = f"its hash cannot be noted in {self._path.name} ({error.strerror})."
                raise UnusableFiles(words, "Free some space, or make the data folder writable.") from error

    def trouble(self, what: str, model: str, source: str, sha256: str) -> UnusableFiles | None:
        """Why weights may not be used; None if nothing speaks against it. Nothing is noted."""
        try:
            return _change(self._read(), what, model, source, sha256)
        except UnusableFiles as error:
            return error

    def knows(self, what: str, source: str) -> bool:
        """Whether weights were used before. Raises UnusableFiles if the file of what is known cannot be used."""
        return self._read().get(what, {}).get("source") == source

    def accept(self, model: str) -> list[str]:
        """Forget what is known of a model and what belongs to it; its next use notes it anew. Returns the things.

        Raises UnusableFiles and StorageError.
        """
        entries = self._read()
        gone = [what for what, entry in entries.items() if entry.get("model") == model]
        if gone and self._path is not None:
            try:
                _write(self._path, {what: entry for what, entry in entries.items() if what not in gone})
            except OSError as error:
                raise StorageError(f"{self._path} cannot be written: {error.strerror}.") from error
        return gone

    def _read(self) -> Entries:
        if self._path is None or not self._path.exists():
            return {}
        with suppress(OSError, ValueError):
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(entries, dict) and all(isinstance(entry, dict) for entry in entries.values()):
                return entries
        raise UnusableFiles(
            f"the hashes in {self._path.name} in the data folder cannot be read.",
            "If all model files are yours as they are now, delete that file: it is made again.",
        )


def _change(entries: Entries, what: str, model: str, source: str, sha256: str) -> UnusableFiles | None:
    known = entries.get(what)
    if known is None or known.get("source") != source or known.get("sha256") == sha256:
        return None
    return UnusableFiles(
        f"its files changed since {known.get('since')}, when they were first used here.",
        f"If you replaced them, run: atelier accept {model}. Otherwise take them from their source again.",
    )


def _write(path: Path, entries: Entries) -> None:
    """Put the entries in the place of the old ones, whole or not at all."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
