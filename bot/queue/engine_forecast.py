"""The lanes of the engine as far as they can be foreseen: when each has a free place, and for whom. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from bot.engine import Pace
from bot.jobs import Shape, UserId, Work
from bot.queue import placement
from bot.queue.placement import ANYWHERE, Fit, Spot

_KEPT_PART = 4
"""One place in so many is kept for people who have none."""


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

    def __init__(self, slots: int, speed: Speed, now: datetime, spot: Spot | None = None) -> None:
        """A lane with nobody in it; `spot` says with which models it can paint, without it with all."""
        self._slots = slots
        self._spot = spot or Spot("", lambda _: True, ())
        self._warm = set(self._spot.warm)
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

    def spot(self, at: datetime) -> Spot:
        """The lane at a time that has not passed."""
        is_free = self._now <= at and len(self._inside) < self._slots and not self.barred()
        load = len(self._inside) / self._slots
        return replace(self._spot, warm=self._warm, takes_anyone=is_free, load=load)

    def start(self, work: Work, user_id: UserId, at: datetime) -> None:
        """Let a request in, at a time that is not before the last one."""
        self.pass_until(at)
        self._enter(self._rounds + work.forwards, work, user_id)

    def _enter(self, end: float, work: Work, user_id: UserId) -> None:
        """Let a request in that leaves after so many rounds in all."""
        heapq.heappush(self._inside, (end, next(self._numbers), work, user_id))
        self._warm.add(work.shape[0])
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


class PacedForecast(LaneForecast):
    """A lane whose requests run beside each other, as those of a provider do: none makes another one slower.

    A request that has its place may have to wait there until it is sent, by the lane's pace. A round is one second.
    """

    def __init__(self, slots: int, speed: Speed, now: datetime, pace: Pace, spot: Spot | None = None) -> None:
        """A lane with nobody in it that has taken requests lately, as `pace` says."""
        super().__init__(slots, speed, now, spot)
        self._pace = pace
        self._begin = now
        self._opens = pace.held_seconds
        self._sent = deque((-ago for ago in pace.taken), maxlen=pace.count)

    def start(self, work: Work, user_id: UserId, at: datetime) -> None:
        """Let a request in, which is sent as soon as the pace allows it."""
        self.pass_until(at)
        sent = max((at - self._begin).total_seconds(), self._opens)
        if len(self._sent) == self._pace.count:
            sent = max(sent, self._sent[0] + self._pace.seconds)
        self._sent.append(sent)
        self._enter(sent + seconds_of(work, self._speed), work, user_id)

    def resume(self, work: Work, user_id: UserId, ago: float) -> None:
        """Let a request in that was sent so many seconds ago."""
        self._enter(max(seconds_of(work, self._speed) - ago, 0.0), work, user_id)

    def first_ends_at(self) -> datetime:
        """When the first of those inside leaves."""
        return max(self._begin + timedelta(seconds=self._inside[0][0]), self._now)


class EngineForecast:
    """All lanes together: each request starts in the first lane that has a place and fits."""

    def __init__(self, lanes: Sequence[LaneForecast], beside: Sequence[Spot] = ()) -> None:
        """The lanes that take requests, and those `beside` them that do not now."""
        self._lanes = lanes
        self._beside = beside

    def by_free_place(self) -> list[tuple[datetime, LaneForecast]]:
        """The lanes with the time at which each has a free place, the earliest first."""
        return sorted(((lane.run_until_free(), lane) for lane in self._lanes), key=lambda pair: pair[0])

    def fit(self, lane: LaneForecast, at: datetime) -> Callable[[str], Fit]:
        """How each model fits to a lane that has a free place at a time."""
        if len(self._lanes) == 1 and not self._beside:
            return ANYWHERE
        here, others = lane.spot(at), [other.spot(at) for other in self._lanes if other is not lane]
        others += self._beside
        return lambda model: placement.fit(model, here, others)

    def pass_until(self, at: datetime) -> None:
        """Let time pass in every lane."""
        for lane in self._lanes:
            lane.pass_until(at)
