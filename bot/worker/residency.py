"""Decides which models are in memory, and when to load another one. Pure.

While a model loads, no request is painted. So it is loaded at once if no request is being painted. Otherwise it is
loaded when the total wait of the requests for it equals the delay that loading causes for the others: the break-even
rule of the ski-rental problem (Karlin et al., Competitive Snoopy Caching, 1988, https://doi.org/10.1007/BF01762111). A
model that is in use is evicted when its requests are done. Until then no new request begins with it, so that a stream
of requests cannot keep the other models out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """A model and the requests for it now; times are in seconds."""

    name: str
    size: int
    """Bytes it takes in memory."""
    load_seconds: float
    used_at: float = 0.0
    """When a request for it last began."""
    resident: bool = False
    painting: int = 0
    """How many requests are painted with it now."""
    waits: tuple[float, ...] = ()
    """The seconds that each request for it has waited which cannot begin yet."""


@dataclass(frozen=True, slots=True)
class Switch:
    """What to do now: remove the models `evict` from memory, then load `load`; begin no request for one of `hold`."""

    load: str | None = None
    evict: tuple[str, ...] = ()
    hold: frozenset[str] = frozenset()


def decide(models: Sequence[Model], budget: int) -> Switch:
    """Decide what to do about the models that requests wait for, with `budget` bytes for all models together.

    The model whose request has waited longest comes next. The least recently used models make space for it, idle ones
    first. A model that is larger than the whole budget is tried alone.
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
    # Models that are evicted while in use will be wanted again, so loading them again counts too.
    switch_seconds = coming.load_seconds + sum(model.load_seconds for model in busy)
    if sum(coming.waits) < switch_seconds * sum(model.painting for model in resident):
        return Switch()
    if busy:
        return Switch(hold=frozenset(model.name for model in busy))
    return Switch(coming.name, tuple(model.name for model in leaving))
