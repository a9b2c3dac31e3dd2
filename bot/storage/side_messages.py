"""Messages about a result in other places than its channel, as rows of the table `side_messages`.

A row is written before its message is sent, so that a kill at any point leaves either no message or a row that knows
of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType, Self

import aiosqlite

from bot.jobs import ChannelId, Clock, Job, JobId, JobStatus, MessageId, Row, Surface, UserId, from_text, to_text
from bot.storage.database import Database
from bot.storage.panels import SEEN_FIRST
from bot.storage.reactions import ASKING, DELETE, FAVOURITES, SENDS, quoted

PostId = NewType("PostId", int)

EVERYONE = UserId(0)
"""For whom a copy in a gallery is that people's favourites ask for. The copy of a contest's winner, which needs none,
has the number of the contest in its place, below zero."""

RECENTLY = timedelta(days=7)
"""A reaction that is older begins nothing: a new gallery is not filled with the favourites of years."""
TOLD_FOR = timedelta(days=1)
"""A person whose direct messages are closed is told so once in this time."""

# The expression must be that of the index ratings_that_ask.
_ASKS = f"emoji IN ({quoted(ASKING)})"
_SENDS = f"emoji IN ({quoted(SENDS)})"
_FAVOURS = f"emoji IN ({quoted(FAVOURITES)})"

JOBS_OF_POST = f"""
SELECT *, EXISTS (SELECT 1 FROM images WHERE job_id = jobs.id) AS has_images FROM jobs_with_post AS jobs
WHERE post_id = ? AND surface = ? ORDER BY {SEEN_FIRST}
"""  # noqa: S608 - constants
REACTIONS = f"SELECT user_id, emoji, added_at FROM ratings WHERE post_id = ? AND {_ASKS}"  # noqa: S608 - constants
OF_POST = "SELECT * FROM side_messages WHERE post_id = ? ORDER BY id"

# The posts at which a start, or a server's new gallery, may find something to do: those with a recent reaction that
# asks for what there is not, those with a message that is still to be sent, and those with one that is to be deleted.
TO_LOOK_AT = f"""
SELECT post_id FROM ratings WHERE {_ASKS} AND added_at > ? AND CASE
  WHEN emoji = '{DELETE}' THEN EXISTS (
    SELECT 1 FROM jobs JOIN images ON job_id = jobs.id WHERE post_id = ratings.post_id AND user_id = ratings.user_id)
  WHEN {_SENDS} THEN NOT EXISTS (
    SELECT 1 FROM side_messages WHERE post_id = ratings.post_id AND kind = 'private' AND user_id = ratings.user_id
      AND (over_at IS NULL OR over_at >= ratings.added_at))
  ELSE NOT EXISTS (
    SELECT 1 FROM side_messages WHERE post_id = ratings.post_id AND kind = 'gallery' AND user_id = 0) AND EXISTS (
    SELECT 1 FROM jobs JOIN rules ON rules.guild_id = jobs.guild_id AND name = 'gallery'
    WHERE post_id = ratings.post_id) END
UNION SELECT post_id FROM side_messages WHERE message_id IS NULL AND over_at IS NULL
UNION SELECT post_id FROM side_messages AS side WHERE (kind != 'refusal' OR over_at IS NULL) AND (
  kind = 'refusal' OR is_leaving
  OR NOT EXISTS (SELECT 1 FROM jobs JOIN images ON job_id = jobs.id WHERE jobs.post_id = side.post_id
    AND (side.job_id IS NULL OR side.job_id = jobs.id))
  OR kind = 'private' AND NOT EXISTS (
    SELECT 1 FROM ratings WHERE post_id = side.post_id AND user_id = side.user_id AND {_SENDS})
  OR kind = 'gallery' AND threshold > (
    SELECT count(DISTINCT user_id) FROM ratings WHERE post_id = side.post_id AND {_FAVOURS}
      AND user_id NOT IN (SELECT user_id FROM jobs WHERE post_id = side.post_id)))
