"""News of a job, from the queue to those who tell people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.jobs.pictures import Image
from bot.language.reasons import Reason


@dataclass(frozen=True, slots=True)
class Queued:
    """News: the job waits at `place` in the queue, from 1, and starts at `starts_at`; None means in a moment."""

    place: int
    starts_at: datetime | None

    @property
    def is_held(self) -> bool:
        """Whether a moderator's pause or the host stops the job; then it has no place."""
        return self.place < 1


HELD = Queued(0, None)
"""News: the job waits until a moderator ends a pause."""

DRAINED = Queued(-1, None)
"""News: the job waits until the host brings an engine back."""


@dataclass(frozen=True, slots=True)
class Painting:
    """News: the engine is at denoising step `step` of `of`; `preview` is a small JPEG of how it looks, or empty."""

    step: int
    of: int
    preview: bytes = b""


@dataclass(frozen=True, slots=True)
class Retrying:
    """News: the engine had to be restarted and the job is queued again."""


@dataclass(frozen=True, slots=True)
class Painted:
    """News: the pictures are ready; `webp` has them encoded smaller, for a channel that takes no larger files."""

    images: tuple[Image, ...]
    webp: tuple[bytes, ...] = ()
    lossless: bool = True
    """Whether every pixel of `webp` is as it was painted."""
    film: bytes = b""
    """An animation as MP4, for programs that show no WebP that moves; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Failed:
    """News: there will be no picture; `reason` is a sentence for the requester."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Cancelled:
    """News: the job was cancelled."""


Passing = Queued | Painting | Retrying
"""News that newer news replaces; some of it may never be shown."""

News = Passing | Painted | Failed | Cancelled
