"""Decides when a model that could not be loaded is tried again: after a pause, or after its files have changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from bot.config import ModelConfig
from bot.engine.catalog import fingerprint_of, traces_of
from bot.engine.local.timeouts import Timeouts
from bot.language import sentence
from bot.language.reasons import Reason


class ReloadBackoff:
    """Waits longer after each failed try to load broken models."""

    def __init__(self, models: Sequence[ModelConfig], timeouts: Timeouts, known_files: Path | None = None) -> None:
        self._models = models
        self._timeouts = timeouts
        self._known_files = known_files
        self._tries = 0

    def reset(self) -> None:
        """Start again with the shortest pause, because all models could be loaded."""
        self._tries = 0

    async def wait(self, broken: Collection[str], is_busy: Callable[[], bool]) -> None:
        """Wait until broken models should be tried again.

        That is after a pause, or when the files of a model have changed and are no longer being written, or when the
        host has accepted a change. It also waits until the engine is not busy.
        """
        models = [model for model in self._models if model.name in broken]

        def look() -> list[frozenset[tuple[str, int, int]]]:
            known = [] if self._known_files is None else [traces_of(self._known_files)]
            return [fingerprint_of(model) for model in models] + known

        loop = asyncio.get_running_loop()
        due_at = loop.time() + self._timeouts.pause_before_reload(self._tries)
        before = last = await asyncio.to_thread(look)
        while True:
            await asyncio.sleep(self._timeouts.file_check)
            earlier, last = last, await asyncio.to_thread(look)
            if not is_busy() and (loop.time() >= due_at or before != last == earlier):
                self._tries += 1
                return


class HungLoads:
    """Knows which models took the engine down while they were loaded, and for how long they are left alone then.

    Without it, each request for such a model would take the engine down again.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._times: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    def hung(self, model: str, now: float) -> None:
        """The engine hung or died while it loaded a model. The first time may be chance."""
        self._times[model] += 1
        if self._times[model] > 1:
            self._until[model] = now + self._timeouts.pause_before_reload(self._times[model] - 2)

    def loaded(self, model: str) -> None:
        """A model was loaded, or failed to in words."""
        self._times.pop(model, None)
        self._until.pop(model, None)

    def troubles(self, now: float) -> Mapping[str, str]:
        """The models that are left alone now, each with the reason in words."""
        return {
            model: Reason(
                sentence(
                    "The engine hung or stopped {times} times while it loaded the model {model}, so the model is left "
                    "alone for a while. Choose another model, or try again later.",
                    times=self._times[model],
                    model=model,
                )
            )
            for model, until in self._until.items()
            if now < until
        }