"""  # noqa: S608 - constants

# The unique index makes a second row for the same purpose impossible.
BEGIN = """
INSERT INTO side_messages (kind, post_id, user_id, channel_id, threshold, begun_at, job_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING *
"""
# A copy that favourites asked for stays without them.
KEEP = """
UPDATE side_messages SET threshold = 0 WHERE kind = 'gallery' AND post_id = ? AND channel_id = ? AND job_id = ?
  AND over_at IS NULL AND NOT is_leaving
"""
TELL_REFUSED = """
INSERT INTO side_messages (kind, post_id, user_id, channel_id, begun_at)
SELECT 'refusal', post_id, ?1, channel_id, ?2 FROM jobs_with_post WHERE id = ?3
  AND NOT EXISTS (SELECT 1 FROM side_messages WHERE user_id = ?1 AND kind = 'refusal')
"""
FORGET_TOLD = (
    "DELETE FROM side_messages WHERE user_id = ? AND kind = 'refusal' AND over_at IS NOT NULL AND begun_at < ?"
)


class Kind(StrEnum):
    """What a side message is."""

    GALLERY = "gallery"
    """A copy of the result in the server's gallery."""
    PRIVATE = "private"
    """A copy in a direct message to a person who asked for it."""
    REFUSAL = "refusal"
    """A note, for a short time, that a person takes no direct messages."""


@dataclass(frozen=True, slots=True)
class SideMessage:
    """One row of `side_messages`. `over_at` is when it became certain that no message is to be sent any more."""

    id: int
    kind: Kind
    post_id: PostId
    user_id: UserId
    channel_id: ChannelId | None
    threshold: int
    begun_at: datetime
    message_id: MessageId | None = None
    over_at: datetime | None = None
    is_leaving: bool = False
    """Whether its deletion was begun: it may be gone although that was not noted, so it is never kept after all."""
    job_id: JobId | None = None
    """Whose pictures it shows; None stands for the job that its post stands for."""

    @property
    def is_open(self) -> bool:
        """Whether its message is not known to be there, and is still to be sent."""
        return self.message_id is None and self.over_at is None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build it from a row of the table."""
        begun_at = from_text(row["begun_at"])
        assert begun_at is not None  # noqa: S101 - the column is NOT NULL
        return cls(
            row["id"],
            Kind(row["kind"]),
            PostId(row["post_id"]),
            UserId(row["user_id"]),
            None if row["channel_id"] is None else ChannelId(row["channel_id"]),
            row["threshold"],
            begun_at,
            None if row["message_id"] is None else MessageId(row["message_id"]),
            from_text(row["over_at"]),
            bool(row["is_leaving"]),
            None if row["job_id"] is None else JobId(row["job_id"]),
        )


@dataclass(frozen=True, slots=True)
class PostState:
    """What is asked for by the reactions under a post, and what there is."""

    post_id: PostId
    jobs: Sequence[Job]
    """All jobs of the post, those that people see first; never empty."""
    shown: Set[JobId]
    """Those whose pictures are to be seen: they are delivered, and were not removed."""
    unwanted_at: datetime | None
    """When the person who asked for the results asked for their deletion, if one that was asked for before is shown."""
    favourites: Mapping[UserId, datetime]
    """Who else favourited it, and when first."""
    senders: Mapping[UserId, datetime]
    """Who wants it as a direct message, and since when."""
    messages: tuple[SideMessage, ...]

    @property
    def job(self) -> Job:
        """The job that the post stands for: the first that shows pictures."""
        return next((job for job in self.jobs if job.id in self.shown), self.jobs[0])

    def job_of(self, message: SideMessage) -> Job:
        """The job that a message is about."""
        return next((job for job in self.jobs if job.id == message.job_id), self.job)

    def shows(self, message: SideMessage) -> bool:
        """Whether the pictures that a message is about are to be seen."""
        return self.job_of(message).id in self.shown


class SideMessages:
    """Reads what posts need, and writes what became of their side messages."""

    def __init__(self, database: Database, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._surface = surface
        self._clock = clock

    async def to_look_at(self) -> set[int]:
        """The posts at which something may have to be done, whatever happened before."""
        since = to_text(self._clock() - RECENTLY)
        return {row["post_id"] for row in await self._database.fetch_all(TO_LOOK_AT, (since,))}

    async def state(self, post_id: PostId) -> PostState | None:
        """What a post of this surface needs; None if it is none."""
        rows = await self._database.fetch_all(JOBS_OF_POST, (post_id, self._surface))
        if not rows:
            return None
        jobs = tuple(map(Job.from_row, rows))
        shown = {
            job.id
            for job, row in zip(jobs, rows, strict=True)
            if row["has_images"] and job.status is JobStatus.DELIVERED and job.forgotten_at is None
        }
        # All jobs of a post are of one person.
        requester_id = jobs[0].requester.user_id
        favourites: dict[UserId, datetime] = {}
        senders: dict[UserId, datetime] = {}
        unwanted_at: datetime | None = None
        for reaction in await self._database.fetch_all(REACTIONS, (post_id,)):
            user_id, emoji, at = UserId(reaction["user_id"]), reaction["emoji"], from_text(reaction["added_at"])
            assert at is not None  # noqa: S101 - the column is NOT NULL
            if emoji in SENDS:
                senders[user_id] = max(at, senders.get(user_id, at))
            elif emoji == DELETE:
                # A panel that is painted again later is wanted.
                is_shown = any(job.id in shown and job.asked_at <= at for job in jobs)
                unwanted_at = at if is_shown and user_id == requester_id else unwanted_at
            elif user_id != requester_id:
                favourites[user_id] = min(at, favourites.get(user_id, at))
        messages = tuple(map(SideMessage.from_row, await self._database.fetch_all(OF_POST, (post_id,))))
        return PostState(post_id, jobs, shown, unwanted_at, favourites, senders, messages)

    async def begin(
        self,
        kind: Kind,
        post_id: PostId,
        user_id: UserId = EVERYONE,
        channel_id: ChannelId | None = None,
        threshold: int = 0,
        job_id: JobId | None = None,
    ) -> SideMessage | None:
        """Decide that a message with the pictures of a job is to be sent; None if that was decided before."""

        async def work(connection: aiosqlite.Connection) -> SideMessage | None:
            values = (kind, post_id, user_id, channel_id, threshold, to_text(self._clock()), job_id)
            rows = list(await connection.execute_fetchall(BEGIN, values))
            return SideMessage.from_row(rows[0]) if rows else None

        return await self._database.write(work)

    async def begin_winner(self, contest_id: int, post_id: PostId, channel_id: ChannelId, job_id: JobId) -> None:
        """Decide that the winner of a contest is copied to a gallery, and stays there; a copy that is there is kept."""

        async def work(connection: aiosqlite.Connection) -> None:
            kept = await connection.execute(KEEP, (post_id, channel_id, job_id))
            if not kept.rowcount:
                values = (Kind.GALLERY, post_id, -contest_id, channel_id, 0, to_text(self._clock()), job_id)
                await connection.execute_fetchall(BEGIN, values)

        await self._database.write(work)

    async def place(self, message: SideMessage, channel_id: ChannelId, message_id: MessageId | None = None) -> None:
        """Note in which channel a message is or will be, and its id once Discord has accepted it."""
        await self._database.execute(
            "UPDATE side_messages SET channel_id = ?, message_id = ? WHERE id = ?", (channel_id, message_id, message.id)
        )

    async def end(self, message: SideMessage) -> None:
        """Note that a message is not there and will not be; its row keeps it from being decided again."""
        await self._database.execute(
            "UPDATE side_messages SET message_id = NULL, over_at = ? WHERE id = ?",
            (to_text(self._clock()), message.id),
        )

    async def refuse(self, message: SideMessage, job: Job) -> None:
        """Note that a person takes no direct messages, and decide to tell them so unless they were told lately."""

        async def work(connection: aiosqlite.Connection) -> None:
            now = self._clock()
            await connection.execute("UPDATE side_messages SET over_at = ? WHERE id = ?", (to_text(now), message.id))
            await connection.execute(FORGET_TOLD, (message.user_id, to_text(now - TOLD_FOR)))
            await connection.execute(TELL_REFUSED, (message.user_id, to_text(now), job.id))

        await self._database.write(work)

    async def leave(self, message: SideMessage) -> bool:
        """Note that a message is about to be deleted; False if it became a copy that stays since it was read."""

        async def work(connection: aiosqlite.Connection) -> bool:
            sql = "UPDATE side_messages SET is_leaving = 1 WHERE id = ? AND threshold = ?"
            return bool((await connection.execute(sql, (message.id, message.threshold))).rowcount)

        return await self._database.write(work)

    async def drop(self, message: SideMessage) -> None:
        """Forget a message that is gone; it may be decided again."""
        await self._database.execute("DELETE FROM side_messages WHERE id = ?", (message.id,))
