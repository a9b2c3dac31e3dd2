"""Who is next, and when: weighted fair queueing over GPU time, by person.

Every turn has a place in virtual time, which is GPU seconds over weight. A person's next turn is where their last one
ended, or now if they have used nothing lately: `max(ended, clock)`. Waiting moves it forward, by a second for every
minute, and the earliest turn is taken. The clock follows the earliest turn, so it stands still while a person waits
whose turn has come. From this follow, and tests show, for people of any number:

- A person who has used nothing lately waits for at most one job of each other person.
- Of two people who both wait all the time, neither gets more GPU time over weight than the other, but for one job of
  each and what waiting forgave.
- A person whose last job took s seconds at weight w waits at most s/w minutes until their turn has come, and from then
  on for at most one job of each other person: even an endless stream of newcomers starves no one.

A request of a size that is being painted anyway may go before the first one, since it shares its forwards: by
`AFFINITY_SECONDS` of virtual time at most, and only if its person was not started since the first one waits.

A quarter of a lane's slots is reserved for people with nothing running in it, so one person cannot fill the lane.
While only those slots are free, these people go before the others. The clock does not move for it.

Within a person, the oldest request goes first, at their pace: as many images in any minute as their limit says. On
another server they have another queue and another pace, so that a pause or a limit of one server holds up nothing on
another; of the first of each, the one that may start earlier goes. A paused request is not in the line. A job whose
attempt was cut short goes first of all, since its turn was already counted. Nothing is kept but rows: where a person's
last turn ended is read off their jobs of the last hour.

The forecast is the schedule itself, run ahead of time, so that the queue never promises what the scheduler
would not do.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from bot.jobs import TURN_MEMORY, GuildId, JobId, Shape, Start, UserId, Waiting, Work

PACE_WINDOW = timedelta(minutes=1)

FORGIVEN = 1 / 60
"""Seconds of GPU time that every second of waiting is worth."""

AFFINITY_SECONDS = 5.0
_AFFINITY_LOOKS = 8
"""How many of the first are looked at for one of a size that is being painted."""

USUAL_WEIGHT = 100

_KEPT_PART = 4
"""One place in so many is kept for people who have none."""

_LEAST_KEPT = 8
"""Starts of a person that are not worth tidying up."""


@dataclass(frozen=True, slots=True)
class Share:
    """What holds for a waiting job: images a minute, its person's weight, and whether it may start at all.

    The weight is one among all servers, of which each divides its own: the greatest that it gives is the usual one.
    """

    pace: int
    weight: float = USUAL_WEIGHT
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A job's place in the schedule and the time it starts there."""

    job_id: JobId
    user_id: UserId
    starts_at: datetime
    at: float | None = None
    """Where the turn is in virtual time; None for a job that had its turn before."""
    clock: float = 0.0
    """How far virtual time has come then."""
    key: float = -math.inf
    """The number by which turns are ordered: virtual time, less what waiting is worth. An interrupted job is first."""


_NEVER = datetime.min.replace(tzinfo=UTC)
_FAR_OFF = datetime.max.replace(tzinfo=UTC)


class Speed(Protocol):
    """How long the engine takes."""

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        """One step of requests of a shape with so many rows together."""
        ...

    def rest_seconds(self, work: Work) -> float:
        """What a request takes beside its steps."""
        ...


def seconds_of(work: Work, speed: Speed) -> float:
    """The GPU time that a request takes alone; sharing its forwards makes it cheaper."""
    return work.forwards * speed.forward_seconds(work.shape, work.rows) + speed.rest_seconds(work)


def barred(slots: int, inside: Collection[UserId]) -> Collection[UserId]:
    """Whom the free places are kept from, by who is in the engine with how many requests."""
    kept = slots // _KEPT_PART
    return frozenset(inside) if kept and slots - len(inside) <= kept else frozenset()


