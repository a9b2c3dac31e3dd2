"""The waiting line as it is now: the queue's rows and the moderators' rules, put before the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot import scheduler
from bot.config import LimitsConfig
from bot.engine import Engine
from bot.jobs import ChannelId, Clock, Job, JobId, Requester, RoleId, Waiting
from bot.limits import Limits, is_paused, objection, resolve
from bot.scheduler import Room, Turn
from bot.shared import Shared
from bot.storage.queue import Queue
from bot.storage.rules import Rules


class Line:
    """Answers who is next, when everybody is, and what limits hold for a person."""

    def __init__(self, queue: Queue, rules: Rules, defaults: LimitsConfig, engine: Engine, clock: Clock) -> None:
        self._queue = queue
        self._rules = rules
        self._defaults = defaults
        self._engine = engine
        self._clock = clock
        self._schedules = Shared(self._schedule)

    async def next(self) -> Turn | None:
        """The turn to take next; it may lie in the future. None when nobody waits."""
        waiting = [job for job in await self._may_start() if job.acknowledged]
        if not waiting:
            return None
        return scheduler.choose(waiting, await self._queue.starts(), await self._paces(waiting), self._room())

    async def turns(self) -> list[Turn]:
        """Every waiting job's turn, in order, with the time it is expected to start; of what is paused, none."""
        return await self._schedules.fresh()

    async def _schedule(self) -> list[Turn]:
        waiting = await self._may_start()
        paces = await self._paces(waiting)
        room = self._room()
        for job in await self._queue.running():
            work = job.request.work
            left = max(work.forwards - self._engine.steps_done.get(job.id, 0), 0)
            room.start(replace(work, forwards=left), self._clock())
        return list(scheduler.schedule(waiting, await self._queue.starts(), paces, room))

    async def place(self, job_id: JobId) -> tuple[int, Turn] | None:
        """A job's place in the line, from 1, and its turn; None when it does not wait."""
        return next(((place, turn) for place, turn in enumerate(await self.turns(), 1) if turn.job_id == job_id), None)

    async def limits(self, requester: Requester, where: Sequence[ChannelId] = ()) -> Limits:
        """The limits that hold for a person in a channel, and who set them."""
        return resolve(self._defaults, await self._rules.book(requester.guild_id), requester, where)

    async def objection(self, job: Job) -> str | None:
        """Why a job may not be painted by the limits of now, in words; None if it may."""
        where = job.destination.channels
        return objection(job.request, await self.limits(job.requester, where), where)

    async def _may_start(self) -> list[Waiting]:
        """Everybody who waits, but where a moderator paused."""
        waiting, books = await self._queue.waiting(), await self._rules.books()
        return [job for job in waiting if not is_paused(books.get(job.guild_id, {}), job.channels)]

    def _room(self) -> Room:
        """The engine, with nobody in it."""
        return Room(self._engine.slots, self._engine.timings, self._clock())

    async def _paces(self, waiting: Sequence[Waiting]) -> dict[JobId, int]:
        """The pace of each waiting job's person, in images per minute."""
        books = await self._rules.books()
        paces: dict[tuple[Requester, tuple[RoleId, ...], tuple[ChannelId, ...]], int] = {}
        by_job = {}
        for job in waiting:
            requester = Requester(job.user_id, job.guild_id, job.roles)
            key = (requester, job.roles, job.channels)
            if key not in paces:
                book = books.get(job.guild_id, {})
                paces[key] = resolve(self._defaults, book, requester, job.channels).pace.value
            by_job[job.job_id] = paces[key]
        return by_job
