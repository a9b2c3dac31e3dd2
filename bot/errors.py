"""Everything that can go wrong, in one tree.

AtelierError
├── UserError            words for the person who asked; shown to them and to nobody else
│   └── Rejected         admission said no: which rule, and when it will work
├── ConfigError          words for the host; the process ends with exit code 78 (EX_CONFIG)
├── StorageError         the database or the picture folder cannot be used
│   └── StorageFull      there is no room: all is well again once some is made
├── EngineError          the engine could not paint; `reason` is fit for the requester
│   ├── EngineDied       the process went away or fell silent: worth another attempt
│   └── PaintFailed      the engine lives but this request failed: another attempt would fail too
├── DeliveryError        Discord did not take a message
│   ├── Unreachable      final: the place is gone or closed to us
│   ├── NotUnderstood    final: our bug, and no fault of the place
│   ├── TooLarge         the pictures, encoded smaller, may be taken
│   └── TryLater         passing: the same post may work in a while
└── PlotError            a chart could not be drawn
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

EX_CONFIG = 78
"""Exit code of a configuration error, from BSD's sysexits.h."""


class Refers(StrEnum):
    """What a sentence may refer to, for each door to say in its own way: a mention, a countdown, plain words."""

    ORIGIN = "origin"
    """Who decided a limit: `host`, or a subject."""
    SUBJECT = "subject"
    """The server, a channel, a role or a person: `server`, `channel:1`, `role:1` or `person:1`."""
    TIME = "time"
    """A moment, in ISO 8601."""
    COMMAND = "command"
    """A command, without its slash."""


_REFERENCE = re.compile(rf"\{{({'|'.join(Refers)}) ([^{{}}]*)\}}")


def refer(to: Refers, value: object) -> str:
    """A reference, for use within a sentence."""
    return f"{{{to} {value}}}"


def in_words_of(door: Mapping[Refers, Callable[[str], str]], sentence: str) -> str:
    """A sentence with its references said as a door says them; what only looks like a reference stays as it is."""

    def say(match: re.Match[str]) -> str:
        try:
            return door[Refers(match[1])](match[2])
        except ValueError:
            # A person's own words, which the sentence quotes.
            return match[0]

    return _REFERENCE.sub(say, sentence)


class AtelierError(Exception):
    """Root of everything Atelier raises on purpose."""


class UserError(AtelierError):
    """A sentence for the person who asked: what was wrong, and what would work. It may hold references."""


class Rejected(UserError):  # noqa: N818 - a verdict, not a fault
    """Admission refused a request: `rule` names the limit and `retry_at` when it will work.

    `origin` is who decided it, as data such as `host` or `person:1`; empty where nobody did.
    """

    def __init__(
        self,
        words: str,
        *,
        rule: str,
        retry_at: datetime | None = None,
        origin: str = "",
        asked: float | None = None,
        allowed: float | None = None,
    ) -> None:
        super().__init__(words)
        self.rule = rule
        self.retry_at = retry_at
        self.origin = origin
        self.asked = asked
        self.allowed = allowed


class ConfigError(AtelierError):
    """The configuration cannot be used: names the key, the line and a remedy."""


class StorageError(AtelierError):
    """The data folder cannot be used."""


class StorageFull(StorageError):  # noqa: N818
    """The disk takes no more for now."""


class EngineError(AtelierError):
    """The engine could not paint; the message is fit for the requester."""


class EngineDied(EngineError):  # noqa: N818
    """The engine process exited or fell silent."""


class PaintFailed(EngineError):  # noqa: N818
    """The engine lives, but this request failed in a way that a second try would repeat."""


class DeliveryError(AtelierError):
    """Discord did not take a message."""


class Unreachable(DeliveryError):  # noqa: N818
    """The message can never be delivered where it was meant to go."""


class NotUnderstood(DeliveryError):  # noqa: N818
    """Discord does not understand the message: a bug of ours, which the next attempt would repeat."""


class TooLarge(DeliveryError):  # noqa: N818
    """The pictures are larger than is taken there; `limit` is how many bytes a file may have, as far as we know."""

    def __init__(self, words: str, *, limit: int) -> None:
        super().__init__(words)
        self.limit = limit


class TryLater(DeliveryError):  # noqa: N818
    """Discord is busy or away; the same delivery may work later."""


class PlotError(AtelierError):
    """A chart could not be drawn, in words."""
