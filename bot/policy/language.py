"""The language of a server: what everyone there reads is in it."""

from __future__ import annotations

from bot.jobs import Book
from bot.language import Language
from bot.policy.limits import SERVER

RULE = "language"
"""The name of the rule that gives a server a language; its value is that of a `Language`."""


def language_of(book: Book) -> Language | None:
    """The language that moderators chose for a server; None if they chose none."""
    value = book.get(SERVER, {}).get(RULE)
    return Language(value) if value in list(Language) else None
