"""Everything that can go wrong, in one tree.

AtelierError
├── UserError            a message for the person who asked; only they see it
│   └── Rejected         admission refused the request: which rule, and when it will work
├── ConfigError          a message for the host; the process ends with exit code 78 (EX_CONFIG)
├── StorageError         the database or the picture folder cannot be used
│   └── StorageFull      the disk is full: it works again once there is space
├── EngineError          the engine could not paint; the requester may see the message
│   ├── EngineDied       the process ended or stopped answering: worth another attempt
│   └── PaintFailed      the engine lives but this request failed: another attempt would fail too
├── DeliveryError        Discord did not take a message
│   ├── Unreachable      final: the channel is gone or closed to the bot
│   ├── NotUnderstood    final: a bug of Atelier, not a fault of the channel
│   ├── TooLarge         Discord may take the pictures if they are encoded smaller
│   └── TryLater         temporary: the same post may work later
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
    """The base class of every error that Atelier raises on purpose."""


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
    """The configuration cannot be used; the message names the key, the line and a remedy."""


class StorageError(AtelierError):
    """The data folder cannot be used."""


class StorageFull(StorageError):  # noqa: N818
    """The disk is full for now."""


class EngineError(AtelierError):
    """The engine could not paint; the requester may see the message."""


class EngineDied(EngineError):  # noqa: N818
    """The engine process ended or stopped answering.

    `is_blamed` says whether it was working on this order then. Otherwise the order only lost its place.
    """

    def __init__(self, words: str, *, is_blamed: bool = True) -> None:
        super().__init__(words)
        self.is_blamed = is_blamed


class PaintFailed(EngineError):  # noqa: N818
    """The engine works, but this request failed, and a second attempt would fail too."""


class DeliveryError(AtelierError):
    """Discord did not take a message."""


class Unreachable(DeliveryError):  # noqa: N818
    """The message can never be delivered to its channel."""


class NotUnderstood(DeliveryError):  # noqa: N818
    """Discord does not understand the message: a bug of Atelier, which a second attempt would repeat."""


class TooLarge(DeliveryError):  # noqa: N818
    """The pictures are too large for the channel; `limit` is how many bytes a file may have, as far as is known."""

    def __init__(self, words: str, *, limit: int) -> None:
        super().__init__(words)
        self.limit = limit


class TryLater(DeliveryError):  # noqa: N818
    """Discord is busy or cannot be reached; the same delivery may work later."""


class PlotError(AtelierError):
    """A chart could not be drawn; the message says why."""
