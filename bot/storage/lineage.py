"""Where pictures come from: the results that a request starts from, and the requests that start from a result."""

from __future__ import annotations

from dataclasses import dataclass

from bot.jobs import GuildId, Job, JobId, PictureRef
from bot.storage.database import Database

MOST_RELATIVES = 60
"""The most requests of a family: a picture of more could not be read."""

# The indexes of `sources` serve both directions. UNION drops what was found before, so the recursion ends.
FAMILY = """
WITH RECURSIVE
  before (id) AS (SELECT ?1 UNION SELECT source_id FROM sources JOIN before ON job_id = before.id LIMIT ?2),
  after (id) AS (SELECT ?1 UNION SELECT job_id FROM sources JOIN after ON source_id = after.id LIMIT ?2)
SELECT * FROM jobs_with_post WHERE id IN (SELECT id FROM before UNION SELECT id FROM after) AND +guild_id = ?3
ORDER BY id LIMIT ?2
"""

# Servers see nothing of each other, but a person may send the file of a result of another one.
SOURCES = """
SELECT source_id, number FROM sources CROSS JOIN jobs AS source ON source.id = source_id
WHERE job_id = ?1 AND source.guild_id = (SELECT guild_id FROM jobs WHERE id = ?1) ORDER BY source_id, number
"""

LINKS = """
SELECT job_id, source_id, number FROM sources
WHERE job_id IN (SELECT value FROM json_each(?1)) AND source_id IN (SELECT value FROM json_each(?1))
ORDER BY job_id, source_id, number
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A request, and a picture that it starts from."""

    job_id: JobId
    source: PictureRef


@dataclass(frozen=True, slots=True)
class Family:
    """The requests from which a request comes and those that came from it, oldest first, and how they are linked."""

    jobs: tuple[Job, ...]
    links: tuple[Link, ...]

    def sources_of(self, job_id: JobId) -> list[Job]:
        """The requests that a request starts from."""
        ids = {link.source.job_id for link in self.links if link.job_id == job_id}
        return [job for job in self.jobs if job.id in ids]

    def results_of(self, job_id: JobId) -> list[Job]:
        """The requests that start from a request."""
        ids = {link.job_id for link in self.links if link.source.job_id == job_id}
        return [job for job in self.jobs if job.id in ids]


class Lineage:
    """Reads the table `sources`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sources(self, job_id: JobId) -> tuple[PictureRef, ...]:
        """The pictures of its server that a request starts from; with number 0 only the words were used."""
        rows = await self._database.fetch_all(SOURCES, (job_id,))
        return tuple(PictureRef(JobId(row["source_id"]), row["number"]) for row in rows)

    async def repeated(self, job_id: JobId) -> tuple[PictureRef, ...]:
        """What a request starts from that repeats a request: the pictures that it starts from, and its words."""
        return (*(source for source in await self.sources(job_id) if source.number), PictureRef(job_id))

    async def family(self, job_id: JobId, guild_id: GuildId) -> Family:
        """The family of a request within its server: at most MOST_RELATIVES requests, the oldest ones."""
        rows = await self._database.fetch_all(FAMILY, (job_id, MOST_RELATIVES, guild_id))
        jobs = tuple(Job.from_row(row) for row in rows)
        ids = "[" + ",".join(str(job.id) for job in jobs) + "]"
        links = await self._database.fetch_all(LINKS, (ids,))
        return Family(
            jobs,
            tuple(Link(JobId(row["job_id"]), PictureRef(JobId(row["source_id"]), row["number"])) for row in links),
        )
