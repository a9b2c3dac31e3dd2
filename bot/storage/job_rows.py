"""Reads jobs: one, those of a person, a server, a post or a series, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import aiosqlite

from bot.jobs import (
    Clock,
    GuildId,
    Image,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Picture,
    Requester,
    Row,
    Surface,
    UserId,
    to_text,
)
from bot.storage.database import Database
from bot.storage.panels import REPLACED, SEEN_FIRST
from bot.storage.pictures import Pictures

COUNT = "SELECT count(*) AS n FROM jobs WHERE surface = ? AND status = 'queued'"

JOB = "SELECT * FROM jobs_with_post WHERE id = ?"

# By the indexes jobs_by_post and jobs_by_series.
OF_POST = "SELECT * FROM jobs_with_post WHERE post_id = ? ORDER BY id"

OF_SERIES = "SELECT * FROM jobs_with_post WHERE series_id = ? ORDER BY id"

SHOWN_BY = f"""
SELECT id FROM jobs WHERE post_id IN (SELECT id FROM posts WHERE message_id = ?) ORDER BY {SEEN_FIRST}
"""  # noqa: S608 - constants

WITH_FILE = """
SELECT images.* FROM images CROSS JOIN jobs ON jobs.id = job_id
WHERE (sha256 = ?1 OR delivered_sha256 = ?1) AND jobs.guild_id = ?2
ORDER BY job_id DESC LIMIT 1
"""

# The index jobs_of_person serves this newest first; a test asserts it.
HISTORY = """
SELECT * FROM jobs_with_post WHERE user_id = ?1 AND guild_id = ?2 AND surface = ?3
  AND status IN ('delivered', 'failed', 'cancelled') AND posted_at IS NOT NULL AND forgotten_at IS NULL
  AND (?4 IS NULL OR instr(lower(prompt), lower(?4)) OR instr(lower(request ->> '$.end_prompt'), lower(?4)))
  AND (?5 IS NULL OR model = ?5) AND (?6 IS NULL OR asked_at >= ?6)
  AND (?7 IS NULL OR EXISTS (SELECT 1 FROM ratings WHERE ratings.post_id = jobs_with_post.post_id AND emoji = ?7))
