"""How requests speak of what a person typed: cleaned, quoted, and with the nearest name that exists."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_JOINER = "\u200d"
"""Holds emoji such as 👩‍🚀 together; every other invisible character goes."""

_PARENTHESES = str.maketrans("{}", "()")


def clean(text: str) -> str:
    """Text on one line, without control characters or doubled blanks."""
    words = "".join(c if c.isprintable() or c == _JOINER else " " for c in text).split()
    return " ".join(words).strip(f" {_JOINER}")


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The entry of `known` that `word` was probably meant to be, or None."""
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(kind: str, name: str, known: Sequence[str], dashes: str = "") -> str:
    """That a name is not known, with the one that was probably meant, or all there are."""
    words = f"There is no {kind} {quoted(dashes + name)}"
    if near := nearest(name, known):
        return f"{words}. Did you mean {dashes}{near}?"
    return f"{words}. There is: {', '.join(dashes + entry for entry in known)}."


def quoted(text: str) -> str:
    """A person's own words in quotation marks."""
    return f"“{cut(text)}”"


def cut(text: str) -> str:
    """A person's own words, short enough that the message which repeats them can be sent.

    Braces become parentheses, because a sentence takes what is in braces for a reference (`bot/errors.py`).
    """
    plain = text.translate(_PARENTHESES)
    return plain if len(plain) <= 60 else f"{plain[:59]}…"
