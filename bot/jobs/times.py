"""Times: aware, in UTC, and as text whose order is that of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utcnow() -> datetime:
    """Now, as an aware UTC time: the default clock of every service."""
    return datetime.now(UTC)


def to_text(at: datetime) -> str:
    """Write a time so that text order is time order: ISO 8601, UTC, always microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str | None) -> datetime | None:
    """Read what `to_text` wrote; None stays None."""
    return None if text is None else datetime.fromisoformat(text)
