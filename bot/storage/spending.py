"""What was spent on providers: sums over the table `jobs`, in micro-dollars, for limits. Nothing counts them up.

A person pays for what they get; the server and the host pay for what the provider billed, also if nothing came of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import aiosqlite

from bot.jobs import JobId, Requester, Row, from_text, to_text
from bot.money import Micros
from bot.storage.database import Database

BILLED = """
CASE WHEN status IN ('queued', 'running') THEN max(held_micros, coalesce(billed_micros, 0))
  ELSE coalesce(billed_micros, iif(sent_at IS NULL AND status IN ('failed', 'cancelled'), 0, held_micros)) END
"""
"""What a job costs the host, as far as it is known: of what may have been billed, what was held.

Until a job ends, what it may cost is held, also if one try at it cost nothing.
"""

CHARGED = f"CASE WHEN status = 'failed' OR pardoned THEN 0 ELSE {BILLED} END"
"""What a job costs its person. A failure is refunded, and so is what a moderator cancelled."""

# SQLite would take the indexes of a person and of a server, and read all their requests that cost nothing.
_OF_THE_DAY = "FROM jobs INDEXED BY jobs_that_cost WHERE held_micros > 0 AND asked_at > ?1 AND id < ?2"
OF_PERSON = f"""
SELECT asked_at, {CHARGED} AS micros {_OF_THE_DAY} AND user_id = ?3 AND guild_id = ?4 ORDER BY asked_at
"""
OF_SERVER = f"SELECT asked_at, {BILLED} AS micros {_OF_THE_DAY} AND guild_id = ?3 ORDER BY asked_at"
OF_HOST = f"SELECT asked_at, {BILLED} AS micros {_OF_THE_DAY} ORDER BY asked_at"

_ALL = JobId(2**62)

Payments = tuple[tuple[datetime, Micros], ...]
"""When something was asked for, and what it costs; the oldest first."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent: by a person in a server, by that server, and by all of them."""

    person: Payments
    server: Payments
    host: Payments


async def spent_in(
    connection: aiosqlite.Connection, who: Requester, person_since: datetime, since: datetime, before: JobId = _ALL
) -> Spent:
    """What was spent on requests older than `before`; for use inside a transaction.

    That of the person counts since `person_since`, and that of the others since `since`.
    """

    async def paid(sql: str, *parameters: object) -> Payments:
        cursor = await connection.execute(sql, parameters)
        return _payments(await cursor.fetchall())

    return Spent(
        await paid(OF_PERSON, to_text(person_since), before, who.user_id, who.guild_id),
        await paid(OF_SERVER, to_text(since), before, who.guild_id),
        await paid(OF_HOST, to_text(since), before),
    )


class Spending:
    """Answers what was spent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spent(self, who: Requester, person_since: datetime, since: datetime, before: JobId = _ALL) -> Spent:
        """As `spent_in`."""
        fetch = self._database.fetch_all
        return Spent(
            _payments(await fetch(OF_PERSON, (to_text(person_since), before, who.user_id, who.guild_id))),
            _payments(await fetch(OF_SERVER, (to_text(since), before, who.guild_id))),
            _payments(await fetch(OF_HOST, (to_text(since), before))),
        )


def _payments(rows: Iterable[Row]) -> Payments:
    found = []
    for row in rows:
        at = from_text(row["asked_at"])
        assert at is not None  # noqa: S101 - the column is NOT NULL
        if row["micros"]:
            found.append((at, Micros(row["micros"])))
    return tuple(found)
