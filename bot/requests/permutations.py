"""Prompts with choices: `{red, green} apple` stands for two prompts, and `--repeat 3` for three pictures of each.

A text is read once, in time in proportion to its length. How many prompts it stands for is known before any of them is
made. Choices may be nested and may stand in flags: `--ar {1:1, 16:9}`. A brace that is no choice has no comma at its
own level, as in the emphasis `{word}` of other tools, and stays as it is; so does one after a backslash.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from bot.errors import Reference, UserError, quoted, refer
from bot.language import say
from bot.requests.wording import nearest

DEEPEST = 8
"""How deep choices may be nested."""
LONGEST = 6000
"""The most characters of a prompt, which is what Discord lets a person type."""
MOST_DRAWN = 100
"""The most wildcards that are replaced in one prompt, with those in the entries of others."""

_REPEAT = re.compile(r"(?:(?<=\s)|^)(?:--|[—–])repeat[\s=]+(\d{1,9})(?=[\s,]|$)", re.IGNORECASE)
_FLAG = re.compile(r"(?:--|[—–])([A-Za-z][\w-]*)[\s=:]*$")
_WILDCARD = re.compile(r"__([a-z0-9]+(?:[_-][a-z0-9]+)*)__", re.IGNORECASE)
_MANY = 10**6


def may_have_choices(text: str) -> bool:
    """Whether a text has what choices, wildcards and copies are written with; most texts need not be read for them."""
    return "{" in text or "}" in text or "__" in text or "repeat" in text.lower()


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives of which each prompt has one; `flag` is the name of the flag whose value it is, or empty."""

    alternatives: tuple[Parts, ...]
    flag: str
    count: int


