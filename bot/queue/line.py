"""The waiting line as it is now: the queue's rows and the moderators' rules, given to the scheduler.

It keeps a view of the rows, so that a choice among ten thousand reads only what has changed; a restart reads them all.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.engine import Engine, Lane
from bot.jobs import TURN_MEMORY, Book, ChannelId, Clock, GuildId, Job, JobId, Requester, RoleId, UserId, Waiting, Work
from bot.policy.limits import USUAL_WEIGHT, greatest_weight, is_paused, share_of
from bot.policy.policy import Policy
from bot.queue import engine_forecast, placement, scheduler
from bot.queue.engine_forecast import EngineForecast, LaneForecast, PacedForecast, Speed
from bot.queue.placement import ANYWHERE, Borrowing, Fit, Spot
from bot.queue.scheduler import FairQueue, Share, Turn
from bot.queue.shared import Shared
from bot.storage.queue_changes import QueueChanges

_Who = tuple[UserId, GuildId, tuple[RoleId, ...], tuple[ChannelId, ...]]

_UNSTEADY = timedelta(seconds=1)
"""A clock that was set back by less than this counts as steady."""
_AT_THE_SAME_TIME = timedelta(seconds=2)
"""A job that starts within this time of when its pace lets it waits for the pace alone."""
_LONG_SECONDS = 0.02
"""A schedule that takes less is run for each new request.

