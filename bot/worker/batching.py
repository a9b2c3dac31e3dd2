"""Every denoising step serves everyone: step-level continuous batching of diffusers' own pipelines.

A request runs its pipeline's own `__call__`, unmodified, on a shallow copy of the pipeline inside a greenlet, with a
scheduler object of its own. The copy's denoiser, ControlNet and VAE are proxies that park the call they get. Between
two forwards the batcher takes news, picks parked calls that fit together, runs one forward for all of them, hands each
its rows, and lets each run on to its next heavy call. So requests join and leave between any two steps.

What holds, and what it rests on:

- A request's result does not depend on who shares its batch, but for rounding: rows are independent in these modules,
  schedulers and generators belong to one request, and a call that is alone gets its own arguments untouched.
- State advances only after a forward succeeded, so a forward may be redone, in smaller parts or call by call.
- What goes wrong in a request (an exception, rows that are not numbers, memory) ends that request alone. Only an error
  of the device, after which nothing can run, leaves `run`.
- No denoising forward has more rows than the cap; a call with more rows goes through in parts.
- Modules are shared and never cast. A pipeline that changes them while it runs (PAG, FreeU) does not belong here.
- Grad mode belongs to the thread, not to the greenlet: a guard around every forward and every switch sets it and puts
  it back, whatever a call did to it, and leaves `poll` and `report` (which may load models) in their own mode.
- Whether rows are numbers is read from the device after every forward. That also keeps the host from running ahead of
  it, so that a cancellation is never queued behind work already launched.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import greenlet  # type: ignore[import-untyped,unused-ignore]
import torch

from bot.engine import Progress, Started
from bot.engine.timing import DECODE, START
from bot.errors import PaintFailed
from bot.jobs import Adapters, Shape
from bot.worker.rows import (
    Parked,
    Run,
    Wear,
    are_numbers,
    bare,
    eagerly,
    fair,
    fill,
    forward,
    is_light,
    is_out_of_memory,
    join,
    rebuild,
)

log = logging.getLogger(__name__)

_DENOISERS = ("unet", "transformer", "controlnet")
_CAUTIOUS_FORWARDS = 500
"""How many forwards memory that ran out is believed to be short: what else was in it may have gone since."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: a pipeline and the arguments to call it with.

    `scheduler` is this call's and nobody else's. `adapters` is what the rows of this call wear in every denoiser; rows
    that wear different ones share a forward. `shape` is what its times are kept under.
    """

    id: Hashable
    owner: Hashable
    pipeline: Any
    scheduler: Any
    arguments: Mapping[str, Any]
    adapters: Adapters = ()
    shape: Shape = ("", 0, 0)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the call with this id; unknown ids are ignored."""

    id: Hashable


@dataclass(frozen=True, slots=True)
class Returned:
    """The pipeline returned this."""

    output: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The call ended with this error: PaintFailed where it is in words for the requester."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The call was stopped."""


Event = Started | Progress | Returned | Failed | Cancelled
Report = Callable[[Call, Event], None]
Poll = Callable[[bool], Iterable[Call | Cancel] | None]
"""Asked for news before every forward. Told True, nothing is left to do and it may wait; None is: no more will come."""
Measure = Callable[[Call, str, int, float], None]
"""Told what a forward took: one of its calls, the module or the VAE's method (or `timing.START`), rows, seconds."""
Order = Callable[[Sequence[Parked], Mapping[Hashable, float]], list[Parked]]
"""Puts parked calls in the order they should be served, given the work done for each owner. Pure."""


class Stopped(BaseException):
    """Raised inside a call that is cancelled. No Exception, so that no pipeline takes it for one of its own."""


