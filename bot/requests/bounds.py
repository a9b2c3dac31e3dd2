"""Values within their bounds and limits, and names among those that are known. Pure."""

from __future__ import annotations

import math
from typing import Any

from bot.errors import UserError
from bot.language import mark, say, sentence
from bot.policy.limits import Limit
from bot.requests.wording import unknown

_CAPPED = {
    "images": mark("you asked for {asked} pictures and get {value}, the most here ({origin})"),
    "steps": mark("you asked for {asked} steps and get {value}, the most here ({origin})"),
}
"""What is said of more than a limit allows, by the option."""


def capped(
    name: str, asked: int | None, default: int, bounds: tuple[int, int], limit: Limit[int] | None, notes: list[str]
) -> int:
    """A whole number within its bounds and its limit; the limit applies to the model's default too."""
    if limit is None or limit.value >= bounds[1] or (default if asked is None else asked) <= limit.value:
        return int(within(name, asked, default, bounds, notes))
    words = _CAPPED[name] if asked is not None else mark("{option}: {value} instead of {asked} ({origin})")
    notes.append(
        say(
            words,
            option=say(name),
            asked=default if asked is None else asked,
            value=limit.value,
            origin=limit.origin.reference,
        )
    )
    return int(limit.value)


def within(name: str, asked: float | None, default: float, bounds: tuple[float, float], notes: list[str]) -> float:
    """A number within its bounds, with a note if it was moved. Raises UserError for one that is not finite."""
    if asked is None:
        return default
    low, high = bounds
    if not is_finite(asked):
        raise UserError("{option} goes from {low:g} to {high:g}.", option=sentence(name), low=low, high=high)
    value = min(max(asked, low), high)
    if value != asked:
        notes.append(
            say(
                "{option} {asked:g} became {value:g} (it goes from {low:g} to {high:g})",
                option=say(name),
                asked=asked,
                value=value,
                low=low,
                high=high,
            )
        )
    return value


def named(kind: str, name: str | None, known: dict[str, Any], default: Any) -> Any:
    """What a name stands for among `known`, or the default without a name. Raises UserError for an unknown name."""
    if name is None:
        return default
    if name.lower() not in known:
        raise UserError(unknown(kind, name, list(known)))
    return known[name.lower()]


def is_finite(number: float) -> bool:
    """Whether a number, which may be a whole one of any length, fits into a finite floating-point number."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False  # an int of hundreds of digits
