"""The wildcards of a server: lists that its moderators keep as rules. `__animal__` in a prompt draws from a list."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.errors import Reference, UserError, refer
from bot.jobs import Book, RuleValue
from bot.policy.limits import SERVER

WILDCARD = "wildcard:"
"""The beginning of the names of the rules that are wildcards; the name of the list follows."""

MOST_LISTS = 100
MOST_ENTRIES = 200
LONGEST_ENTRY = 200
LONGEST_NAME = 30

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_BETWEEN = re.compile(r"[,\n;]")


def wildcards_of(book: Book) -> dict[str, tuple[str, ...]]:
    """The lists of a server, by name, in order."""
    rules = book.get(SERVER, {})
    found: dict[str, tuple[str, ...]] = {}
    for rule in sorted(rules):
        entries = rules[rule]
        if rule.startswith(WILDCARD) and isinstance(entries, tuple):
            found[rule.removeprefix(WILDCARD)] = tuple(map(str, entries))
    return found


def parse_name(text: str) -> str:
    """The name of a list, as a moderator typed it, with or without its underscores. Raises UserError for no name."""
    name = text.strip().strip("_").lower()
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise UserError(
            "The name of a wildcard has letters a to z and digits, with single - or _ between them, and at most {most} "
            "characters, like: animal. Nothing was changed.",
            most=LONGEST_NAME,
        )
    return name


def parse_entries(text: str) -> tuple[str, ...]:
    """The entries that a moderator typed, with commas between them. Raises UserError for one that cannot be."""
    entries = tuple(dict.fromkeys(filter(None, (" ".join(entry.split()) for entry in _BETWEEN.split(text)))))
    if not entries:
        raise UserError("Name the entries, with commas between them, like: cat, dog, red fox. Nothing was changed.")
    for number, entry in enumerate(entries, 1):
        if len(entry) > LONGEST_ENTRY:
            raise UserError(
                "Entry {number} has {length} characters, and at most {most} are possible. Nothing was changed.",
                number=number,
                length=len(entry),
                most=LONGEST_ENTRY,
            )
        if "{" in entry or "}" in entry or "--" in entry:
            raise UserError(
                "Entry {number} has a brace or a flag, and an entry has words only. Nothing was changed.", number=number
            )
    return entries


def added(book: Book, name: str, entries: tuple[str, ...]) -> Mapping[str, RuleValue]:
    """The rule of a list with more entries. Raises UserError if the list, or their number, would be too long."""
    lists = wildcards_of(book)
    together = tuple(dict.fromkeys((*lists.get(name, ()), *entries)))
    if len(together) > MOST_ENTRIES:
        raise UserError(
            "The list would have {length} entries, and at most {most} are possible. Nothing was changed.",
            length=len(together),
            most=MOST_ENTRIES,
        )
    if name not in lists and len(lists) >= MOST_LISTS:
        raise UserError(
            "The server has {most} wildcards, the most that are possible. Nothing was changed.", most=MOST_LISTS
        )
    return {WILDCARD + name: together}


def entries_of(book: Book, name: str) -> tuple[str, ...]:
    """The entries of a list. Raises UserError if there is no such list."""
    lists = wildcards_of(book)
    if name not in lists:
        raise UserError(
            "There is no wildcard {wildcard} here; {command} lists them.",
            wildcard=refer(Reference.WILDCARD, name),
            command=refer(Reference.COMMAND, "mod wildcards list"),
        )
    return lists[name]


def without(book: Book, name: str, entries: tuple[str, ...]) -> Mapping[str, RuleValue]:
    """The rule of a list without some entries; no rule if none stays. Raises UserError if there is no such list."""
    gone = {entry.casefold() for entry in entries}
    left = tuple(entry for entry in entries_of(book, name) if entry.casefold() not in gone)
    return {WILDCARD + name: left} if left else {}
