"""Durations as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

from bot.errors import UserError
from cogs import _words

LONGEST = timedelta(days=3650)

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)


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
