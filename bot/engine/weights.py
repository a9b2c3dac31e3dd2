r"""The weights in a prompt: which words count more or less, as people write it for AUTOMATIC1111's web UI and compel.

| written                    | read as                                            |
| -------------------------- | -------------------------------------------------- |
| `(words)`, `((words))`     | 1.1 times, for each pair of brackets               |
| `[words]`, `[[words]]`     | 1 / 1.1 times, for each pair of brackets           |
| `(words:1.3)`, `(words)1.3` | 1.3 times                                         |
| `word++`, `word--`         | 1.1 and 0.9 times, for each sign; two signs or more |
| `(words)+`, `(words)-`     | 1.1 and 0.9 times, for each sign                   |
| `\(`, `\[`, `\+`, `\-`, `\\` | the character itself                               |

Weights within weights are multiplied. Everything else is prose and stays as it is written: a bracket that has no
partner, that is part of a word (`cat(s)`), or that holds no word (`(1)`, `:)`); signs after anything but a word of two
letters (`C++`, `5+`), and a single sign after a word (`ears- fluffy`).

The bot reads a prompt to tell what is not supported, the engine to apply the weights. Both take time in proportion to
the length of the text, whatever is in it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WEIGHTS = (0.0, 10.0)
"""A weight beyond these bounds is brought to the bound."""

MOST_WEAK_PARTS = 32
"""How many parts of a text may have a weight below 1: each takes another run of the text encoder."""

_LISTED = 3
"""How many examples of what is not supported are kept."""

_MORE, _LESS = 1.1, 0.9
_MOST_PRODUCT = 1e6
"""Nested weights are multiplied up to here, so that no number overflows."""

_TOKEN = re.compile(
    r"""
    (?P<escape>\\[()\[\]+\\-])
    | (?P<smile>(?<!\S)>?[:;=]['^]?-?[()\[\]](?!\w) | (?<!\S)[()\[\]]-?['^]?[:;=]<?(?!\S))
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<signs>\+{2,}|-{2,})
    """,
    re.VERBOSE,
)
_UNSUPPORTED = re.compile(
    r"""
    <(?:lora|lyco|lycoris|hypernet|hypernetwork):[^<>]{1,100}>
    | \{[^{}|,]{0,100}[|,][^{}]{0,100}\}
    | [^\s:,()\[\]]{0,40}::(?=\s|\Z|-?[\d.])(?![^\s\[\]]{0,8}\])-?\d{0,4}(?:\.\d{0,4})?
    | \b(?:with|use)Lora\(
    | (?<=[\w)"“”])\.(?:blend|and|swap|attend)\(
    | \bBREAK\b
    """,
    re.VERBOSE,
)
_OPERATOR = re.compile(r"\.(?:blend|and|swap|attend)\(")

# A word has two letters, or one character of a script that writes whole words or syllables with one, or an emoji.
_WORD = re.compile(r"[^\W\d_]{2}|(?=\w)[\u0900-\u1fff\u2e80-\ud7ff\uf900-\ufdff]|[\U00010000-\U0010ffff]")
_SUBSTANCE = re.compile(r"[^\s\d.,:;()\[\]{}\\'\"+*/=<>|-]")
_BAR = re.compile(r"\|")
_NUMBER_AT_END = re.compile(r":(\s?)([+-]?(?:[0-9]{1,9}(\.[0-9]{0,20})?|(\.[0-9]{1,20})))\s?\Z")
_NUMBER_AFTER = re.compile(r"(?:([0-9])(\.[0-9]{1,20})?|\.[0-9]{1,20})(?!\w|\.\w)")
_SIGNS_AFTER = re.compile(r"(?:\++|-+)(?=[\s,.;:!?)\]}\"'”’|]|\Z)")
_SIGNS_END = re.compile(r"(?=[\s,.;:!?)\]}\"'”’|]|\Z)")
_GLUE, _JOINTS = ("_", "'", "’"), ("'", "’", "-")
_SIGNS = ("+", "-")
_NUMBERS = frozenset("0123456789. ")
_TAIL = 36
"""No number at the end of a bracket is longer."""


@dataclass(frozen=True, slots=True)
class Part:
    """Words and their weight; 1 is that of plain words."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class WeightedText:
    """A prompt as it is read."""

    parts: tuple[Part, ...]
    """In order. Neighbours differ in weight."""
    unsupported: tuple[str, ...] = ()
    """Forms of other programs that are read as plain words, as they were written; the first few."""
    bounded: float | None = None
    """The first weight that was brought into WEIGHTS, as it was asked for."""
    is_crowded: bool = False
    """Whether there are more than MOST_WEAK_PARTS parts with a weight below 1, so that the rest has the weight 1."""

    @property
    def text(self) -> str:
        """The words without the marks of their weights."""
        return "".join(part.text for part in self.parts)

    @property
    def is_plain(self) -> bool:
        """Whether all words have the weight 1."""
        return all(part.weight == 1 for part in self.parts)


_Mark = tuple[int, int, float]
"""Characters from one position to another that are no words, and by how much the weight is multiplied from there on.

A factor of _KEEPS leaves the weight as it is, and _ENDS ends the innermost weight.
"""
_KEEPS, _ENDS = math.inf, -math.inf


def read(text: str) -> WeightedText:
    """Read the weights in a text of any length. It raises nothing: what has no meaning is prose."""
    marks, unsupported = _Reader(text).read()
    low, high = WEIGHTS
    bounded: float | None = None
    parts: list[Part] = []
    weak = 0
    for piece, asked in _weighed(text, marks):
        weight = asked
        if not low <= weight <= high:
            weight = min(max(weight, low), high)
            bounded = asked if bounded is None else bounded
        if weight < 1:
            weak += 1
            weight = weight if weak <= MOST_WEAK_PARTS else 1.0
        parts.append(Part(piece, weight))
    return WeightedText(tuple(_joined(parts)), unsupported, bounded, weak > MOST_WEAK_PARTS)


class _Latest:
    """The last match of an expression before a position; the positions that are asked for only grow."""

    def __init__(self, expression: re.Pattern[str], text: str) -> None:
        self._starts = (match.start() for match in expression.finditer(text))
        self._next = next(self._starts, math.inf)
        self._last = -1.0

    def before(self, end: int) -> float:
        """Where it begins; -1 if there is none."""
        while self._next < end:
            self._last, self._next = self._next, next(self._starts, math.inf)
        return self._last


class _Reader:
    """Finds the marks of one text, in one pass over it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = _Latest(_WORD, text)
        self._substance = _Latest(_SUBSTANCE, text)
        self._bars = _Latest(_BAR, text)
        self._marks: list[_Mark] = []
        self._unsupported: list[tuple[int, str]] = []
        self._skip = 0
        """Up to here the text belongs to a bracket that has been read."""

    def read(self) -> tuple[list[_Mark], tuple[str, ...]]:
        """The marks in the order of the text, and examples of what is not supported."""
        open_: list[tuple[int, str]] = []
        count = {"(": 0, "[": 0}
        for token in _TOKEN.finditer(self._text):
            start, kind, found = token.start(), token.lastgroup, token[0]
            if start < self._skip:
                continue
            if kind == "escape":
                self._marks.append((start, start + 1, _KEEPS))
            elif kind == "open":
                open_.append((start, found))
                count[found] += 1
            elif kind == "signs":
                self._signs(start, token.end())
            elif kind == "close":
                partner = "(" if found == ")" else "["
                if not count[partner]:
                    continue
                # Brackets that were opened in between have no partner.
                while True:
                    opened, bracket = open_.pop()
                    count[bracket] -= 1
                    if bracket == partner:
                        break
                self._pair(opened, start)
        self._marks.sort()
        return self._marks, self._examples()

    def _pair(self, start: int, end: int) -> None:
        """A bracket at `start` and its partner at `end`: a weight, something that is not supported, or prose."""
        text, after = self._text, end + 1
        # What follows decides, and a look at one character is faster than an expression.
        follows = text[after : after + 1]
        if follows == "." and _OPERATOR.match(text, after):
            return
        number = None
        if text[end - 1] in _NUMBERS:
            number = _NUMBER_AT_END.search(text[max(start + 1, end - _TAIL) : end])
            if number and not self._is_meant(number, start, end):
                number = None
        if text[start] == "[":
            if number or self._bars.before(end) > start:
                self._note(start, after)
            elif self._is_bare(start, end, follows):
                self._weigh(start, end, after, 1 / _MORE)
        elif number:
            self._weigh(start, end - len(number[0]), after, float(number[2]))
        elif follows in _SIGNS and self._words.before(end) > start and (signs := _SIGNS_AFTER.match(text, after)):
            self._weigh(start, end, signs.end(), _power(_MORE if follows == "+" else _LESS, len(signs[0])))
        elif follows in _NUMBERS and (behind := _NUMBER_AFTER.match(text, after)) and self._weighs(behind, start, end):
            self._weigh(start, end, behind.end(), float(behind[0]))
        elif self._is_bare(start, end, follows):
            self._weigh(start, end, after, _MORE)

    def _is_meant(self, number: re.Match[str], start: int, end: int) -> bool:
        """Whether the number at the end of a bracket is a weight, and no time, ratio, verse or age."""
        colon = end - len(number[0])
        if self._substance.before(colon) <= start:
            return False
        whole = number[3] is None and number[4] is None
        return not (whole and (number[1] or self._text[colon - 1].isdigit()))

    def _weighs(self, number: re.Match[str], start: int, end: int) -> bool:
        """Whether a number behind a bracket is its weight; a formula such as Ca(OH)2 has none."""
        if number[1] is None or number[2] is not None:
            return self._substance.before(end) > start
        return self._words.before(end) > start and not self._is_glued_before(start)

    def _is_bare(self, start: int, end: int, follows: str) -> bool:
        """Whether brackets without a number stand around words, and not within one."""
        if self._words.before(end) <= start or follows.isalnum() or follows == "_" or self._is_glued_before(start):
            return False
        return not (follows in _JOINTS and self._text[end + 2 : end + 3].isalnum())

    def _is_glued_before(self, start: int) -> bool:
        last = self._text[start - 1 : start]
        return last.isalnum() or last in _GLUE or (last == "-" and self._text[start - 2 : start - 1].isalnum())

    def _signs(self, start: int, end: int) -> None:
        """Two signs or more, which weigh the word before them."""
        text = self._text
        if not _SIGNS_END.match(text, end):
            return
        first = start
        while first > self._skip and (text[first - 1].isalnum() or text[first - 1] in "'’_-"):
            first -= 1
        if first < start and text[start - 1].isalnum() and self._words.before(start) >= first:
            factor = _power(_MORE if text[start] == "+" else _LESS, end - start)
            self._marks += ((first, first, factor), (start, end, _ENDS))
            self._skip = end

    def _weigh(self, start: int, end: int, after: int, factor: float) -> None:
        """The words between `start` and `end` weigh `factor` times as much; what follows them begins at `after`."""
        self._marks += ((start, start + 1, factor), (end, after, _ENDS))
        self._skip = after

    def _note(self, start: int, end: int) -> None:
        if len(self._unsupported) < _LISTED:
            self._unsupported.append((start, self._text[start : min(end, start + 80)]))

    def _examples(self) -> tuple[str, ...]:
        """The first few forms that are not supported, each once."""
        shouts = self._text.isupper()
        for match in _UNSUPPORTED.finditer(self._text):
            if match[0] == "BREAK" and shouts:
                continue
            self._unsupported.append((match.start(), f"{match[0]})" if match[0].endswith("(") else match[0]))
        return tuple(dict.fromkeys(form for _, form in sorted(self._unsupported)))[:_LISTED]


def _power(base: float, count: int) -> float:
    """`base` to the power of a number of signs, within what can be multiplied further."""
    return min(base ** min(count, 1000), _MOST_PRODUCT)


def _weighed(text: str, marks: Iterable[_Mark]) -> Iterator[tuple[str, float]]:
    """The text between its marks with the products of its weights; neighbours of one weight come together.

    Blanks belong to the words before them, whatever their own weight.
    """
    products, at = [1.0], 0
    held, weight = "", 1.0
    for start, end, factor in (*marks, (len(text), len(text), _KEEPS)):
        if start > at:
            piece, product = text[at:start], products[-1]
            if not held or product == weight or piece.isspace():
                weight = weight if held else product
                held += piece
            else:
                yield held, weight
                held, weight = piece, product
        at = end
        if factor == _ENDS:
            products.pop()
        elif factor != _KEEPS:
            products.append(min(products[-1] * factor, _MOST_PRODUCT))
    if held:
        yield held, weight


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, with neighbours joined whose weights became the same."""
    for weight, alike in itertools.groupby(parts, key=lambda part: part.weight):
        yield Part("".join(part.text for part in alike), weight)
