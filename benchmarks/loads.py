"""What is asked of every arm: the same mixed requests, at the same times, and how long each of them took."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from bot.config import ModelConfig
from bot.jobs import GenerationRequest
from bot.worker.pipelines import ModelStore

PROMPTS = ("a red apple on a blue background", "a fox", "a rocket", "a house and a tree", "a cat at night")
PEOPLE = 5
GROWING = 0.1
"""Seconds of latency that every second of arrivals adds, from which on a line is said to grow. Where r times more is
asked for than painted it is r - 1 in the long run, and 0 where the line is stable."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, and when it comes, in seconds after the start."""

    at: float
    owner: int
    request: GenerationRequest


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an arm served a load: when each request came and how long it took, and the whole, in seconds."""

    arrivals: list[float]
    latencies: list[float]
    seconds: float
    cpu_seconds: float = 0.0
    """Of all threads of this process: what other work on the machine hardly touches."""

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def latency(self, share: float) -> float:
        """The latency that a share of all requests stayed within."""
        return quantile(self.latencies, share)

    @property
    def trend(self) -> str:
        """Whether the line grew as long as requests came."""
        if len(set(self.arrivals)) < 2:
            return ""
        slope = statistics.linear_regression(self.arrivals, self.latencies).slope
        return "growing" if slope > GROWING else "stable"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def mixed(model: ModelConfig, count: int, steps: tuple[int, int]) -> list[GenerationRequest]:
    """The same requests every time: of the model's size, with mixed steps, guidance, negative prompts and samplers."""
    choose = random.Random(7)
    return [
        GenerationRequest(
            prompt=choose.choice(PROMPTS),
            negative_prompt=choose.choice(("", "", "blurry")),
            model=model.name,
            width=model.width,
            height=model.height,
            num_inference_steps=choose.randint(*steps),
            guidance_scale=choose.choice((1.0, 3.0, 3.0, 5.0)),
            seed=number,
            sampler=choose.choice(("default", "euler", "dpm++ 2m")),
        )
        for number in range(count)
    ]


def closed(requests: Sequence[GenerationRequest]) -> list[Arrival]:
    """All of them wait at the start."""
    return [Arrival(0.0, number % PEOPLE, request) for number, request in enumerate(requests)]


def poisson(requests: Sequence[GenerationRequest], per_second: float) -> list[Arrival]:
    """They come independently of each other, so many a second in the mean."""
    choose, at, arrivals = random.Random(5), 0.0, []
    for number, request in enumerate(requests):
        at += choose.expovariate(per_second)
        arrivals.append(Arrival(at, number % PEOPLE, request))
    return arrivals


class Desk:
    """Hands out the requests of a load as they come and notes when their pictures are done.

    Pictures are enlarged and encoded in a thread of their own, in every arm as in our engine, so that a ratio between
    two arms says what their batching gains and nothing else.
    """

    def __init__(self, store: ModelStore, arrivals: Sequence[Arrival]) -> None:
        self._store = store
        self._arrivals = arrivals
        self._came = 0
        self._done: dict[int, float] = {}
        self._failures: list[BaseException] = []
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def __enter__(self) -> Self:
        self._start, self._cpu_start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._encoder.shutdown()

    @property
    def more(self) -> bool:
        """Whether requests are still to come."""
        return self._came < len(self._arrivals)

    def due(self, *, wait: bool) -> list[int]:
        """The numbers of the requests that came since the last time; waits for the next if told to."""
        if wait and self.more:
            time.sleep(max(0.0, self._arrivals[self._came].at - self._now()))
        first, now = self._came, self._now()
        while self.more and self._arrivals[self._came].at <= now:
            self._came += 1
        return list(range(first, self._came))

    def arrival(self, number: int) -> Arrival:
        return self._arrivals[number]

    def request(self, number: int) -> GenerationRequest:
        return self._arrivals[number].request

    def hand_in(self, number: int, output: Any, then: Callable[[], None] = lambda: None) -> None:
        """Take a pipeline's output for a request; `then` is called when its pictures are encoded."""
        self._encoder.submit(self._encode, number, output).add_done_callback(lambda _: then())

    def note(self, number: int) -> None:
        """A request's pictures are done."""
        self._done[number] = self._now()

    def outcome(self) -> Outcome:
        """What became of the load. Raises the first error that a picture met, RuntimeError if one is missing."""
        self._encoder.shutdown()
        if self._failures:
            raise self._failures[0]
        if missing := len(self._arrivals) - len(self._done):
            raise RuntimeError(f"{missing} of {len(self._arrivals)} requests were not painted")
        latencies = [self._done[number] - arrival.at for number, arrival in enumerate(self._arrivals)]
        arrivals = [arrival.at for arrival in self._arrivals]
        return Outcome(arrivals, latencies, max(self._done.values()), time.process_time() - self._cpu_start)

    def _encode(self, number: int, output: Any) -> None:
        try:
            list(self._store.finisher.images(self.request(number), output))
        except Exception as error:  # noqa: BLE001 - this thread's errors reach nobody: `outcome` raises them
            self._failures.append(error)
        else:
            self.note(number)

    def _now(self) -> float:
        return time.perf_counter() - self._start
