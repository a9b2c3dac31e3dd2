"""What people are told about their wait, and when that has become wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.jobs import Queued

SOON = timedelta(seconds=2)
"""An earlier start is stated as "in a moment"."""

OFF_SECONDS = 10.0
"""A start that moved by less is not worth a word, nor is the place of a job that starts within it;"""
OFF_SHARE = 0.3
"""nor one that moved by less than this of what is left of the wait."""


def statement(place: int, starts_at: datetime, now: datetime) -> Queued:
    """What is said about a wait."""
    return Queued(place, None if starts_at - now < SOON else starts_at)


def is_wrong(said: Queued | None, true: Queued, now: datetime) -> bool:
    """Whether what somebody was told has become so wrong that they are told anew."""
    if said is None or said.is_held or true.is_held:
        return said != true
    if true.starts_at is None and (said.starts_at is None or said.starts_at >= now):
        return False  # The start itself will say it.
    if said.starts_at is not None and said.starts_at < now - SOON:
        return True  # Discord counts on into the past: "starts 9 seconds ago".
    starts_at = true.starts_at or now
    left = (starts_at - now).total_seconds()
    moved = abs((starts_at - (said.starts_at or now)).total_seconds())
    if moved > max(OFF_SECONDS, OFF_SHARE * left):
        return True
    # Places change with every start: half of what was said is news, and so is half as many more.
    return left >= OFF_SECONDS and (2 * true.place <= said.place or 2 * true.place > 3 * said.place)
