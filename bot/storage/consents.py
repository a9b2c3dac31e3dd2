"""Who lets their results go into data sets, and from when to when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.jobs import Clock, Requester, from_text, to_text
from bot.storage.database import Database

CHANNEL = "dataset"
"""The rule by which moderators let results of a channel go into data sets."""
NAMES_KEY = "SELECT value FROM dataset_secret"
"""What makes the names of people and rows in data sets."""

JOIN = """
INSERT INTO consents (user_id, guild_id, joined_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
LEAVE = "UPDATE consents SET left_at = ? WHERE user_id = ? AND guild_id = ? AND left_at IS NULL"
LAST = "SELECT joined_at, left_at FROM consents WHERE user_id = ? AND guild_id = ? ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Consent:
    """When a person joined, and when they left, if they did."""

    joined_at: datetime
    left_at: datetime | None


class Consents:
    """Records what people decide."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def join(self, requester: Requester) -> bool:
        """Let the results of a person on a server count from now on; False if they do already."""
        now = to_text(self._clock())
        return await self._database.execute(JOIN, (requester.user_id, requester.guild_id, now)) > 0

    async def leave(self, requester: Requester) -> bool:
        """Let them count no more, not even the earlier ones; False if they do not count."""
        now = to_text(self._clock())
        return await self._database.execute(LEAVE, (now, requester.user_id, requester.guild_id)) > 0

    async def last(self, requester: Requester) -> Consent | None:
        """What a person decided last on a server; None if they never joined."""
        row = await self._database.fetch_one(LAST, (requester.user_id, requester.guild_id))
        if row is None:
            return None
        joined_at = from_text(row["joined_at"])
        assert joined_at is not None  # noqa: S101 - the column is NOT NULL
        return Consent(joined_at, from_text(row["left_at"]))
