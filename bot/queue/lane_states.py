"""What each lane of the engine does now, for the host: on Discord, in the heartbeat and on the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from bot.engine import Engine


@dataclass(frozen=True, slots=True)
class LaneState:
    """One lane at one moment."""

    name: str
    device: str
    models: tuple[str, ...]
    """The models that are loaded."""
    orders: int
    """The requests that it paints."""
    slots: int
    is_up: bool
    is_drained: bool
    troubles: tuple[str, ...]
    """Why it cannot paint with some models, or with all, in words."""
    advice: str = ""
    """What the host can do about that; empty where the troubles say it."""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` wrote. Raises TypeError or KeyError if it is something else."""
        return cls(**{**fields, "models": tuple(fields["models"]), "troubles": tuple(fields["troubles"])})

    @property
    def words(self) -> str:
        """The state, as one sentence."""
        if self.is_drained:
            return "Drained: it gets nothing new." if not self.orders else "Drained: it finishes what it has."
        return "It takes requests." if self.is_up else "It is not up."

    @property
    def reasons(self) -> tuple[str, ...]:
        """The troubles, and what the host can do about them."""
        return (*self.troubles, self.advice) if self.advice else self.troubles

    @property
    def details(self) -> str:
        """What is known beside its state."""
        loaded = f"loaded: {', '.join(self.models)}" if self.models else "no model loaded"
        return f"{self.device or 'device unknown yet'} · {self.orders} of {self.slots} places taken · {loaded}"


def lane_states(engine: Engine, drained: Collection[str], orders: Mapping[str, int]) -> list[LaneState]:
    """All lanes, with the number of their `orders` by name."""
    return [
        LaneState(
            name=lane.name,
            device=lane.device,
            models=tuple(sorted(lane.warm)),
            orders=orders.get(lane.name, 0),
            slots=lane.slots,
            is_up=lane.is_up,
            is_drained=lane.name in drained,
            troubles=tuple(f"{model}: {words}" if model else words for model, words in lane.troubles.items()),
            advice=lane.advice,
        )
        for lane in engine.lanes
    ]
