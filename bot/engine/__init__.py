"""The interface of engines: the orders that the bot gives, and the events that come back.

`local/` paints in a child process (`bot/worker`) with torch, `cluster/` on other hosts, `images_api/` has other servers
paint, and `fake.py` paints without weights, for tests. `fleet.py` joins several engines, and `building.py` makes those
that the configuration names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.jobs import UNLIMITED, GenerationRequest, Image, JobId, PictureLimits, UserId
from bot.money import Micros


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt at one job."""

    job_id: JobId
    attempt: int
    request: GenerationRequest
    owner: UserId
    """The person who asked; the engine also shares its time fairly between people."""
    uploads: Mapping[str, bytes] = field(default_factory=dict)
    """The encoded pictures that the request names, by their sha256."""
    limits: PictureLimits = UNLIMITED
    """How explicit its pictures may be."""


@dataclass(frozen=True, slots=True)
class Started:
    """The engine began to work on the order."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Denoising step `step` of `of` is done; steps count over all images of the order."""

    step: int
    of: int


@dataclass(frozen=True, slots=True)
class Preview:
    """How the pictures look so far: a small JPEG."""

    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The pictures, in the order of the request's seeds, and the sha256 of the weights that painted them."""

    images: tuple[Image, ...]
    model_hash: str


@dataclass(frozen=True, slots=True)
class Asking:
    """The engine is about to send the order to a provider that may charge for it. It goes on once that is stored."""


@dataclass(frozen=True, slots=True)
class Billed:
    """What a provider charged for what it was asked, which may be nothing."""

    micros: Micros


@dataclass(frozen=True, slots=True)
class Pace:
    """How a lane takes orders that run beside each other: at most `count` in `seconds`, and what it took lately."""

    count: int
    seconds: float
    taken: tuple[float, ...] = ()
    """How many seconds ago it took each of the last ones, the oldest first."""
    painting: Mapping[JobId, float] = field(default_factory=dict)
    """How many seconds ago it took each of those that it paints; an order that is not here still waits in its slot."""
    held_seconds: float = 0.0
    """How long it takes nothing."""


Event = Started | Progress | Preview | Asking | Billed | Finished


class Lane(Protocol):
    """A part of the engine that works by itself, as one GPU does: its orders share its batches and its time."""

    @property
    def name(self) -> str:
        """The name of the lane. No other lane of the bot has it, and it stays the same over restarts."""
        ...

    @property
    def device(self) -> str:
        """What it paints on, in words for the host; empty while that is unknown."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether orders can be taken now."""
        ...

    @property
    def warm(self) -> Collection[str]:
        """The models that are loaded: an order for one of them need not wait until it is."""
        ...

    @property
    def slots(self) -> int:
        """How many orders the lane paints at the same time."""
        ...

    def has(self, model: str) -> bool:
        """Whether it can paint with a model at all; `troubles` says whether it can now."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that the lane cannot use now, each with the reason in words. An entry "" is about all models."""
        ...

    @property
    def advice(self) -> str:
        """What the host can do about its troubles, as sentences; empty where the troubles say it themselves."""
        ...

    @property
    def pace(self) -> Pace | None:
        """How it takes orders that run beside each other; None for a lane whose orders share its time."""
        ...

    @property
    def timings(self) -> Timings:
        """How long the lane takes for a forward, as far as that is known."""
        ...

    @property
    def learned(self) -> asyncio.Event:
        """Set when the timings have changed; the task that stores them clears it."""
        ...

    @property
    def steps_done(self) -> Mapping[JobId, int]:
        """The denoising steps that are done of each order in the lane."""
        ...

    async def ready(self) -> None:
        """Wait until orders can be taken."""
        ...

    def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint an order and yield its events, Finished last; the events of a cancelled order end without it.

        Raises EngineDied when the engine process ends or hangs, and PaintFailed when it cannot paint this order.
        """
        ...


class Engine(Protocol):
    """Paints orders, in one lane or several."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes: at least one, and always the same ones."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that no lane can use now, each with the reason in words. An entry "" is about all models."""
        ...

    @property
    def step_histogram(self) -> StepHistogram:
        """The denoising steps of all lanes since the bot started."""
        ...

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step, in whichever lane it is; unknown jobs are ignored."""
        ...

    async def run(self) -> None:
        """Keep the lanes working until cancelled, then stop them."""
        ...