So is one of at most `_AT_A_TIME` turns: most of its seconds are what other tasks of the event loop took.
"""
_REST_SHARE = 19.0
"""How long a schedule serves new requests, as a multiple of the time it took: so schedules take 5 % of the time."""
_AT_A_TIME = 20
"""Turns that are foreseen before other tasks of the event loop get to run."""


class _Schedule:
    """A schedule, when it was begun and how long it took, in seconds of the event loop."""

    def __init__(self, turns: list[Turn], began_at: float, seconds: float) -> None:
        self.began_at, self.seconds = began_at, seconds
        self._turns = turns
        self._keys = [turn.key for turn in turns]
        self.is_long = seconds >= _LONG_SECONDS and len(turns) > _AT_A_TIME
        self._last_of: dict[UserId, int] = {}
        self._count_of: Counter[UserId] = Counter()
        for index, turn in enumerate(turns):
            self._last_of[turn.user_id] = index
            self._count_of[turn.user_id] += 1

    def estimate(self, job: Waiting, key: float) -> tuple[int, Turn] | None:
        """About where a job that came since will be; None if the schedule cannot tell.

        The job comes after the person's other ones, by as much as these are apart. Without other ones its `key` says
        where it comes.
        """
        if not self._turns:
            return None
        last = self._last_of.get(job.user_id)
        if last is None:
            index = bisect_right(self._keys, key)
        else:
            index = last + max((last + 1) // self._count_of[job.user_id], 1)
        index = min(index, len(self._turns))
        starts_at = self._turns[min(index, len(self._turns) - 1)].starts_at
        return index + 1, Turn(job.job_id, job.user_id, starts_at)


class Line:
    """Answers which job is next, and when each waiting job starts."""

    def __init__(
        self,
        changes: QueueChanges,
        policy: Policy,
        engine: Engine,
        clock: Clock,
        drained: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """Watch the queue of an engine; `drained` are the names of the lanes that get nothing new."""
        self._changes = changes
        self._policy = policy
        self._engine = engine
        self._clock = clock
        self._schedules = Shared(self._schedule)
        self._touched: set[int] = set()
        self._looking = asyncio.Lock()
        self._watched = False
        self._fair_queue = FairQueue(self._share)
        self._rebuilt_at = self._looked_at = clock()
        self._waiting: dict[JobId, Waiting] = {}
        self._running: dict[JobId, Job] = {}
        self._books: Mapping[GuildId, Book] = {}
        self._shares: dict[_Who, Share] = {}
        self._greatest: dict[GuildId, int] = {}
        self._last: _Schedule | None = None
        self._drained = drained
        self._lane_of: dict[JobId, str] = {}
        """The lane that each running job was claimed for."""
        self.asking: set[str] = set()
        """The names of the lanes that have a free place and ask for a job."""

    def expects(self, job_id: JobId, lane: Lane) -> None:
        """Note which lane claims a job, if no other one does already: its row may be read before the claim returns."""
        self._lane_of.setdefault(job_id, lane.name)

    def claimed(self, job_id: JobId, lane: Lane) -> None:
        """Note which lane paints a job."""
        self._lane_of[job_id] = lane.name

    async def next(self, lane: Lane | None = None) -> Turn | None:
        """The turn to take next in a lane, or in the first one; it may lie in the future.

        None when nobody may start before something changes, and if the lane is drained.
        """
        await self._look()
        lane = lane or self._engine.lanes[0]
        if lane.name in self._drained():
            return None
        inside = self._inside()
        here = inside[lane.name]
        shapes = {job.request.work.shape for job in here}
        return self._fair_queue.next(self._clock(), shapes, self._barred(lane, here), self._fit(lane, inside))

    def _inside(self) -> dict[str, list[Job]]:
        """The running jobs of each lane. A job of which no lane is known counts for the first one."""
        inside: dict[str, list[Job]] = {lane.name: [] for lane in self._engine.lanes}
        first = self._engine.lanes[0].name
        for job_id, job in self._running.items():
            inside[self._lane_of.get(job_id, first)].append(job)
        return inside

    def _barred(self, lane: Lane, inside: Sequence[Job]) -> Collection[UserId]:
        return engine_forecast.barred(lane.slots, [job.requester.user_id for job in inside])

    def _fit(self, lane: Lane, inside: Mapping[str, Sequence[Job]]) -> Callable[[str], Fit]:
        """How each model fits to a lane that asks for a job."""
        if len(self._engine.lanes) == 1:
            return ANYWHERE
        spots = {spot.name: spot for spot in self._spots(inside)}
        here, others = spots.pop(lane.name), list(spots.values())
        return lambda model: placement.fit(model, here, others)

    def _spots(self, inside: Mapping[str, Sequence[Job]]) -> list[Spot]:
        """Every lane as it is now."""
        drained = self._drained()
        return [
            Spot.of(
                lane,
                is_drained=lane.name in drained,
                takes_anyone=lane.name in self.asking and not self._barred(lane, inside[lane.name]),
                load=len(inside[lane.name]) / lane.slots,
            )
            for lane in self._engine.lanes
        ]

    def is_drained(self, model: str) -> bool:
        """Whether the host has drained every lane that can paint with a model."""
        able = [spot.name for spot in self._spots(self._inside()) if spot.can(model)]
        return bool(able) and all(name in self._drained() for name in able)

    def can_go_elsewhere(self, model: str, lane: Lane) -> bool:
        """Whether another lane takes requests for a model now."""
        return any(spot.is_open and spot.can(model) for spot in self._spots(self._inside()) if spot.name != lane.name)

    def speed_for(self, work: Work) -> Speed:
        """The speed of the lane that will probably paint a request that comes now."""
        spots = self._spots(self._inside())
        return self._speed(self._engine.lanes[placement.painter(work.shape[0], spots)])

    def _speed(self, lane: Lane) -> Speed:
        return Borrowing(lane.timings, [other.timings for other in self._engine.lanes if other is not lane])

    async def turns(self) -> list[Turn]:
        """Every waiting job's turn, in order, with the time it is expected to start; of what may not start, none."""
        return await self._schedules.fresh()

    async def _schedule(self) -> list[Turn]:
        time = asyncio.get_running_loop().time
        began_at = time()
        turns = [turn async for turn in self._foreseen()]
        self._last = _Schedule(turns, began_at, time() - began_at)
        return turns

    async def place(self, job_id: JobId) -> tuple[int, Turn] | None:
        """A job's place in the line, from 1, and its turn; None when it does not wait or may not start.

        In a long line the answer is an estimate from the last schedule: to run the whole schedule for each new request
        would take more time the more requests wait.
        """
        time, last = asyncio.get_running_loop().time(), self._last
        if last is not None and last.is_long and time < last.began_at + (1 + _REST_SHARE) * last.seconds:
            await self._look()
            job = self._waiting.get(job_id)
            if job is not None and not self._share(job).paused:
                return last.estimate(job, self._fair_queue.key_of(job))
        return next(((place, turn) for place, turn in enumerate(await self.turns(), 1) if turn.job_id == job_id), None)

    @property
    def waiting(self) -> Mapping[JobId, Waiting]:
        """Every waiting job, as of the last look."""
        return self._waiting

    def paced_until(self, who: Requester) -> datetime | None:
        """Until when a person's pace in a server keeps the first of what waits there; None when it does not."""
        ready_at = self._fair_queue.ready_at(who.user_id, who.guild_id)
        return ready_at if ready_at is not None and ready_at > self._clock() else None

    def paces(self, turn: Turn) -> bool:
        """Whether a waiting job starts late because of its person's pace, and of nothing else."""
        job = self._waiting.get(turn.job_id)
        if job is None:
            return False
        allowed_at = self._fair_queue.allowed_at(job)
        return allowed_at > self._clock() and turn.starts_at - allowed_at < _AT_THE_SAME_TIME

    def is_held(self, job: Waiting) -> bool:
        """Whether a moderator's pause keeps a waiting job from starting."""
        return self._share(job).paused

    async def _foreseen(self) -> AsyncIterator[Turn]:
        """Run the schedule ahead of time."""
        await self._look()
        now = self._clock()
        inside = self._inside()
        drained, spots = self._drained(), self._spots(inside)
        working = [pair for pair in zip(self._engine.lanes, spots, strict=True) if pair[0].name not in drained]
        # A lane that does not start counts only where all others do not, either.
        working = [pair for pair in working if pair[1].is_open] or working
        if not working:
            return
        beside = [spot for spot in spots if all(spot is not other for _, other in working)]
        lanes = [self._ahead(lane, spot, inside[lane.name], now) for lane, spot in working]
        forecast = EngineForecast(lanes, beside)
        turns = scheduler.schedule(list(self._waiting.values()), self._fair_queue.starts, self._share, forecast)
        for number, turn in enumerate(turns, start=1):
            yield turn
            if not number % _AT_A_TIME:
                await asyncio.sleep(0)

    def _ahead(self, lane: Lane, spot: Spot, inside: Sequence[Job], now: datetime) -> LaneForecast:
        """A lane with the jobs in it, from now on."""
        if (pace := lane.pace) is not None:
            paced = PacedForecast(lane.slots, self._speed(lane), now, pace, spot)
            for job in inside:
                if (ago := pace.painting.get(job.id)) is not None:
                    paced.resume(job.request.work, job.requester.user_id, ago)
            for job in inside:
                if job.id not in pace.painting:
                    paced.start(job.request.work, job.requester.user_id, now)
            return paced
        forecast = LaneForecast(lane.slots, self._speed(lane), now, spot)
        for job in inside:
            work = job.request.work
            left = max(work.forwards - lane.steps_done.get(job.id, 0), 0)
            forecast.start(replace(work, forwards=left), job.requester.user_id, now)
        return forecast

    async def _look(self) -> None:
        """Take in what has changed since the last time."""
        async with self._looking:
            books = await self._policy.books()
            if not self._watched:
                await self._changes.watch(self._touched.add)
                self._touched.update(await self._changes.live())
                self._watched = True
            ids = [self._touched.pop() for _ in range(len(self._touched))]
            try:
                touched = await self._changes.look(ids) if ids else None
            except BaseException:
                self._touched.update(ids)
                raise
            if touched is not None:
                for job_id in touched.ids:
                    self._waiting.pop(job_id, None)
                    self._fair_queue.leaves(job_id)
                    self._running.pop(job_id, None)
                self._running |= touched.running
                self._waiting |= {job.job_id: job for job in touched.waiting}
                for job_id in touched.ids - self._running.keys() - self._waiting.keys():
                    self._lane_of.pop(job_id, None)
                for start in touched.starts:
                    self._fair_queue.started(start)
                for job in touched.waiting:
                    if job.acknowledged:
                        self._fair_queue.joins(job)
            now, before = self._clock(), self._looked_at
            self._looked_at = now
            # If the clock was set back, treat future timestamps as now.
            set_back = now < before - _UNSTEADY
            if books is not self._books or now > self._rebuilt_at + TURN_MEMORY or set_back:
                self._books = books
                self._rebuild()

    def _rebuild(self) -> None:
        """Sort the waiting jobs by the new rules, and forget turns of long ago."""
        self._shares.clear()
        self._greatest.clear()
        self._rebuilt_at = now = self._clock()
        since = self._rebuilt_at - TURN_MEMORY
        starts = [replace(start, at=min(start.at, now)) for start in self._fair_queue.starts if start.at > since]
        self._fair_queue = FairQueue(self._share)
        self._waiting = {job_id: replace(job, asked_at=min(job.asked_at, now)) for job_id, job in self._waiting.items()}
        for start in starts:
            self._fair_queue.started(start)
        for job in self._waiting.values():
            if job.acknowledged:
                self._fair_queue.joins(job)

    def _share(self, job: Waiting) -> Share:
        """What holds for a waiting job."""
        who = (job.user_id, job.guild_id, job.roles, job.channels)
        if who not in self._shares:
            book = self._books.get(job.guild_id, {})
            limits = self._policy.limits_in(book, Requester(job.user_id, job.guild_id, job.roles), job.channels)
            if job.guild_id not in self._greatest:
                self._greatest[job.guild_id] = greatest_weight(self._policy.defaults, book)
            weight = USUAL_WEIGHT * share_of(limits.weight.value, self._greatest[job.guild_id])
            self._shares[who] = Share(limits.pace.value, weight, is_paused(book, job.channels))
        return self._shares[who]
