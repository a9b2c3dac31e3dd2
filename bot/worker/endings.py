"""The end of an order: its pictures are enlarged on the device, or encoded in other threads, and sent to the bot.

Pictures are encoded for one person in turn, so that one person's pictures do not wait for all of another's. On the
device one tile is enlarged after each step of the others, also for one person in turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import PIL.Image

from bot.engine.wire import FailedFrame, FinishedFrame, Frame, OrderKey, Stage, StageFrame, StartedFrame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Image, PictureLimits
from bot.language.reasons import Reason
from bot.worker.finishing import Finisher
from bot.worker.nsfw import BLOCKED
from bot.worker.orders import PaintingOrder, WaitingOrder
from bot.worker.round_robin import RoundRobinPool, Turns
from bot.worker.stages import Stages

log = logging.getLogger(__name__)


class Endings:
    """Finishes the pictures of orders. Leaving the context waits until all of them are sent."""

    def __init__(self, finisher: Finisher, send: Callable[[Frame], None], stages: Stages, threads: int) -> None:
        """Finish pictures in up to `threads` threads."""
        self._finisher, self._send, self._stages = finisher, send, stages
        self._unfinished: set[OrderKey] = set()
        """The orders that are enlarged or encoded. A cancelled one is taken out: its next piece of work is not done."""
        self._enlarging: Turns[tuple[WaitingOrder, Iterator[PIL.Image.Image | None]]] = Turns()
        """The orders whose pictures are enlarged on the device."""
        self.threads = RoundRobinPool(threads, "encoder")

    def __enter__(self) -> Self:
        self.threads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.threads.__exit__(kind, error, traceback)

    @property
    def needs_device(self) -> bool:
        """Whether a picture is to be enlarged on the device."""
        return bool(self._enlarging)

    def cancel(self, key: OrderKey) -> None:
        """Do no more work for an order; nothing of it is sent."""
        self._unfinished.discard(key)

    def encode(self, key: OrderKey, order: WaitingOrder | PaintingOrder, pictures: Iterator[Image | None]) -> None:
        """Have other threads finish an order; the iterator does a piece of work each time."""
        self._unfinished.add(key)
        self.threads.submit(order.owner, self._encoded(key, order.request, order.limits, pictures))

    def enlarge(self, order: WaitingOrder, picture: PIL.Image.Image) -> None:
        """Begin to enlarge a picture, in other threads or on the device. Its model's files must have been fetched."""
        finisher = self._finisher
        try:
            if on_device := finisher.is_enlarged_on_device(order.request.model):
                if size := finisher.unloaded_upscaler:
                    self._stages.begin(Stage.LOAD, [order.key], size=size)
                large = finisher.enlarged_on_device(picture)
            else:
                pictures = finisher.enlarged(order.request, picture)
        except PaintFailed as error:
            self._send(FailedFrame(*order.key, error.reason))
            return
        self._send(StartedFrame(*order.key))
        if on_device:
            self._unfinished.add(order.key)
            self._enlarging.add(order.owner, (order, large))
        else:
            self.encode(order.key, order, pictures)

    def enlarge_a_tile(self) -> None:
        """Do one piece of work on the device for the person whose turn it is; a whole picture goes to be encoded."""
        if (turn := self._enlarging.take()) is None:
            return
        owner, (order, large) = turn
        if order.key not in self._unfinished:
            return
        self._stages.begin(Stage.FINISH, [order.key])
        try:
            whole = next(large)
        except PaintFailed as error:
            self._unfinished.discard(order.key)
            self._send(FailedFrame(*order.key, error.reason))
            return
        if whole is None:
            self._enlarging.put_back(owner, (order, large))
        else:
            self.encode(order.key, order, self._finisher.enlargement(order.request, whole))

    def _encoded(
        self, key: OrderKey, request: GenerationRequest, limits: PictureLimits, pictures: Iterator[Image | None]
    ) -> Iterator[None]:
        """Finish an order's pictures and send them, unless it is cancelled. It runs in an encoder's threads.

        If one of the pictures may not be shown, the order fails, and none of them leaves this process.
        """
        images: list[Image] = []
        try:
            while len(images) < request.num_images_per_prompt:
                if key not in self._unfinished:
                    return
                with self._stages.beside(StageFrame("", Stage.FINISH, (key,))):
                    image = next(pictures)
                if image is not None:
                    if limits.blocks(image.nsfw):
                        raise PaintFailed(BLOCKED)
                    images.append(image)
                if len(images) < request.num_images_per_prompt:
                    yield
        except PaintFailed as error:
            self._send(FailedFrame(*key, error.reason))
        except Exception:
            # A person waits for an answer, and nothing else reports errors of this thread.
            log.exception("the pictures of job %d could not be encoded", key[0])
            self._send(
                FailedFrame(*key, Reason("The pictures could not be encoded. The host can find the reason in the log."))
            )
        else:
            self._send(FinishedFrame(*key, tuple(images), self._finisher.made_by(request)))
        finally:
            self._unfinished.discard(key)
