"""Who is next, and when: a pure function over the waiting jobs.

People take turns. Of those who may start now, the one whose last turn is longest ago goes first, and whoever had
none lately goes before them; within a person, the oldest request. A person's own queue is drained at their pace:
as many images in any minute as their limit says. A job whose attempt was cut short goes first of all, since its
turn was already counted.

The forecast is the schedule itself, run ahead of time, so that the queue never promises what the scheduler
would not do.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bot.jobs import JobId, Shape, Start, UserId, Waiting, Work

PACE_WINDOW = timedelta(minutes=1)

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Turn:
    """A job's place in the schedule and the time it starts there."""

    job_id: JobId
    user_id: UserId
    starts_at: datetime


class Speed(Protocol):
    """How long the engine takes."""

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        """One step of requests of a shape with so many rows together."""
        ...

    def rest_seconds(self, work: Work) -> float:
        """What a request takes beside its steps."""
        ...


class Room:
    """The engine as far as it can be foreseen: who is in it, and when there is a place for one more.

    In every round everybody in it advances by one step: one forward for each shape. Whatever a request takes beside
    its steps holds up everybody.
    """

    def __init__(self, slots: int, speed: Speed, now: datetime) -> None:
        self._slots = slots
        self._speed = speed
        self._now = now
        self._rounds = 0.0
        self._round_seconds = 0.0
        self._rows: dict[Shape, int] = {}
        self._inside: list[tuple[float, int, Work]] = []
        self._numbers = itertools.count()

    def free_at(self) -> datetime:
        """When there is a place; whoever ends until then has left."""
        while len(self._inside) >= self._slots:
            self._end_first()
        return self._now

    def start(self, work: Work, at: datetime) -> None:
        """Let a request in, at a time that is not before the last one."""
        while self._inside and self._first_ends_at() <= at:
            self._end_first()
        if at > self._now:
            if self._round_seconds:
                self._rounds += (at - self._now).total_seconds() / self._round_seconds
            self._now = at
        heapq.heappush(self._inside, (self._rounds + work.forwards, next(self._numbers), work))
        self._count(work.shape, work.rows)

    def _first_ends_at(self) -> datetime:
        rounds, _, work = self._inside[0]
        steps = max(rounds - self._rounds, 0.0) * self._round_seconds
        return self._now + timedelta(seconds=steps + self._speed.rest_seconds(work))

    def _end_first(self) -> None:
        self._now = self._first_ends_at()
        rounds, _, work = heapq.heappop(self._inside)
        self._rounds = max(rounds, self._rounds)
        self._count(work.shape, -work.rows)

    def _count(self, shape: Shape, rows: int) -> None:
        self._rows[shape] = self._rows.get(shape, 0) + rows
        if not self._rows[shape]:
            del self._rows[shape]
        self._round_seconds = sum(self._speed.forward_seconds(shape, rows) for shape, rows in self._rows.items())


def choose(waiting: Sequence[Waiting], starts: Sequence[Start], paces: Mapping[JobId, int], room: Room) -> Turn | None:
    """The next turn, which may lie in the future when everyone is over their pace; None when nobody waits."""
    return next(schedule(waiting, starts, paces, room), None)


def schedule(
    waiting: Sequence[Waiting], starts: Sequence[Start], paces: Mapping[JobId, int], room: Room
) -> Iterator[Turn]:
    """Yield every waiting job's turn, in order, each when there is a place in the room for it.

    `waiting` and `starts` are ordered by time; `paces` maps each waiting job to the images per minute its person
    may start. Takes O(n log p) for n jobs of p people.
    """
    people: dict[UserId, _Person] = {}
    for start in starts:
        person = people.setdefault(start.user_id, _Person(start.user_id))
        person.started(start.at, start.images)
    interrupted = []
    for job in waiting:
        if job.again:
            interrupted.append(job)
        else:
            people.setdefault(job.user_id, _Person(job.user_id)).queue.append(job)

    time = room.free_at()
    for job in interrupted:
        yield Turn(job.job_id, job.user_id, time)
        room.start(job.work, time)
        time = room.free_at()

    ready: list[tuple[datetime, datetime, JobId, _Person]] = []
    paced: list[tuple[datetime, JobId, _Person]] = []
    for person in people.values():
        if person.queue:
            heapq.heappush(paced, (person.ready_at(paces), person.queue[0].job_id, person))
    while ready or paced:
        if not ready:
            time = max(time, paced[0][0])
        while paced and paced[0][0] <= time:
            person = heapq.heappop(paced)[2]
            oldest = person.queue[0]
            heapq.heappush(ready, (person.last_turn_at, oldest.asked_at, oldest.job_id, person))
        person = heapq.heappop(ready)[3]
        job = person.queue.popleft()
        yield Turn(job.job_id, job.user_id, time)
        person.started(time, job.images)
        room.start(job.work, time)
        time = max(time, room.free_at())
        if person.queue:
            heapq.heappush(paced, (person.ready_at(paces), person.queue[0].job_id, person))


@dataclass(slots=True)
class _Person:
    """One person's queue, last turn and recent starts, while a schedule is computed."""

    user_id: UserId
    queue: deque[Waiting] = field(default_factory=deque)
    last_turn_at: datetime = _NEVER
    recent: deque[tuple[datetime, int]] = field(default_factory=deque)

    def started(self, at: datetime, images: int) -> None:
        self.last_turn_at = at
        self.recent.append((at, images))
        # A start matters for a minute, or for a minute per image where the pace is one.
        while self.recent[0][0] <= at - PACE_WINDOW * max(self.recent[0][1], 1):
            self.recent.popleft()

    def ready_at(self, paces: Mapping[JobId, int]) -> datetime:
        """When the oldest request fits into the pace: the images started in the minute before, plus its own.

        A request of more images than a minute allows starts when nothing else counts, and then counts for as many
        minutes as its images take at this pace.
        """
        job = self.queue[0]
        pace = paces[job.job_id]
        room = max(pace - job.images, 0)
        counting = [(at + PACE_WINDOW * max(images / pace, 1.0), min(images, pace)) for at, images in self.recent]
        for until, images in sorted(counting, reverse=True):
            room -= images
            if room < 0:
                return max(job.asked_at, until)
        return job.asked_at
