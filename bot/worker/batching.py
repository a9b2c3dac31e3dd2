"""Every denoising step serves everyone: step-level continuous batching of diffusers' own pipelines.

A request runs its pipeline's own `__call__`, unmodified, as a coroutine (`coroutines.py`) that parks at every call of
its denoiser, ControlNet and VAE. In every step the batcher takes in news, picks parked calls that fit together
(`rows.py`), runs one forward for all of them (`forwards.py`), hands each its rows, and lets each run on to its next
heavy call. So requests join and leave between any two steps.

What holds, and what it rests on:

- A request's result does not depend on the requests in its batch, but for rounding: rows are independent in these
  modules, schedulers and generators belong to one request, and a call that is alone gets its own arguments untouched.
- State advances only after a forward succeeded, so a forward may be redone, in smaller parts or call by call.
- What goes wrong in a request (an exception, rows that are not numbers, memory) ends that request alone. Only an error
  of the device, after which nothing can run, leaves `step`.
- No denoising forward has more rows than the cap; a call with more rows goes through in parts.
- Modules are shared and never cast. A pipeline that changes them while it runs (PAG, FreeU) does not belong here.
- The caller of `step` gets every event in its own grad mode, and may load models meanwhile.
- Whether rows are numbers is read from the device after every forward. That also keeps the host from running ahead of
  it, so that a cancellation is never queued behind work already launched.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from bot.engine import Started
from bot.engine.timing import START
from bot.engine.wire import Stage
from bot.errors import PaintFailed
from bot.worker.calls import Call, Cancel, Cancelled, Event, Failed, Returned
from bot.worker.coroutines import PipelineCoroutine
from bot.worker.forwards import Forwards, own_failure
from bot.worker.row_policy import PlainRows, RowPolicy
from bot.worker.rows import Parked, are_numbers, fair, fill, is_light

Events = Iterator[tuple[Call, Event]]

_NOT_NUMBERS = "The model produced no picture (not a number). Try another sampler or fewer steps."


class StepBatcher:
    """Runs calls together. Everything happens on the thread that calls `step`."""

    def __init__(
        self,
        policy: RowPolicy | None = None,
        *,
        row_cap: int = 16,
        alone: bool = False,
        begins: Callable[[Stage, Sequence[Hashable]], None] = lambda _stage, _calls: None,
    ) -> None:
        """Make a batcher whose forwards have at most `row_cap` rows and what `policy` allows.

        The policy's limits split no single call. With `alone` no call shares a forward with another. `begins` is told
        each stage before its work, with the ids of the calls it is for.
        """
        self._begins = begins
        self._policy = policy or PlainRows()
        self._row_cap = row_cap
        self._alone = alone
        self._forwards = Forwards(self._policy, row_cap, tiling=not alone)
        self._live: dict[Hashable, PipelineCoroutine] = {}
        self._served: dict[Hashable, float] = {}
        self._tickets = itertools.count()

    @property
    def is_idle(self) -> bool:
        """Whether all calls have ended."""
        return not self._live

    def step(self, news: Iterable[Call | Cancel] = ()) -> Events:
        """Take in the news, run one forward of a denoiser and one of a VAE, and yield what becomes of each call.

        The work is done while the caller iterates. Each kind of forward runs if a call waits for one, so a crowd at
        the VAE does not stall the others.
        """
        yield from self._take_in(news)
        yield from self._start()
        waiting = [live.parked for live in self._live.values() if live.parked is not None]
        for single in (False, True):
            if alike := [parked for parked in waiting if parked.single is single]:
                yield from self._serve(self._schedule(alike))

    def close(self) -> None:
        """Stop all calls, without a word."""
        for live in self._live.values():
            live.stop()
        self._live.clear()
        self._served.clear()

    def add(self, call: Call) -> None:
        """Take a call on; the next step starts it. Raises ValueError if it shares what must be its own."""
        if call.id in self._live:
            raise ValueError(f"call {call.id!r} is here already")
        if any(live.call.scheduler is call.scheduler for live in self._live.values()):
            raise ValueError(f"call {call.id!r} shares its scheduler object with another; schedulers keep state")
        # A new owner starts level with the least served one: absence earns no credit.
        self._served.setdefault(call.owner, min(self._served.values(), default=0.0))
        self._live[call.id] = PipelineCoroutine(call, self._tickets)

    def _take_in(self, news: Iterable[Call | Cancel]) -> Events:
        for item in news:
            if isinstance(item, Call):
                self.add(item)
            elif (live := self._live.get(item.id)) is not None:
                live.stop()
                yield self._end(live, Cancelled())

    def _start(self) -> Events:
        """Let new calls run to their first heavy call."""
        for live in [live for live in self._live.values() if not live.is_started]:
            self._begins(Stage.START, [live.call.id])
            yield live.call, Started()
            started_at = time.perf_counter()
            yield from self._told(live, live.start())
            self._policy.measured(live.call, START, 1, time.perf_counter() - started_at)

    def _schedule(self, waiting: Sequence[Parked]) -> list[Parked]:
        """The calls that share the next forward: the one whose owner was served least, and others that fit to it.

        They have no more rows than memory allows, than it takes to use the device well, or than the call of an owner
        who asks for little should wait for.
        """
        head, *others = fair(waiting, self._served)
        if self._alone:
            return [head]
        call = self._live[head.call_id].call
        limits = [self._policy.knee(call, head.part)]
        if is_light(head, waiting, self._row_cap):
            limits.append(self._policy.company(call, head.part, head.rows))
        cap = min([self._forwards.cap(head), *(max(limit, head.rows) for limit in limits if limit is not None)])
        return fill([head, *others], cap)

    def _serve(self, group: list[Parked]) -> Events:
        """Run one forward for the group and let each call run on; if it fails, find out for which call."""
        started_at, head = time.perf_counter(), self._live[group[0].call_id].call
        outputs: list[Any] = []
        failure: Exception | None = None
        self._begins(Stage.STEP, [parked.call_id for parked in group])
        try:
            outputs = self._forwards.run(group)
        except Exception as error:  # noqa: BLE001 - whatever a forward raises is its own calls' affair
            failure = own_failure(error)
        if failure is not None and len(group) > 1:
            for parked in group:
                yield from self._serve([parked])
            return
        for parked in group:
            self._charge(parked)
        if failure is not None:
            live = self._live[group[0].call_id]
            yield from self._told(live, live.resume(error=failure))
            return
        sound = are_numbers(outputs)
        for parked, output in zip(group, outputs, strict=True):
            live = self._live[parked.call_id]
            if sound or are_numbers(output):
                yield from self._told(live, live.resume(output))
            else:
                yield from self._told(live, live.resume(error=PaintFailed(_NOT_NUMBERS)))
        # What the calls did until their next forward is part of the step: the next one waits for it.
        if (rows := sum(parked.rows for parked in group)) <= self._forwards.cap(group[0]):
            self._policy.measured(head, group[0].part, rows, time.perf_counter() - started_at)

    def _charge(self, parked: Parked) -> None:
        """Count the work for its owner, up to a lead of one full forward: use of idle capacity is no debt."""
        full = parked.work / parked.rows * self._row_cap
        self._served[parked.owner] += parked.work
        self._served[parked.owner] = min(self._served[parked.owner], min(self._served.values()) + full)

    def _told(self, live: PipelineCoroutine, events: Iterable[Event]) -> Events:
        """A call's events, with the call; one that has ended leaves."""
        for event in events:
            yield self._end(live, event) if isinstance(event, Returned | Failed) else (live.call, event)

    def _end(self, live: PipelineCoroutine, event: Event) -> tuple[Call, Event]:
        del self._live[live.call.id]
        if not any(other.call.owner == live.call.owner for other in self._live.values()):
            del self._served[live.call.owner]
        return live.call, event
