"""When a model that could not be loaded is worth another try: after a while, or once its files have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from bot.config import ModelConfig
from bot.engine.catalog import fingerprint_of
from bot.engine.local.timeouts import Timeouts


class ReloadBackoff:
    """Knows how often broken models were tried again in vain."""

    def __init__(self, models: Sequence[ModelConfig], timeouts: Timeouts) -> None:
        self._models = models
        self._timeouts = timeouts
        self._tries = 0

    def reset(self) -> None:
        """Begin anew: all models could be loaded."""
        self._tries = 0

    async def wait(self, broken: Collection[str], is_busy: Callable[[], bool]) -> None:
        """Wait until broken models should be tried again.

        That is after a while, or when a model's files have changed and are written no more; not while it `is_busy`.
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
