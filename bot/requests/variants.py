"""Variants of one thing: lists of backgrounds, colours and angles become requests that keep what stays. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.errors import UserError
from bot.jobs import Kept, Operation
from bot.language import mark, sentence
from bot.requests.wording import clean

STEADY = "product photo, soft even light, centred, same size"
"""What keeps size and light the same, if the person says nothing; a model with a small vocabulary does not know it."""
LONGEST = 100
"""Characters of an entry of a list."""

_COLOURS = "red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ae]y|golden|silver"
_OLD_COLOUR = re.compile(rf"\b(?:{_COLOURS})\s+(?=\w)", re.IGNORECASE)
_OLD_BACKGROUND = re.compile(
    r"[\s,]+(?:on|in front of|against)\s+(?:an?|the)\s+[\w\s-]{1,60}?\bbackground\b", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_PLACED = re.compile(r"^(?:on|in|at|under|over|before|beside|near|with|against|among)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variant:
    """One request: what it is called, its words, and what it does with the picture."""

    label: str
    prompt: str
    operation: Operation
    strength: float
    kept: Kept | None = None


def thing_of(prompt: str) -> str:
    """What a prompt shows, without its background."""
    return clean(_OLD_BACKGROUND.sub("", prompt)).strip(" ,") or clean(prompt)


def variants_of(thing: str, look: str, backgrounds: str = "", colours: str = "", angles: str = "") -> list[Variant]:
    """The variants of a thing, from lists with commas; `look` are words for all of them.

    Raises UserError if the lists are empty, if an entry is too long, or without words for the thing.
    """
    thing = clean(thing)
    if not thing:
        raise UserError("Say what the picture shows, like: a red apple.")
    # Words for the old background would be painted beside the new one.
    bare = thing_of(thing)
    made = [*_backgrounds(bare, backgrounds), *_colours(bare, colours), *_angles(thing, angles)]
    if not made:
        raise UserError(
            "Say what varies: backgrounds, colours or angles, with commas between them, like: blue, green, a beach."
        )
    look = clean(look)
    joined = f" {look}" if look.startswith("--") else f", {look}"
    return [
        Variant(each.label, f"{each.prompt}{joined}" if look else each.prompt, each.operation, each.strength, each.kept)
        for each in made
    ]


def _backgrounds(thing: str, typed: str) -> Iterator[Variant]:
    for value in _entries(mark("backgrounds"), typed):
        there = value if _PLACED.match(value) else f"on {_an(_ARTICLE.sub('', value))} background"
        yield Variant(f"background: {value}", f"{thing} {there}", Operation.INPAINT, 1.0, Kept.THING)


def _colours(thing: str, typed: str) -> Iterator[Variant]:
    bare = _OLD_COLOUR.sub("", _ARTICLE.sub("", thing))
    for value in _entries(mark("colours"), typed):
        words = _an(f"{_ARTICLE.sub('', value)} {bare}")
        yield Variant(f"colour: {value}", words, Operation.INPAINT, 0.8, Kept.BACKGROUND)


def _angles(thing: str, typed: str) -> Iterator[Variant]:
    # The shape of a thing changes with the angle, so no mask keeps it.
    for value in _entries(mark("angles"), typed):
        words = value if re.search(r"\b(?:view|from|angle|shot|close-up)\b", value, re.IGNORECASE) else f"{value} view"
        yield Variant(f"angle: {value}", f"{thing}, {words}", Operation.IMAGE2IMAGE, 0.7)


def _entries(name: str, typed: str) -> list[str]:
    """The entries of a list, each once; capital letters make no other entry."""
    found: dict[str, str] = {}
    for entry in filter(None, map(clean, typed.split(","))):
        found.setdefault(entry.casefold(), entry)
    if long := next((entry for entry in found.values() if len(entry) > LONGEST), None):
        raise UserError(
            "An entry of {name} has {count} characters, and at most {most} are allowed: shorten it.",
            name=sentence(name),
            count=len(long),
            most=LONGEST,
        )
    return list(found.values())


def _an(words: str) -> str:
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"
