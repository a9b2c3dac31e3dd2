"""What moderators did, numbered per server: every change is written together with its case, and can be undone.

A change of rules is a compare-and-set when it is undone: only where the rules still say what the case left is put
back what was before, and that is a case of its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import aiosqlite

from bot.errors import Reference, UserError, refer
from bot.jobs import Clock, GuildId, JobId, Row, RuleValue, Scope, Subject, Surface, UserId, from_text, to_text
from bot.language import mark
from bot.storage.database import Database
from bot.storage.rules import Rules, as_value, from_json, to_json

T = TypeVar("T")

Values = Mapping[str, RuleValue]

Check = Callable[[Values, Values], None]

CANCEL = "cancel"
DELETE = "delete"
UNDO = "undo"
DISMISS = "dismiss"
CONTEST_START, CONTEST_END, CONTEST_CANCEL = "contest start", "contest end", "contest cancel"

_FINAL = {
    CANCEL: mark(
        "Case {number} cannot be undone: the cancelled requests have lost their places in the queue. The people who "
        "made them can ask again: {command} shows them their requests."
    ),
    DELETE: mark("Case {number} cannot be undone: the pictures are gone, from the disk too."),
    CONTEST_END: mark("Case {number} cannot be undone: the next part of the contest has begun."),
}
"""Why cases of these actions cannot be undone."""

RULES_OF = "SELECT name, value FROM rules WHERE guild_id = ? AND scope = ? AND subject_id = ?"

SET = """
INSERT INTO rules (guild_id, scope, subject_id, name, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value
"""

ADD = """
INSERT INTO cases (guild_id, number, at, by_id, action, scope, subject_id, before, after, reason, undoes, logged_at)
VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM cases WHERE guild_id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
  iif(EXISTS (SELECT 1 FROM rules WHERE guild_id = ?1 AND scope = 'server' AND name = 'log'), NULL, ?2))
RETURNING *
"""

UNLOGGED = "SELECT * FROM cases INDEXED BY cases_unlogged WHERE logged_at IS NULL ORDER BY guild_id, number LIMIT 50"
LOGGED = "UPDATE cases SET logged_at = ? WHERE guild_id = ? AND number = ?"

REPORT_STATE = (
    "SELECT iif(ended_at IS NULL, 'open', outcome) AS state FROM member_reports WHERE id = ? AND guild_id = ?"
)

# A report that is open again will end again, and then the people who reported hear of it once more.
REOPEN = """
UPDATE member_reports SET ended_at = NULL, outcome = '' WHERE id = ?1
  AND NOT EXISTS (SELECT 1 FROM member_reports AS other JOIN member_reports AS this ON this.job_id = other.job_id
    WHERE this.id = ?1 AND other.ended_at IS NULL)
"""
UNTELL = "UPDATE reporters SET told_at = NULL WHERE report_id = ?"
DISMISS_AGAIN = "UPDATE member_reports SET ended_at = ?, outcome = 'dismissed' WHERE id = ? AND ended_at IS NULL"

CONTEST_OF = "SELECT * FROM contests WHERE id = ? AND guild_id = ?"
OPEN_CONTESTS = "SELECT count(*) AS n FROM contests WHERE guild_id = ? AND state IN ('entries', 'voting')"
MOST_CONTESTS = 5
"""Contests of a server that may be open at the same time."""
VOTE_UNTIL = "UPDATE contests SET votes_until = max(votes_until, ?) WHERE id = ?"
MOVE_CONTEST = "UPDATE contests SET state = ?, changed = changed + 1 WHERE id = ? AND state = ?"

# The primary key serves this backwards from the newest.
LATEST = """
SELECT * FROM cases WHERE guild_id = ?1 AND number < ?2 AND (?3 IS NULL OR scope = ?3 AND subject_id = ?4)
ORDER BY number DESC LIMIT ?5
"""

# What a later case did to the same subject stands in the way of undoing an earlier one.
LATER = """
SELECT * FROM cases INDEXED BY cases_of_subject
WHERE guild_id = ? AND scope = ? AND subject_id = ? AND number > ? ORDER BY number DESC
"""

# A surface's own jobs: the sandbox and the terminal cannot cancel what Discord's people asked for.
OPEN_JOBS = """
SELECT id, status FROM jobs WHERE surface = ?1 AND guild_id = ?2 AND status IN ('queued', 'running')
  AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR user_id = ?4)
  AND (?5 IS NULL OR series_id = ?5)
