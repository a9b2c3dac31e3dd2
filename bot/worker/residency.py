"""Which models are in memory, and when another is worth a switch. Pure.

While a model loads, nobody is painted for. So it is loaded at once where nobody would notice, and otherwise as soon as
those who wait for it have together waited as long as the switch makes the others wait: the break-even rule of renting
or buying (Karlin et al., Competitive Snoopy Caching, 1988, https://doi.org/10.1007/BF01762111). A model at which people
paint leaves when their pictures are done; from the moment it must go nobody new begins with it, so that no stream of
requests keeps the others out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what is asked of it now; times are in seconds."""

    name: str
    size: int
    """Bytes it takes in memory."""
    load_seconds: float
    used_at: float = 0.0
    """When a request last began with it."""
    resident: bool = False
    painting: int = 0
    """Requests at the easel with it."""
    waits: tuple[float, ...] = ()
    """How long each request has waited that may not begin with it yet."""


@dataclass(frozen=True, slots=True)
class Switch:
    """What to do now: drop `evict`, then load `load`; nobody new begins with the models of `hold`."""

    load: str | None = None
    evict: tuple[str, ...] = ()
    hold: frozenset[str] = frozenset()


def decide(models: Sequence[Model], budget: int) -> Switch:
    """What to do about the models that people wait for, with `budget` bytes for all of them together.

    The model whose request has waited longest comes next. Room for it is made by the least recently used, idle ones
    first; one that is larger than the whole budget is tried alone.
    """
    wanted = [model for model in models if model.waits and not model.resident]
    if not wanted:
        return Switch()
    coming = max(wanted, key=lambda model: max(model.waits))
    resident = [model for model in models if model.resident]
    free = budget - sum(model.size for model in resident)
    leaving: list[Model] = []
    for model in sorted(resident, key=lambda model: (model.painting > 0, model.used_at)):
        if free >= min(coming.size, budget):
            break
        leaving.append(model)
        free += model.size
    busy = [model for model in leaving if model.painting]
    # Those who are sent away will want to come back.
    switch_seconds = coming.load_seconds + sum(model.load_seconds for model in busy)
    if sum(coming.waits) < switch_seconds * sum(model.painting for model in resident):
        return Switch()
    if busy:
        return Switch(hold=frozenset(model.name for model in busy))
    return Switch(coming.name, tuple(model.name for model in leaving))
