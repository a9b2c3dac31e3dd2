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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.jobs import JobId, Start, UserId, Waiting

PACE_WINDOW = timedelta(minutes=1)

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Turn:
    """A job's place in the schedule and the time it starts there."""

    job_id: JobId
    user_id: UserId
    starts_at: datetime


def choose(
    waiting: Sequence[Waiting], starts: Sequence[Start], paces: Mapping[JobId, int], now: datetime
) -> Turn | None:
    """The next turn, which may lie in the future when everyone is over their pace; None when nobody waits."""
    return next(schedule(waiting, starts, paces, now), None)


def schedule(
    waiting: Sequence[Waiting], starts: Sequence[Start], paces: Mapping[JobId, int], free_at: datetime
) -> Iterator[Turn]:
    """Yield every waiting job's turn, in order, for an engine that is free from `free_at` on.

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

    time = free_at
    for job in interrupted:
        yield Turn(job.job_id, job.user_id, time)
        time += timedelta(seconds=job.seconds)

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
        time += timedelta(seconds=job.seconds)
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
