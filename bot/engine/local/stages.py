"""What each thread of the engine process is doing, for which orders, and whether that takes too long.

Pure: times are given. When a stage stalls, only the orders in that stage are blamed; the others have lost their place.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.engine.local.timeouts import Timeouts
from bot.engine.wire import FailedFrame, FinishedFrame, OrderFrame, OrderKey, ProgressFrame, Stage, StageFrame
from bot.jobs import GenerationRequest, Work

_LOAD_BYTES_PER_SECOND = 50e6
"""A slow disk; hashing has usually brought the files into the system's cache."""
_REMEMBERED = 100

KnownSeconds = Callable[[Work], float | None]
"""How long a step of a request takes, or to decode its picture where that is more; None where it is unknown."""


@dataclass(slots=True)
class _Order:
    """An order in the process: what it is about, when it was sent, and how its steps went."""

    request: GenerationRequest
    sent_at: float
    has_stepped: bool = False
    is_decoding: bool = False
    slowest: float = 0.0


@dataclass(frozen=True, slots=True)
class _Doing:
    """What a thread does, since when, and for how many seconds it may: what it shows meanwhile changes nothing."""

    frame: StageFrame
    since: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Stall:
    """A stage that took longer than `allowed` seconds, and the orders that are blamed for it."""

    stage: Stage
    model: str
    """The model that is loaded or fetched, if that is the stage."""
    allowed: float
    blamed: frozenset[OrderKey]

    @property
    def words(self) -> str:
        """What happened, for a log and for the orders."""
        return f"The engine was silent for {self.allowed:.0f} s while {self.stage}."


