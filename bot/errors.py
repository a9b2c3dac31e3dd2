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

from datetime import datetime

EX_CONFIG = 78
"""Exit code of a configuration error, from BSD's sysexits.h."""


class AtelierError(Exception):
    """The base class of every error that Atelier raises on purpose."""


class UserError(AtelierError):
    """A sentence for the person who asked: what was wrong, and what would work."""


class Rejected(UserError):  # noqa: N818 - a decision, not a fault
    """Admission refused a request: `rule` names the limit, `origin` who set it, `retry_at` when it will work."""

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
    """The engine process ended or stopped answering."""


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
