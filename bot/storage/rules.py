"""What moderators decided, kept in the table `rules`; `cases.py` is what changes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from bot.jobs import Book, GuildId, RuleValue, Scope, Subject
from bot.storage.database import Database

ALL = "SELECT guild_id, scope, subject_id, name, value FROM rules"

# The latest case that set a rule of a subject, which says why.
REASON = """
SELECT reason FROM cases INDEXED BY cases_of_subject
WHERE guild_id = ? AND scope = ? AND subject_id = ? AND json_type(after, '$.' || ?) IS NOT NULL
ORDER BY number DESC LIMIT 1
"""

_NONE: Book = MappingProxyType({})


class Rules:
    """The rules of every server, read once and again after a change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._books: Mapping[GuildId, Book] | None = None
        self._changes = 0

    async def book(self, guild_id: GuildId) -> Book:
        """Every rule of a server."""
        return (await self.books()).get(guild_id, _NONE)

    async def books(self) -> Mapping[GuildId, Book]:
        """Every rule of every server that has any."""
        while self._books is None:
            changes = self._changes
            books: dict[GuildId, dict[Subject, dict[str, RuleValue]]] = {}
            for row in await self._database.fetch_all(ALL):
                book = books.setdefault(GuildId(row["guild_id"]), {})
                book.setdefault((Scope(row["scope"]), row["subject_id"]), {})[row["name"]] = from_json(row["value"])
            # What was read before a change is not kept after it.
            if changes == self._changes:
                self._books = books
        return self._books

    async def reason(self, guild_id: GuildId, subject: Subject, name: str) -> str:
        """Why moderators set a rule the last time; empty if they gave no reason."""
        row = await self._database.fetch_one(REASON, (guild_id, *subject, name))
        return row["reason"] or "" if row else ""

    def changed(self) -> None:
        """Forget what was read: the table has changed."""
        self._changes += 1
        self._books = None


def to_json(value: RuleValue) -> str:
    """Write a rule's value; whole numbers stay whole, ids too."""
    return json.dumps(value)


def from_json(text: str) -> RuleValue:
    """Read what `to_json` wrote."""
    return as_value(json.loads(text))


def as_value(value: object) -> RuleValue:
    """A rule's value as it comes out of JSON, which knows no tuples."""
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]
