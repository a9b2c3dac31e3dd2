"""What a small model knows, so that people hear it before they wait for a picture of something else."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError

FILE = "vocabulary.json"
"""Beside a model's weights, if it has one; `training/words.py` writes it."""

_WORD = re.compile(r"[^\W\d_]+")
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words a model learned, and which of them stands for a word it did not learn."""

    known: frozenset[str]
    nearest: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Vocabulary | None:
        """The vocabulary of a model's folder; None without one: large models know most words.

        Raises ConfigError for a damaged file.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            return cls(frozenset(stored["known"]), stored["nearest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file} is damaged; without that file the model works, too.") from error

    def notes(self, prompt: str) -> tuple[str, ...]:
        """What to say about the words of a prompt that the model does not know; nothing when it knows them all."""
        strange = list(dict.fromkeys(word for word in _words(prompt) if word not in self.known))
        found = [
            f"I don't know “{word}”; the nearest I know is “{self.nearest[word]}”"
            for word in strange
            if word in self.nearest
        ][:_SHOWN]
        unknown = [word for word in strange if word not in self.nearest]
        if unknown:
            shown = ", ".join(f"“{word[:30]}”" for word in unknown[:_SHOWN])
            found.append(f"I don't know {shown}" + (" and more" if len(unknown) > _SHOWN else ""))
        return tuple(found)


def _words(prompt: str) -> list[str]:
    """A prompt's words in lower case and its pictographs, in order; marks and digits say nothing here."""
    plain = unicodedata.normalize("NFC", prompt.lower()).replace("\ufe0f", "")
    words: list[str] = []
    for part in re.split(r"[\s\d_]+", plain):
        words += _WORD.findall(part)
        words += [char for char in part if unicodedata.category(char) == "So"]
    return words
