"""Several engines that work as one: each keeps its lanes, and the queue feeds all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from bot.engine import Engine, Lane
from bot.engine.step_histogram import StepHistogram
from bot.jobs import JobId


class Fleet:
    """An engine of engines, at least one. The lanes come in the order of the engines."""

    def __init__(self, engines: Sequence[Engine], models: Collection[str] = ()) -> None:
        """Join engines; `models` are those that people can choose.

        Raises ValueError without an engine, or if two lanes have one name.
        """
        if not engines:
            raise ValueError("a fleet needs an engine")
        self.engines = tuple(engines)
        self._models = frozenset(models)
        names = Counter(lane.name for lane in self.lanes)
        if twins := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"several lanes are called {', '.join(twins)}")

    @cached_property
    def lanes(self) -> Sequence[Lane]:
        """The lanes of all engines."""
        return tuple(lane for engine in self.engines for lane in engine.lanes)

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that no lane can use now, each with the reasons in words; an entry "" if no lane can be used."""
        of_lanes = {lane: lane.troubles for lane in self.lanes}
        named = {model for troubles in of_lanes.values() for model in troubles if model}
        found: dict[str, str] = {}
        for model in ("", *sorted(self._models | named)):
            able = [lane for lane in self.lanes if not model or lane.has(model)]
            words = [of_lanes[lane].get("") or of_lanes[lane].get(model) or "" for lane in able]
            if able and all(words) and not (model and "" in found):
                found[model] = _joined(able, words)
        return found

    @property
    def step_histogram(self) -> StepHistogram:
        """The denoising steps of all engines since the bot started."""
        return StepHistogram.sum(engine.step_histogram for engine in self.engines)

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step, in whichever lane it is; unknown jobs are ignored."""
        for engine in self.engines:
            engine.cancel(job_id)

    async def run(self) -> None:
        """Keep all engines working until cancelled, then stop them."""
        async with asyncio.TaskGroup() as tasks:
            for engine in self.engines:
                tasks.create_task(engine.run(), name=f"engine {engine.lanes[0].name}")


def _joined(lanes: Sequence[Lane], words: Sequence[str]) -> str:
    """The reasons of several lanes in words; one that all of them have is said once."""
    if len(set(words)) == 1:
        return words[0]
    return " ".join(f"{lane.name}: {reason}" for lane, reason in zip(lanes, words, strict=True))
