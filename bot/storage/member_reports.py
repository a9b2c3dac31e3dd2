"""Results that members reported: one report for each result, who joined it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import aiosqlite

from bot.errors import Reference, UserError, refer
from bot.jobs import Clock, GuildId, Job, JobId, Row, Scope, UserId, from_text, to_text
from bot.language import mark, sentence
from bot.storage.cases import DISMISS, By, Case, add_case, report_name
from bot.storage.database import Database

_OUTCOMES = (mark("removed"), mark("dismissed"))
"""How a report can end; a sentence names it."""

MOST_OPEN = 5
"""How many reports of one person may wait for a moderator on one server."""

HAS_PICTURES = "SELECT 1 FROM images WHERE job_id = ? LIMIT 1"

# Of the person's reports about one result, the newest: an older one may have been dismissed.
BEFORE = """
SELECT ended_at, outcome FROM member_reports JOIN reporters ON report_id = id
WHERE job_id = ? AND user_id = ? ORDER BY id DESC LIMIT 1
"""

OPEN_OF_PERSON = """
SELECT count(*) AS count FROM reporters JOIN member_reports ON id = report_id
WHERE user_id = ? AND guild_id = ? AND ended_at IS NULL
"""

# A server without a log channel need not be told.
OPEN = """
INSERT INTO member_reports (guild_id, job_id, opened_at, logged_at)
VALUES (?1, ?2, ?3,
  iif(EXISTS (SELECT 1 FROM rules WHERE guild_id = ?1 AND scope = 'server' AND name = 'log'), NULL, ?3))
ON CONFLICT (job_id) WHERE ended_at IS NULL DO NOTHING
"""
OPEN_ABOUT = "SELECT id FROM member_reports WHERE job_id = ? AND ended_at IS NULL"

# The partial index has the open ones of a server in order.
NEXT = "SELECT * FROM member_reports WHERE guild_id = ? AND ended_at IS NULL AND id > ? ORDER BY id LIMIT 1"
COUNT = "SELECT count(*) AS count FROM member_reports WHERE guild_id = ? AND ended_at IS NULL"

END = """
UPDATE member_reports SET ended_at = ?, outcome = 'dismissed' WHERE id = ? AND guild_id = ? AND ended_at IS NULL
"""

OF_PERSON = """
SELECT member_reports.*, reporters.at FROM reporters JOIN member_reports ON id = report_id
WHERE user_id = ? AND guild_id = ? ORDER BY id DESC LIMIT 10
"""

UNTOLD = """
SELECT member_reports.*, reporters.user_id FROM reporters JOIN member_reports ON id = report_id
WHERE told_at IS NULL AND ended_at IS NOT NULL ORDER BY id LIMIT 50
"""
TOLD = "UPDATE reporters SET told_at = ? WHERE report_id = ? AND user_id = ?"

UNLOGGED = "SELECT * FROM member_reports WHERE logged_at IS NULL ORDER BY id LIMIT 50"
LOGGED = "UPDATE member_reports SET logged_at = ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `outcome` is empty while it is open."""

    id: int
    guild_id: GuildId
    job_id: JobId
    opened_at: datetime
    outcome: str

    @classmethod
    def from_row(cls, row: Row) -> Report:
        """Build a report from a row of `member_reports`."""
        opened_at = from_text(row["opened_at"])
        assert opened_at is not None  # noqa: S101 - the column is NOT NULL
        return cls(row["id"], GuildId(row["guild_id"]), JobId(row["job_id"]), opened_at, row["outcome"])


class MemberReports:
    """Takes reports, and ends them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, guild_id: GuildId, job: Job, user_id: UserId, reason: str) -> None:
        """Report a result, or join the report about it. Raises UserError where that is not possible."""
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            if not list(await connection.execute_fetchall(HAS_PICTURES, (job.id,))):
                raise UserError("The pictures of this result were deleted already.")
            for row in await connection.execute_fetchall(BEFORE, (job.id, user_id)):
                if row["ended_at"] is None:
                    raise UserError("You have reported this result already. No moderator has decided about it yet.")
                raise UserError("You reported this result before, and a moderator dismissed the report.")
            ((count,),) = await connection.execute_fetchall(OPEN_OF_PERSON, (user_id, guild_id))
            if count >= MOST_OPEN:
                raise UserError(
                    "{count} of your reports wait for a moderator. You can report more once one of them is decided.",
                    count=count,
                )
            await connection.execute(OPEN, (guild_id, job.id, now))
            ((report_id,),) = await connection.execute_fetchall(OPEN_ABOUT, (job.id,))
            await connection.execute(
                "INSERT INTO reporters (report_id, user_id, at, reason) VALUES (?, ?, ?, ?)",
                (report_id, user_id, now, reason),
            )

        await self._database.write(work)

    async def next_open(self, guild_id: GuildId, after: int = 0) -> tuple[Report | None, int]:
        """The oldest open report of a server after another one, and how many are open."""
        row = await self._database.fetch_one(NEXT, (guild_id, after))
        count = await self._database.fetch_one(COUNT, (guild_id,))
        assert count is not None  # noqa: S101 - a count has a row
        return None if row is None else Report.from_row(row), count["count"]

    async def open_one(self, guild_id: GuildId, report_id: int) -> Report:
        """An open report of a server. Raises UserError if it has ended, or there is none."""
        row = await self._database.fetch_one(
            "SELECT * FROM member_reports WHERE id = ? AND guild_id = ?", (report_id, guild_id)
        )
        if row is None:
            command = refer(Reference.COMMAND, "mod reports")
            raise UserError("There is no such report here. {command} shows them.", command=command)
        report = Report.from_row(row)
        if report.outcome:
            raise UserError("This report was decided before: {outcome}.", outcome=sentence(report.outcome))
        return report

    async def reasons(self, report: Report) -> list[str]:
        """What each person who joined a report wrote, oldest first; an empty text if they wrote nothing."""
        rows = await self._database.fetch_all(
            "SELECT reason FROM reporters WHERE report_id = ? ORDER BY at", (report.id,)
        )
        return [row["reason"] for row in rows]

    async def dismiss(self, by: By, report: Report, about: UserId) -> Case:
        """End a report without consequences. `about` is the person who asked for the result."""
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> Case:
            ended = await connection.execute(END, (now, report.id, by.guild_id))
            if not ended.rowcount:
                raise UserError("This report was decided before.")
            name = report_name(report.id)
            return await add_case(
                connection, now, by, DISMISS, (Scope.PERSON, about), {name: "open"}, {name: "dismissed"}
            )

        return await self._database.write(work)

    async def of_person(self, user_id: UserId, guild_id: GuildId) -> list[Report]:
        """The latest reports that a person joined on a server, the newest first."""
        return [Report.from_row(row) for row in await self._database.fetch_all(OF_PERSON, (user_id, guild_id))]

    async def untold(self) -> list[tuple[Report, UserId]]:
        """Decided reports, each with a person who was not told yet."""
        rows = await self._database.fetch_all(UNTOLD)
        return [(Report.from_row(row), UserId(row["user_id"])) for row in rows]

    async def told(self, report: Report, user_id: UserId) -> None:
        """Note that a person was told what became of their report, or cannot be told."""
        await self._database.execute(TOLD, (to_text(self._clock()), report.id, user_id))

    async def unlogged(self) -> list[Report]:
        """Reports of which a log channel was not told yet."""
        return [Report.from_row(row) for row in await self._database.fetch_all(UNLOGGED)]

    async def logged(self, report: Report) -> None:
        """Note that the log channel was told of a report, or cannot be told."""
        await self._database.execute(LOGGED, (to_text(self._clock()), report.id))
