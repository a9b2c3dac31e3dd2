"""What each thread of the engine process does, told to the bot: each stage has a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bot.engine.wire import Frame, OrderKey, Stage, StageFrame


class Stages:
    """Tells the bot what the thread that owns the device begins, and what other threads do meanwhile."""

    def __init__(self, send: Callable[[Frame], None]) -> None:
        self._send = send
        self._is_resting = True

    def begin(self, stage: Stage, orders: Sequence[Hashable] = (), model: str = "", size: int = 0) -> None:
        """Tell what the device's thread begins; if it takes too long, only its orders are blamed.

        `size` is in bytes, for a stage that loads something.
        """
        keys: tuple[OrderKey, ...] = tuple(orders)  # type: ignore[arg-type]
        self._is_resting = False
        self._send(StageFrame(_thread(), stage, keys, model, size))

    def rest(self) -> None:
        """Tell once that the device's thread waits for orders."""
        if not self._is_resting:
            self.begin(Stage.REST)
            self._is_resting = True

    @contextmanager
    def beside(self, doing: StageFrame) -> Iterator[None]:
        """Tell what another thread does in the body, and that it rests afterwards."""
        self._send(replace(doing, thread=_thread()))
        try:
            yield
        finally:
            self._send(StageFrame(_thread(), Stage.REST))


def _thread() -> str:
    return threading.current_thread().name