class _Remembered:
    """A speed that is asked about each thing once: it does not change while a schedule is run ahead."""

    def __init__(self, speed: Speed) -> None:
        self._speed = speed
        self._forwards: dict[tuple[Shape, int], float] = {}
        self._rests: dict[Work, float] = {}

    def forward_seconds(self, shape: Shape, rows: int) -> float:
        key = (shape, rows)
        if key not in self._forwards:
            self._forwards[key] = self._speed.forward_seconds(shape, rows)
        return self._forwards[key]

    def rest_seconds(self, work: Work) -> float:
        if work not in self._rests:
            self._rests[work] = self._speed.rest_seconds(work)
        return self._rests[work]


class LaneForecast:
    """A lane of the engine as far as it can be foreseen: who is in it, and when there is a place for one more.

    In every round everybody in it advances by one step: one forward for each shape. Whatever a request takes beside
    its steps holds up everybody.
    """

    def __init__(self, slots: int, speed: Speed, now: datetime) -> None:
        self._slots = slots
        self._speed = _Remembered(speed)
        self._now = now
        self._rounds = 0.0
        self._round_seconds = 0.0
        self._rows: dict[Shape, int] = {}
        self._inside: list[tuple[float, int, Work, UserId]] = []
        self._numbers = itertools.count()

    @property
    def shapes(self) -> Collection[Shape]:
        """What is being painted."""
        return self._rows.keys()

    def run_until_free(self) -> datetime:
        """Let time pass until a slot is free; returns when that is. Requests that end until then have left."""
        while len(self._inside) >= self._slots:
            self._end_first()
        return self._now

    def barred(self) -> Collection[UserId]:
        """Whom the free places are kept from."""
        return barred(self._slots, [user_id for _, _, _, user_id in self._inside])

    def start(self, work: Work, user_id: UserId, at: datetime) -> None:
        """Let a request in, at a time that is not before the last one."""
        self.pass_until(at)
        heapq.heappush(self._inside, (self._rounds + work.forwards, next(self._numbers), work, user_id))
        self._count(work.shape, work.rows)

    def pass_until(self, at: datetime) -> None:
        """Let time pass; requests that end until then have left."""
        while self._inside and self.first_ends_at() <= at:
            self._end_first()
        if at > self._now:
            if self._round_seconds:
                self._rounds += (at - self._now).total_seconds() / self._round_seconds
            self._now = at

    def first_ends_at(self) -> datetime:
        """When the first of those inside leaves."""
        rounds, _, work, _ = self._inside[0]
        steps = max(rounds - self._rounds, 0.0) * self._round_seconds
        return self._now + timedelta(seconds=steps + self._speed.rest_seconds(work))

    def _end_first(self) -> None:
        self._now = self.first_ends_at()
        rounds, _, work, _ = heapq.heappop(self._inside)
        self._rounds = max(rounds, self._rounds)
        self._count(work.shape, -work.rows)

    def _count(self, shape: Shape, rows: int) -> None:
        self._rows[shape] = self._rows.get(shape, 0) + rows
        if not self._rows[shape]:
            del self._rows[shape]
        self._round_seconds = sum(self._speed.forward_seconds(shape, rows) for shape, rows in self._rows.items())


class EngineForecast:
    """All lanes together: the next request starts in the lane that has a place first."""

    def __init__(self, lanes: Sequence[LaneForecast]) -> None:
        self._lanes = lanes
        self._next = lanes[0]

    @property
    def shapes(self) -> Collection[Shape]:
        """What is being painted in the next lane."""
        return self._next.shapes

    def choose_lane(self) -> datetime:
        """Choose the lane that has a free slot first as the next one; returns when that slot is free."""
        self._next = min(self._lanes, key=LaneForecast.run_until_free)
        return self._next.run_until_free()

    def barred(self) -> Collection[UserId]:
        """Whom the free places of the next lane are kept from."""
        return self._next.barred()

    def start(self, work: Work, user_id: UserId, at: datetime) -> None:
        """Let a request into the next lane, at a time that is not before the last one."""
        self._next.start(work, user_id, at)

    def pass_until(self, at: datetime) -> None:
        """Let time pass in every lane."""
        for lane in self._lanes:
            lane.pass_until(at)

    def first_leaves_next_lane_at(self) -> datetime:
        """When the first request in the next lane leaves."""
        return self._next.first_ends_at()


