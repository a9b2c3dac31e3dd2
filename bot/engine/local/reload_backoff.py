"""Decides when a model that could not be loaded is tried again: after a pause, or after its files have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from bot.config import ModelConfig
from bot.engine.catalog import fingerprint_of
from bot.engine.local.timeouts import Timeouts


class ReloadBackoff:
    """Waits longer after each failed try to load broken models."""

    def __init__(self, models: Sequence[ModelConfig], timeouts: Timeouts) -> None:
        self._models = models
        self._timeouts = timeouts
        self._tries = 0

    def reset(self) -> None:
        """Start again with the shortest pause, because all models could be loaded."""
        self._tries = 0

    async def wait(self, broken: Collection[str], is_busy: Callable[[], bool]) -> None:
        """Wait until broken models should be tried again.

        That is after a pause, or when the files of a model have changed and are no longer being written. It also waits
        until the engine is not busy.
        """
        models = [model for model in self._models if model.name in broken]

        def look() -> list[frozenset[tuple[str, int, int]]]:
            return [fingerprint_of(model) for model in models]

        loop = asyncio.get_running_loop()
        due_at = loop.time() + self._timeouts.before_reload(self._tries)
        before = last = await asyncio.to_thread(look)
        while True:
            await asyncio.sleep(self._timeouts.file_check)
            earlier, last = last, await asyncio.to_thread(look)
            if not is_busy() and (loop.time() >= due_at or before != last == earlier):
                self._tries += 1
                return
