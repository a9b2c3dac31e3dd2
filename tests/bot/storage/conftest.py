"""A storeroom: a real SQLite file, a real folder of pictures and a clock that moves when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from bot.config import LimitsConfig
from bot.engine.fake import flat_image
from bot.jobs import (
    ChannelId,
    Destination,
    GenerationRequest,
    GuildId,
    Image,
    Job,
    JobId,
    MessageId,
    Requester,
    RoleId,
    RuleValue,
    Start,
    Subject,
    Surface,
    UserId,
    Waiting,
)
from bot.policy.policy import Policy
from bot.storage.cases import By, Case, Cases
from bot.storage.database import Database, open_database
from bot.storage.picture_folder import PictureFolder
from bot.storage.pictures import Pictures
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges, Touched
from bot.storage.ratings import Ratings
from bot.storage.refusals import Refusals
from bot.storage.removals import Removals
from bot.storage.rules import Rules
from bot.storage.spending import Spending
from bot.storage.usage import Usage

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
GUILD = GuildId(900)
CHANNEL = ChannelId(700)
ADA = UserId(1)
GRACE = UserId(2)
MODERATOR = UserId(99)


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def a_request(**changes: Any) -> GenerationRequest:
    """A small request."""
    values: dict[str, Any] = {
        "prompt": "a red apple",
        "model": "emoji",
        "width": 128,
        "height": 128,
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
        "seed": 7,
    }
    return GenerationRequest(**(values | changes))


def pictures(request: GenerationRequest) -> tuple[Image, ...]:
    """What the engine would paint."""
    return tuple(flat_image(seed, 8, 8) for seed in request.seeds)


async def let_in(_: aiosqlite.Connection) -> None:
    """Admit everything."""


@dataclass
class Store:
    """Everything in storage, opened on one folder, and the life of a job in one call."""

    folder: Path
    clock: HandClock
    database: Database
    queue: Queue
    pictures: Pictures
    rules: Rules
    cases: Cases
    refusals: Refusals
    removals: Removals
    ratings: Ratings
    usage: Usage
    changes: QueueChanges
    messages: int = field(default=5000)

    async def waiting(self) -> list[Waiting]:
        """Every queued job, oldest first, as the line sees it."""
        return sorted((await self._touched()).waiting, key=lambda job: (job.asked_at, job.job_id))

    async def starts(self) -> list[Start]:
        """Every job started within the last hour, oldest first, as the line sees it."""
        return sorted((await self._touched()).starts, key=lambda start: (start.at, start.job_id))

    async def _touched(self) -> Touched:
        return await self.changes.look([row["id"] for row in await self.database.fetch_all("SELECT id FROM jobs")])

    def queue_of(self, surface: Surface) -> Queue:
        return Queue(self.database, self.pictures, surface, self.clock)

    async def asked(
        self,
        user: int = ADA,
        *,
        guild: int = GUILD,
        channel: int = CHANNEL,
        roles: tuple[int, ...] = (),
        acknowledged: bool = True,
        interaction_id: int | None = None,
        queue: Queue | None = None,
        seconds: float | None = None,
        **changes: Any,
    ) -> Job:
        """A queued job."""
        queue = queue or self.queue
        job = await queue.enqueue(
            Requester(UserId(user), GuildId(guild), tuple(map(RoleId, roles))),
            Destination(ChannelId(channel)),
            a_request(**changes),
            interaction_id=interaction_id,
            admit=let_in,
            seconds=seconds,
        )
        assert job is not None
        if acknowledged:
            self.messages += 1
            await queue.place_message(job.id, MessageId(self.messages))
        return await self.now(job)

    async def running(self, user: int = ADA, **changes: Any) -> Job:
        """A job in the engine."""
        job = await self.queue.claim((await self.asked(user, **changes)).id)
        assert job is not None
        return job

    async def rendered(self, user: int = ADA, *, seconds: float = 0.0, **changes: Any) -> Job:
        """A painted job whose message does not show it yet."""
        job = await self.running(user, **changes)
        self.clock.forward(seconds)
        assert await self.queue.render(job, pictures(job.request), "hash")
        return await self.now(job)

    async def delivered(self, user: int = ADA, *, seconds: float = 0.0, **changes: Any) -> Job:
        """A job whose message shows its pictures."""
        job = await self.rendered(user, seconds=seconds, **changes)
        await self.queue.posted(job, None)
        return await self.now(job)

    async def failed(self, user: int = ADA, **changes: Any) -> Job:
        """A job that failed in the engine."""
        job = await self.running(user, **changes)
        assert await self.queue.fail(job, "Out of memory.")
        return await self.now(job)

    async def cancelled(self, user: int = ADA, **changes: Any) -> Job:
        """A job that was cancelled before it started."""
        job = await self.asked(user, **changes)
        assert await self.queue.cancel(job.id)
        return await self.now(job)

    async def rule(self, guild: int, subject: Subject, **values: RuleValue) -> Case | None:
        """Let a moderator set rules."""
        return await self.cases.change(By(GuildId(guild), MODERATOR), "limits set", subject, values)

    async def no_rule(self, guild: int, subject: Subject, *names: str) -> Case | None:
        """Let a moderator remove rules."""
        return await self.cases.change(By(GuildId(guild), MODERATOR), "limits clear", subject, {}, names)

    async def now(self, job: Job) -> Job:
        """The job as its row is now."""
        row = await self.queue.get(job.id)
        assert row is not None
        return row

    def policy(self, defaults: LimitsConfig, usual_seconds: Callable[[], float] = lambda: 1.0) -> Policy:
        """The policy of a host with these defaults."""
        return Policy(self.rules, self.usage, Spending(self.database), defaults, usual_seconds, self.clock)

    async def names(self, job: Job) -> list[str]:
        """The sha256 of the files that the job's rows name."""
        rows = await self.database.fetch_all("SELECT sha256 FROM images WHERE job_id = ? ORDER BY number", (job.id,))
        return [row["sha256"] for row in rows]

    def files(self) -> list[str]:
        """Every file in the folder of pictures, relative to the data folder."""
        found = (path for path in (self.folder / "pictures").rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    async def plan(self, sql: str, parameters: Sequence[object]) -> str:
        """How SQLite runs a query."""
        rows = await self.database.fetch_all(f"EXPLAIN QUERY PLAN {sql}", parameters)
        return "; ".join(row["detail"] for row in rows)


_empty: list[bytes] = []
"""A database in which nothing is yet, once there was one."""


async def lay_out(path: Path) -> None:
    """Put an empty database at `path` if there is none: all migrations would take longer than most tests."""
    if path.exists():
        return
    if _empty:
        path.write_bytes(_empty[0])
        return
    async with open_database(path):
        pass
    _empty.append(path.read_bytes())


@asynccontextmanager
async def open_store(
    folder: Path, *, surface: Surface = Surface.DISCORD, clock: HandClock | None = None
) -> AsyncIterator[Store]:
    """Open a storeroom in `folder`."""
    clock = clock or HandClock()
    await lay_out(folder / "atelier.db")
    async with open_database(folder / "atelier.db") as database:
        pictures = Pictures(database, PictureFolder(folder))
        rules = Rules(database)
        yield Store(
            folder=folder,
            clock=clock,
            database=database,
            queue=Queue(database, pictures, surface, clock),
            pictures=pictures,
            rules=rules,
            cases=Cases(database, rules, surface, clock),
            refusals=Refusals(database, clock),
            removals=Removals(database, pictures, clock),
            ratings=Ratings(database, clock),
            usage=Usage(database),
            changes=QueueChanges(database, surface, clock),
        )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A storeroom of Discord's jobs."""
    async with open_store(tmp_path) as store:
        yield store


def ids(jobs: Sequence[Any]) -> list[JobId]:
    """The ids of jobs, or of whatever has a job's id."""
    return [getattr(job, "job_id", None) or job.id for job in jobs]
