"""The words that a small model knows, so that people learn before they wait that it cannot draw something."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError
from bot.language import say

FILE = "vocabulary.json"
"""The file of the vocabulary in a model's folder; `training/words.py` writes it."""

_WORD = re.compile(r"[^\W\d_]+")
_TAG = re.compile(r"<[^<>]{1,100}>")  # such as <lora:name:0.8>
_END_OF_PHRASE = ""
_OF = "of"
_NO_NOUN = ("ing", "ed", "ly")  # endings of verbs and adverbs, unless the word is a thing
_LONGEST = 30


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that matter for a model.

    `things` are things and scenes that it can draw; `ties` are words that join phrases, such as "under"; `ignored` are
    words inside a phrase, such as "red"; `near` has, for other words, things that are similar.
    """

    things: frozenset[str]
    ties: frozenset[str]
    ignored: frozenset[str]
    near: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, folder: Path) -> Vocabulary | None:
        """Return the vocabulary of a model's folder. A model without the file knows most words: None.

        Raises ConfigError for a damaged file.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            near = {word: tuple(others) for word, others in stored["near"].items()}
            things, ties, ignored = (frozenset(stored[kind]) for kind in ("things", "ties", "ignored"))
            return cls(things, ties, ignored, near)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged; the model also works without that file.") from error

    def notes(self, prompt: str) -> tuple[str, ...]:
        """Return at most one sentence, about the main thing of a prompt if the model cannot draw it."""
        thing = self._main_thing(prompt)
        if thing is None or thing in self.things:
            return ()
        note = say("This small model can't draw “{thing}” yet.", thing=thing[:_LONGEST])
        if thing in self.near:
            note += " " + say("Try: {things}.", things=", ".join(self.near[thing]))
        return (note,)

    def _main_thing(self, prompt: str) -> str | None:
        """Return the last word of the first phrase that could name a thing: "stone bridge" is a bridge.

        A known thing after "of" is the main one of an unknown amount or likeness: "a bouquet of roses" shows roses.
        """
        last, amount = None, None
        for word in _words(prompt):
            if word in self.things:
                last = word
            elif word == _END_OF_PHRASE or word in self.ties:
                if last is None:
                    continue
                if word != _OF or last in self.things:
                    break
                last, amount = None, amount or last
            elif word not in self.ignored and not word.endswith(_NO_NOUN):
                last = word
        return last if amount is None or last in self.things else amount


def _words(prompt: str) -> list[str]:
    """Return a prompt's words in lower case and its pictographs, in order; a comma or full stop is _END_OF_PHRASE."""
    plain = unicodedata.normalize("NFC", _TAG.sub(",", prompt).lower()).replace("\ufe0f", "")
    words: list[str] = []
    for part in re.split(r"([,.;:!?()])|[\s\d_]+", plain):
        if not part:
            continue
        if part in ",.;:!?()":
            words.append(_END_OF_PHRASE)
            continue
        words += [word for word in _WORD.findall(part) if len(word) > 1 or not word.isascii()]
        words += [char for char in part if _is_pictograph(char)]
    return words


def _is_pictograph(char: str) -> bool:
    """Whether a character is an emoji or another picture, also one that the interpreter is too old to know."""
    return unicodedata.category(char) == "So" or (
        "\U0001f300" <= char <= "\U0001faff" and not "\U0001f3fb" <= char <= "\U0001f3ff"
    )
