"""The frames that the engine process sends about one order, for the caller that submitted it."""

from __future__ import annotations

import asyncio

from bot.engine import Order
from bot.engine.wire import LoadingFrame, OrderFrame
from bot.errors import EngineDied


class OrderStream:
    """The frames about one order, until it was cancelled or its process is gone."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.is_sent = False
        """Whether a process has it."""
        self._frames: asyncio.Queue[OrderFrame | LoadingFrame | EngineDied | None] = asyncio.Queue()

    @property
    def is_cancelled(self) -> bool:
        """Whether it ended before it was sent."""
        return not self.is_sent and not self._frames.empty()

    def put(self, frame: OrderFrame | LoadingFrame) -> None:
        """Add a frame about the order, or about all orders."""
        self._frames.put_nowait(frame)

    def cancel(self) -> None:
        """End the stream after a cancellation: `next` returns None."""
        self._frames.put_nowait(None)

    def lose(self) -> None:
        """End the stream after the process has ended: `next` raises EngineDied."""
        self._frames.put_nowait(EngineDied("The engine stopped while painting."))

    async def next(self, allowed: float) -> OrderFrame | LoadingFrame | None:
        """The next frame; None once the order was cancelled.

        Raises EngineDied when its process is gone, and TimeoutError when it was silent for `allowed` seconds.
        """
        async with asyncio.timeout(allowed):
            frame = await self._frames.get()
        if isinstance(frame, EngineDied):
            raise frame
        return frame
