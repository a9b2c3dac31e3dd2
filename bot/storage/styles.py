"""Styles of servers: named settings and words around a prompt, in versions that never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import aiosqlite

from bot.errors import UserError
from bot.jobs import Book, GuildId, JobId, Row, Scope
from bot.storage.cases import By, Case, Cases
from bot.storage.database import Database
from bot.storage.rules import Rules

RULE = "style:"
"""How the name of the rule begins that says which version of a style counts."""

MOST_STYLES = 100
"""Styles of one server."""

_KEYS = {"name", "number", "version"}

SUBJECT = Scope.SERVER, 0
PLACE = "{prompt}"
"""Where the person's prompt stands in the words of a style."""

# The unique index serves both.
OF_SERVER = """
SELECT * FROM styles WHERE guild_id = ?1
  AND (name, version) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2)) ORDER BY name
"""
ADD = """
INSERT INTO styles (guild_id, number, version, name, content, source_id)
VALUES (
  ?1,
  coalesce((SELECT max(number) FROM styles WHERE guild_id = ?1 AND name = ?2),
    (SELECT coalesce(max(number), 0) + 1 FROM styles WHERE guild_id = ?1)),
  (SELECT coalesce(max(version), 0) + 1 FROM styles WHERE guild_id = ?1 AND name = ?2),
  ?2, ?3, ?4)
RETURNING *
"""

# The newest results of a style whose pictures are there; the index jobs_by_style serves it.
SAMPLES = """
SELECT id FROM jobs
WHERE guild_id = ?1 AND request ->> '$.style' = ?2 AND request ->> '$.style' != '' AND status = 'delivered'
  AND forgotten_at IS NULL AND EXISTS (SELECT 1 FROM images WHERE job_id = jobs.id)
ORDER BY id DESC LIMIT ?3
"""


@dataclass(frozen=True, slots=True)
class Style:
    """One version of a style. What it leaves open is None, and is decided as without a style."""

    name: str
    prompt: str = PLACE
    """The words of the request: the person's prompt stands where PLACE is."""
    negative_prompt: str = ""
    """What is left out, besides what the person leaves out."""
    description: str = ""
    model: str | None = None
    sampler: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    aspect: str | None = None
    lora: str | None = None
    """LoRAs as a person types them; the person's own ones come after them."""
    reference: str | None = None
    """The picture of a result that shows the style, as the number of the request and that of the picture: 123/1."""
    number: int = 0
    """Of the style within its server; 0 for a style that is not kept yet."""
    version: int = 0

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a style from a row of the table `styles`."""
        known = {field.name for field in fields(cls)}
        content = {name: value for name, value in json.loads(row["content"]).items() if name in known}
        return cls(**content | {"name": row["name"], "number": row["number"], "version": row["version"]})

    @property
    def content(self) -> dict[str, Any]:
        """What the style sets, without what it leaves open, as it is kept and shared."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in _KEYS and value not in (None, "")}


def versions(book: Book) -> dict[str, int]:
    """Which version of each style counts in a server with these rules, by the name."""
    rules = book.get(SUBJECT, {})
    return {
        name.removeprefix(RULE): value
        for name, value in rules.items()
        if name.startswith(RULE) and isinstance(value, int)
    }


class Styles:
    """Reads and changes the styles of servers; who may do that is decided by the caller."""

    def __init__(self, database: Database, rules: Rules, cases: Cases) -> None:
        self._database = database
        self._rules = rules
        self._cases = cases

    async def of(self, guild_id: GuildId) -> Mapping[str, Style]:
        """The styles of a server by their names, in the order of the alphabet."""
        return await self.of_book(guild_id, await self._rules.book(guild_id))

    async def of_book(self, guild_id: GuildId, book: Book) -> Mapping[str, Style]:
        """The same, for a caller that has read the server's rules."""
        wanted = versions(book)
        if not wanted:
            return {}
        rows = await self._database.fetch_all(OF_SERVER, (guild_id, json.dumps(list(wanted.items()))))
        return {row["name"]: Style.from_row(row) for row in rows}

    async def put(self, by: By, action: str, style: Style, source_id: JobId | None = None) -> tuple[Style, Case]:
        """Add a style, or the next version of one, and let it count from now on."""
        now = await self.of(by.guild_id)
        if style.name not in now and len(now) >= MOST_STYLES:
            raise UserError("This server has {most} styles, which is the most. Remove one first.", most=MOST_STYLES)

        async def work(connection: aiosqlite.Connection) -> Style:
            values = by.guild_id, style.name, json.dumps(style.content), source_id
            cursor = await connection.execute(ADD, values)
            row = await cursor.fetchone()
            assert row is not None  # noqa: S101 - inserted above
            return Style.from_row(row)

        # A version that no rule names yet has no effect, so a kill between the two steps loses only the edit.
        kept = await self._database.write(work)
        case = await self._cases.change(by, action, SUBJECT, {RULE + style.name: kept.version})
        assert case is not None  # noqa: S101 - no version counted before it was there
        return kept, case

    async def remove(self, by: By, name: str) -> Case | None:
        """Let a style count no more; its versions stay, so that old results can say what they were made with."""
        return await self._cases.change(by, "style remove", SUBJECT, {}, [RULE + name])

    async def source_of(self, guild_id: GuildId, style: Style) -> JobId | None:
        """The result whose words a version was made from."""
        row = await self._database.fetch_one(
            "SELECT source_id FROM styles WHERE guild_id = ? AND name = ? AND version = ?",
            (guild_id, style.name, style.version),
        )
        return None if row is None or row["source_id"] is None else JobId(row["source_id"])

    async def samples(self, guild_id: GuildId, name: str, most: int) -> list[JobId]:
        """The newest results that were painted with a style."""
        return [JobId(row["id"]) for row in await self._database.fetch_all(SAMPLES, (guild_id, name, most))]
