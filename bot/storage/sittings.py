"""Sittings: the requests of a person that are less than 30 minutes apart. They are computed, and never stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.jobs import JobId, Requester, from_text
from bot.storage.database import Database

GAP = timedelta(minutes=30)
"""A request after a pause of this length begins a new sitting."""

# A request begins a sitting if the one before is at least ?4 seconds older; the number of beginnings up to a request
# names its sitting. The index jobs_of_person serves it.
SITTINGS = """
WITH
  asked AS (SELECT id, asked_at, unixepoch(asked_at, 'subsec') AS at FROM jobs
    WHERE user_id = ?1 AND guild_id = ?2 AND surface = ?3 AND forgotten_at IS NULL),
  marked AS (SELECT *, at - lag(at, 1, -1e18) OVER byage >= ?4 AS begins FROM asked WINDOW byage AS (ORDER BY at, id)),
  numbered AS (SELECT *, sum(begins) OVER (ORDER BY at, id) AS sitting FROM marked)
SELECT group_concat(id) AS ids, min(asked_at) AS began_at, max(asked_at) AS ended_at
FROM (SELECT * FROM numbered ORDER BY at, id)
WHERE ?5 IS NULL OR sitting = (SELECT sitting FROM numbered WHERE id = ?5)
GROUP BY sitting ORDER BY sitting
"""


@dataclass(frozen=True, slots=True)
class Sitting:
    """Requests of one person in a row, oldest first, and when the first and the last one was made."""

    job_ids: tuple[JobId, ...]
    began_at: datetime
    ended_at: datetime


class Sittings:
    """Computes sittings. They are shown to the person alone."""

    def __init__(self, database: Database, surface: str) -> None:
        self._database = database
        self._surface = surface

    async def of_person(self, requester: Requester, job_id: JobId | None = None) -> list[Sitting]:
        """The sittings of a person in a server, oldest first; with a job, only the one that it belongs to."""
        values = requester.user_id, requester.guild_id, self._surface, GAP.total_seconds(), job_id
        found = []
        for row in await self._database.fetch_all(SITTINGS, values):
            began_at, ended_at = from_text(row["began_at"]), from_text(row["ended_at"])
            assert began_at is not None  # noqa: S101 - the column is NOT NULL
            assert ended_at is not None  # noqa: S101 - as well
            found.append(Sitting(tuple(JobId(int(each)) for each in row["ids"].split(",")), began_at, ended_at))
        return found
