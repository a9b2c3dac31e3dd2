"""The engine's seam: what the house may ask of whatever paints, and what it hears back.

`local.py` runs a child process (`bot/worker`) with torch; `fake.py` has no weights at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
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


class Engine(Protocol):
    """Paints orders."""

    @property
    def slots(self) -> int:
        """How many orders it works on at a time."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that cannot be used now, each with the reason in words. An entry "" concerns all of them."""
        ...

    @property
    def timings(self) -> Timings:
        """How long it takes, as far as that is known."""
        ...

    @property
    def step_histogram(self) -> StepHistogram:
        """The steps it did since the bot began."""
        ...

    @property
    def steps_done(self) -> Mapping[JobId, int]:
        """How far the orders in it are."""
        ...

    async def ready(self) -> None:
        """Wait until orders can be taken."""
        ...

    def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint, yielding events and Finished last; a cancelled order ends without it.

        Raises EngineDied when the engine went away or fell silent, PaintFailed when it could not paint this.
        """
        ...

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step; unknown jobs are ignored."""
        ...