class StageWatch:
    """Follows one engine process after the other."""

    def __init__(self, timeouts: Timeouts, known_seconds: KnownSeconds, *, compiling: bool) -> None:
        """Make it; a process that is `compiling` may take its time for any step."""
        self._timeouts = timeouts
        self._known_seconds = known_seconds
        self._compiling = compiling
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)
        self.restart()

    def restart(self) -> None:
        """Another process begins: it has no orders and no warm model."""
        self._orders: dict[OrderKey, _Order] = {}
        self._threads: dict[str, _Doing] = {}
        self._warm: set[str] = set()
        self._slowest_prompt = 0.0
        self._heard_at = 0.0

    def sent(self, key: OrderKey, request: GenerationRequest, now: float) -> None:
        """The process was given an order."""
        self._orders[key] = _Order(request, now)

    def ended(self, key: OrderKey) -> None:
        """An order is finished, failed or cancelled. A thread may still be working on it."""
        self._orders.pop(key, None)

    def heard(self, frame: StageFrame | OrderFrame, now: float) -> StageFrame | None:
        """Take note of what the process said; returns the stage that its thread has left, if there was one."""
        self._heard_at = now
        before: _Doing | None = None
        match frame:
            case StageFrame():
                if (before := self._threads.pop(frame.thread, None)) is not None:
                    self._learn(before.frame, now - before.since)
                if frame.stage is Stage.LOAD:
                    # Loading may evict any model, and with it what was prepared for its steps.
                    self._warm.clear()
                if frame.stage is not Stage.REST:
                    self._threads[frame.thread] = _Doing(frame, now, self._allowed(frame))
            case ProgressFrame():
                if (order := self._orders.get((frame.job_id, frame.attempt))) is not None:
                    order.has_stepped = True
                    order.is_decoding = frame.step >= frame.of
                    self._warm.add(order.request.model)
            case FinishedFrame() | FailedFrame():
                self.ended((frame.job_id, frame.attempt))
            case _:
                pass
        return None if before is None else before.frame

    @property
    def due_at(self) -> float | None:
        """When the next stage has taken too long; None while the process has nothing to do."""
        return min((due_at for due_at, _ in self._deadlines()), default=None)

    def stall(self, now: float) -> Stall | None:
        """The stage that has taken too long, if one has."""
        due_at, stall = min(self._deadlines(), key=lambda deadline: deadline[0], default=(now + 1, None))
        return stall if due_at <= now else None

    @property
    def suspects(self) -> frozenset[OrderKey]:
        """The orders that the process works on, one of which may be why it died; all of them where none is known."""
        known = frozenset[OrderKey]().union(*(self._concerned(doing.frame) for doing in self._threads.values()))
        return known or frozenset(self._orders)

    @property
    def loading(self) -> list[str]:
        """The models that are being loaded."""
        frames = [doing.frame for doing in self._threads.values()]
        return [frame.model for frame in frames if frame.stage is Stage.LOAD and frame.model]

    def _deadlines(self) -> Iterator[tuple[float, Stall]]:
        """When each thread is overdue, and with what."""
        for doing in self._threads.values():
            stall = Stall(doing.frame.stage, doing.frame.model, doing.allowed, self._concerned(doing.frame))
            yield doing.since + doing.allowed, stall
        if self._threads:
            return
        # Orders are there and no thread works on any: the process hangs where it says nothing, or lost an order.
        allowed = self._timeouts.take
        waiting = [(max(order.sent_at, self._heard_at), key) for key, order in self._orders.items()]
        for since in {since for since, _ in waiting}:
            blamed = frozenset(key for other, key in waiting if other <= since)
            yield since + allowed, Stall(Stage.REST, "", allowed, blamed)

    def _concerned(self, frame: StageFrame) -> frozenset[OrderKey]:
        """The orders that a thread works on, or that wait for the model it works on; all where it names neither."""
        if frame.orders:
            return frozenset(frame.orders)
        return frozenset(key for key, order in self._orders.items() if frame.model in ("", order.request.model))

    def _learn(self, frame: StageFrame, seconds: float) -> None:
        """Take note of how long a stage took that has ended well."""
        if frame.stage in (Stage.ENCODE, Stage.START):
            self._slowest_prompt = max(self._slowest_prompt, seconds)
        if frame.stage is not Stage.STEP:
            return
        orders = [self._orders[key] for key in frame.orders if key in self._orders]
        if all(order.slowest for order in orders):
            self._steps.append(seconds)
        for order in orders:
            # A large model on a CPU takes minutes for each step, and its first one says so.
            order.slowest = max(order.slowest, seconds)

    def _allowed(self, frame: StageFrame) -> float:
        """How many seconds a stage may take."""
        timeouts = self._timeouts
        match frame.stage:
            case Stage.DECODE:
                return timeouts.decode
            case Stage.FETCH:
                return timeouts.fetch
            case Stage.LOAD:
                return timeouts.load + frame.size / _LOAD_BYTES_PER_SECOND
            case Stage.ENCODE | Stage.START:
                models = {self._orders[key].request.model for key in frame.orders if key in self._orders}
                usual = max(timeouts.prompt, 10 * self._slowest_prompt)
                return usual if models <= self._warm else max(usual, timeouts.cold)
            case Stage.STEP:
                orders = [self._orders[key] for key in frame.orders if key in self._orders]
                # Those who share a forward share its shape, so what one of them has shown holds for all.
                allowed = min(map(self._allowed_step, orders), default=timeouts.first_step)
                return max(allowed, timeouts.compile) if self._compiling else allowed
            case Stage.FINISH:
                return timeouts.finish
            case Stage.TRY:
                return timeouts.first_step
            case _:
                return timeouts.compile

    def _allowed_step(self, order: _Order) -> float:
        timeouts = self._timeouts
        known = self._known_seconds(order.request.work)
        by_known = 10 * (known or 0.0)
        if known is None and (order.is_decoding or order.request.model not in self._warm):
            return timeouts.first_step
        if not order.has_stepped:
            return max(timeouts.warm, by_known)
        usual = statistics.median(self._steps) if self._steps else 0.0
        return max(timeouts.step, 10 * usual, min(3 * order.slowest, timeouts.first_step), by_known)
