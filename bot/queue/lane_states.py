"""What each lane of the engine does now, for the host: on Discord, in the heartbeat and on the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from bot.engine import Engine
from bot.language import say


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
            return say("Drained: it finishes what it has.") if self.orders else say("Drained: it gets nothing new.")
        return say("It takes requests.") if self.is_up else say("It is not up.")

    @property
    def reasons(self) -> tuple[str, ...]:
        """The troubles, and what the host can do about them."""
        return (*self.troubles, self.advice) if self.advice else self.troubles

    @property
    def details(self) -> str:
        """What is known beside its state."""
        models = ", ".join(self.models)
        facts = [
            str(self.device) if self.device else say("device unknown yet"),
            say("{taken} of {places} places taken", taken=self.orders, places=self.slots),
            say("loaded: {models}", models=models) if models else say("no model loaded"),
        ]
        return " · ".join(facts)


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
