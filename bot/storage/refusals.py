"""Requests that were refused: which rule, with which numbers. What was asked for in words is never kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiosqlite

from bot.errors import Rejected, StorageError
from bot.jobs import Clock, Requester, from_text, to_text
from bot.storage.database import Database

log = logging.getLogger(__name__)

KNOWN_FOR = timedelta(days=30)
"""How long a refusal names the person; after that it only counts."""
KEPT_FOR = timedelta(days=400)

ADD = """
INSERT INTO refusals (guild_id, user_id, at, rule, origin, asked, allowed, retry_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

# The partial index finds the refusals that name a person, and nearly all of them are young.
FORGET = "UPDATE refusals SET user_id = 0 WHERE user_id != 0 AND at < ?"

OF_PERSON = """
SELECT at, rule, origin, asked, allowed, retry_at FROM refusals
WHERE guild_id = ? AND user_id = ? ORDER BY at DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request."""

    at: datetime
    rule: str
    origin: str
    asked: float | None
    allowed: float | None
    retry_at: datetime | None


class Refusals:
    """Keeps and counts what was refused."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, requester: Requester, refusal: Rejected) -> None:
        """Note that a request was refused, and remove the ids from old refusals."""
        now = self._clock()
        retry_at = None if refusal.retry_at is None else to_text(refusal.retry_at)
        facts = (refusal.rule, refusal.origin, refusal.asked, refusal.allowed, retry_at)

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(ADD, (requester.guild_id, requester.user_id, to_text(now), *facts))
            await connection.execute(FORGET, (to_text(now - KNOWN_FOR),))
            await connection.execute(
                "DELETE FROM refusals WHERE guild_id = ? AND at < ?", (requester.guild_id, to_text(now - KEPT_FOR))
            )

        await self._database.write(work)

    async def note(self, requester: Requester, refusal: Rejected) -> None:
        """Add a refusal where that is possible: the person hears of it all the same."""
        try:
            await self.add(requester, refusal)
        except StorageError as error:
            log.warning("a refusal was not noted: %s", error)

    async def of_person(self, requester: Requester, count: int) -> list[Refusal]:
        """The latest refusals of a person in a server, the newest first."""
        rows = await self._database.fetch_all(OF_PERSON, (requester.guild_id, requester.user_id, count))
        return [
            Refusal(at, row["rule"], row["origin"], row["asked"], row["allowed"], from_text(row["retry_at"]))
            for row in rows
            if (at := from_text(row["at"])) is not None
        ]
