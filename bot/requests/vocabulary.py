"""The words that a small model knows, so that people learn before they wait that it cannot draw something."""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import ConfigError
from bot.language import Listed, in_quotes, say, say_many

FILE = "vocabulary.json"
"""The file of the vocabulary in a model's folder; `training/words.py` writes it."""

_WORD = re.compile(r"[^\W\d_]+")
_TAG = re.compile(r"<[^<>]{1,100}>")  # such as <lora:name:0.8>
_END_OF_PHRASE = ""
_OF = "of"
_NO_NOUN = ("ing", "ed", "ly")  # endings of verbs and adverbs, unless the word is a thing
_LONGEST = 30
_MOST = 3
"""Things that a sentence names."""
_PLURALS = ("ies", "y"), ("es", ""), ("s", "")
"""Endings of a plural, and those of its singular."""
# Small words of other languages that are no words of English.
_FOREIGN = frozenset(
    {
        *("der", "das", "ein", "eine", "einen", "einem", "einer", "und", "mit", "auf", "im", "zum", "zur", "vor"),
        *("unter", "neben", "les", "une", "dans", "avec", "sur", "chez", "et", "un", "una", "en", "por"),
        *("uma", "um", "dos", "das", "pelo", "pela", "na", "ze", "nad", "przy", "oraz"),
    }
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that matter for a model.

    `things` are things and scenes that it can draw; `ties` are words that join phrases, such as "under"; `ignored` are
    words inside a phrase, such as "red"; `near` has, for other words, things that are similar. `names` are the usual
    names of the things.
    """

    things: frozenset[str]
    ties: frozenset[str]
    ignored: frozenset[str]
    near: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...] = ()

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
            return cls(things, ties, ignored, near, tuple(stored.get("names", ())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged; the model also works without that file.") from error

    def notes(self, prompt: str) -> tuple[str, ...]:
        """Return at most one sentence, about the things of a prompt that the model cannot draw."""
        words = _words(prompt)
        if self._is_foreign(words):
            return (say("This small model reads only English words; write the prompt in English."),)
        unknown = [thing for thing in dict.fromkeys(self._things(words)) if thing not in self.things]
        if not unknown:
            return ()
        shown = [str(in_quotes(thing[:_LONGEST])) for thing in unknown[:_MOST]]
        note = say("This small model can't draw {things}.", things=str(Listed(shown)))
        near = {thing: things for thing in unknown[:_MOST] if (things := self._near(thing))}
        for thing, things in near.items():
            instead = say("Instead of {thing}, try: {things}.", thing=in_quotes(thing), things=", ".join(things))
            note += " " + (say("Try: {things}.", things=", ".join(things)) if len(unknown) == 1 else instead)
        if self.names and not near:
            note += " " + self.known(unknown[0])
        return (note,)

    def known(self, seed: str = "") -> str:
        """How many things the model knows, with examples; another `seed` gives other ones."""
        count = len(self.names)
        # The names are sorted by kind, so those that are far apart are of different kinds.
        first = zlib.crc32(seed.encode("utf-8", "replace")) % count
        most = min(_MOST, count)
        some = [self.names[(first + number * count // most) % count] for number in range(most)]
        return say_many(
            "It knows {count} thing: {things}.",
            "It knows {count} things, such as {things}.",
            count,
            things=str(Listed(some)),
        )

    def _near(self, thing: str) -> tuple[str, ...]:
        """What is similar to a thing, or to one thing of several."""
        singular = (thing.removesuffix(many) + one for many, one in _PLURALS if thing.endswith(many))
        return next((self.near[word] for word in (thing, *singular) if word in self.near), ())

    def _things(self, words: Sequence[str]) -> Iterator[str]:
        """Return the last word of each phrase that could name a thing: "stone bridge" is a bridge.

        A known thing after "of" is the main one of an unknown amount or likeness: "a bouquet of roses" shows roses.
        """
        last, amount = None, None
        # After a comma come styles such as "masterpiece", unless an article or the like says that it is a thing.
        may_be = True
        for word in (*words, _END_OF_PHRASE):
            if word in self.things:
                last = word
            elif word == _END_OF_PHRASE or word in self.ties:
                if last is not None and word == _OF and last not in self.things:
                    last, amount = None, amount or last
                    continue
                if last is not None:
                    thing = last if amount is None or last in self.things else amount
                    if may_be or thing in self.things:
                        yield thing
                    last, amount, may_be = None, None, False
                if word != _END_OF_PHRASE:
                    may_be = True
            elif word not in self.ignored and not word.endswith(_NO_NOUN):
                last = word

    def _is_foreign(self, words: Sequence[str]) -> bool:
        """Whether a prompt is in another language: a name such as "El Niño" in an English one does not count."""
        if any(map(_has_other_letters, words)):
            return True
        foreign = sum(word in _FOREIGN for word in words)
        return foreign > 1 or (foreign == 1 and not any(word in self.ties or word in self.things for word in words))


def _has_other_letters(word: str) -> bool:
    """Whether a word has letters of another script than Latin."""
    return any(char.isalpha() and not unicodedata.name(char, "LATIN").startswith("LATIN") for char in word)


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
