"""Finds the terms of a list in a text that was folded: whole words and phrases, with all terms at once (Aho-Corasick).

https://dl.acm.org/doi/10.1145/360825.360855 describes the algorithm: the time does not grow with the number of terms.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, combinations
from typing import Any

import ahocorasick

from bot.prompt_safety.fold import UNSPACED, Folded, beginnings_of, fold, merged, pieces, segments

_REPEATED = re.compile(r"(.)\1+")
_BETWEEN = " \n "
"""What stands between two readings of a text, so that no phrase is found across them."""

_SHORTEST_IN_RUN = 4
"""Letters of a term that is found anywhere in letters that were spaced out. A shorter one must be a word of them."""
_MASKED = 12
"""A longest word of which a form with asterisks is known."""
_MOST_STARS = 2


class Terms:
    """A list of terms, compiled. A term is found as whole words, in whatever way they are spelled."""

    def __init__(
        self, terms: Iterable[str], *, spared: Iterable[str] = (), stars: int = 1, plurals: bool = False
    ) -> None:
        """Compile a list; a term does not count within a phrase of `spared`.

        `stars` is how many letters of a word may be asterisks; with `plurals`, forms with an s count, too.
        """
        spaced: dict[str, str] = {}  # terms by their words
        unspaced: dict[str, str] = {}
        for term in terms:
            folded = fold(term)
            if UNSPACED.search(folded.text):
                unspaced[folded.unspaced] = term
                continue
            phrase = " ".join(folded.words)
            spaced[phrase] = term
            if plurals and phrase and phrase[-1] not in "sy":
                spaced.setdefault(f"{phrase}s", term)
        spaced.pop("", None)
        unspaced.pop("", None)
        kept = {form for phrase in spared for form in _hyphenated(fold(phrase).words)}
        words = sorted({word for phrase in spaced for word in phrase.split()})
        self._words = frozenset(merged(word) for phrase in (*spaced, *kept) for word in phrase.split())
        self._beginnings = beginnings_of(self._words)
        # No word of a spared phrase: a term that is spelled in another way must not become one.
        self._repeated = _by_squeezed(words)
        self._starred = dict(_starred(words, stars))
        phrases: dict[str, tuple[str, str | None]] = {
            f" {merged(each)} ": (each, term) for each, term in spaced.items()
        }
        self._phrases = _automaton(phrases | {f" {merged(phrase)} ": (phrase, None) for phrase in kept})
        close = {merged(phrase).replace(" ", ""): term for phrase, term in spaced.items()}
        self._runs = _automaton({word: term for word, term in close.items() if len(word) >= _SHORTEST_IN_RUN})
        self._unspaced = _automaton(unspaced)

    def found(self, text: Folded) -> Iterator[str]:
        """The terms in a text; a term may come more than once."""
        if self._phrases is not None:
            spans: list[tuple[int, int, str]] = []
            spared: list[tuple[int, int]] = []
            for end, (words, term) in self._phrases.iter(self._readings(text)):
                if term is None:
                    spared.append((end - len(words), end))
                else:
                    spans.append((end - len(words), end, term))
            yield from _outside(spans, spared)
        for run in map(merged, text.runs):
            # What consists of known words is found above.
            if not segments(run, self._words) and self._runs is not None:
                yield from (term for _, term in self._runs.iter(run))
        if self._unspaced is not None and text.unspaced:
            yield from (term for _, term in self._unspaced.iter(text.unspaced))

    def _readings(self, text: Folded) -> str:
        """All readings of a text, with each word as the list spells it."""
        listed = {word: self._as_listed(word) for word in {*text.words, *text.joined, *text.signed}}
        readings = [[listed[word] for word in reading] for reading in (text.words, text.joined, text.signed)]
        readings += [made for reading in readings if (made := pieces(reading, self._words, self._beginnings))]
        readings += [segments(merged(run), self._words) for run in text.runs]
        return f" {_BETWEEN.join(' '.join(reading) for reading in readings if reading)} "

    def _as_listed(self, word: str) -> str:
        """A word, merged, as the list spells it. It may have letters too often, a z for an s, or asterisks."""
        if (plain := merged(word)) in self._words:
            return plain
        if "*" in word:
            return self._starred.get(plain) or self._as_listed(word.replace("*", ""))
        squeezed = _REPEATED.sub(r"\1", word)
        for listed, least in self._repeated.get(merged(squeezed), ()):
            if all(one <= other for one, other in zip(least, _lengths(word), strict=True)):
                return listed
        if "vv" in word:
            return self._as_listed(word.replace("vv", "w"))
        if plain.endswith("z") and (plural := f"{plain[:-1]}s") in self._words:
            return plural
        return plain


def _automaton(words: Mapping[str, Any]) -> Any:
    """An automaton that finds these words and returns their values; None without words."""
    if not words:
        return None
    automaton = ahocorasick.Automaton()
    for word, value in words.items():
        automaton.add_word(word, value)
    automaton.make_automaton()
    return automaton


def _outside(spans: Iterable[tuple[int, int, str]], spared: list[tuple[int, int]]) -> Iterator[str]:
    """The terms whose places are not within a place of `spared`."""
    spared.sort()
    starts = [start for start, _ in spared]
    reach = list(accumulate((end for _, end in spared), max))
    for start, end, term in spans:
        before = bisect_right(starts, start)
        if not before or reach[before - 1] < end:
            yield term


def _hyphenated(words: Sequence[str]) -> list[str]:
    """A phrase, and its forms in which two words became one because there was a hyphen between them."""
    pairs = [[*words[:at], words[at] + words[at + 1], *words[at + 2 :]] for at in range(len(words) - 1)]
    return [" ".join(form) for form in (words, *pairs)]


def _by_squeezed(words: Iterable[str]) -> dict[str, list[tuple[str, list[int]]]]:
    """Words, merged, by how they are written without repeated letters, each with how often it has each letter in a row.

    `li` is no repetition, although both letters are merged into one: "public" is not "pubic".
    """
    found: dict[str, list[tuple[str, list[int]]]] = {}
    for word in words:
        found.setdefault(merged(_REPEATED.sub(r"\1", word)), []).append((merged(word), _lengths(word)))
    return found


def _lengths(word: str) -> list[int]:
    """How many equal letters follow each other, for each letter of a word without its repetitions."""
    lengths: list[int] = []
    last = ""
    for letter in word:
        if letter == last:
            lengths[-1] += 1
        else:
            lengths.append(1)
        last = letter
    return lengths


def _starred(words: Iterable[str], most: int) -> Iterator[tuple[str, str]]:
    """Forms of words in which letters are asterisks, but not the first one; at least two letters stay."""
    for word in words:
        if not 3 <= len(word) <= _MASKED:
            continue
        for count in range(1, min(most, _MOST_STARS, len(word) - 2) + 1):
            for places in combinations(range(1, len(word)), count):
                starred = "".join("*" if at in places else letter for at, letter in enumerate(word))
                yield merged(starred), merged(word)
