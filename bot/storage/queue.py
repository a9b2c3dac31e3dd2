"""The queue: the life of a job as rows of the table `jobs`. Every move is a compare-and-set.

A move that finds the job in another state than it expects changes nothing and says so; the attempt number
keeps a late answer of an earlier attempt from counting.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Self

import aiosqlite

from bot.jobs import (
    ChannelId,
    Clock,
    Destination,
    GenerationRequest,
    GuildId,
    Image,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Picture,
    PictureRef,
    Queued,
    Requester,
    Row,
    Surface,
    UserId,
    from_text,
    to_text,
)
from bot.language import mark
from bot.language.reasons import Reason, packed
from bot.money import NOTHING, Micros
from bot.storage.database import Database
from bot.storage.marks import KEEP_MARK
from bot.storage.panels import REPLACED, SEEN_FIRST, Panel, add_panels, replace_panel
from bot.storage.picture_hashes import KEEP_HASH
from bot.storage.pictures import Pictures

COUNT = "SELECT count(*) AS n FROM jobs WHERE surface = ? AND status = 'queued'"

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

SENT = mark(
    "Atelier was stopped while another server painted this. It may have charged the host for it, so it is not asked "
    "again by itself. You pay nothing. Ask again if you like."
)
STOPPED = mark("Atelier was stopped before this ended.")
# A request that was sent to a provider is paid for at most once.
FAIL_SENT = """
UPDATE jobs SET status = 'failed', reason = ? WHERE surface = ? AND status = 'running' AND sent_at IS NOT NULL
  AND coalesce(billed_micros, held_micros) > 0
"""

ADD_SERIES = "INSERT INTO series (kind, guild_id, user_id, title, look, lead, strength) VALUES (?, ?, ?, ?, ?, ?, ?)"

CLAIM = """
UPDATE jobs SET status = 'running', attempt = attempt + 1, started_at = ?, turn = coalesce(turn, ?),
  clock = coalesce(clock, ?)
WHERE id = ? AND status = 'queued' AND follows IS NULL
  AND (SELECT message_id FROM posts WHERE id = post_id) IS NOT NULL