class _Entry(NamedTuple):
    """A person in the heap: the person with the smallest `key` goes first, with their first request."""

    key: float
    since: datetime
    job_id: JobId
    user_id: UserId
    version: int


@dataclass(slots=True)
class _Person:
    """One person's queue on each server, and what they started lately."""

    queues: dict[GuildId, list[tuple[datetime, JobId, Waiting]]] = field(default_factory=dict)
    starts: dict[JobId, Start] = field(default_factory=dict)
    version: int = 0
    _room: int = _LEAST_KEPT
    _oldest: datetime = _FAR_OFF

    @property
    def last_start_at(self) -> datetime:
        return max((start.at for start in self.starts.values()), default=_NEVER)

    def ended(self, weight: float) -> float:
        """Where in virtual time the last turn ended."""
        share = weight / USUAL_WEIGHT
        return max((start.turn + start.seconds / share for start in self.starts.values()), default=0.0)

    def started(self, start: Start) -> None:
        """Remember a start, and forget those that decide nothing any more once there are many or one is old."""
        self.starts[start.job_id] = start
        self._oldest = min(self._oldest, start.at)
        if len(self.starts) >= self._room or self._oldest <= start.at - TURN_MEMORY:
            self._forget(start.at)

    def _forget(self, now: datetime) -> None:
        kept: list[Start] = []
        ends: list[Start] = []
        for start in sorted(self.starts.values(), key=lambda start: (start.at, start.job_id), reverse=True):
            # Where the last turn ended is where a later one did that began and took no less, whatever the weight.
            surpassed = any(end.turn >= start.turn and end.seconds >= start.seconds for end in ends)
            if start.settled and not surpassed:
                ends.append(start)
            # A start matters to the pace for a minute, or for a minute per image where it is one.
            paces = start.at > now - PACE_WINDOW * max(start.images, 1)
            if paces or (start.at > now - TURN_MEMORY and not (start.settled and surpassed)):
                kept.append(start)
        self.starts = {start.job_id: start for start in kept}
        self._oldest = min((start.at for start in kept), default=_FAR_OFF)
        self._room = max(2 * len(kept), _LEAST_KEPT)

    def ready_at(self, job: Waiting, pace: int) -> datetime:
        """When a request fits into the pace of its server: the images started there in the minute before, plus its own.

        A request of more images than a minute allows starts when nothing else counts, and then counts for as many
        minutes as its images take at this pace.
        """
        room = max(pace - job.images, 0)
        counting = [
            (start.at + PACE_WINDOW * max(start.images / pace, 1.0), min(start.images, pace))
            for start in self.starts.values()
            if start.guild_id == job.guild_id
        ]
        for until, images in sorted(counting, reverse=True):
            room -= images
            if room < 0:
                return max(job.asked_at, until)
        return job.asked_at


