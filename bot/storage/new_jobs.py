"""Writes new jobs: of one request, of a series or of a panel; and takes back what a person never saw accepted."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import aiosqlite

from bot.jobs import Destination, GenerationRequest, Job, JobId, PictureRef, Requester, to_text
from bot.money import NOTHING, Micros
from bot.storage.job_rows import JobRows, read_job
from bot.storage.panels import Panel, add_panels, replace_panel

_ASKED = (
    "surface",
    "interaction_id",
    "post_id",
    "guild_id",
    "user_id",
    "roles",
    "request",
    "cost",
    "held_seconds",
    "asked_at",
    "value_sources",
    "series_id",
    "label",
    "held_micros",
)

ENQUEUE = f"INSERT INTO jobs ({', '.join(_ASKED)}) VALUES ({', '.join('?' * len(_ASKED))})"  # noqa: S608 - constants

ADD_SERIES = "INSERT INTO series (kind, guild_id, user_id, title, look, lead, strength) VALUES (?, ?, ?, ?, ?, ?, ?)"

# A job that follows another one waits while that is open. Afterwards it starts from its picture, if there is one.
FOLLOW = (
    "UPDATE jobs SET follows = (SELECT id FROM jobs WHERE id = ?2 AND status IN ('queued', 'running')) WHERE id = ?1"
)
START_FROM = """
UPDATE jobs SET request = json_set(request, '$.image', images.sha256) FROM images
WHERE jobs.id = ?1 AND follows IS NULL AND images.job_id = ?2 AND images.number = 1
"""
START_ALONE = """
UPDATE jobs SET request = json_set(request, '$.operation', 'text2image', '$.strength', 1.0)
WHERE id = ?1 AND follows IS NULL AND NOT EXISTS (SELECT 1 FROM images WHERE job_id = ?2 AND number = 1)
"""
NOTE_LEAD = """
INSERT INTO sources SELECT ?1, ?2, 1 FROM jobs
WHERE id = ?1 AND (follows IS NOT NULL OR request ->> '$.image' <> '') ON CONFLICT DO NOTHING
"""

# A person may send the file of a result back: then the request starts from that result, and does not keep its file.
SAME_FILE = """
INSERT INTO sources SELECT ?1, job_id, number FROM images WHERE sha256 = ?2 OR delivered_sha256 = ?2
ON CONFLICT DO NOTHING
"""

WITHDRAW = """
DELETE FROM jobs WHERE id = ? AND (status = 'queued' OR status = 'cancelled'
  AND (SELECT message_id FROM posts WHERE id = post_id) IS NULL) RETURNING post_id, series_id
"""

DROP_SERIES = "DELETE FROM series WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE series_id = series.id)"

DROP_POST = "DELETE FROM posts WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE post_id = posts.id)"


@dataclass(frozen=True, slots=True)
class Entry:
    """A job to be written: what it is taken to cost in GPU time and in money, and what it is called in its series."""

    request: GenerationRequest
    seconds: float
    sources: Sequence[PictureRef] = ()
    value_sources: Mapping[str, str] | None = None
    label: str = ""
    micros: Micros = NOTHING
    follows: JobId | None = None
    """The job from whose picture it starts, and for which it waits. In a new series the lead is not known yet."""


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series to be written: what the person typed, and its jobs by the posts that show them."""

    kind: str
    title: str
    posts: Sequence[Sequence[Entry]]
    look: str = ""
    panels: Sequence[Panel] = ()
    """Those of a storyboard, in order. The panels without a refusal belong to the jobs, in order."""
    strength: float | None = None
    """How much of the picture of the first job the others paint over, which follow it; None if they do not."""


