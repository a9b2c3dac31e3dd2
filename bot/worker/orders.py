"""The orders that the engine process holds: waiting for their turn, or being painted."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from bot.engine.wire import OrderKey
from bot.jobs import GenerationRequest, Operation, PictureLimits
from bot.worker.canvas import Canvas
from bot.worker.inputs import Inputs
from bot.worker.previews import LatentTap
from bot.worker.prompts import Reading


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
    tap: LatentTap
    shown_at: float
