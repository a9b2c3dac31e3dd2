"""Everything that can go wrong, in one tree.

AtelierError
├── UserError            a message for the person who asked; only they see it
│   └── Rejected         admission refused the request: which rule, and when it will work
├── ConfigError          a message for the host; the process ends with exit code 78 (EX_CONFIG)
├── UnusableFiles        a model, LoRA or ControlNet cannot be used: what its files are, and the remedy
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
from typing import Any

from bot.language import Language, Sentence, in_quotes
from bot.language.reasons import Reason

EX_CONFIG = 78
"""Exit code of a configuration error, from BSD's sysexits.h."""


class Reference(StrEnum):
    """The kinds of references in a sentence. Each surface formats them: as mentions, countdowns or plain words."""

    ORIGIN = "origin"
    """Who decided a limit: `host`, or a subject."""
    SUBJECT = "subject"
    """The server, a channel, a role or a person: `server`, `channel:1`, `role:1` or `person:1`."""
    TIME = "time"
    """A moment, in ISO 8601."""
    COMMAND = "command"
    """A command, without its slash."""
    OPTION = "option"
    """An option of a command, such as a limit."""
    WILDCARD = "wildcard"
    """The name of a wildcard, without the underscores around it."""


_PARENTHESES = str.maketrans("{}", "()")

_REFERENCE = re.compile(rf"\{{({'|'.join(Reference)}) ([^{{}}]*)\}}")


def refer(to: Reference, value: object) -> str:
    """A reference to `value`, in braces, for use within a sentence."""
    return f"{{{to} {value}}}"


def quoted(text: str, limit: int = 60) -> Sentence:
    """A person's own words in the quotation marks of the reader's language, for use within a sentence."""
    return in_quotes(cut(text, limit))


def cut(text: str, limit: int = 60) -> str:
    """A person's own words, shortened to `limit` characters.

    Where they look like a reference, its braces become parentheses.
    """
    plain = text if len(text) <= limit else f"{text[: limit - 1]}…"
    while _REFERENCE.search(plain):
        plain = _REFERENCE.sub(lambda found: found[0].translate(_PARENTHESES), plain)
    return plain


def format_references(sentence: str, formatters: Mapping[Reference, Callable[[str], str]]) -> str:
    """A sentence with each reference formatted by the function for its kind.

    A function raises ValueError for text that is no reference; that text stays as it is.
    """

    def formatted(match: re.Match[str]) -> str:
        try:
            return formatters[Reference(match[1])](match[2])
        except ValueError:
            # The sentence quotes a person, who typed something that looks like a reference.
            return match[0]

    return _REFERENCE.sub(formatted, sentence)


class AtelierError(Exception):
    """The base class of every error that Atelier raises on purpose: a sentence, which may contain references.

    `str` puts it into words, in the language that the task speaks then. `fields` are those of an English text.
    """

    def __init__(self, text: str | Sentence, /, **fields: Any) -> None:
        super().__init__(text)
        if isinstance(text, Reason):
            self.sentence = text.sentence
        else:
            self.sentence = Sentence(text, fields) if isinstance(text, str) else text

    def __str__(self) -> str:
        """The sentence in words."""
        return str(self.sentence)

    @property
    def reason(self) -> Reason:
        """The sentence as text that can be stored and sent, and is put into words later."""
        return Reason(self.sentence)


class UserError(AtelierError):
    """A sentence for the person who asked: what was wrong, and what would work."""


class Rejected(UserError):  # noqa: N818 - a decision, not an error
    """Admission refused a request: `rule` names the limit and `retry_at` when it will work.

    `origin` is who set the limit, as data such as `host` or `person:1`; it is empty if the reason is not a limit.
    `asked` and `allowed` are the numbers that were compared, in the unit of the limit.
    """

    def __init__(
        self,
        text: str | Sentence,
        /,
        *,
        rule: str,
        retry_at: datetime | None = None,
        origin: str = "",
        asked: float | None = None,
        allowed: float | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(text, **fields)
        self.rule = rule
        self.retry_at = retry_at
        self.origin = origin
        self.asked = asked
        self.allowed = allowed
        self.language: Language | None = None
        """The language of the server, if the refusal will be read there; else that of the task that says it."""


class ConfigError(AtelierError):
    """The configuration cannot be used; the message names the key, the line and a remedy."""


class UnusableFiles(AtelierError):  # noqa: N818 - a verdict, not a fault
    """The files of a model, LoRA or ControlNet cannot be used.

    `words` go on after a colon and `remedy` is a sentence of its own. People may read them: no folder of the host is
    in them.
    """

    def __init__(self, words: str, remedy: str) -> None:
        super().__init__(f"{words} {remedy}")
        self.words = words
        """What is wrong."""
        self.remedy = remedy
        """What would work."""


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

    def __init__(
        self, text: str | Sentence, /, *, is_blamed: bool = True, at_last: Sentence | None = None, **fields: Any
    ) -> None:
        super().__init__(text, **fields)
        self.is_blamed = is_blamed
        self.at_last = at_last
        """What the person is told if there is no further attempt; None where it was a process of Atelier that died."""


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

    def __init__(self, text: str | Sentence, /, *, limit: int, **fields: Any) -> None:
        super().__init__(text, **fields)
        self.limit = limit


class TryLater(DeliveryError):  # noqa: N818
    """Discord is busy or cannot be reached; the same delivery may work later."""


class PlotError(AtelierError):
    """A chart could not be drawn; the message says why."""
