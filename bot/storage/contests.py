"""Contests, their entries and their votes. Before the votes are counted, nothing here says how many there are."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

import aiosqlite

from bot.errors import UserError
from bot.jobs import ChannelId, Clock, GuildId, JobId, MessageId, PictureRef, Row, Scope, UserId, from_text, to_text
from bot.storage.cases import (
    CONTEST_CANCEL,
    CONTEST_END,
    CONTEST_START,
    By,
    Case,
    add_case,
    check_open_contests,
    contest_name,
)
from bot.storage.database import Database

ON_TIME = timedelta(minutes=1)
"""How late a part of a contest may end without the next part being longer for it."""

START = """
INSERT INTO contests (guild_id, channel_id, gallery_id, theme, shuffle, begun_at, entries_until, votes_until, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'entries') RETURNING *
"""
LATEST = "SELECT * FROM contests WHERE guild_id = ? ORDER BY id DESC LIMIT ?"
BY_ID = "SELECT * FROM contests WHERE id = ?"

# What has to be done: a part of a contest ends, or its messages say something that is not true any more.
OWED = "SELECT * FROM contests WHERE state IN ('entries', 'voting') OR changed > shown ORDER BY id"

# A person has one entry: the last one.
LEAVE = "DELETE FROM contest_entries WHERE contest_id = ? AND user_id = ?"
ENTER = "INSERT INTO contest_entries (contest_id, user_id, job_id, number) VALUES (?, ?, ?, ?)"

ENTRIES = "SELECT * FROM contest_entries WHERE contest_id = ? ORDER BY id"
WINNERS = "SELECT * FROM contest_entries WHERE contest_id = ? AND won ORDER BY id"
ENTRY = "SELECT * FROM contest_entries WHERE id = ?"

VOTE = """
INSERT INTO contest_votes (contest_id, user_id, entry_id) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET entry_id = excluded.entry_id
"""
TAKE_BACK = "DELETE FROM contest_votes WHERE contest_id = ? AND user_id = ? AND entry_id = ?"
VOTE_OF = "SELECT entry_id FROM contest_votes WHERE contest_id = ? AND user_id = ?"

VOTING = "UPDATE contests SET state = 'voting', votes_until = ?, changed = changed + 1 WHERE id = ?"
VOTES = """
SELECT entry.id, count(vote.user_id) AS votes FROM contest_entries AS entry
LEFT JOIN contest_votes AS vote ON vote.entry_id = entry.id WHERE entry.contest_id = ? GROUP BY entry.id
"""
COUNTED = """
UPDATE contests SET state = 'counted', entrants = ?, voters = ?, best = ?, winners = ?, changed = changed + 1
WHERE id = ?
"""


class State(StrEnum):
    """Which part of a contest it is."""

    ENTRIES = "entries"
    """People enter pictures."""
    VOTING = "voting"
    COUNTED = "counted"
    """It is over, and its rows say who won."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Contest:
    """One row of `contests`."""

    id: int
    guild_id: GuildId
    channel_id: ChannelId
    gallery_id: ChannelId | None
    theme: str
    shuffle: str
    begun_at: datetime
    entries_until: datetime
    votes_until: datetime
    state: State
    entrants: int
    voters: int
    best: int
    winners: int
    message_id: MessageId | None
    news_id: MessageId | None
    changed: int
    shown: int

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a contest from a row of the table `contests`."""
        values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row iterates over values
        for name in ("begun_at", "entries_until", "votes_until"):
            values[name] = from_text(row[name])
        return cls(**{**values, "state": State(row["state"])})

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state in (State.ENTRIES, State.VOTING)

    def part(self, now: datetime) -> State:
        """Which part of it is on, although that may not be noted yet."""
        if self.state is State.ENTRIES and now >= self.entries_until:
            return State.VOTING
        if self.state is State.VOTING and now >= self.votes_until:
            return State.COUNTED
        return self.state


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture that a person entered."""

    id: int
    contest_id: int
    user_id: UserId
    ref: PictureRef
    won: bool

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build an entry from a row of the table `contest_entries`."""
        ref = PictureRef(JobId(row["job_id"]), row["number"])
        return cls(row["id"], row["contest_id"], UserId(row["user_id"]), ref, bool(row["won"]))


class Contests:
    """Reads and writes contests, entries and votes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def start(
        self,
        by: By,
        theme: str,
        channel_id: ChannelId,
        gallery_id: ChannelId | None,
        entries: timedelta,
        votes: timedelta,
    ) -> tuple[Contest, Case]:
        """Begin a contest. Raises UserError if the server has too many that are open."""

        async def work(connection: aiosqlite.Connection) -> tuple[Contest, Case]:
            await check_open_contests(connection, by.guild_id)
            now = self._clock()
            times = map(to_text, (now, now + entries, now + entries + votes))
            values = by.guild_id, channel_id, gallery_id, theme, secrets.token_hex(16), *times
            (row,) = await connection.execute_fetchall(START, values)
            contest = Contest.from_row(row)
            case = await self._case(connection, by, CONTEST_START, contest, {}, State.ENTRIES)
            return contest, case

        return await self._database.write(work)

    async def end(self, by: By, number: int) -> tuple[Contest, Case]:
        """End the part of a contest that is on, now. Raises UserError if it is over. Returns the contest as it was."""

        async def work(connection: aiosqlite.Connection) -> tuple[Contest, Case]:
            contest = await _open(connection, by.guild_id, number, self._clock())
            now = self._clock()
            if contest.state is State.ENTRIES:
                until = now, now + (contest.votes_until - contest.entries_until)
                after = State.VOTING
            else:
                until = contest.entries_until, now
                after = State.COUNTED
            await connection.execute(
                "UPDATE contests SET entries_until = ?, votes_until = ? WHERE id = ?", (*map(to_text, until), number)
            )
            return contest, await self._case(connection, by, CONTEST_END, contest, {"state": contest.state}, after)

        return await self._database.write(work)

    async def cancel(self, by: By, number: int) -> tuple[Contest, Case]:
        """Let a contest end without a winner; its votes go. Raises UserError if it is over."""

        async def work(connection: aiosqlite.Connection) -> tuple[Contest, Case]:
            contest = await _open(connection, by.guild_id, number, self._clock())
            await connection.execute(
                "UPDATE contests SET state = 'cancelled', changed = changed + 1 WHERE id = ?", (number,)
            )
            await connection.execute("DELETE FROM contest_votes WHERE contest_id = ?", (number,))
            before = {"state": contest.state}
            return contest, await self._case(connection, by, CONTEST_CANCEL, contest, before, State.CANCELLED)

        return await self._database.write(work)

    async def _case(
        self,
        connection: aiosqlite.Connection,
        by: By,
        action: str,
        contest: Contest,
        before: dict[str, State],
        after: State,
    ) -> Case:
        name = contest_name(contest.id)
        was = {name: before["state"]} if before else {}
        server = (Scope.SERVER, 0)
        return await add_case(connection, to_text(self._clock()), by, action, server, was, {name: after})

    async def enter(self, contest: Contest, user_id: UserId, ref: PictureRef) -> bool:
        """Enter a picture; returns whether it takes the place of another. Raises UserError after the end of entries."""

        async def work(connection: aiosqlite.Connection) -> bool:
            now = await _open(connection, contest.guild_id, contest.id, self._clock())
            if now.state is not State.ENTRIES:
                raise UserError("Entries are closed. Your entry stays as it was, and people vote now.")
            left = await connection.execute(LEAVE, (contest.id, user_id))
            try:
                await connection.execute(ENTER, (contest.id, user_id, ref.job_id, ref.number))
            except aiosqlite.IntegrityError:
                raise UserError("That picture was deleted, so it cannot be entered.") from None
            return left.rowcount > 0

        return await self._database.write(work)

    async def withdraw(self, contest: Contest, user_id: UserId) -> None:
        """Take an entry out, with the votes for it. Raises UserError if there is none, or if the contest is over."""

        async def work(connection: aiosqlite.Connection) -> None:
            await _open(connection, contest.guild_id, contest.id, self._clock())
            left = await connection.execute(LEAVE, (contest.id, user_id))
            if not left.rowcount:
                raise UserError("You have no picture in this contest.")

        await self._database.write(work)

    async def get(self, number: int) -> Contest | None:
        """A contest by its number."""
        row = await self._database.fetch_one(BY_ID, (number,))
        return None if row is None else Contest.from_row(row)

    async def latest(self, guild_id: GuildId, count: int) -> list[Contest]:
        """The newest contests of a server."""
        return [Contest.from_row(row) for row in await self._database.fetch_all(LATEST, (guild_id, count))]

    async def entry(self, number: int) -> Entry | None:
        """An entry by its number."""
        row = await self._database.fetch_one(ENTRY, (number,))
        return None if row is None else Entry.from_row(row)

    async def entry_of(self, contest: Contest, user_id: UserId) -> Entry | None:
        """The entry of a person."""
        rows = await self._database.fetch_all(ENTRIES, (contest.id,))
        return next((Entry.from_row(row) for row in rows if row["user_id"] == user_id), None)

    async def ballot(self, contest: Contest, voter: UserId) -> list[Entry]:
        """The entries of others, in the order in which this voter sees them, each time the same."""
        entries = [Entry.from_row(row) for row in await self._database.fetch_all(ENTRIES, (contest.id,))]
        return in_order_of(voter, contest.shuffle, [each for each in entries if each.user_id != voter])

    async def vote_of(self, contest: Contest, voter: UserId) -> int | None:
        """The entry that a person votes for."""
        row = await self._database.fetch_one(VOTE_OF, (contest.id, voter))
        return None if row is None else row["entry_id"]

    async def vote(self, contest: Contest, voter: UserId, entry_id: int) -> bool:
        """Vote for an entry, or take that vote back; returns whether the person votes for it now.

        Raises UserError if it is their own or gone, or if people do not vote now.
        """

        async def work(connection: aiosqlite.Connection) -> bool:
            now = await _open(connection, contest.guild_id, contest.id, self._clock())
            if now.state is not State.VOTING:
                raise UserError("People vote only after the end of entries.")
            rows = list(await connection.execute_fetchall(ENTRY, (entry_id,)))
            if not rows or rows[0]["contest_id"] != contest.id:
                raise UserError("This picture is no longer in the contest. Press Vote again for another one.")
            if rows[0]["user_id"] == voter:
                raise UserError("This is your own picture. Vote for another one.")
            taken = await connection.execute(TAKE_BACK, (contest.id, voter, entry_id))
            if not taken.rowcount:
                await connection.execute(VOTE, (contest.id, voter, entry_id))
            return not taken.rowcount

        return await self._database.write(work)

    async def owed(self) -> list[Contest]:
        """The contests that are not over, or whose messages do not say what is true."""
        return [Contest.from_row(row) for row in await self._database.fetch_all(OWED)]

    async def advance(self, contest: Contest) -> Contest:
        """Begin the next part of a contest if its time has come; returns the contest as it is then.

        With fewer than two entries there is nothing to vote on, so it is over at the end of entries.
        """

        async def work(connection: aiosqlite.Connection) -> Contest:
            now = await _by_id(connection, contest.id)
            part = now.part(self._clock())
            if part is now.state:
                return now
            votes = {row["id"]: row["votes"] for row in await connection.execute_fetchall(VOTES, (now.id,))}
            if part is State.VOTING and len(votes) > 1:
                # If the bot was away at the end of entries, people have the whole time to vote from now on.
                until = max(now.votes_until, self._clock() - ON_TIME + (now.votes_until - now.entries_until))
                await connection.execute(VOTING, (to_text(until), now.id))
            else:
                await _count(connection, now, votes)
            return await _by_id(connection, now.id)

        return await self._database.write(work)

    async def winners(self, contest: Contest) -> list[Entry]:
        """The entries with the most votes whose pictures are still there."""
        return [Entry.from_row(row) for row in await self._database.fetch_all(WINNERS, (contest.id,))]

    async def place(self, contest: Contest, message_id: MessageId) -> None:
        """Note the message of a contest."""
        await self._database.execute("UPDATE contests SET message_id = ? WHERE id = ?", (message_id, contest.id))

    async def place_news(self, contest: Contest, message_id: MessageId | None) -> None:
        """Note the message that names the winners; None if there can be none."""
        await self._database.execute("UPDATE contests SET news_id = ? WHERE id = ?", (message_id or 0, contest.id))

    async def noted(self, contest: Contest) -> None:
        """Note that the messages say what was true when this contest was read."""
        await self._database.execute("UPDATE contests SET shown = ? WHERE id = ?", (contest.changed, contest.id))


