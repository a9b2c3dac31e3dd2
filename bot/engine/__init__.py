"""The engine's seam: what the bot may ask of an engine, and what it hears back.

`local/` runs a child process (`bot/worker`) with torch; `fake.py` has no weights at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.jobs import GenerationRequest, Image, JobId, UserId


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt at one job."""

    job_id: JobId
    attempt: int
    request: GenerationRequest
    owner: UserId
    """Whose it is: within the engine, too, people are served alike."""
    uploads: Mapping[str, bytes] = field(default_factory=dict)
    """The encoded pictures that the request names, by their sha256."""


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
    """How the order looks so far: a small JPEG."""

    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The pictures, in the order of the request's seeds, and the sha256 of the weights that painted them."""

    images: tuple[Image, ...]
    model_hash: str


Event = Started | Progress | Preview | Finished


class Lane(Protocol):
    """A part of the engine that works by itself, as one GPU does: its orders share its batches and its time."""

    @property
    def name(self) -> str:
        """What it is called among the lanes of its engine."""
        ...

    @property
    def slots(self) -> int:
        """How many orders it works on at a time."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models it cannot use now, each with the reason in words. An entry "" concerns all of them."""
        ...

    @property
    def timings(self) -> Timings:
        """How long it takes, as far as that is known."""
        ...

    @property
    def steps_done(self) -> Mapping[JobId, int]:
        """How far the orders in it are."""
        ...

    def holds(self, job_id: JobId) -> bool:
        """Whether an order for this job is in it."""
        ...

    async def ready(self) -> None:
        """Wait until orders can be taken."""
        ...

    def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint, yielding events and Finished last; a cancelled order ends without it.

        Raises EngineDied when the engine went away or fell silent, PaintFailed when it could not paint this.
        """
        ...


class Engine(Protocol):
    """Paints orders, in one lane or several."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes, always the same ones; at least one."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that no lane can use now, each with the reason in words. An entry "" concerns all of them."""
        ...

    @property
    def timings(self) -> Timings:
        """How long the first lane takes: what a request is said to cost."""
        ...

    @property
    def step_histogram(self) -> StepHistogram:
        """The steps of all lanes since the bot began."""
        ...

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step, in whichever lane it is; unknown jobs are ignored."""
        ...


def lane_of(engine: Engine, job_id: JobId) -> Lane:
    """The lane that has a job's order; the first one for a job that is on its way there."""
    return next((lane for lane in engine.lanes if lane.holds(job_id)), engine.lanes[0])
