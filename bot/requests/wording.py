"""Text that a person typed, for use in sentences: cleaned, quoted, shortened, and compared with known names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bot.errors import quoted
from bot.language import Listed, Sentence, say, sentence

_LONGEST_NAME = 60
"""A name of more characters resembles none."""


# Ranges of code points instead of Unicode's categories: those depend on the age of the interpreter, which does not
# know the youngest emoji.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(
    "["
    "\u00ad"  # soft hyphen
    "\u034f"  # combining grapheme joiner
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of text
    "\u115f\u1160\u3164\uffa0"  # Hangul fillers
    "\u17b4\u17b5\u180b-\u180f"  # Khmer vowels and Mongolian separators without a shape
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff"  # spaces without a width, word joiners, what Unicode gave up
    "\ud800-\udfff"  # halves of surrogate pairs, which no file can hold
    "\ufff0-\ufffb\ufffe\uffff"  # annotations and what is no character
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # controls of shorthand and of music
    "]"
)
# Tags are a part of flags such as Wales', which is a black flag with the tags of its letters. Elsewhere they are an
# invisible alphabet.
_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f)|[\U000e0000-\U000e00ff]")
# A joiner has an effect between Persian or Indic letters and between emoji, and none beside Latin, Greek and Cyrillic.
_JOINERS = re.compile("(?<![\u0600-\U0010ffff])[\u200c\u200d]+|[\u200c\u200d]+(?![\u0600-\u200b\u200e-\U0010ffff])")
# A variation selector changes the character before it, so there must be one.
_STRAY = re.compile("(?:(?<=\\s)|^)[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]+")


_PLAIN_NUMBER = re.compile(r"([+-]?(?:[0-9]{1,9}(?:[.,][0-9]{0,9})?|[.,][0-9]{1,9}))\s*(%?)")


def clean(text: str) -> str:
    """The text on one line, as it was written but for control characters, invisible characters and doubled blanks.

    A control character becomes a blank, because it may have been a tab or the end of a line. An invisible character
    goes without a trace. Characters that are part of a visible one stay: joiners, variation selectors, tags of flags.
    """
    text = _INVISIBLE.sub("", _CONTROLS.sub(" ", text))
    words = " ".join(_TAGS.sub(r"\1", text).split())
    return " ".join(_JOINERS.sub("", _STRAY.sub("", words)).split())


def number_of(text: str) -> float | None:
    """A number as people type it: 0.75, 0,75 or 75 %; None for other words."""
    match = _PLAIN_NUMBER.fullmatch(text.strip())
    return None if match is None else float(match[1].replace(",", ".")) / (100 if match[2] else 1)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name with the fewest typing errors between it and `name`; None if no name is near.

    A letter that is missing, added, wrong or exchanged with its neighbour is one error. One error is allowed for each
    three letters that were typed, as rustc allows them for its suggestions.
    """
    typed = name.lower()
    allowed = len(typed) // 3 if len(typed) <= _LONGEST_NAME else -1
    near = [
        (count, number, each)
        for number, each in enumerate(known)
        if abs(len(each) - len(typed)) <= allowed and (count := errors(typed, each.lower())) <= allowed
    ]
    return min(near)[2] if near else None


def errors(one: str, other: str) -> int:
    """The optimal string alignment distance between two names, in time of the product of their lengths."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one):
        earlier, before, row = before, row, [index + 1]
        for at, its in enumerate(other):
            row.append(min(before[at + 1] + 1, row[at] + 1, before[at] + (letter != its)))
            if index and at and letter == other[at - 1] and one[index - 1] == its:
                row[-1] = min(row[-1], earlier[at - 1] + 1)
    return row[-1]


def unknown(kind: str, name: str, known: Sequence[str]) -> Sentence:
    """A sentence: the name does not exist, and the name that was probably meant, or all names."""
    asked = {"kind": sentence(kind), "name": quoted(name)}
    if near := nearest(name, known):
        return sentence("There is no {kind} {name}. Did you mean {near}?", near=near, **asked)
    return sentence("There is no {kind} {name}. Choose from: {names}.", names=", ".join(known), **asked)


def listed(names: Sequence[object], most: int) -> str:
    """Names as people list them: "one, two and three". Of more than `most` names, the first ones and how many more."""
    more = [say("{count} more", count=len(names) - most)] if len(names) > most else []
    return str(Listed([*names[:most], *more]))


_ENDS = (".", "。", "!", "?", "！", "？")


def is_sentence(note: str) -> bool:
    """Whether a note is a sentence of its own, and not a part of one."""
    first = note[:1]
    return first.isalpha() and not first.islower() and note.endswith(_ENDS)


def one_line(notes: Sequence[str]) -> tuple[str, ...]:
    """All notes about a request as one line; none if there are none."""
    line = ""
    for note in notes:
        if not line:
            line = note
        elif is_sentence(note):
            line = f"{line}{'' if line.endswith(_ENDS) else '.'} {note}"
        else:
            line = f"{line.rstrip('.。')}; {note}"
    return (line,) if line else ()
