"""Single figures of the engine: the device's peak, a model's FLOPs, t(B), a cancellation, what the coroutines cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import direct
from bot.engine import Progress
from bot.jobs import GenerationRequest
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Cancel, Cancelled, Event, Failed, Returned
from bot.worker.pipelines import ModelStore
from bot.worker.row_policy import PlainRows
from bot.worker.rows import Parked, Run, forward, run_eagerly


def synchronize() -> None:
    """Wait until the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_now() -> float:
    """A clock to measure this thread's work by.

    Its CPU time where that is all there is to count, since other programs on the machine hardly touch it; else the
    time that passes.
    """
    return time.thread_time() if works_alone() else time.perf_counter()


def works_alone() -> bool:
    """Whether one thread of the CPU does all the work."""
    return torch.get_num_threads() == 1 and not torch.cuda.is_available()


def best_seconds(work: Callable[[], object], times: int) -> float:
    """The shortest time of several runs, in seconds, after one run to warm up."""
    taken = []
    for _ in range(times + 1):
        synchronize()
        start = seconds_now()
        work()
        synchronize()
        taken.append(seconds_now() - start)
    return min(taken[1:])


def peak_flops(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a large product of matrices: what the device can do at most, in this dtype, with these threads."""
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / best_seconds(lambda: a @ b, 10)


class Model:
    """One call of a model's denoiser and one of its decoder, taken from a real request, to be repeated at will."""

    def __init__(self, store: ModelStore, request: GenerationRequest) -> None:
        self._pipeline = store.load(request.model).pipeline
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        hook = self._pipeline.unet.register_forward_pre_hook(
            lambda _module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
        )
        single = replace(request, guidance_scale=1.0, num_inference_steps=1, sampler="default")
        self._pipeline.scheduler = store.scheduler(single)
        try:
            with torch.inference_mode():
                self._pipeline(**store.arguments(single))
        finally:
            hook.remove()
        self._parked = Parked(self._pipeline.unet, "__call__", calls[0])
        sample = next(leaf for leaf in self._parked.leaves if isinstance(leaf, torch.Tensor) and leaf.ndim == 4)
        self._latents = torch.randn_like(sample)

    def forward(self, rows: int, run: Run = run_eagerly) -> None:
        """One forward of the denoiser, put together from so many calls of one row as the engine does it."""
        with torch.inference_mode():
            forward([self._parked] * rows, rows, run=run)

    def decode(self) -> None:
        """The latents of one picture to its pixels."""
        with torch.inference_mode():
            self._pipeline.vae.decode(self._latents, return_dict=False)

    def flops(self) -> tuple[int, int]:
        """FLOPs of one row of a forward, and of decoding one picture: two for each multiply-add, matrices alone."""
        counted = []
        for work in (lambda: self.forward(1), self.decode):
            # The fused kernels of attention are not all known to the counter.
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                work()
            counted.append(counter.get_total_flops())
        return counted[0], counted[1]

    def curve(self, most: int, times: int) -> dict[int, float]:
        """Seconds of a forward by its rows: t(B)."""
        return {
            rows: best_seconds(lambda rows=rows: self.forward(rows), times)
            for rows in (1, 2, 4, 6, 8, 12, 16, 24, 32)
            if rows <= most
        }


class Stopwatch:
    """Counts the seconds that pass inside modules."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    @contextmanager
    def inside(self, modules: Sequence[torch.nn.Module]) -> Iterator[None]:
        hooks = [
            hook
            for m in modules
            for hook in (m.register_forward_pre_hook(self._begin), m.register_forward_hook(self._end))
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, *_: object) -> None:
        synchronize()
        self._started = seconds_now()

    def _end(self, *_: object) -> None:
        synchronize()
        self.seconds += seconds_now() - self._started


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a closed load took: in total, and outside the denoiser and the decoder."""

    seconds: float
    outside: float


def plainly(store: ModelStore, requests: Sequence[GenerationRequest], _rows: int) -> None:
    """`pipe()` per request."""
    pipeline = store.load(requests[0].model).pipeline
    with torch.inference_mode():
        for request in requests:
            pipeline.scheduler = store.scheduler(request)
            pipeline(**store.arguments(request))


def coroutines(store: ModelStore, requests: Sequence[GenerationRequest], rows: int) -> None:
    """The engine's batcher."""
    errors: list[Exception] = []
    returned = 0
    batcher = StepBatcher(PlainRows(store.row_loras.on_rows), row_cap=rows)
    for number, request in enumerate(requests):
        batcher.add(_call(store, number, request))
    while not batcher.is_idle:
        for _, event in batcher.step():
            returned += isinstance(event, Returned)
            if isinstance(event, Failed):
                errors.append(event.error)
    if errors or returned != len(requests):
        raise RuntimeError(f"{returned} of {len(requests)} requests were painted") from (errors or [None])[0]


def directly(store: ModelStore, requests: Sequence[GenerationRequest], rows: int) -> None:
    """The hand-written loop."""
    pipeline = store.load(requests[0].model).pipeline
    waiting = [direct.Painting(store, number, request) for number, request in enumerate(requests)]

    def take(_idle: bool) -> list[direct.Painting] | None:
        taken, waiting[:] = waiting[:], []
        return taken or None

    direct.serve(pipeline.unet, rows, take, lambda _number, _output: None)


WAYS: dict[str, Callable[[ModelStore, Sequence[GenerationRequest], int], None]] = {
    "naive": plainly,
    "coroutines": coroutines,
    "direct": directly,
}


def costs(store: ModelStore, request: GenerationRequest, rows: int, rounds: int) -> dict[str, Cost]:
    """What each way costs that can paint the model, for as many guided requests at a time as fill so many rows.

    They take the same number of steps and different samplers, and nothing is encoded. The ways take turns, after one
    round to warm up; what counts is each one's fastest.
    """
    pipeline = store.load(request.model).pipeline
    samplers = ("default", "euler", "dpm++ 2m")
    requests = [
        replace(request, guidance_scale=3.0, seed=number, sampler=samplers[number % len(samplers)])
        for number in range(max(1, rows // 2))
    ]
    ways = {name: way for name, way in WAYS.items() if name != "direct" or direct.can_paint(pipeline)}
    taken: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            watch = Stopwatch()
            with watch.inside((pipeline.unet, pipeline.vae.decoder)):
                start = seconds_now()
                way(store, requests, rows)
                synchronize()
                seconds = seconds_now() - start
            taken[name].append(Cost(seconds, seconds - watch.seconds))
    return {name: min(some[1:], key=lambda cost: cost.seconds) for name, some in taken.items()}


@dataclass(frozen=True, slots=True)
class Cancellation:
    """From a cancellation to the row being free: forwards that began meanwhile, and seconds."""

    steps: int
    seconds: float


def cancellations(store: ModelStore, request: GenerationRequest, rows: int, times: int) -> list[Cancellation]:
    """Cancel requests one by one, at any moment, out of forwards of so many rows; another takes each one's place."""
    news: SimpleQueue[Call | Cancel] = SimpleQueue()
    together = max(1, rows // 2)
    began = 0
    asked: dict[object, tuple[int, float]] = {}
    measured: list[Cancellation] = []
    moving, freed, over = threading.Event(), threading.Event(), threading.Event()

    def call(number: int) -> Call:
        return _call(store, number, replace(request, guidance_scale=3.0, seed=number, num_inference_steps=500))

    def report(of: Call, event: Event) -> None:
        match event:
            case Cancelled() if of.id in asked:
                steps, at = asked[of.id]
                measured.append(Cancellation(began - steps, time.perf_counter() - at))
                if len(measured) < times:
                    news.put(call(len(measured) + together - 1))
                freed.set()
            case Progress():
                moving.set()
            case Failed() | Returned():
                raise RuntimeError(f"a request ended before it was cancelled: {event}")

    def came() -> list[Call | Cancel]:
        taken: list[Call | Cancel] = []
        while not news.empty():
            taken.append(news.get_nowait())
        return taken

    def begin(*_: object) -> None:
        nonlocal began
        began += 1

    def cancel() -> None:
        moving.wait()
        for number in range(times):
            # Anywhere within a step, not always at the same place of it.
            time.sleep(0.01 + 0.037 * (number % 7))
            freed.clear()
            asked[number] = began, time.perf_counter()
            news.put(Cancel(number))
            freed.wait()
        for number in range(times, times + together):
            news.put(Cancel(number))
        over.set()

    for number in range(together):
        news.put(call(number))
    threading.Thread(target=cancel, daemon=True).start()
    hook = store.load(request.model).pipeline.unet.register_forward_pre_hook(begin)
    batcher = StepBatcher(row_cap=rows)
    try:
        # `over` is read first: what was put before it is taken then.
        while not over.is_set() or not news.empty() or not batcher.is_idle:
            for of, event in batcher.step(came()):
                report(of, event)
    finally:
        hook.remove()
    return measured


def _call(store: ModelStore, number: int, request: GenerationRequest) -> Call:
    """A request as the loop gives it to the batcher."""
    return Call(
        number,
        number % 5,
        store.load(request.model).pipeline,
        store.scheduler(request),
        store.arguments(request),
        store.adapters(request),
        shape=request.work.shape,
    )