ORDER BY id
"""


_REPORT = "report:"
CONTEST = "contest:"
"""The beginning of what a contest is called in `before` and `after`; its number follows."""


def report_name(report_id: int) -> str:
    """What a report is called in `before` and `after`."""
    return f"{_REPORT}{report_id}"


def contest_name(contest_id: int) -> str:
    """What a contest is called in `before` and `after`."""
    return f"{CONTEST}{contest_id}"


def is_final(action: str) -> bool:
    """Whether cases of an action cannot be undone."""
    return action in _FINAL


@dataclass(frozen=True, slots=True)
class Case:
    """One thing a moderator did. `before` and `after` are the rules it changed; a name that is missing had no rule."""

    guild_id: GuildId
    number: int
    at: datetime
    by: UserId
    action: str
    subject: Subject
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str
    undoes: int | None

    @classmethod
    def from_row(cls, row: Row) -> Case:
        """Build a case from a row of the table `cases`."""
        at = from_text(row["at"])
        assert at is not None  # noqa: S101 - the column is NOT NULL
        return cls(
            guild_id=GuildId(row["guild_id"]),
            number=row["number"],
            at=at,
            by=UserId(row["by_id"]),
            action=row["action"],
            subject=(Scope(row["scope"]), row["subject_id"]),
            before={name: as_value(value) for name, value in json.loads(row["before"]).items()},
            after={name: as_value(value) for name, value in json.loads(row["after"]).items()},
            reason=row["reason"],
            undoes=row["undoes"],
        )


@dataclass(frozen=True, slots=True)
class By:
    """Which moderator does something, where, and why."""

    guild_id: GuildId
    user_id: UserId
    reason: str = ""


class Cases:
    """Changes rules and jobs for moderators, each time with a case."""

    def __init__(self, database: Database, rules: Rules, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._surface = surface
        self._clock = clock

    async def change(
        self,
        by: By,
        action: str,
        subject: Subject,
        values: Values,
        remove: Iterable[str] = (),
        check: Check | None = None,
    ) -> Case | None:
        """Set the rules `values` of a subject and remove others by name; None if nothing changed.

        `check` raises UserError for rules that may not be added to those that stay.
        """
        removed = tuple(remove)

        async def work(connection: aiosqlite.Connection) -> Case | None:
            rules = await _rules_of(connection, by.guild_id, subject)
            before = {name: value for name, value in rules.items() if name in values or name in removed}
            if before == dict(values):
                return None
            if check is not None:
                check({name: value for name, value in rules.items() if name not in before}, values)
            await _put(connection, by.guild_id, subject, before, values)
            return await add_case(connection, to_text(self._clock()), by, action, subject, before, values)

        return await self._write(work)

    async def cancel(
        self,
        by: By,
        subject: Subject,
        *,
        job_id: JobId | None = None,
        user_id: UserId | None = None,
        series_id: int | None = None,
    ) -> tuple[Case | None, list[JobId]]:
        """Cancel the open jobs of a server, of one person there, of one series, or one alone.

        Returns the case, and which they were.
        """

        async def work(connection: aiosqlite.Connection) -> tuple[Case | None, list[JobId]]:
            found = await connection.execute(OPEN_JOBS, (self._surface, by.guild_id, job_id, user_id, series_id))
            were = {str(row["id"]): row["status"] for row in await found.fetchall()}
            if not were:
                return None, []
            # The same move as the queue's own, in one transaction with the case. A person who cancels their own request
            # pays for what it used until then; this was not their decision, so it costs them nothing.
            await connection.executemany(
                "UPDATE jobs SET status = 'cancelled', used_seconds = 0, pardoned = 1 "
                "WHERE id = ? AND status IN ('queued', 'running')",
                [(int(job),) for job in were],
            )
            case = await add_case(
                connection, to_text(self._clock()), by, CANCEL, subject, were, dict.fromkeys(were, "cancelled")
            )
            return case, [JobId(int(job)) for job in were]

        return await self._write(work)

    async def undo(self, by: By, number: int, check: Check | None = None) -> Case:
        """Put back what was before a case. Raises UserError where that cannot be, or a later change would be lost.

        `check` raises UserError for rules that may not be put back beside those that stay.
        """

        async def work(connection: aiosqlite.Connection) -> Case:
            case = await _case(connection, by.guild_id, number)
            if is_final(case.action):
                raise UserError(_FINAL[case.action], number=number, command=refer(Reference.COMMAND, "history"))
            names = {*case.before, *case.after}
            if names and all(name.startswith(_REPORT) for name in names):
                return await self._undo_report(connection, by, case)
            if names and all(name.startswith(CONTEST) for name in names):
                return await self._undo_contest(connection, by, case)
            rules = await _rules_of(connection, by.guild_id, case.subject)
            now = {name: value for name, value in rules.items() if name in names}
            if now != case.after:
                if later := await _later(connection, case, names):
                    raise UserError(
                        "Case {number} cannot be undone: what it changed has been changed since by case {later}.",
                        number=number,
                        later=later,
                    )
                raise UserError(
                    "Case {number} cannot be undone: what it changed has been changed since.", number=number
                )
            if check is not None:
                check({name: value for name, value in rules.items() if name not in names}, case.before)
            await _put(connection, by.guild_id, case.subject, now, case.before)
            return await add_case(
                connection, to_text(self._clock()), by, UNDO, case.subject, now, case.before, undoes=number
            )

        return await self._write(work)

    async def _undo_report(self, connection: aiosqlite.Connection, by: By, case: Case) -> Case:
        """Open a report again that a case dismissed, or dismiss it again."""
        now = to_text(self._clock())
        for name, state in case.after.items():
            report_id = int(name.removeprefix(_REPORT))
            rows = list(await connection.execute_fetchall(REPORT_STATE, (report_id, case.guild_id)))
            if not rows or rows[0]["state"] != state:
                raise UserError(
                    "Case {number} cannot be undone: the report has been decided again since.", number=case.number
                )
            if case.before[name] == "open":
                changed = await connection.execute(REOPEN, (report_id,))
                if not changed.rowcount:
                    raise UserError(
                        "Case {number} cannot be undone: the result was reported again since.", number=case.number
                    )
                await connection.execute(UNTELL, (report_id,))
            else:
                await connection.execute(DISMISS_AGAIN, (now, report_id))
        return await add_case(connection, now, by, UNDO, case.subject, case.after, case.before, undoes=case.number)

    async def _undo_contest(self, connection: aiosqlite.Connection, by: By, case: Case) -> Case:
        """Cancel a contest that a case began, or let one go on that a case cancelled, without its votes.

        An end of entries that has passed meanwhile comes at once. For the votes, people have the whole time again.
        Raises UserError if the contest has gone on, or if the server has too many that are open.
        """
        now = to_text(self._clock())
        ((name, state),) = case.after.items()
        after = case.before or {name: "cancelled"}
        number = int(name.removeprefix(CONTEST))
        if state == "cancelled":
            await check_open_contests(connection, by.guild_id)
        changed = await connection.execute(MOVE_CONTEST, (after[name], number, state))
        if not changed.rowcount:
            raise UserError("Case {number} cannot be undone: the contest has gone on since.", number=case.number)
        await connection.execute("DELETE FROM contest_votes WHERE contest_id = ?", (number,))
        if after[name] == "voting":
            (row,) = await connection.execute_fetchall(CONTEST_OF, (number, by.guild_id))
            planned = datetime.fromisoformat(row["votes_until"]) - datetime.fromisoformat(row["entries_until"])
            await connection.execute(VOTE_UNTIL, (to_text(self._clock() + planned), number))
        return await add_case(connection, now, by, UNDO, case.subject, case.after, after, undoes=case.number)

    async def unlogged(self) -> list[Case]:
        """Cases of which a log channel was not told yet."""
        return [Case.from_row(row) for row in await self._database.fetch_all(UNLOGGED)]

    async def logged(self, case: Case) -> None:
        """Note that the log channel was told of a case, or cannot be told."""
        await self._database.execute(LOGGED, (to_text(self._clock()), case.guild_id, case.number))

    async def get(self, guild_id: GuildId, number: int) -> Case:
        """One case of a server. Raises UserError when it has no such case."""
        rows = await self._database.fetch_all(
            "SELECT * FROM cases WHERE guild_id = ? AND number = ?", (guild_id, number)
        )
        return _found(rows, number)

    async def latest(
        self, guild_id: GuildId, count: int, *, before: int = 2**31, subject: Subject | None = None
    ) -> list[Case]:
        """The newest cases of a server, or those about a subject, the newest first."""
        scope, subject_id = subject or (None, None)
        rows = await self._database.fetch_all(LATEST, (guild_id, before, scope, subject_id, count))
        return [Case.from_row(row) for row in rows]

    async def _write(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        try:
            return await self._database.write(work)
        finally:
            # Also when the caller is cancelled, for then the transaction goes on by itself.
            self._rules.changed()


async def check_open_contests(connection: aiosqlite.Connection, guild_id: GuildId) -> None:
    """Raise UserError if a server has as many open contests as are possible."""
    (count,) = await connection.execute_fetchall(OPEN_CONTESTS, (guild_id,))
    if count["n"] >= MOST_CONTESTS:
        raise UserError("{count} contests are open on this server, the most that are possible.", count=MOST_CONTESTS)


async def add_case(
    connection: aiosqlite.Connection,
    at: str,
    by: By,
    action: str,
    subject: Subject,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    undoes: int | None = None,
) -> Case:
    """Number and write a case; for use inside the transaction that does what it says."""
    facts = (action, *subject, json.dumps(before), json.dumps(after), by.reason, undoes)
    cursor = await connection.execute(ADD, (by.guild_id, at, by.user_id, *facts))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - inserted above
    return Case.from_row(row)


async def _rules_of(connection: aiosqlite.Connection, guild_id: GuildId, subject: Subject) -> dict[str, RuleValue]:
    cursor = await connection.execute(RULES_OF, (guild_id, *subject))
    return {row["name"]: from_json(row["value"]) for row in await cursor.fetchall()}


async def _put(
    connection: aiosqlite.Connection, guild_id: GuildId, subject: Subject, before: Values, after: Values
) -> None:
    """Turn the rules `before` of a subject into those `after`."""
    await connection.executemany(
        "DELETE FROM rules WHERE guild_id = ? AND scope = ? AND subject_id = ? AND name = ?",
        [(guild_id, *subject, name) for name in before if name not in after],
    )
    await connection.executemany(SET, [(guild_id, *subject, name, to_json(value)) for name, value in after.items()])


async def _case(connection: aiosqlite.Connection, guild_id: GuildId, number: int) -> Case:
    cursor = await connection.execute("SELECT * FROM cases WHERE guild_id = ? AND number = ?", (guild_id, number))
    return _found(list(await cursor.fetchall()), number)


def _found(rows: Sequence[Row], number: int) -> Case:
    if not rows:
        raise UserError(
            "There is no case {number} on this server. {command} lists them.",
            number=number,
            command=refer(Reference.COMMAND, "mod cases"),
        )
    return Case.from_row(rows[0])


async def _later(connection: aiosqlite.Connection, case: Case, names: set[str]) -> int | None:
    """The newest case that touched what a case changed."""
    cursor = await connection.execute(LATER, (case.guild_id, *case.subject, case.number))
    later = [Case.from_row(row) for row in await cursor.fetchall()]
    return next((other.number for other in later if names & {*other.before, *other.after}), None)
