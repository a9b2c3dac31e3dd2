"""People's own defaults, in the table `preferences`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import aiosqlite

from bot.jobs import UserId
from bot.storage.database import Database

OF_PERSON = "SELECT images, aspect, model, spoiler, ping, send_to_me FROM preferences WHERE user_id = ?"
PUT = """
INSERT OR REPLACE INTO preferences (user_id, images, aspect, model, spoiler, ping, send_to_me)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
DELETE = "DELETE FROM preferences WHERE user_id = ?"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person wants where they say nothing; None where they have no wish."""

    images: int | None = None
    aspect: str | None = None
    model: str | None = None
    spoiler: bool | None = None
    """Whether their results are hidden until they are clicked."""
    ping: bool | None = None
    """Whether they are pinged after a long wait."""
    send_to_me: bool | None = None
    """Whether their results are also sent to them as a direct message."""


NAMES = tuple(field.name for field in fields(Preferences))
_SWITCHES = ("spoiler", "ping", "send_to_me")


class PreferenceStore:
    """Reads and changes the preferences of people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: UserId) -> Preferences:
        """What a person prefers."""
        return _read(await self._database.fetch_one(OF_PERSON, (user_id,)))

    async def change(self, user_id: UserId, values: dict[str, Any], cleared: Collection[str] = ()) -> Preferences:
        """Set some preferences, by their names, and clear others; returns all of them."""

        async def work(connection: aiosqlite.Connection) -> Preferences:
            rows = list(await connection.execute_fetchall(OF_PERSON, (user_id,)))
            changed = replace(_read(rows[0] if rows else None), **dict.fromkeys(cleared), **values)
            if changed == Preferences():
                await connection.execute(DELETE, (user_id,))
            else:
                await connection.execute(PUT, (user_id, *(getattr(changed, name) for name in NAMES)))
            return changed

        return await self._database.write(work)


def _read(row: Any) -> Preferences:
    if row is None:
        return Preferences()
    values = {name: row[name] for name in NAMES}
    for name in _SWITCHES:
        values[name] = None if values[name] is None else bool(values[name])
    return Preferences(**values)
