"""The orders that the engine process holds: waiting for their turn, or being painted.

An order is one call for the batcher, and an animation one for each frame: so its frames share forwards with each other
and with other orders, and a large animation takes turns with them at every step.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from bot.engine.wire import OrderKey
from bot.jobs import GenerationRequest, JobId, Operation, PictureLimits
from bot.worker.canvas import Canvas
from bot.worker.inputs import Inputs
from bot.worker.previews import LatentTap
from bot.worker.prompts import Reading

CallId = tuple[JobId, int, int]
"""The key of an order and the number of one of its calls, from 0."""


@dataclass(slots=True)
class WaitingOrder:
    """An order that is not being painted yet; its `inputs` are decoded meanwhile.

    Its `texts`, the prompt and the negative prompt, are read once its model is in memory.
    """

    key: OrderKey
    owner: int
    request: GenerationRequest
    limits: PictureLimits
    inputs: Future[Inputs]
    since: float
    texts: Future[tuple[Reading, ...]] | None = None

    @property
    def is_painted(self) -> bool:
        """Whether it needs its model in memory."""
        return self.request.operation is not Operation.UPSCALE


@dataclass(slots=True)
class PaintingOrder:
    """An order that is being painted, and when it was last shown."""

    owner: int
    request: GenerationRequest
    limits: PictureLimits
    canvas: Canvas | None
    calls: int
    """How many calls paint it."""
    tap: LatentTap
    """That of its middle call."""
    shown_at: float
    is_started: bool = False
    step: int = 0
    """The last denoising step that all of its calls have done."""
    steps: dict[int, int] = field(default_factory=dict)
    """The last denoising step of each call that has begun, by its number."""
    outputs: dict[int, Any] = field(default_factory=dict)
    """What the pipelines of the calls that have ended returned, by their numbers."""
    ended: int = 0
    """How many calls have ended, in whatever way."""
    is_abandoned: bool = False
    """Whether nothing is said of it any more: it was cancelled, or one of its calls has failed."""

    def advance(self, call: int, step: int) -> bool:
        """Note that a call has done a step; returns whether the order is one step further now."""
        self.steps[call] = step
        before, self.step = self.step, min(self.steps.values()) if len(self.steps) == self.calls else 0
        return self.step > before

    @property
    def output(self) -> Any:
        """What the pipeline returned, with the frames of all calls in order."""
        if self.calls == 1:
            return self.outputs[0]
        parts = [self.outputs[number] for number in range(self.calls)]
        flags = [flag for part in parts for flag in getattr(part, "nsfw_content_detected", None) or ()]
        return SimpleNamespace(images=np.concatenate([part.images for part in parts]), nsfw_content_detected=flags)
