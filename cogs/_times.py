"""Durations as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

from bot.errors import UserError
from cogs import _words

LONGEST = timedelta(days=3650)

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_SECONDS = re.compile(r"(\d{1,7}(?:[.,]\d{1,2})?)\s*(s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)


def seconds_of(text: str) -> int | None:
    """Seconds, from a duration with a unit or a number alone; None for other words. Zero and more are possible."""
    match = _SECONDS.fullmatch(text.strip())
    return round(float(match[1].replace(",", ".")) * _UNITS.get((match[2] or "s")[0].lower(), 1)) if match else None


def duration_of(text: str, longest: timedelta = LONGEST) -> timedelta:
    """A duration such as 30m, 12h or 7d. Raises UserError for other words, and for one that is too long."""
    match = _DURATION.fullmatch(text.strip())
    duration = timedelta(seconds=int(match[1]) * _UNITS[match[2][0].lower()]) if match else timedelta()
    if not timedelta() < duration <= LONGEST:
        raise UserError(
            "“{typed}” is not a duration. Write one like 30m, 12h or 7d. Nothing was changed.",
            typed=_words.inert(text, 40),
        )
    if duration > longest:
        raise UserError("At most {days} days are possible here. Nothing was changed.", days=longest.days)
    return duration