def in_order_of(voter: UserId, shuffle: str, entries: Sequence[Entry]) -> list[Entry]:
    """Entries in an order that is another one for each voter, and always the same for one."""

    def place(entry: Entry) -> bytes:
        return hashlib.sha256(f"{shuffle}:{voter}:{entry.id}".encode()).digest()

    return sorted(entries, key=place)


async def _by_id(connection: aiosqlite.Connection, number: int) -> Contest:
    (row,) = await connection.execute_fetchall(BY_ID, (number,))
    return Contest.from_row(row)


async def _open(connection: aiosqlite.Connection, guild_id: GuildId, number: int, now: datetime) -> Contest:
    """A contest of a server that is not over, also by the time. Raises UserError for every other one."""
    rows = list(await connection.execute_fetchall(BY_ID, (number,)))
    contest = Contest.from_row(rows[0]) if rows else None
    if contest is None or contest.guild_id != guild_id:
        raise UserError("There is no contest {number} on this server.", number=number)
    if contest.state is not State.ENTRIES and contest.part(now) in (State.COUNTED, State.CANCELLED):
        raise UserError("Contest {number} is over.", number=number)
    if contest.part(now) is not contest.state:
        raise UserError("The entries of this contest were just closed. Try again in a moment.")
    return contest


async def _count(connection: aiosqlite.Connection, contest: Contest, votes: dict[int, int]) -> None:
    """Note who won, and forget who voted for what. The only entry wins without a vote."""
    best = max(votes.values(), default=0)
    alone = contest.state is State.ENTRIES and len(votes) == 1
    won = [entry_id for entry_id, count in votes.items() if alone or (best and count == best)]
    await connection.executemany("UPDATE contest_entries SET won = 1 WHERE id = ?", [(each,) for each in won])
    await connection.execute(COUNTED, (len(votes), sum(votes.values()), best, len(won), contest.id))
    await connection.execute("DELETE FROM contest_votes WHERE contest_id = ?", (contest.id,))
    await connection.execute("DELETE FROM contest_entries WHERE contest_id = ? AND NOT won", (contest.id,))