Parts = tuple["str | Choice", ...]
"""A text in pieces: literal text, and choices."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the prompts: its text, what was chosen in it, in order, and which copy of that prompt it is, from 0."""

    text: str
    values: tuple[str, ...]
    copy: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with choices, read; `repeats` is how many pictures each of its prompts is to get."""

    parts: Parts
    repeats: int = 1

    @property
    def count(self) -> int:
        """How many variants there are. It may be a number of a thousand digits."""
        return _count(self.parts) * self.repeats

    def __getitem__(self, number: int) -> Variant:
        """The variant with a number from 0, in the order of the text: the last choice changes first."""
        combination, copy = divmod(number, self.repeats)
        if not 0 <= number < self.count:
            raise IndexError(number)
        values: list[str] = []
        return Variant(_chosen(self.parts, combination, values), tuple(values), copy)

    def __iter__(self) -> Iterator[Variant]:
        """The variants in order, each made when it is asked for."""
        return map(self.__getitem__, range(self.count))


@dataclass(slots=True)
class _Open:
    """A brace that is not closed yet: where it stands, and its alternatives so far."""

    start: int
    alternatives: list[list[str | Choice]] = field(default_factory=lambda: [[]])


def read(text: str, most_images: int) -> Pattern:
    """Read a prompt. `--repeat n` counts here if there are choices, or if n is over the pictures of one request.

    A text without braces and repeats is its only part, unchanged. Raises UserError for a choice that is not closed, for
    one that is nested too deep, and for a text that is too long.
    """
    if len(text) > LONGEST:
        raise UserError(
            "A prompt has at most {most:,} characters; this one has {length:,}.", most=LONGEST, length=len(text)
        )
    parts = _parse(text)
    repeats = [int(match[1]) for part in parts if isinstance(part, str) for match in _REPEAT.finditer(part)]
    if not repeats or repeats[-1] < 2 or (_count(parts) == 1 and repeats[-1] <= most_images):
        return Pattern(parts)
    without = (_REPEAT.sub("", part) if isinstance(part, str) else part for part in parts)
    return Pattern(tuple(without), repeats[-1])


def said(count: int) -> str:
    """A count of variants for a sentence; a very large one is only said to be large."""
    return say("{number:,}", number=count) if count <= _MANY else say("more than {number:,}", number=_MANY)


def _parse(text: str) -> Parts:
    # Frames below the first one are open braces.
    frames = [_Open(-1)]
    literal: list[str] = []

    def flush() -> None:
        if literal:
            frames[-1].alternatives[-1].append("".join(literal))
            literal.clear()

    at = 0
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        is_escape = char == "\\" and following and (following in "{}" or (following == "," and len(frames) > 1))
        if is_escape:
            literal.append(following)
            at += 2
            continue
        at += 1
        if char == "{":
            flush()
            frames.append(_Open(at - 1))
        elif char == "," and len(frames) > 1:
            flush()
            frames[-1].alternatives.append([])
        elif char == "}" and len(frames) > 1:
            flush()
            closed = frames.pop()
            frames[-1].alternatives[-1] += _closed(closed, _flag_before(frames[-1].alternatives[-1]))
        else:
            literal.append(char)
    flush()
    while len(frames) > 1:
        unclosed = frames.pop()
        if len(unclosed.alternatives) > 1:
            raise UserError(
                "The brace at {place} is not closed. Close the choice, as in a {{red, green}} apple, or put a "
                "backslash before a brace that is no choice.",
                place=quoted(text[unclosed.start : unclosed.start + 40]),
            )
        frames[-1].alternatives[-1] += ["{", *unclosed.alternatives[0]]
    parts = _joined(frames[0].alternatives[0])
    if _depth(parts) > DEEPEST:
        raise UserError("Choices can be nested {most} deep; these are deeper. Write some of them out.", most=DEEPEST)
    return parts


def _closed(brace: _Open, flag: str) -> list[str | Choice]:
    """What a closed brace is: a choice, or the braces themselves around what they hold."""
    if len(brace.alternatives) == 1:
        return ["{", *brace.alternatives[0], "}"]
    alternatives = tuple(_stripped(_joined(parts)) for parts in brace.alternatives)
    return [Choice(alternatives, flag, sum(map(_count, alternatives)))]


def _flag_before(parts: Sequence[str | Choice]) -> str:
    match = _FLAG.search(parts[-1][-40:]) if parts and isinstance(parts[-1], str) else None
    return match[1].lower() if match else ""


def _joined(parts: Sequence[str | Choice]) -> Parts:
    """The same parts without two literal texts beside each other."""
    joined: list[str | Choice] = []
    run: list[str] = []
    for part in parts:
        if isinstance(part, str):
            run.append(part)
            continue
        joined += ["".join(run)] if run else []
        run.clear()
        joined.append(part)
    return (*joined, *(["".join(run)] if run else []))


def _stripped(parts: Parts) -> Parts:
    """The same parts without blanks at both ends."""
    parts = (parts[0].lstrip(), *parts[1:]) if parts and isinstance(parts[0], str) else parts
    return (*parts[:-1], parts[-1].rstrip()) if parts and isinstance(parts[-1], str) else parts


def _count(parts: Parts) -> int:
    return prod(part.count for part in parts if isinstance(part, Choice))


def _depth(parts: Parts) -> int:
    deepest, level = 0, [parts]
    while level := [
        each for parts in level for part in parts if isinstance(part, Choice) for each in part.alternatives
    ]:
        deepest += 1
    return deepest


def _chosen(parts: Parts, number: int, values: list[str] | None = None) -> str:
    """The text of one combination; `values` gets what was chosen, without the choices within it."""
    texts: list[str] = []
    for part in reversed(parts):
        if isinstance(part, str):
            texts.append(part)
            continue
        number, which = divmod(number, part.count)
        for alternative in part.alternatives:
            if which < (count := _count(alternative)):
                texts.append(_chosen(alternative, which))
                break
            which -= count
        if values is not None:
            value = texts[-1] or "nothing"
            values.insert(0, f"{part.flag} {value}" if part.flag else value)
    return "".join(reversed(texts))


class Wildcards:
    """The lists of a server, from which `__name__` draws an entry by chance.

    As long as a list has other entries, no entry is drawn twice.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]], chance: random.Random) -> None:
        """`lists` has the entries by the name of the list, in lower case; none of them is empty."""
        self._lists = lists
        self._chance = chance
        self._decks: dict[str, list[str]] = {}

    def has(self, text: str) -> bool:
        """Whether a text names a list."""
        return any(match[1].lower() in self._lists for match in _WILDCARD.finditer(text))

    def check(self, text: str) -> None:
        """Raise UserError if a list that a text names leads back to itself, or if a name is probably misspelled."""
        if not self._lists:
            return
        for match in _WILDCARD.finditer(text):
            name = match[1].lower()
            if name not in self._lists and (near := nearest(name, self._lists)):
                raise UserError(
                    "There is no wildcard {name}. Did you mean {near}?",
                    name=refer(Reference.WILDCARD, name),
                    near=refer(Reference.WILDCARD, near),
                )
        if circle := self._circle(_names(text)):
            raise UserError(
                "The wildcard {wildcard} contains itself: {circle}. Moderators can change its list.",
                wildcard=refer(Reference.WILDCARD, circle[0]),
                circle=" → ".join(circle),
            )

    def _circle(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names on a way from a list back to itself; none if there is no such way."""
        done: set[str] = set()
        way: list[str] = []
        stack = [(name, False) for name in names]
        while stack:
            name, leaves = stack.pop()
            if leaves:
                done.add(way.pop())
            elif name in way:
                return (*way[way.index(name) :], name)
            elif name in self._lists and name not in done:
                way.append(name)
                stack.append((name, True))
                stack += [(called, False) for entry in self._lists[name] for called in _names(entry)]
        return ()

    def drawn(self, text: str) -> tuple[str, tuple[str, ...]]:
        """A text with an entry in the place of each wildcard, and the entries that the text itself asked for.

        Raises UserError if that takes too many entries, or makes the text too long.
        """
        self.check(text)
        values: list[str] = []
        count = 0
        texts = [(text, True)]
        done: list[str] = []
        length = 0
        while texts:
            rest, is_own = texts.pop()
            match = next((m for m in _WILDCARD.finditer(rest) if m[1].lower() in self._lists), None)
            before = rest if match is None else rest[: match.start()]
            done.append(before)
            length += len(before)
            if match is None:
                continue
            count += 1
            entry = self._draw(match[1].lower())
            if count > MOST_DRAWN or length > LONGEST:
                raise UserError(
                    "The wildcards of this prompt draw more than {most} entries, or make it longer than {longest:,} "
                    "characters. Use fewer of them.",
                    most=MOST_DRAWN,
                    longest=LONGEST,
                )
            if is_own:
                values.append(entry)
            texts += [(rest[match.end() :], is_own), (entry, False)]
        return "".join(done), tuple(values)

    def _draw(self, name: str) -> str:
        if not self._decks.get(name):
            self._decks[name] = self._chance.sample(self._lists[name], len(self._lists[name]))
        return self._decks[name].pop()


def _names(text: str) -> list[str]:
    return [match[1].lower() for match in _WILDCARD.finditer(text)]