class FairQueue:
    """The queue of all people: who waits, and where in virtual time their turn is. The caller reports every change.

    A choice among n people takes O(log n).
    """

    def __init__(self, share: Callable[[Waiting], Share]) -> None:
        self.clock = 0.0
        self._share = share
        self._people: dict[UserId, _Person] = {}
        self._jobs: dict[JobId, Waiting] = {}
        self._interrupted: list[tuple[datetime, JobId, Waiting]] = []
        self._ready: list[_Entry] = []
        self._paced: list[tuple[datetime, JobId, UserId, int]] = []

    @property
    def starts(self) -> list[Start]:
        """Those that still decide something: from them another queue comes to the same turns."""
        return [start for person in self._people.values() for start in person.starts.values()]

    def started(self, start: Start) -> None:
        """Take note of a job that was started, or of what is newly known of one."""
        self.clock = max(self.clock, start.clock)
        person = self._people.setdefault(start.user_id, _Person())
        person.started(start)
        self._line_up(start.user_id)

    def joins(self, job: Waiting) -> None:
        """Add a job to the line, unless it is paused: then it stands aside and delays no other job."""
        self.leaves(job.job_id)
        if self._share(job).paused:
            return
        self._jobs[job.job_id] = job
        entry = (job.asked_at, job.job_id, job)
        if job.again:
            insort(self._interrupted, entry)
            return
        person = self._people.setdefault(job.user_id, _Person())
        queue = person.queues.setdefault(job.guild_id, [])
        insort(queue, entry)
        if queue[0] is entry:
            self._line_up(job.user_id)

    def leaves(self, job_id: JobId) -> None:
        """Take a job out of the line, if it is in it."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        entry = (job.asked_at, job.job_id, job)
        if job.again:
            self._interrupted.remove(entry)
            return
        queues = self._people[job.user_id].queues
        queue = queues[job.guild_id]
        was_first = queue[0][1] == job_id
        queue.remove(entry)
        if not queue:
            del queues[job.guild_id]
        if was_first:
            self._line_up(job.user_id)

    def ready_at(self, user_id: UserId, guild_id: GuildId) -> datetime | None:
        """When a person's pace in a server lets the first of what waits there start; None where nothing does."""
        person = self._people.get(user_id)
        if person is None or guild_id not in person.queues:
            return None
        first = person.queues[guild_id][0][2]
        return person.ready_at(first, self._share(first).pace)

    def next(self, now: datetime, shapes: Collection[Shape], barred: Collection[UserId] = ()) -> Turn | None:
        """Whose turn it is at `now`, or the first later one when nobody's is; None when nobody may start.

        `shapes` are being painted, and `barred` may not start now; a later turn only says when to ask again then.
        Nothing is changed: the caller that takes the turn says so with `started` and `leaves`.
        """
        if self._interrupted:
            interrupted = self._interrupted[0][2]
            return Turn(interrupted.job_id, interrupted.user_id, now, clock=self.clock)
        self._admit(now)
        if turn := self._ready_turn(now, shapes, barred):
            return turn
        while self._paced and not self._is_current(self._paced[0][2], self._paced[0][3]):
            heapq.heappop(self._paced)
        if not self._paced:
            return None
        now = self._paced[0][0]
        early = self._admit(now)
        turn = self._ready_turn(now, shapes, barred) or self._ready_turn(now, shapes, ())
        for user_id in early:
            self._line_up(user_id)
        return turn

    def _ready_turn(self, now: datetime, shapes: Collection[Shape], barred: Collection[UserId]) -> Turn | None:
        """The turn of the first one who may start, or of one that may go before."""
        head, passed = self._first(), []
        while (first := self._first()) and first.user_id in barred:
            passed.append(heapq.heappop(self._ready))
        chosen = first and (self._with_company(first, shapes, barred) or first)
        for entry in passed:
            heapq.heappush(self._ready, entry)
        if head is None or chosen is None:
            return None
        key = chosen.key - FORGIVEN * now.timestamp()
        clock = max(self.clock, head.key - FORGIVEN * now.timestamp())
        return Turn(chosen.job_id, chosen.user_id, now, max(key, self.clock), clock, chosen.key)

    def key_of(self, job: Waiting) -> float:
        """The number by which a job is ordered, if its person has no other waiting job."""
        person = self._people.get(job.user_id) or _Person()
        base = max(person.ended(self._share(job).weight), self.clock)
        return base + FORGIVEN * max(job.asked_at, person.last_start_at).timestamp()

    def take_and_start(self, turn: Turn) -> Waiting:
        """Remove the job of a turn and count its start, as the rows will say; returns the job."""
        job = self._jobs[turn.job_id]
        self.leaves(turn.job_id)
        if turn.at is not None:
            start = Start(job.job_id, job.user_id, turn.starts_at, job.images, job.seconds, turn.at, turn.clock)
            self.started(replace(start, guild_id=job.guild_id))
        return job

    def _line_up(self, user_id: UserId) -> None:
        """Put a person's first request where it belongs; what the heaps hold of them so far is void."""
        person = self._people[user_id]
        person.version += 1
        if head := self._head(person):
            ready_at, _, job_id = head
            heapq.heappush(self._paced, (ready_at, job_id, user_id, person.version))

    def _head(self, person: _Person) -> tuple[datetime, datetime, JobId] | None:
        """Which request of a person may start first, behind when that is: one of the first of each server."""
        firsts = [queue[0][2] for queue in person.queues.values()]
        ready = ((person.ready_at(job, self._share(job).pace), job.asked_at, job.job_id) for job in firsts)
        return min(ready, default=None)

    def _admit(self, now: datetime) -> list[UserId]:
        """Move the people whose pace allows a start by now to those who are ready; returns them."""
        admitted = []
        while self._paced and self._paced[0][0] <= now:
            _, job_id, user_id, version = heapq.heappop(self._paced)
            person = self._people[user_id]
            if person.version == version:
                job = self._jobs[job_id]
                since = max(job.asked_at, person.last_start_at)
                heapq.heappush(self._ready, _Entry(self.key_of(job), since, job_id, user_id, version))
                admitted.append(user_id)
        return admitted

    def _first(self) -> _Entry | None:
        while self._ready and not self._is_current(self._ready[0].user_id, self._ready[0].version):
            heapq.heappop(self._ready)
        return self._ready[0] if self._ready else None

    def _with_company(self, first: _Entry, shapes: Collection[Shape], barred: Collection[UserId]) -> _Entry | None:
        """One of the next whose size is being painted, where the first one's is not."""
        if not shapes or self._jobs[first.job_id].work.shape in shapes:
            return None
        looked: list[_Entry] = []
        found = None
        while len(looked) < _AFFINITY_LOOKS and (entry := self._first()) and entry.key <= first.key + AFFINITY_SECONDS:
            looked.append(heapq.heappop(self._ready))
            if (
                entry.user_id not in barred
                and self._jobs[entry.job_id].work.shape in shapes
                and self._people[entry.user_id].last_start_at <= first.since
            ):
                found = entry
                break
        for entry in looked:
            heapq.heappush(self._ready, entry)
        return found

    def _is_current(self, user_id: UserId, version: int) -> bool:
        return self._people[user_id].version == version


def schedule(
    waiting: Iterable[Waiting], starts: Iterable[Start], share: Callable[[Waiting], Share], forecast: EngineForecast
) -> Iterator[Turn]:
    """Yield the turn of every waiting job that may start, in order, each when there is a place in the engine for it.

    Takes O(n log p) for n jobs of p people.
    """
    fair_queue = FairQueue(share)
    for start in starts:
        fair_queue.started(start)
    for job in waiting:
        fair_queue.joins(job)
    time = forecast.choose_lane()
    while True:
        kept_from = forecast.barred()
        turn = fair_queue.next(time, forecast.shapes, kept_from)
        if kept_from and (turn is None or turn.starts_at > time):
            # Nobody may take what is free, until somebody leaves or somebody else's pace allows it.
            leaves_at = forecast.first_leaves_next_lane_at()
            time = leaves_at if turn is None else min(leaves_at, turn.starts_at)
            forecast.pass_until(time)
            continue
        if turn is None:
            return
        yield turn
        forecast.start(fair_queue.take_and_start(turn).work, turn.user_id, turn.starts_at)
        time = max(turn.starts_at, forecast.choose_lane())