class _Live:
    """A call that was taken on: its greenlet, what it waits for, and how far it got when it last ran."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.greenlet: Any = None
        self.parked: Parked | None = None
        self.progress: Progress | None = None


class StepBatcher:
    """Runs calls together. Everything happens on the thread that calls `run`."""

    def __init__(
        self,
        report: Report,
        *,
        row_cap: int = 16,
        order: Order = fair,
        wear: Wear = bare,
        run: Run = eagerly,
        measure: Measure = lambda _call, _part, _rows, _seconds: None,
        knee: Callable[[Call, str], int | None] = lambda _call, _part: None,
        company: Callable[[Call, str, int], int | None] = lambda _call, _part, _rows: None,
        alone: bool = False,
    ) -> None:
        """Make a batcher that tells `report` what becomes of each call; `wear` puts its adapters on every row.

        Forwards go through `run`. `knee` says of a module how many rows one forward should have at most, and `company`
        how many so that a call of so many rows is held up little, if its owner asks for little; they split no single
        call. With `alone` no call shares a forward with another.
        """
        self._report = report
        self._row_cap = row_cap
        self._order = order
        self._wear = wear
        self._run_on = run
        self._measure = measure
        self._knee = knee
        self._company = company
        self._alone = alone
        self._live: dict[Hashable, _Live] = {}
        self._served: dict[Hashable, float] = {}
        self._caps: dict[Hashable, tuple[int, int]] = {}
        self._forwards = 0
        self._tickets = itertools.count()
        self._running: _Live | None = None
        self._greenlet: Any = None

    def add(self, call: Call) -> None:
        """Take a call on; it starts before the next forward. Raises ValueError if it shares what must be its own."""
        if call.id in self._live:
            raise ValueError(f"call {call.id!r} is here already")
        if any(live.call.scheduler is call.scheduler for live in self._live.values()):
            raise ValueError(f"call {call.id!r} shares its scheduler object with another; schedulers keep state")
        # Whoever comes starts level with the least served: absence earns no credit.
        self._served.setdefault(call.owner, min(self._served.values(), default=0.0))
        self._live[call.id] = _Live(call)

    def run(self, poll: Poll) -> None:
        """Serve until `poll` says that no more will come and all calls have ended."""
        self._greenlet = greenlet.getcurrent()
        more = True
        try:
            while more or self._live:
                news = poll(not self._live) if more else ()
                more = more and news is not None
                for item in news or ():
                    if isinstance(item, Cancel):
                        self._cancel(item.id)
                    else:
                        self.add(item)
                for live in [live for live in self._live.values() if live.greenlet is None]:
                    self._start(live)
                self._round()
        finally:
            for live in self._live.values():
                self._stop(live)
            self._live.clear()
            self._served.clear()

    def _round(self) -> None:
        """One forward of a denoiser and one of a VAE, each if there is any: no crowd at the VAE stalls the others."""
        line = [live.parked for live in self._live.values() if live.parked is not None]
        for single in (False, True):
            waiting = [parked for parked in line if parked.single is single]
            if waiting:
                head, *others = self._order(waiting, self._served)
                self._serve([head] if self._alone else fill([head, *others], self._worth(head, waiting)))

    def _worth(self, head: Parked, line: Sequence[Parked]) -> int:
        """How many rows to put together.

        No more than memory bears, than it takes to use the device well, or than who asks for little should wait for.
        """
        call, rows = self._live[head.call_id].call, self._cap(head)
        limits = [self._knee(call, head.part)]
        if is_light(head, line, self._row_cap):
            limits.append(self._company(call, head.part, head.rows))
        return min([rows, *(max(limit, head.rows) for limit in limits if limit is not None)])

    def _cap(self, parked: Parked) -> int:
        cap, until = self._caps.get(parked.key, (self._row_cap, 0))
        return cap if self._forwards < until else self._row_cap

    def _serve(self, group: list[Parked]) -> None:
        """Run one forward for the group and let each call run on; if it fails, find out for whom."""
        failure: Exception | None = None
        outputs: list[Any] = []
        started, caller = time.perf_counter(), self._live[group[0].call_id].call
        try:
            outputs = self._forward(group)
            if _may_overflow(group[0]) and not are_numbers(outputs):
                log.warning("a picture overflowed in half precision; it is decoded again in single")
                outputs = self._forward([_in_single_precision(group[0])])
        except Exception as error:  # noqa: BLE001 - whatever a forward raises is its own calls' affair
            failure = _own_failure(error)
        if failure is not None and len(group) > 1:
            for parked in group:
                self._serve([parked])
            return
        for parked in group:
            self._charge(parked)
        if failure is not None:
            self._resume(self._live[group[0].call_id], error=failure)
            return
        sound = are_numbers(outputs)
        for parked, output in zip(group, outputs, strict=True):
            live = self._live[parked.call_id]
            if sound or are_numbers(output):
                self._resume(live, output)
            else:
                words = "The model produced no picture (not a number). Try another sampler or fewer steps."
                self._resume(live, error=PaintFailed(words))
        # What the calls did until their next forward is part of the step: the next one waits for it.
        if (rows := sum(parked.rows for parked in group)) <= self._cap(group[0]):
            self._measure(caller, group[0].part, rows, time.perf_counter() - started)

    def _forward(self, group: list[Parked]) -> list[Any]:
        """Each call's output. When memory ends, the same again in parts half as large, or a picture in tiles."""
        head, rows = group[0], sum(parked.rows for parked in group)
        self._forwards += 1
        tiled = False
        while True:
            cap = min(self._cap(head), rows)
            try:
                with torch.inference_mode(), _in_tiles(head.module) if tiled else nullcontext():
                    return forward(group, cap, self._wear, self._run_on)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # Its frames hold the forward's tensors.
                traceback.clear_frames(error.__traceback__)
            _empty_caches()
            # Not reproducibly: tiles are blended, and whether memory ends depends on what else is in it.
            if head.single and not tiled and not self._alone and getattr(head.module, "use_tiling", None) is False:
                tiled = True
                continue
            if cap == 1 or head.single:
                raise PaintFailed("This size is too large for this machine's memory: try a smaller one.")
            log.warning("out of memory in a forward of %d rows; %d from now on", cap, cap // 2)
            self._caps[head.key] = (cap // 2, self._forwards + _CAUTIOUS_FORWARDS)

    def _charge(self, parked: Parked) -> None:
        """Count the work for its owner, up to a lead of one full forward: who used idle capacity owes nothing."""
        self._served[parked.owner] += parked.work
        full = parked.work / parked.rows * self._row_cap
        self._served[parked.owner] = min(self._served[parked.owner], min(self._served.values()) + full)

    def _start(self, live: _Live) -> None:
        self._report(live.call, Started())
        started = time.perf_counter()
        live.greenlet = greenlet.greenlet(lambda _: self._call_pipeline(live), parent=self._greenlet)
        self._resume(live)
        self._measure(live.call, START, 1, time.perf_counter() - started)

    def _call_pipeline(self, live: _Live) -> Any:
        """What a call's greenlet does."""
        view = copy(live.call.pipeline)
        # Past the pipeline's own __setattr__, which would write the proxies into its configuration.
        attributes = vars(view)
        attributes["scheduler"] = live.call.scheduler
        for name in _DENOISERS:
            if getattr(view, name, None) is not None:
                attributes[name] = _Denoiser(self, getattr(view, name), name)
        if getattr(view, "vae", None) is not None:
            attributes["vae"] = _Vae(self, view.vae, "vae")
        view.set_progress_bar_config(disable=True)
        arguments = dict(live.call.arguments)
        if "callback_on_step_end" in inspect.signature(view.__call__).parameters:
            theirs = arguments.get("callback_on_step_end")

            def on_step(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                live.progress = Progress(step + 1, pipe.num_timesteps)
                changed: dict[str, Any] = values if theirs is None else theirs(pipe, step, timestep, values)
                return changed

            arguments["callback_on_step_end"] = on_step
        return view(**arguments)

    def _resume(self, live: _Live, value: Any = None, *, error: Exception | None = None) -> None:
        """Let a call run on, with its output or an error, until it parks again or ends."""
        live.parked, live.progress, self._running = None, None, live
        ended: Event | None = None
        try:
            with torch.inference_mode():
                output = live.greenlet.switch(value) if error is None else live.greenlet.throw(error)
        except Exception as failure:  # noqa: BLE001 - the call's own failure, whatever it is
            ended = Failed(_own_failure(failure))
        else:
            if live.greenlet.dead:
                ended = Returned(output)
        if live.progress is not None:
            self._report(live.call, live.progress)
        if ended is not None:
            self._end(live, ended)

    def _cancel(self, call_id: Hashable) -> None:
        live = self._live.get(call_id)
        if live is not None:
            self._stop(live)
            self._end(live, Cancelled())

    def _stop(self, live: _Live) -> None:
        """Raise Stopped inside a call. Should it park again, the end of its greenlet ends it."""
        if live.greenlet is None or live.greenlet.dead:
            return
        self._running = live
        try:
            with torch.inference_mode():
                live.greenlet.throw(Stopped())
        except Stopped:
            log.debug("call %r stopped", live.call.id)
        except Exception:
            # Its own tidying up failed, and nobody waits for it any more.
            log.exception("call %r failed while it was stopped", live.call.id)

    def _end(self, live: _Live, event: Event) -> None:
        del self._live[live.call.id]
        if not any(other.call.owner == live.call.owner for other in self._live.values()):
            del self._served[live.call.owner]
        self._report(live.call, event)

    def _park(self, module: Any, method: str, args: Any, kwargs: dict[str, Any], *, part: str, single: bool) -> Any:
        """Wait, inside a call, for a module's output."""
        live = self._running
        assert live is not None  # noqa: S101 - only a running call has proxies
        live.parked = Parked(
            module,
            method,
            (args, kwargs),
            call_id=live.call.id,
            owner=live.call.owner,
            adapters=() if single else live.call.adapters,
            since=next(self._tickets),
            part=part,
            single=single,
        )
        return self._greenlet.switch()


class _Denoiser:
    """Looks like the module, but a call of it is parked."""

    def __init__(self, batcher: StepBatcher, module: Any, name: str) -> None:
        self._park = batcher._park
        self._module = module
        self._name = name

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The module's: pipelines ask isinstance."""
        return type(self._module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._park(self._module, "__call__", args, kwargs, part=self._name, single=False)

    def to(self, *_args: Any, **_kwargs: Any) -> Any:
        """Nothing: what is shared is not cast, as SDXL's `force_upcast` would."""
        return self


class _Vae(_Denoiser):
    """Looks like the VAE, but encoding and decoding are parked, pictures one by one. It casts what it is given."""

    def encode(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self._park(self._module, "encode", (x.to(self.dtype), *args), kwargs, part="encode", single=True)

    def decode(self, z: Any, *args: Any, **kwargs: Any) -> Any:
        pictures = z.to(self.dtype).split(1)
        outputs = [self._park(self._module, "decode", (p, *args), kwargs, part=DECODE, single=True) for p in pictures]
        return join(outputs)


def _own_failure(error: Exception) -> Exception:
    """What a call's end is put down to, without the tensors; raises the error again if it concerns everyone."""
    if is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)
        _empty_caches()
        return PaintFailed("This does not fit into this machine's memory: try a smaller size or fewer images.")
    # After a CUDA error every later call in this process fails too.
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        raise error
    traceback.clear_frames(error.__traceback__)
    return error


def _may_overflow(parked: Parked) -> bool:
    """Whether a call decodes a picture in float16: many a VAE was not made for its range."""
    return parked.part == DECODE and parked.module.dtype is torch.float16


def _in_single_precision(parked: Parked) -> Parked:
    """The same call of a copy of its module: what is shared is not cast. It is rare, so the copy is not kept."""
    module = deepcopy(parked.module).float()
    leaves = [
        leaf.float() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf for leaf in parked.leaves
    ]
    return Parked(module, "decode", rebuild(parked.tree, leaves), part=parked.part, single=parked.single)


@contextmanager
def _in_tiles(vae: Any) -> Iterator[None]:
    """Let a VAE take large pictures tile by tile, which needs little memory."""
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


def _empty_caches() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
