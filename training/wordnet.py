"""WordNet's nouns: what is a kind of what.

So a word that was never drawn is near to things of its own kind: a corgi is a dog, but no caterpillar is a tractor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.sources import Concept

Table = np.ndarray[Any, Any]

#: WordNet's lexicographer files (https://wordnet.princeton.edu/documentation/lexnames5wn) of what can be seen.
ANIMAL, ARTIFACT, BODY, FOOD, OBJECT, PERSON, PHENOMENON, PLANT = 5, 6, 8, 13, 17, 18, 19, 20
SEEN = frozenset({ANIMAL, ARTIFACT, BODY, FOOD, OBJECT, PERSON, PHENOMENON, PLANT})
#: The files in which the things of a kind are; those of the other kinds are made by people.
FILES = {
    "animal": {ANIMAL},
    "sea": {ANIMAL},
    "food": {FOOD},
    "drink": {FOOD},
    "fruit": {FOOD},
    "plant": {PLANT},
    "person": {PERSON},
    "fantasy": {PERSON, ARTIFACT},
    "face": {PERSON},
    "nature": {OBJECT, PHENOMENON},
    "landscape": {OBJECT, ARTIFACT},
    "sky": {OBJECT, PHENOMENON},
}
#: Ancestors above a word that are asked for other things, and the most things below one: more have little in common.
STEPS, CROWD = 4, 16
#: Cosine of the vectors of a word and of a thing from which they are alike; a word's own kind need not be like it.
ALIKE = 0.45
#: Things that say too little of a person.
ANYBODY = frozenset({"man", "woman", "old man", "old woman", "boy", "girl", "baby"})
#: Meanings of a word that count.
MEANINGS = 2
#: Things that are named for a word.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """One meaning of a noun: its lexicographer file, and the meanings of which it is a kind.

    The name of one person, place or thing is no kind of anything.
    """

    file: int
    kinds: tuple[str, ...]


class WordNet:
    """The meanings of English nouns, the most usual first."""

    def __init__(self, meanings: dict[str, Meaning], senses: dict[str, tuple[str, ...]]) -> None:
        self._meanings = meanings
        self._senses = senses

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `data.noun` and `index.noun` of a folder (https://wordnet.princeton.edu/documentation/wndb5wn)."""
        meanings, senses = {}, {}
        for line in _lines(folder / "data.noun"):
            fields = line.split(" | ")[0].split()
            pointers = fields[5 + 2 * int(fields[3], 16) :]
            kinds = tuple(pointers[at + 1] for at in range(0, len(pointers), 4) if pointers[at] == "@")
            meanings[fields[0]] = Meaning(int(fields[1]), kinds)
        for line in _lines(folder / "index.noun"):
            fields = line.split()
            senses[fields[0]] = tuple(fields[-int(fields[2]) :])
        return cls(meanings, senses)

    @property
    def words(self) -> list[str]:
        """The nouns that are one word of plain letters."""
        return [word for word in self._senses if word.isascii() and word.isalpha()]

    def near(
        self, words: Sequence[str], things: Sequence[Concept], vectors: Mapping[str, Table]
    ) -> dict[str, list[str]]:
        """For each word that is a kind of a thing, or of a kind with things that are like it: their usual names."""
        below: dict[str, set[str]] = {}
        own: dict[str, str] = {}
        for thing in things:
            if thing.name not in ANYBODY and (sense := self._sense_of(thing)) is not None:
                own.setdefault(sense, thing.name)
                for each in self._above(sense, 99):
                    below.setdefault(each, set()).add(thing.name)
        found = {}
        for word in words:
            above = [each for sense in self._usual(word) for each in self._above(sense, STEPS)]
            if kinds := [own[each] for each in above if each in own]:
                found[word] = kinds[:1]
                continue
            kin = {name for each in above if len(below.get(each, ())) <= CROWD for name in below.get(each, ())}
            alike = sorted((-likeness, name) for name in kin if (likeness := _likeness(vectors, word, name)) >= ALIKE)
            if alike:
                found[word] = [name for _, name in alike[:NAMED]]
        return found

    def _sense_of(self, thing: Concept) -> str | None:
        """The most usual meaning of a thing's name that is of its kind; None if there is none."""
        files = FILES.get(thing.kind, {ARTIFACT})
        senses = (sense for name in thing.names for sense in self._senses.get(name.replace(" ", "_"), ()))
        return next((sense for sense in senses if self._meanings[sense].file in files), None)

    def _usual(self, word: str) -> list[str]:
        """The most usual meanings of a word, if it can be seen; of a plant that is eaten, what is eaten."""
        senses = [sense for sense in self._senses.get(word, ()) if self._meanings[sense].kinds]
        files = [self._meanings[sense].file for sense in senses]
        if not files or files[0] not in SEEN:
            return []
        wanted = FOOD if files[0] == PLANT and FOOD in files else files[0]
        return [sense for sense, file in zip(senses, files, strict=True) if file == wanted][:MEANINGS]

    def _above(self, sense: str, steps: int) -> Iterator[str]:
        """A meaning, and those of which it is a kind, up to so many steps above it; the nearest first."""
        level, seen = [sense], {sense}
        for _ in range(steps + 1):
            yield from level
            above = dict.fromkeys(kind for each in level for kind in self._meanings[each].kinds)
            level = [each for each in above if each not in seen]
            seen.update(level)


def _likeness(vectors: Mapping[str, Table], one: str, other: str) -> float:
    """The cosine of the vectors of two words; 0 if a word has none."""
    if one not in vectors or other not in vectors:
        return 0.0
    first, second = vectors[one], vectors[other]
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file of WordNet without its licence, whose lines begin with blanks."""
    with file.open(encoding="utf-8") as lines:
        yield from (line for line in lines if not line.startswith(" "))
