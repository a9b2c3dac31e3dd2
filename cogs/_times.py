"""Durations as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

from bot.errors import UserError
from cogs import _words

LONGEST = timedelta(days=3650)

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d{1,7}(?:[.,]\d{1,2})?)\s*([^\W\d]+)\s*")
_SECONDS = (
    (re.compile(r"s|se[ckg]\w*|秒"), 1),
    (re.compile(r"m|min\w*|分"), 60),
    (re.compile(r"h|hours?|heures?|horas?|st\w*|godz\w*|時間"), 3600),
    (re.compile(r"d|days?|tage?n?|jours?|d[ií]as?|dni|dzień|日"), 86400),
)
"""The units of a duration, as people of each language begin or write them, and their seconds."""
_DURATION = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE)


def seconds_of(text: str) -> int | None:
    """Seconds, from a duration such as "10 min" or "2 h 5 min", or a number alone; None for other words.

    Zero and more are possible.
    """
    text = text.strip().lower()
    if re.fullmatch(r"\d{1,7}(?:[.,]\d{1,2})?", text):
        text += "s"
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    found = [(float(part[1].replace(",", ".")), _unit(part[2])) for part in parts]
    return round(sum(number * unit for number, unit in found)) if all(unit for _, unit in found) else None


def _unit(name: str) -> int:
    """The seconds of a unit; 0 for another word."""
    return next((seconds for pattern, seconds in _SECONDS if pattern.fullmatch(name)), 0)


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
