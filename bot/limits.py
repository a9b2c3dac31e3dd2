"""Which limits hold for a person, and why: a pure function over the rules.

A person's own rule beats the server's, which beats the host's default.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bot.config import LimitsConfig
from bot.errors import UserError
from bot.jobs import Rule


class LimitName(StrEnum):
    """What can be limited."""

    PACE = "pace"
    DEPTH = "depth"
    QUOTA = "quota"


MEANING = {
    LimitName.PACE: "images per minute",
    LimitName.DEPTH: "requests waiting at a time",
    LimitName.QUOTA: "images in 24 hours",
}

HIGHEST = {LimitName.PACE: 10_000, LimitName.DEPTH: 10_000, LimitName.QUOTA: 1_000_000}


class Origin(StrEnum):
    """Who decided a value."""

    DEFAULT = "the host's default"
    SERVER = "this server's rule"
    PERSON = "a rule for this person"


@dataclass(frozen=True, slots=True)
class Limit:
    """One value and who decided it."""

    value: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that holds for one person in one server."""

    pace: Limit
    depth: Limit
    quota: Limit

    def __getitem__(self, name: LimitName) -> Limit:
        limit: Limit = getattr(self, name)
        return limit


def resolve(defaults: LimitsConfig, rules: Iterable[Rule]) -> Limits:
    """The limits of a person from the rules of their server and their own; the most specific rule wins."""
    decided = {name: Limit(getattr(defaults, name), Origin.DEFAULT) for name in LimitName}
    for rule in sorted(rules, key=lambda rule: rule.user_id is not None):
        origin = Origin.SERVER if rule.user_id is None else Origin.PERSON
        decided[LimitName(rule.name)] = Limit(rule.value, origin)
    return Limits(decided[LimitName.PACE], decided[LimitName.DEPTH], decided[LimitName.QUOTA])


def check_values(values: dict[LimitName, int]) -> None:
    """Raise UserError unless every value is one that can be enforced."""
    for name, value in values.items():
        if not 1 <= value <= HIGHEST[name]:
            raise UserError(
                f"{name} ({MEANING[name]}) goes from 1 to {HIGHEST[name]:,}; {value:,} is outside. Nothing was changed."
            )