ORDER BY asked_at DESC, id DESC LIMIT ?8 OFFSET ?9
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One request of a person that became several jobs."""

    id: int
    kind: str
    guild_id: GuildId
    user_id: UserId
    title: str
    look: str = ""
    lead: int = 0
    """The number of the panel whose picture the others start from; 0 if they do not."""
    strength: float = 1.0
    """How much of that picture the others paint over."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a series from a row of the table `series`."""
        who = GuildId(row["guild_id"]), UserId(row["user_id"])
        return cls(row["id"], row["kind"], *who, row["title"], row["look"], row["lead"], row["strength"])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests of a history are wanted; None wants all."""

    words: str | None = None
    """A part of the prompt, or of the last prompt of an animation; capital letters do not matter."""
    model: str | None = None
    since: datetime | None = None
    emoji: str | None = None
    """A reaction that the result has."""


ALL = Wanted()


class JobRows:
    """The jobs of one surface, as they are."""

    def __init__(self, database: Database, pictures: Pictures, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._pictures = pictures
        self._surface = surface
        self._clock = clock

    async def get(self, job_id: JobId) -> Job | None:
        """One job, or None."""
        row = await self._database.fetch_one(JOB, (job_id,))
        return None if row is None else Job.from_row(row)

    async def depth(self) -> int:
        """How many jobs wait."""
        row = await self._database.fetch_one(COUNT, (self._surface,))
        return 0 if row is None else int(row["n"])

    async def of_post(self, post_id: int) -> list[Job]:
        """The jobs that a post shows, in the order of asking."""
        return [Job.from_row(row) for row in await self._database.fetch_all(OF_POST, (post_id,))]

    async def of_series(self, series_id: int) -> list[Job]:
        """The jobs of a series, in the order of asking."""
        return [Job.from_row(row) for row in await self._database.fetch_all(OF_SERIES, (series_id,))]

    async def is_replaced(self, job_id: JobId) -> bool:
        """Whether a job is of a panel that was painted anew since, so that its message shows another."""
        sql = f"SELECT 1 FROM jobs_with_post WHERE id = ? AND {REPLACED}"  # noqa: S608 - a constant
        return await self._database.fetch_one(sql, (job_id,)) is not None

    async def series(self, series_id: int) -> Series | None:
        """A series by its number; None if its person had it deleted."""
        row = await self._database.fetch_one("SELECT * FROM series WHERE id = ?", (series_id,))
        return None if row is None else Series.from_row(row)

    async def series_of(self, guild_id: GuildId, kind: str) -> list[Series]:
        """All series of a kind that were asked for in a server."""
        rows = await self._database.fetch_all("SELECT * FROM series WHERE guild_id = ? AND kind = ?", (guild_id, kind))
        return [Series.from_row(row) for row in rows]

    async def of_person(self, requester: Requester) -> list[Job]:
        """The jobs of one person in one server that have not ended, oldest first."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs_with_post WHERE user_id = ? AND guild_id = ? AND surface = ? "
            "AND status IN ('queued', 'running') ORDER BY asked_at, id",
            (requester.user_id, requester.guild_id, self._surface),
        )
        return [Job.from_row(row) for row in rows]

    async def open_in(self, guild_id: GuildId) -> list[Job]:
        """The jobs of a server that have not ended, oldest first."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs_with_post WHERE guild_id = ? AND surface = ? AND status IN ('queued', 'running') "
            "ORDER BY id",
            (guild_id, self._surface),
        )
        return [Job.from_row(row) for row in rows]

    async def running(self) -> list[Job]:
        """The jobs in the engine now."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs_with_post WHERE surface = ? AND status = 'running'", (self._surface,)
        )
        return [Job.from_row(row) for row in rows]

    async def is_running(self, job: Job) -> bool:
        """Whether this attempt at a job still counts: it was not cancelled since it began."""
        now = await self.get(job.id)
        return now is not None and (now.status, now.attempt) == (JobStatus.RUNNING, job.attempt)

    async def is_unposted(self, job: Job) -> bool:
        """Whether a job's message still has to say how it ended."""
        now = await self.get(job.id)
        return now is not None and now.is_unposted

    async def history(self, requester: Requester, skip: int, count: int, wanted: Wanted = ALL) -> list[Job]:
        """What ended of one person's requests in one server, newest first; `skip` are passed over."""
        since = None if wanted.since is None else to_text(wanted.since)
        filters = wanted.words, wanted.model, since, wanted.emoji
        rows = await self._database.fetch_all(
            HISTORY, (requester.user_id, requester.guild_id, self._surface, *filters, count, skip)
        )
        return [Job.from_row(row) for row in rows]

    async def shown_by(self, message_id: MessageId) -> list[JobId]:
        """The jobs that a message is known to show; first is one with pictures that people see, if there is any."""
        rows = await self._database.fetch_all(SHOWN_BY, (message_id,))
        return [JobId(row["id"]) for row in rows]

    async def value_sources(self, job_id: JobId) -> dict[str, str]:
        """Where the value of each option of a request comes from, by the option's name; empty if that is not known."""
        row = await self._database.fetch_one("SELECT value_sources FROM jobs WHERE id = ?", (job_id,))
        found: dict[str, str] = {} if row is None else json.loads(row["value_sources"] or "{}")
        return found

    async def pictures(self, job_id: JobId) -> list[Picture]:
        """The pictures of a job in their order, without reading their files; none if they were deleted."""
        rows = await self._database.fetch_all("SELECT * FROM images WHERE job_id = ? ORDER BY number", (job_id,))
        return [Picture.from_row(row) for row in rows]

    async def with_file(self, sha256: str, guild_id: GuildId) -> Picture | None:
        """The newest picture of a server with these bytes."""
        row = await self._database.fetch_one(WITH_FILE, (sha256, guild_id))
        return None if row is None else Picture.from_row(row)

    async def has_images(self, job_id: JobId) -> bool:
        """Whether a job was painted, delivered or not."""
        return await self._database.fetch_one("SELECT 1 FROM images WHERE job_id = ?", (job_id,)) is not None

    async def images(self, job_id: JobId) -> tuple[Image, ...]:
        """The job's pictures, read back from the folder."""
        return await self.read(await self.pictures(job_id))

    async def read(self, pictures: Sequence[Picture]) -> tuple[Image, ...]:
        """Pictures with the files that people get. Raises StorageError if a file is gone or damaged."""
        return await self._read({picture: picture.delivered_sha256 or picture.sha256 for picture in pictures})

    async def read_painted(self, pictures: Sequence[Picture]) -> tuple[Image, ...]:
        """Pictures with the files as they were painted, without a mark. Raises StorageError as `read` does."""
        return await self._read({picture: picture.sha256 for picture in pictures})

    async def _read(self, names: Mapping[Picture, str]) -> tuple[Image, ...]:
        files = await self._pictures.read(names.values())
        return tuple(
            Image(files[name], picture.seed, picture.width, picture.height, name, nsfw=picture.nsfw)
            for picture, name in names.items()
        )


async def read_job(connection: aiosqlite.Connection, job_id: int | None) -> Job:
    """A job that is known to be there."""
    cursor = await connection.execute(JOB, (job_id,))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the caller has just written it
    return Job.from_row(row)
