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

Where there are several lanes, `placement.py` says how a request fits to one that has a free place: a lane leaves it to
another one that has a free place, too, and suits it better, and takes the next. A request whose model it would have to
load waits while one of a loaded model goes before it: by `WARM_SECONDS` at most, and with the same proviso. If there is
none, the lane loads the model rather than stay idle.

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
import math
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bot.jobs import TURN_MEMORY, GuildId, JobId, Shape, Start, UserId, Waiting
from bot.policy.limits import USUAL_WEIGHT
from bot.queue.engine_forecast import EngineForecast, LaneForecast
from bot.queue.placement import ANYWHERE, Fit

PACE_WINDOW = timedelta(minutes=1)

FORGIVEN = 1 / 60
"""Seconds of GPU time that every second of waiting is worth."""

AFFINITY_SECONDS = 5.0
_AFFINITY_LOOKS = 8
"""How many of the first are looked at for one of a size that is being painted."""

WARM_SECONDS = 15.0
_WARM_LOOKS = 32
"""How many of the first are looked at for one whose model is loaded in the lane."""

_BEST, _LOADED, _COLD = range(3)
"""How well a request fits to a lane: its size is being painted, its model is loaded, or neither."""

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
        self._ready: dict[str, list[_Entry]] = {}
        """Those whose pace allows a start, by the model of their first request."""
        self._models: Counter[str] = Counter()
        """How many jobs wait for each model."""
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
        self._models[job.work.shape[0]] += 1
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
        self._models[job.work.shape[0]] -= 1
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
        return self.allowed_at(person.queues[guild_id][0][2])

    def allowed_at(self, job: Waiting) -> datetime:
        """When a person's pace lets a job start, as if it were the first of theirs in its server."""
        return self._people.get(job.user_id, _Person()).ready_at(job, self._share(job).pace)

    def next(
        self,
        now: datetime,
        shapes: Collection[Shape],
        barred: Collection[UserId] = (),
        fit: Callable[[str], Fit] = ANYWHERE,
    ) -> Turn | None:
        """Whose turn it is at `now`, or the first later one when nobody's is; None when nobody may start.

        `shapes` are being painted, and `barred` may not start now; a later turn only says when to ask again then.
        `fit` says how a model fits to the lane that asks. Nothing is changed: the caller that takes the turn says so
        with `started` and `leaves`.
        """
        fits = {model: fit(model) for model, count in self._models.items() if count}
        fits = {model: found for model, found in fits.items() if found in (Fit.WARM, Fit.COLD)}
        if not fits:
            return None
        for _, _, interrupted in self._interrupted:
            if interrupted.work.shape[0] in fits:
                return Turn(interrupted.job_id, interrupted.user_id, now, clock=self.clock)
        self._admit(now)
        turn = self._ready_turn(now, shapes, barred, fits)
        early: list[UserId] = []
        while turn is None and (later := self._first_paced()):
            early += self._admit(later)
            turn = self._ready_turn(later, shapes, barred, fits) or self._ready_turn(later, shapes, (), fits)
        for user_id in early:
            self._line_up(user_id)
        return turn

    def _first_paced(self) -> datetime | None:
        """When the pace of the next person allows a start."""
        while self._paced and not self._is_current(self._paced[0][2], self._paced[0][3]):
            heapq.heappop(self._paced)
        return self._paced[0][0] if self._paced else None

    def _ready_turn(
        self, now: datetime, shapes: Collection[Shape], barred: Collection[UserId], fits: Mapping[str, Fit]
    ) -> Turn | None:
        """The turn of the first one who may start, or of one that may go before."""
        head, chosen = self._first(self._ready), self._choose(shapes, barred, fits)
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
                ready = self._ready.setdefault(job.work.shape[0], [])
                heapq.heappush(ready, _Entry(self.key_of(job), since, job_id, user_id, version))
                admitted.append(user_id)
        return admitted

    def _first(self, models: Iterable[str]) -> _Entry | None:
        """The first of those who are ready and want one of these models."""
        heaps = [heap for model in models if (heap := self._ready.get(model))]
        for heap in heaps:
            while heap and not self._is_current(heap[0].user_id, heap[0].version):
                heapq.heappop(heap)
        return min((heap[0] for heap in heaps if heap), default=None)

    def _choose(self, shapes: Collection[Shape], barred: Collection[UserId], fits: Mapping[str, Fit]) -> _Entry | None:
        """The first one who may start, or one of the next who fits better and may go before.

        One whose size is being painted fits best, then one whose model is loaded.
        """
        looked: list[_Entry] = []
        first = chosen = None
        best = count = 0
        while (entry := self._first(fits)) is not None:
            if first is not None:
                count += 1
                lead = entry.key - first.key
                has_company = count < _AFFINITY_LOOKS and lead <= AFFINITY_SECONDS
                is_loaded = count < _WARM_LOOKS and lead <= WARM_SECONDS and best == _COLD
                if not has_company and not is_loaded:
                    break
            looked.append(heapq.heappop(self._ready[self._jobs[entry.job_id].work.shape[0]]))
            if entry.user_id in barred:
                continue
            rank = self._rank(entry, shapes, fits)
            if first is None:
                first, chosen, best = entry, entry, rank
            elif (
                rank < best
                and (rank != _BEST or not shapes or has_company)
                and self._people[entry.user_id].last_start_at <= first.since
            ):
                chosen, best = entry, rank
            if best == _BEST:
                break
        for entry in looked:
            heapq.heappush(self._ready[self._jobs[entry.job_id].work.shape[0]], entry)
        return chosen

    def _rank(self, entry: _Entry, shapes: Collection[Shape], fits: Mapping[str, Fit]) -> int:
        """How well a person's first request fits to the lane, the best first."""
        shape = self._jobs[entry.job_id].work.shape
        if shape in shapes:
            return _BEST
        if fits[shape[0]] is Fit.COLD:
            return _COLD
        return _LOADED if shapes else _BEST

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
    time = _NEVER
    while True:
        chosen: tuple[Turn, LaneForecast] | None = None
        # When a lane should be asked again whose free places are kept from those who could take them.
        again_at = _FAR_OFF
        for free_at, lane in forecast.by_free_place():
            at = max(time, free_at)
            if at >= again_at or (chosen and at >= chosen[0].starts_at):
                break
            kept_from = lane.barred()
            turn = fair_queue.next(at, lane.shapes, kept_from, forecast.fit(lane, at))
            if kept_from and (turn is None or turn.starts_at > at):
                # Nobody may take what is free, until somebody leaves or somebody else's pace allows it.
                again_at = min(again_at, lane.first_ends_at(), *([turn.starts_at] if turn else []))
            elif turn is not None and (chosen is None or turn.starts_at < chosen[0].starts_at):
                chosen = turn, lane
        if chosen is not None and chosen[0].starts_at <= again_at:
            turn, lane = chosen
            yield turn
            lane.start(fair_queue.take_and_start(turn).work, turn.user_id, turn.starts_at)
            time = turn.starts_at
        elif again_at < _FAR_OFF:
            time = again_at
            forecast.pass_until(time)
        else:
            return
