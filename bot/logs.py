"""Logging to standard error, with secrets removed."""

from __future__ import annotations

import logging
import re
import sys
import traceback

_SECRETS = (
    # Interaction and webhook tokens are parts of URLs, which libraries log.
    (re.compile(r"(/webhooks/\d+/|/interactions/\d+/)[^/\s?'\"]+"), r"\1[token]"),
    # An interaction token: base64 of "interaction:", an id and a secret.
    (re.compile(r"aW50ZXJhY3Rpb24[A-Za-z0-9+/=_-]+"), "[token]"),
    # A bot token: base64 of the id, a time stamp, a signature.
    (re.compile(r"[A-Za-z0-9_-]{23,28}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,}"), "[token]"),
)


class RedactingFormatter(logging.Formatter):
    """A formatter that removes tokens from the finished text, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, then redact it."""
        text = super().format(record)
        for pattern, replacement in _SECRETS:
            text = pattern.sub(replacement, text)
        return text


def without_words(text: str, *private: str) -> str:
    """The text with every word of `private` removed that has four letters or more: an error may quote a prompt."""
    words = {word for words in private for word in re.findall(r"\w{4,}", words)}
    if not words:
        return text
    return re.sub("|".join(sorted(map(re.escape, words), key=len, reverse=True)), "…", text, flags=re.IGNORECASE)


def traced(error: BaseException, *private: str) -> str:
    """The traceback of an error, without the words of `private`."""
    return without_words("".join(traceback.format_exception(error)).rstrip(), *private)


def setup_logging(level: str) -> None:
    """Log at `level` to standard error; the libraries' own debug messages are left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("discord", "aiosqlite", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, root.level))
