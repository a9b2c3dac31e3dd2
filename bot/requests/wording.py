"""Text that a person typed, for use in sentences: cleaned, quoted, shortened, and compared with known names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_JOINER = "\u200d"
"""Joins the parts of emoji such as 👩‍🚀; all other invisible characters are removed."""

_PARENTHESES = str.maketrans("{}", "()")


def clean(text: str) -> str:
    """Text on one line, without control characters and repeated spaces."""
    words = "".join(c if c.isprintable() or c == _JOINER else " " for c in text).split()
    return " ".join(words).strip(f" {_JOINER}")


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The entry of `known` that the person probably meant by `word`, or None."""
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(kind: str, name: str, known: Sequence[str], dashes: str = "") -> str:
    """A sentence: the name does not exist, and the name that was probably meant, or all names."""
    words = f"There is no {kind} {quoted(dashes + name)}"
    if near := nearest(name, known):
        return f"{words}. Did you mean {dashes}{near}?"
    return f"{words}. Choose from: {', '.join(dashes + entry for entry in known)}."


def quoted(text: str) -> str:
    """A person's own words in quotation marks."""
    return f"“{cut(text)}”"


def cut(text: str) -> str:
    """A person's own words, shortened to 60 characters.

    Braces become parentheses, because text in braces may be a reference in a sentence (`bot/errors.py`).
    """
    plain = text.translate(_PARENTHESES)
    return plain if len(plain) <= 60 else f"{plain[:59]}…"
