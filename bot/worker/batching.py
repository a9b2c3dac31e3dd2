"""Step-level continuous batching of diffusers' own pipelines: each denoising step serves all requests.

A request runs its pipeline's own `__call__`, unmodified, as a coroutine (`coroutines.py`) that parks at every call of
its denoiser, ControlNet and VAE. In every step the batcher receives new calls and cancellations, picks parked calls
that fit together (`rows.py`), runs one forward for all of them (`forwards.py`), gives each its rows, and lets each run
on to its next heavy call. So requests join and leave between any two steps.

Invariants, and their reasons:

- Apart from rounding, the result of a request does not depend on the other requests in its batch: rows are independent
  in these modules, each request has its own scheduler and generators, and a call alone gets its own arguments.
- State advances only after a forward has succeeded, so a forward may be repeated, in smaller parts or call by call.
- A failure of a request (an exception, rows that are not numbers, too little memory) ends that request alone. Only an
  error of the device, after which no forward can run, leaves `step`.
- No denoising forward has more rows than the cap; a call with more rows goes through in parts.
- Modules are shared and never cast. A pipeline that changes them while it runs (PAG, FreeU) is not supported.
- The caller of `step` gets every event in its own grad mode, and may load models meanwhile.
- After every forward the host reads from the device whether all rows are finite numbers. So the host never runs ahead
  of the device, and a cancellation does not wait for work that was launched earlier.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from bot.engine import Started
from bot.engine.timing import DECODE, START
from bot.engine.wire import Stage
from bot.errors import PaintFailed
from bot.worker.calls import Call, Cancel, Cancelled, Event, Failed, Returned
from bot.worker.coroutines import PipelineCoroutine
from bot.worker.forwards import Forwards, own_failure
from bot.worker.row_policy import PlainRows, RowPolicy
from bot.worker.rows import NOT_NUMBERS, Parked, are_numbers, fair_order, fill_batch, is_light

Events = Iterator[tuple[Call, Event]]


class StepBatcher:
    """Runs the forwards of several calls together, on the thread that calls `step`."""

    def __init__(
        self,
        policy: RowPolicy | None = None,
        *,
        row_cap: int = 16,
        alone: bool = False,
        begins: Callable[[Stage, Sequence[Hashable]], None] = lambda _stage, _calls: None,
    ) -> None:
        """Make a batcher whose forwards have at most `row_cap` rows and what `policy` allows.

        A single call is never split because of the policy. With `alone` no call shares a forward with another.
        `begins` is told each stage before its work, with the ids of the calls it is for.
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
        """Receive the news, run one forward of a denoiser and one of a VAE, and yield the events of each call.

        The work is done while the caller iterates. Each kind of forward runs if a call waits for one, so many calls
        that wait for the VAE do not stop the denoiser.
        """
        yield from self._receive(news)
        yield from self._start()
        waiting = [live.parked for live in self._live.values() if live.parked is not None]
        denoising = {self._live[parked.call_id].call.batch for parked in waiting if not parked.single} - {None}
        held = [p for p in waiting if p.part == DECODE and self._live[p.call_id].call.batch in denoising]
        for single in (False, True):
            if alike := [parked for parked in waiting if parked.single is single and parked not in held]:
                yield from self._serve(self._schedule(alike))

    def close(self) -> None:
        """Stop all calls, without events for them."""
        for live in self._live.values():
            live.stop()
        self._live.clear()
        self._served.clear()

    def add(self, call: Call) -> None:
        """Add a call; the next step starts it. Raises ValueError if its id or its scheduler is used by another call."""
        if call.id in self._live:
            raise ValueError(f"call {call.id!r} is here already")
        if any(live.call.scheduler is call.scheduler for live in self._live.values()):
            raise ValueError(f"call {call.id!r} shares its scheduler object with another; schedulers keep state")
        # A new owner starts level with the least served one, because absence gives no credit.
        self._served.setdefault(call.owner, min(self._served.values(), default=0.0))
        self._live[call.id] = PipelineCoroutine(call, self._tickets)

    def _receive(self, news: Iterable[Call | Cancel]) -> Events:
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
            yield from self._with_call(live, live.start())
            self._policy.measured(live.call, START, 1, time.perf_counter() - started_at)

    def _schedule(self, waiting: Sequence[Parked]) -> list[Parked]:
        """The calls that share the next forward: the one whose owner was served least, and others that fit to it.

        Their rows are limited by the memory, by the knee, and for an owner who asks for little by `light_cap`.
        """
        head, *others = fair_order(waiting, self._served)
        if self._alone:
            return [head]
        call = self._live[head.call_id].call
        limits = [self._policy.knee(call, head.part)]
        if is_light(head, waiting, self._row_cap):
            limits.append(self._policy.light_cap(call, head.part, head.rows))
        cap = min([self._forwards.cap(head), *(max(limit, head.rows) for limit in limits if limit is not None)])
        return fill_batch([head, *others], cap)

    def _serve(self, group: list[Parked]) -> Events:
        """Run one forward for the group and resume each call; if it fails, run the calls one by one."""
        started_at, head = time.perf_counter(), self._live[group[0].call_id].call
        outputs: list[Any] = []
        failure: Exception | None = None
        self._begins(Stage.STEP, [parked.call_id for parked in group])
        try:
            outputs = self._forwards.run(group)
        except Exception as error:  # noqa: BLE001 - whatever a forward raises ends only its own calls
            failure = own_failure(error)
        if failure is not None and len(group) > 1:
            for parked in group:
                yield from self._serve([parked])
            return
        for parked in group:
            self._charge(parked)
        if failure is not None:
            live = self._live[group[0].call_id]
            yield from self._with_call(live, live.resume(error=failure))
            return
        sound = are_numbers(outputs)
        for parked, output in zip(group, outputs, strict=True):
            live = self._live[parked.call_id]
            if sound or are_numbers(output):
                yield from self._with_call(live, live.resume(output))
            else:
                yield from self._with_call(live, live.resume(error=PaintFailed(NOT_NUMBERS)))
        # The time that the calls take until their next forward is part of the step, because the next step waits for it.
        if (rows := sum(parked.rows for parked in group)) <= self._forwards.cap(group[0]):
            self._policy.measured(head, group[0].part, rows, time.perf_counter() - started_at)

    def _charge(self, parked: Parked) -> None:
        """Add the work to its owner's account, at most one full forward ahead of the others: idle capacity is free."""
        full = parked.work / parked.rows * self._row_cap
        self._served[parked.owner] += parked.work
        self._served[parked.owner] = min(self._served[parked.owner], min(self._served.values()) + full)

    def _with_call(self, live: PipelineCoroutine, events: Iterable[Event]) -> Events:
        """The events of a call, with the call; a call that has ended is removed."""
        for event in events:
            yield self._end(live, event) if isinstance(event, Returned | Failed) else (live.call, event)

    def _end(self, live: PipelineCoroutine, event: Event) -> tuple[Call, Event]:
        del self._live[live.call.id]
        if not any(other.call.owner == live.call.owner for other in self._live.values()):
            del self._served[live.call.owner]
        return live.call, event
