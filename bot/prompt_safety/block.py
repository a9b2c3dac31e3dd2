"""The hard block, which no setting switches off: sexual content together with minors, and a named person undressed.

The rule, as docs/prompts.md states it:

- A prompt is blocked if it has a sexual word or nudity, and also a word for minors or an age below 18, anywhere.
- A prompt is blocked if it has nudity or a sexual act, and also a public figure of the list, anywhere; or the first and
  last name of another person near it. Artists are no such people: "a nude by Amedeo Modigliani".
- In a negative prompt such words are what people want to avoid, so only words of the same part, between two commas,
  count together. One more thing counts: a sexual prompt whose negative prompt is to leave out that people are adult.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from functools import cache, reduce
from importlib.resources import files
from itertools import pairwise
from operator import or_

from bot.prompt_safety.fold import Folded, fold
from bot.prompt_safety.terms import Terms


class Blocked(StrEnum):
    """Why a request is blocked, as a sentence that names no word of it."""

    MINOR = (
        "Sexual content together with words for minors is never painted. No setting of this bot, of the server or of "
        "the host changes this."
    )
    PERSON = (
        "A real person who is named is never painted undressed or in a sexual scene. No setting of this bot, of the "
        "server or of the host changes this."
    )


_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
)
_NUMBER = rf"(\d{{1,2}}|{'|'.join(_NUMBERS)})"
_COUNT = rf"(?<![\w.]){_NUMBER}"
_AGED = r"\b(?:aged?|ages)[\s:-]*(?:(?:of|is|was|about|around|only)\s+)?"
_AGES = tuple(
    map(
        re.compile,
        (
            _COUNT + r"[\s-]*(?:years?|yrs?|y)[\s./-]*(?:olds?|o|young)\b",
            _COUNT + r"[\s-]*(?:years?|yrs?)[\s-]*of[\s-]*age\b",
            rf"{_AGED}{_NUMBER}\b",
            r"(?<![\w.])(1[0-7])f\b",
        ),
    )
)
_BABY = re.compile(_COUNT + r"[\s-]*(?:months?|weeks?|days?)[\s.-]*olds?\b")
_WEIGHT = re.compile(r":\s*-?\d*\.?\d+\s*(?=[)\]])")
_BRACKETS = str.maketrans("()[]{}=", "       ")
"""Weights and brackets are syntax, and a model reads the age between them: (12:1.2) years old."""
_ADULT = 18

_NAME = re.compile(r"[^\W\d_][\w'’-]*|[.!?;](?=\s|$)")
_NEAR = 8
"""Words between nudity and a name that still belong together."""
_CREATOR = frozenset({"by", "photographer", "painter", "artist", "sculptor", "illustrator", "style", "manner", "à"})
_ENDS = frozenset(".!?;")
_PART = re.compile(r"[,;|\n，、；]")
"""What separates the parts of a negative prompt."""
_LINKS = frozenset({"of", "in", "the", "style", "manner", "by", "and"})


@cache
def _words(name: str) -> tuple[str, ...]:
    """The lines of a file of words, without its comments."""
    text = files("bot.prompt_safety").joinpath(f"data/{name}.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


class Kind(Flag):
    """What a word of the lists says."""

    SUGGESTIVE = auto()
    NUDE = auto()
    MINOR = auto()
    PERSON = auto()
    ADULT = auto()


_KINDS = {
    "explicit": Kind.NUDE | Kind.SUGGESTIVE,
    "nudity": Kind.NUDE | Kind.SUGGESTIVE,
    "suggestive": Kind.SUGGESTIVE,
    "minors": Kind.MINOR,
    "people": Kind.PERSON,
    "adults": Kind.ADULT,
}
"""The lists of terms, by the names of their files. Every word that is nude is suggestive, too."""


@dataclass(frozen=True)
class _Lists:
    """All lists, compiled into one."""

    terms: Terms
    kinds: Mapping[str, Kind]
    given_names: frozenset[str]
    no_surnames: frozenset[str]
    artists: frozenset[str]

    def kinds_in(self, text: Folded) -> Kind:
        """What the words of a text say."""
        return reduce(or_, (self.kinds[term] for term in set(self.terms.found(text))), Kind(0))


@cache
def _lists() -> _Lists:
    kinds: dict[str, Kind] = {}
    for name, kind in _KINDS.items():
        for word in _words(name):
            kinds[word] = kinds.get(word, Kind(0)) | kind
    terms = Terms(kinds, spared=_words("spared"), stars=2, plurals=True)
    names = (frozenset(_words(name)) for name in ("given_names", "no_surnames", "artists"))
    return _Lists(terms, kinds, *names)


def load() -> None:
    """Read the words now, so that the first request need not wait for it."""
    _lists()


def objection(prompt: str, negative_prompt: str = "") -> Blocked | None:
    """Why the hard block forbids a request; None if it does not."""
    text = fold(prompt)
    kinds = _lists().kinds_in(text)
    if blocked := _objection(text, kinds):
        return blocked
    if not negative_prompt:
        return None
    left_out = fold(negative_prompt)
    says = _lists().kinds_in(left_out)
    if Kind.SUGGESTIVE in kinds and Kind.ADULT in says:
        return Blocked.MINOR
    # Words of one part cannot count together if the whole text has none of one kind.
    if _objection(left_out, says) is None:
        return None
    parts = map(fold, _PART.split(negative_prompt))
    return next((blocked for part in parts if (blocked := _objection(part, _lists().kinds_in(part)))), None)


def _objection(text: Folded, kinds: Kind) -> Blocked | None:
    if _glued().search(text.text.casefold()):
        return Blocked.MINOR
    if Kind.SUGGESTIVE in kinds and (Kind.MINOR in kinds or _has_age_of_minor(text)):
        return Blocked.MINOR
    if Kind.NUDE in kinds and (Kind.PERSON in kinds or _names_somebody(text.text)):
        return Blocked.PERSON
    return None


@cache
def _glued() -> re.Pattern[str]:
    """A word for nudity and a word for minors, written as one word."""
    nude, minors = (
        "|".join(sorted({word for name in names for word in _words(name) if word.isalpha() and word.isascii()}))
        for names in (("explicit", "nudity"), ("minors",))
    )
    return re.compile(rf"\b(?:(?:{nude})(?:{minors})s?|(?:{minors})s?(?:{nude}))\b")


def _has_age_of_minor(text: Folded) -> bool:
    plain = _WEIGHT.sub("", text.text.casefold()).translate(_BRACKETS)
    if _BABY.search(plain):
        return True
    return any(_is_minor(match[1]) for pattern in _AGES for match in pattern.finditer(plain))


def _is_minor(age: str) -> bool:
    return (int(age) if age.isdigit() else _NUMBERS.index(age)) < _ADULT


def _names_somebody(text: str) -> bool:
    """Whether a first and a last name stand near a word for nudity, and are not those of an artist."""
    words = _NAME.findall(text)
    if not any(map(_is_first, words)):
        return False
    undressed = {word for word in set(words) if Kind.NUDE in _lists().kinds_in(fold(word))}
    # A word of a phrase, such as "no clothes", is none alone. Then the name may stand anywhere.
    nude = [at for at, word in enumerate(words) if word in undressed] or None
    for at, (first, last) in enumerate(pairwise(words)):
        if not (_is_first(first) and _is_last(last)) or _is_creator(words[max(at - 4, 0) : at], first, last):
            continue
        if nude is None or _is_near(words, at, nude):
            return True
    return False


def _is_first(word: str) -> bool:
    return word[0].isupper() and word.casefold() in _lists().given_names


def _is_last(word: str) -> bool:
    plain = _bare(word)
    return word[0].isupper() and len(plain) > 1 and plain not in _lists().no_surnames


def _bare(word: str) -> str:
    """A word in lower case, without the ending of a genitive."""
    return word.casefold().removesuffix("'s").removesuffix("’s")


def _is_creator(before: list[str], first: str, last: str) -> bool:
    """Whether a name with these words before it is that of the person who made a picture."""
    surname = _bare(last)
    if surname in _lists().artists or f"{first.casefold()} {surname}" in _lists().artists:
        return True
    for word in reversed([each.casefold() for each in before]):
        if word in _CREATOR:
            return True
        if word not in _LINKS:
            return False
    return False


def _is_near(words: list[str], name: int, places: list[int]) -> bool:
    """Whether a word at one of the places, which are in order, is near a name in the same sentence."""
    for place in places[bisect_left(places, name - _NEAR) : bisect_right(places, name + 1 + _NEAR)]:
        between = words[place:name] if place < name else words[name + 2 : place]
        if place not in (name, name + 1) and not _ENDS.intersection(between):
            return True
    return False