"""

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

KEEP_IMAGE = """
INSERT INTO images (job_id, number, seed, width, height, sha256, nsfw, delivered_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

# A person may send the file of a result back: then the request starts from that result, and does not keep its file.
SAME_FILE = """
INSERT INTO sources SELECT ?1, job_id, number FROM images WHERE sha256 = ?2 OR delivered_sha256 = ?2
ON CONFLICT DO NOTHING
"""

JOB = "SELECT * FROM jobs_with_post WHERE id = ?"

# By the indexes jobs_by_post and jobs_by_series.
OF_POST = "SELECT * FROM jobs_with_post WHERE post_id = ? ORDER BY id"
OF_SERIES = "SELECT * FROM jobs_with_post WHERE series_id = ? ORDER BY id"

SHOWN_BY = f"""
SELECT id FROM jobs WHERE post_id IN (SELECT id FROM posts WHERE message_id = ?) ORDER BY {SEEN_FIRST}
"""  # noqa: S608 - constants

COPIED_BY = f"""
SELECT jobs.id FROM side_messages AS side JOIN jobs ON jobs.post_id = side.post_id
WHERE side.message_id = ? AND kind = 'gallery' AND (side.job_id IS NULL OR side.job_id = jobs.id) ORDER BY {SEEN_FIRST}
"""  # noqa: S608 - constants
GALLERIES = """
SELECT DISTINCT channel_id FROM side_messages AS side JOIN jobs ON jobs.post_id = side.post_id
WHERE jobs.id = ? AND kind = 'gallery' AND message_id IS NOT NULL AND over_at IS NULL
  AND (side.job_id IS NULL OR side.job_id = jobs.id)
"""

PLACE_MESSAGE = "UPDATE posts SET message_id = ? WHERE id = (SELECT post_id FROM jobs WHERE id = ?)"
LEAVE = "UPDATE posts SET left_message_id = ? WHERE id = (SELECT post_id FROM jobs WHERE id = ?)"
WITHDRAW = """
DELETE FROM jobs WHERE id = ? AND (status = 'queued' OR status = 'cancelled'
  AND (SELECT message_id FROM posts WHERE id = post_id) IS NULL) RETURNING post_id, series_id
"""
DROP_SERIES = "DELETE FROM series WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE series_id = series.id)"
DROP_POST = "DELETE FROM posts WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE post_id = posts.id)"

# Results wait here until their message shows them; what was cancelled before its answer was up waits for that.
UNPOSTED = """
SELECT * FROM jobs_with_post
WHERE surface = ? AND posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled')
  AND message_id IS NOT NULL AND forgotten_at IS NULL
ORDER BY id
"""

SOME = 1000
"""How many messages to delete are read at a time: a person may have thousands, and each takes Discord a while."""

# Messages of requests that a person had deleted.
TO_REMOVE = f"""
SELECT id, channel_id FROM jobs_with_post
WHERE surface = ? AND forgotten_at IS NOT NULL AND removed_at IS NULL AND message_id IS NOT NULL
ORDER BY id LIMIT {SOME}
"""  # noqa: S608 - a constant

# Jobs whose message was replaced by another one, and is still there.
LEFT = f"""
SELECT jobs.id, channel_id FROM posts CROSS JOIN jobs ON post_id = posts.id
WHERE surface = ? AND left_message_id IS NOT NULL ORDER BY jobs.id LIMIT {SOME}
"""  # noqa: S608 - a constant

# What of a few jobs is to be posted or deleted, by primary key: a change costs no more than it changes, however many
# jobs wait for that.
OWED_AMONG = """
SELECT * FROM jobs_with_post
WHERE id IN (SELECT value FROM json_each(?)) AND +surface = ? AND message_id IS NOT NULL AND (
  posted_at IS NULL AND status IN ('rendered', 'failed', 'cancelled') AND forgotten_at IS NULL
  OR forgotten_at IS NOT NULL AND removed_at IS NULL OR left_message_id IS NOT NULL) ORDER BY id
"""

WITH_FILE = """
SELECT images.* FROM images CROSS JOIN jobs ON jobs.id = job_id
WHERE (sha256 = ?1 OR delivered_sha256 = ?1) AND jobs.guild_id = ?2
ORDER BY job_id DESC LIMIT 1
"""

UNACKNOWLEDGED = """
SELECT * FROM jobs_with_post
WHERE surface = ?1 AND asked_at < ?2 AND message_id IS NULL AND removed_at IS NULL AND id IN (
  SELECT id FROM jobs WHERE surface = ?1 AND status = 'queued' UNION ALL
  SELECT id FROM jobs WHERE surface = ?1 AND status = 'cancelled' AND posted_at IS NULL)
ORDER BY id
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


class Queue:
    """The jobs of one surface."""

    def __init__(self, database: Database, pictures: Pictures, surface: Surface, clock: Clock) -> None:
        self._database = database
        self._pictures = pictures
        self._surface = surface
        self._clock = clock

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
        return await _job(connection, job_id)

    async def promise(self, job_id: JobId, starts_at: datetime | None, said: Queued) -> None:
        """Note the start that the person is told, to see later how true it came; None if no one can say it."""
        await self._database.execute(
            "UPDATE jobs SET promised_at = ?, stated_at = ?, stated_place = ? WHERE id = ?",
            (None if starts_at is None else to_text(starts_at), *_statement(said), job_id),
        )

    async def state(self, job_id: JobId, said: Queued) -> None:
        """Note what a waiting job's message says now; the promise made at first stays what it is measured by."""
        await self._database.execute(
            "UPDATE jobs SET stated_at = ?, stated_place = ? WHERE id = ? AND status = 'queued'",
            (*_statement(said), job_id),
        )

    async def place_message(self, job_id: JobId, message_id: MessageId) -> None:
        """Note which message answers the job; from now on it may be claimed."""
        await self._database.execute(PLACE_MESSAGE, (message_id, job_id))

    async def withdraw(self, job_id: JobId) -> None:
        """Forget a job whose acknowledgement never reached the person: as if the person had never asked."""

        async def work(connection: aiosqlite.Connection) -> None:
            for row in await connection.execute_fetchall(WITHDRAW, (job_id,)):
                await connection.execute(DROP_POST, (row["post_id"],))
                await connection.execute(DROP_SERIES, (row["series_id"],))

        await self._database.write(work)

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

    async def depth(self) -> int:
        """How many jobs wait."""
        row = await self._database.fetch_one(COUNT, (self._surface,))
        return 0 if row is None else int(row["n"])

    async def get(self, job_id: JobId) -> Job | None:
        """One job, or None."""
        row = await self._database.fetch_one(JOB, (job_id,))
        return None if row is None else Job.from_row(row)

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

    async def history(self, requester: Requester, skip: int, count: int, wanted: Wanted = ALL) -> list[Job]:
        """What ended of one person's requests in one server, newest first; `skip` are passed over."""
        since = None if wanted.since is None else to_text(wanted.since)
        filters = wanted.words, wanted.model, since, wanted.emoji
        rows = await self._database.fetch_all(
            HISTORY, (requester.user_id, requester.guild_id, self._surface, *filters, count, skip)
        )
        return [Job.from_row(row) for row in rows]

    async def pictures(self, job_id: JobId) -> list[Picture]:
        """The pictures of a job in their order, without reading their files; none if they were deleted."""
        rows = await self._database.fetch_all("SELECT * FROM images WHERE job_id = ? ORDER BY number", (job_id,))
        return [Picture.from_row(row) for row in rows]

    async def value_sources(self, job_id: JobId) -> dict[str, str]:
        """Where the value of each option of a request comes from, by the option's name; empty if that is not known."""
        row = await self._database.fetch_one("SELECT value_sources FROM jobs WHERE id = ?", (job_id,))
        found: dict[str, str] = {} if row is None else json.loads(row["value_sources"] or "{}")
        return found

    async def with_file(self, sha256: str, guild_id: GuildId) -> Picture | None:
        """The newest picture of a server with these bytes."""
        row = await self._database.fetch_one(WITH_FILE, (sha256, guild_id))
        return None if row is None else Picture.from_row(row)

    async def has_images(self, job_id: JobId) -> bool:
        """Whether a job was painted, delivered or not."""
        return await self._database.fetch_one("SELECT 1 FROM images WHERE job_id = ?", (job_id,)) is not None

    async def running(self) -> list[Job]:
        """The jobs in the engine now."""
        rows = await self._database.fetch_all(
            "SELECT * FROM jobs_with_post WHERE surface = ? AND status = 'running'", (self._surface,)
        )
        return [Job.from_row(row) for row in rows]

    async def claim(self, job_id: JobId, turn: float | None = None, clock: float | None = None) -> Job | None:
        """Queued → running, attempt + 1; None when it was cancelled first.

        `turn` is where its turn was in virtual time and `clock` how far that had come: kept of the first attempt only,
        since a turn is charged once.
        """

        async def work(connection: aiosqlite.Connection) -> Job | None:
            cursor = await connection.execute(CLAIM, (to_text(self._clock()), turn, clock, job_id))
            return await _job(connection, job_id) if cursor.rowcount else None

        return await self._database.write(work)

    async def is_running(self, job: Job) -> bool:
        """Whether this attempt at a job still counts: it was not cancelled since it began."""
        now = await self.get(job.id)
        return now is not None and (now.status, now.attempt) == (JobStatus.RUNNING, job.attempt)

    async def note_sent(self, job: Job) -> bool:
        """Note that a job is about to be sent to its provider; False when it moved on, and then it is not sent."""
        return await self._move(job, JobStatus.RUNNING, "sent_at = ?, billed_micros = NULL", (to_text(self._clock()),))

    async def note_billed(self, job: Job, micros: Micros) -> None:
        """Note what a provider billed for a job, whatever became of it meanwhile."""
        await self._database.execute(
            "UPDATE jobs SET billed_micros = ? WHERE id = ? AND attempt = ?", (micros, job.id, job.attempt)
        )

    async def requeue(self, job: Job, *, is_blamed: bool = True) -> bool:
        """Move running → queued, for another attempt after the engine died in this one, perhaps because of it."""
        return await self._move(job, JobStatus.RUNNING, "status = 'queued', deaths = deaths + ?", (int(is_blamed),))

    async def render(
        self, job: Job, images: Sequence[Image], model_hash: str | None, used_seconds: float | None = None
    ) -> bool:
        """Running → rendered: the files first, then the row. False when the job moved on without this attempt.

        What it used takes the place of what was held for it, in the same transaction; unknown, what was held stays.
        """
        rows = [
            (
                *(job.id, number, image.seed, image.width, image.height, image.sha256, image.nsfw),
                image.delivered_sha256 or None,
            )
            for number, image in enumerate(images, start=1)
        ]
        hashes = [
            (job.id, number, image.phash) for number, image in enumerate(images, start=1) if image.phash is not None
        ]

        marks = [(image.mark, job.id, number) for number, image in enumerate(images, start=1) if image.mark is not None]

        async def work(connection: aiosqlite.Connection) -> bool:
            cursor = await connection.execute(
                "UPDATE jobs SET status = 'rendered', painted_at = ?, model_hash = ?, used_seconds = ? "
                "WHERE id = ? AND status = 'running' AND attempt = ?",
                (to_text(self._clock()), model_hash, used_seconds, job.id, job.attempt),
            )
            if not cursor.rowcount:
                return False
            await connection.executemany(KEEP_IMAGE, rows)
            await connection.executemany(KEEP_HASH, hashes)
            await connection.executemany(KEEP_MARK, marks)
            return True

        files = {image.sha256: image.png for image in images}
        files |= {image.delivered_sha256: image.delivered for image in images if image.delivered_sha256}
        async with self._pictures.kept(files):
            return await self._database.write(work)

    async def adopt(self, job: Job, images: Sequence[Image]) -> bool:
        """Queued → rendered with pictures that were painted before. False when the job moved on.

        A job without a message is never claimed, so nobody paints it meanwhile.
        """
        if not await self._move(job, JobStatus.QUEUED, "status = 'running'", ()):
            return False
        return await self.render(job, images, None, 0.0)

    async def fail(
        self, job: Job, reason: Reason, used_seconds: float | None = None, *, withhold: bool = False
    ) -> bool:
        """Running → failed, with words for the requester. It costs them nothing, however much it used.

        With `withhold`, its message does not show the prompt any more.
        """
        return await self._move(
            job,
            JobStatus.RUNNING,
            "status = 'failed', reason = ?, used_seconds = ?, withheld = ?",
            (packed(reason), used_seconds, withhold),
        )

    async def cancel(self, job_id: JobId, used_seconds: float = 0.0) -> bool:
        """Queued or running → cancelled; False when it had ended already. Only what it used until then is charged."""
        changed = await self._database.execute(
            "UPDATE jobs SET status = 'cancelled', used_seconds = ? WHERE id = ? AND status IN ('queued', 'running')",
            (used_seconds, job_id),
        )
        return changed > 0

    async def unposted(self) -> list[Job]:
        """Ended jobs whose message does not say so yet, oldest first."""
        return [Job.from_row(row) for row in await self._database.fetch_all(UNPOSTED, (self._surface,))]

    async def to_remove(self) -> list[tuple[JobId, ChannelId]]:
        """Jobs with messages that are to be deleted, and where: of forgotten jobs, and messages that were replaced."""
        rows = await self._database.fetch_all(TO_REMOVE, (self._surface,))
        rows += await self._database.fetch_all(LEFT, (self._surface,))
        return [(JobId(row["id"]), ChannelId(row["channel_id"])) for row in rows]

    async def owed(self, among: Collection[int]) -> tuple[list[Job], list[tuple[JobId, ChannelId]]]:
        """What `unposted` and `to_remove` return, of a few jobs by their ids, in one read."""
        rows = await self._database.fetch_all(OWED_AMONG, (json.dumps(list(among)), self._surface))
        jobs = [Job.from_row(row) for row in rows]
        unposted = [job for job in jobs if job.is_unposted]
        to_remove = [job for job in jobs if job.forgotten_at is not None or job.left_message_id is not None]
        return unposted, [(job.id, job.destination.channel_id) for job in to_remove]

    async def removed(self, job: Job) -> None:
        """Note that the messages of a job that were to be deleted are gone or out of reach."""
        now = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.execute(
                "UPDATE posts SET left_message_id = NULL WHERE left_message_id = ?", (job.left_message_id,)
            )
            if job.forgotten_at is not None:
                await connection.execute(
                    "UPDATE jobs SET removed_at = ?, posted_at = coalesce(posted_at, ?) WHERE id = ?",
                    (now, now, job.id),
                )

        await self._database.write(work)

    async def unacknowledged(self, before: datetime) -> list[Job]:
        """Jobs asked for until then without a noted message; only Discord knows whether there is one."""
        rows = await self._database.fetch_all(UNACKNOWLEDGED, (self._surface, to_text(before)))
        return [Job.from_row(row) for row in rows]

    async def repost(self, job: Job) -> datetime | None:
        """Note that a new message is begun for a job; returns when one was first begun before, if ever."""

        async def work(connection: aiosqlite.Connection) -> datetime | None:
            cursor = await connection.execute("SELECT post_id, reposted_at FROM jobs_with_post WHERE id = ?", (job.id,))
            row = await cursor.fetchone()
            if row is None:
                return None
            await connection.execute(
                "UPDATE posts SET reposted_at = coalesce(reposted_at, ?) WHERE id = ?",
                (to_text(self._clock()), row["post_id"]),
            )
            return from_text(row["reposted_at"])

        return await self._database.write(work)

    async def is_unposted(self, job: Job) -> bool:
        """Whether a job's message still has to say how it ended."""
        now = await self.get(job.id)
        return now is not None and now.is_unposted

    async def shown_by(self, message_id: MessageId) -> list[JobId]:
        """The jobs that a message is known to show; first is one with pictures that people see, if there is any."""
        rows = await self._database.fetch_all(SHOWN_BY, (message_id,))
        return [JobId(row["id"]) for row in rows]

    async def copied_by(self, message_id: MessageId) -> list[JobId]:
        """The jobs of which a message in a gallery is a copy, in the order of `shown_by`."""
        rows = await self._database.fetch_all(COPIED_BY, (message_id,))
        return [JobId(row["id"]) for row in rows]

    async def galleries(self, job_id: JobId) -> list[ChannelId]:
        """The galleries that show a copy of a job's result."""
        return [ChannelId(row["channel_id"]) for row in await self._database.fetch_all(GALLERIES, (job_id,))]

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

    async def posted(
        self, job: Job, message_id: MessageId | None, failure: Reason | None = None, left: MessageId | None = None
    ) -> None:
        """Note that the job's message says how it ended, and where that message is.

        `failure` is why it says that it failed although it was painted: a person does not pay for what they cannot see.
        `left` is the message before, if it is still there and is to be deleted.
        """
        status, why = ("delivered", None) if failure is None else ("failed", packed(failure))
        change = (
            "status = iif(status = 'rendered', ?, status), posted_at = ?, "
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL)"
        )

        async def work(connection: aiosqlite.Connection) -> None:
            if message_id is not None:
                # Also for a job that was forgotten during the delivery: its new message must be found, to be deleted.
                await connection.execute(PLACE_MESSAGE, (message_id, job.id))
            if left is not None:
                await connection.execute(LEAVE, (left, job.id))
            await connection.execute(
                _move(change), (status, to_text(self._clock()), why, job.id, job.status, job.attempt)
            )

        await self._database.write(work)

    async def give_up(self, job: Job, reason: Reason) -> None:
        """The job's message can never be delivered: end it, keeping why. Its pictures stay in the folder."""
        await self._move(
            job,
            job.status,
            "status = CASE status WHEN 'rendered' THEN 'failed' ELSE status END, "
            # A job that was forgotten during the delivery gets no words: Discord's may quote the prompt.
            "reason = iif(forgotten_at IS NULL, coalesce(reason, ?), NULL), posted_at = ?",
            (packed(reason), to_text(self._clock())),
        )

    async def recover(self) -> None:
        """Put the queue in order after a stop.

        Running jobs are queued again, but for those that a provider was asked for and may have billed: these fail. On a
        surface that ends with its process, all open jobs end.
        """

        async def work(connection: aiosqlite.Connection) -> None:
            if self._surface.outlives_process:
                await connection.execute(FAIL_SENT, (SENT, self._surface))
                await connection.execute(
                    "UPDATE jobs SET status = 'queued' WHERE surface = ? AND status = 'running'",
                    (self._surface,),
                )
            else:
                await connection.execute(
                    "UPDATE jobs SET status = iif(status IN ('rendered', 'failed'), 'failed', 'cancelled'), "
                    "reason = coalesce(reason, ?), posted_at = ? "
                    "WHERE surface = ? AND (status IN ('queued', 'running', 'rendered') "
                    "OR (posted_at IS NULL AND status IN ('failed', 'cancelled')))",
                    (STOPPED, to_text(self._clock()), self._surface),
                )
                await connection.execute(
                    "UPDATE jobs SET removed_at = ? WHERE surface = ? AND forgotten_at IS NOT NULL "
                    "AND removed_at IS NULL",
                    (to_text(self._clock()), self._surface),
                )

        await self._database.write(work)

    async def _move(self, job: Job, expected: JobStatus, change: str, parameters: tuple[object, ...]) -> bool:
        changed = await self._database.execute(_move(change), (*parameters, job.id, expected, job.attempt))
        return changed > 0


def _move(change: str) -> str:
    """The compare-and-set that changes a job; its last parameters are the id, the status and the attempt."""
    return f"UPDATE jobs SET {change} WHERE id = ? AND status = ? AND attempt = ?"  # noqa: S608 - constants


async def _is_known(connection: aiosqlite.Connection, interaction_id: int | None) -> bool:
    """Whether an interaction made a job before."""
    if interaction_id is None:
        return False
    cursor = await connection.execute("SELECT 1 FROM jobs WHERE interaction_id = ?", (interaction_id,))
    return await cursor.fetchone() is not None


async def _job(connection: aiosqlite.Connection, job_id: int | None) -> Job:
    """A job that is known to be there."""
    cursor = await connection.execute(JOB, (job_id,))
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the caller has just written it
    return Job.from_row(row)


def _statement(said: Queued) -> tuple[str | None, int]:
    return None if said.starts_at is None else to_text(said.starts_at), said.place