class NewJobs(JobRows):
    """The jobs of one surface, to which new ones are added."""

    async def enqueue(
        self,
        requester: Requester,
        destination: Destination,
        request: GenerationRequest,
        *,
        interaction_id: int | None,
        admit: Callable[[aiosqlite.Connection], Awaitable[None]],
        seconds: float | None = None,
        micros: Micros = NOTHING,
        sources: Sequence[PictureRef] = (),
        value_sources: Mapping[str, str] | None = None,
    ) -> Job | None:
        """Write the job in one transaction with `admit`, which raises to refuse it.

        `seconds` is what it is taken to cost in GPU time; without it, a second for every megapixel-step. `micros` is
        what it is taken to cost in money.
        `sources` are the pictures that it starts from, if they are results. `value_sources` says where the value of
        each option comes from.
        A job without a message is not claimed until `place_message` says where it is answered. Returns None when
        the interaction already made a job: Discord repeats events after a RESUME.
        """
        entry = Entry(request, request.cost if seconds is None else seconds, sources, value_sources, micros=micros)

        async def work(connection: aiosqlite.Connection) -> Job | None:
            if await _is_known(connection, interaction_id):
                return None
            await admit(connection)
            post_id = await self._add_post(connection, destination)
            return await self._add(connection, requester, entry, interaction_id, post_id, None)

        return await self._database.write(work)

    async def enqueue_series(
        self,
        requester: Requester,
        destination: Destination,
        series: NewSeries,
        *,
        interaction_id: int | None,
        admit: Callable[[aiosqlite.Connection], Awaitable[None]],
    ) -> list[Job]:
        """Write the jobs of a series and their posts in one transaction, as `enqueue` writes one job.

        Returns an empty list when the interaction already made jobs.
        """

        async def work(connection: aiosqlite.Connection) -> list[Job]:
            if await _is_known(connection, interaction_id):
                return []
            await admit(connection)
            lead = 0
            if series.strength is not None:
                lead = next(panel.number for panel in series.panels if not panel.refusal)
            values = series.kind, requester.guild_id, requester.user_id, series.title, series.look, lead
            cursor = await connection.execute(ADD_SERIES, (*values, series.strength or 1.0))
            series_id = cursor.lastrowid
            assert series_id is not None  # noqa: S101 - it was inserted
            jobs: list[Job] = []
            for post in series.posts:
                post_id = await self._add_post(connection, destination)
                for entry in post:
                    # Only one row may name the interaction.
                    known_as = None if jobs else interaction_id
                    if series.strength is not None and jobs:
                        entry = replace(entry, follows=jobs[0].id)
                    jobs.append(await self._add(connection, requester, entry, known_as, post_id, series_id))
            of_panels = iter(jobs)
            panels = [each if each.refusal else replace(each, job_id=next(of_panels).id) for each in series.panels]
            await add_panels(connection, series_id, panels)
            return jobs

        return await self._database.write(work)

    async def enqueue_panel(
        self,
        beside: Job,
        number: int,
        words: str,
        entry: Entry,
        *,
        interaction_id: int | None,
        admit: Callable[[aiosqlite.Connection], Awaitable[None]],
    ) -> Job | None:
        """Write a new job for a panel, in the post and the series of another job, as `enqueue` writes one."""

        async def work(connection: aiosqlite.Connection) -> Job | None:
            if await _is_known(connection, interaction_id):
                return None
            await admit(connection)
            series_id, post_id = beside.series_id, beside.post_id
            assert series_id is not None  # noqa: S101 - it is a panel
            job = await self._add(connection, beside.requester, entry, interaction_id, post_id, series_id)
            await replace_panel(connection, series_id, number, words, job.id)
            return job

        return await self._database.write(work)

    async def withdraw(self, job_id: JobId) -> None:
        """Forget a job whose acknowledgement never reached the person: as if the person had never asked."""

        async def work(connection: aiosqlite.Connection) -> None:
            for row in await connection.execute_fetchall(WITHDRAW, (job_id,)):
                await connection.execute(DROP_POST, (row["post_id"],))
                await connection.execute(DROP_SERIES, (row["series_id"],))

        await self._database.write(work)

    async def _add_post(self, connection: aiosqlite.Connection, destination: Destination) -> int | None:
        cursor = await connection.execute(
            "INSERT INTO posts (channel_id, parent_id, message_id) VALUES (?, ?, ?)",
            (destination.channel_id, destination.parent_id, destination.message_id),
        )
        return cursor.lastrowid

    async def _add(
        self,
        connection: aiosqlite.Connection,
        requester: Requester,
        entry: Entry,
        interaction_id: int | None,
        post_id: int | None,
        series_id: int | None,
    ) -> Job:
        """Write the row of one job, and the pictures that it starts from."""
        request, sources = entry.request, entry.sources
        cursor = await connection.execute(
            ENQUEUE,
            (
                self._surface,
                interaction_id,
                post_id,
                requester.guild_id,
                requester.user_id,
                json.dumps(requester.roles),
                json.dumps(asdict(request), ensure_ascii=False, separators=(",", ":")),
                request.cost,
                entry.seconds,
                to_text(self._clock()),
                None if entry.value_sources is None else json.dumps(dict(entry.value_sources)),
                series_id,
                entry.label,
                entry.micros,
            ),
        )
        job_id = cursor.lastrowid
        await connection.executemany(
            "INSERT INTO sources VALUES (?, ?, ?)", [(job_id, source.job_id, source.number) for source in sources]
        )
        if request.image and not any(source.number for source in sources):
            await connection.execute(SAME_FILE, (job_id, request.image))
        if entry.follows is not None:
            for statement in (FOLLOW, START_FROM, START_ALONE, NOTE_LEAD):
                await connection.execute(statement, (job_id, entry.follows))
        return await read_job(connection, job_id)


async def _is_known(connection: aiosqlite.Connection, interaction_id: int | None) -> bool:
    """Whether an interaction made a job before."""
    if interaction_id is None:
        return False
    cursor = await connection.execute("SELECT 1 FROM jobs WHERE interaction_id = ?", (interaction_id,))
    return await cursor.fetchone() is not None
