"""Logging to standard error, without secrets and without what people wrote.

Errors of libraries and of Discord may quote a prompt. So where people's texts come in, they are given to `hide`, and
their words are cut out of what is not Atelier's own words: the messages of exceptions, and all that libraries log.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
import threading
import traceback
from collections import Counter, OrderedDict
from collections.abc import Sequence
from types import TracebackType

from bot.language import Language, speaking

_SECRETS = (
    # Interaction and webhook tokens are parts of URLs, which libraries log.
    (re.compile(r"(/webhooks/\d+/|/interactions/\d+/)[^/\s?'\"]+"), r"\1[token]"),
    # An interaction token: base64 of "interaction:", an id and a secret.
    (re.compile(r"aW50ZXJhY3Rpb24[A-Za-z0-9+/=_-]+"), "[token]"),
    # A bot token: base64 of the id, a time stamp, a signature.
    (re.compile(r"[A-Za-z0-9_-]{23,28}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,}"), "[token]"),
)
_OWN = frozenset({"bot", "cogs", "__main__"})
"""The loggers of Atelier itself, by the first part of their names. `__main__` is that of a process it starts."""
_HIDDEN_TEXTS = 1000
_WORD = re.compile(r"\w{4,}")
_ORDINARY = frozenset(
    """
    answered argument attempt attribute bytes cannot channel code connect connection could device does discord engine
    error exception expected failed file files found from given guild have host image index invalid loaded memory
    message missing model name object path permission permissions read request required server size that this
    timeout type unexpected unknown value with without write
    """.split()  # noqa: SIM905 - a list of words reads better without quotes
)
"""Words that errors are made of: they stay, since alone they tell nothing of a prompt."""

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class HiddenTexts:
    """The last texts that people wrote, and their words."""

    def __init__(self, most: int = _HIDDEN_TEXTS) -> None:
        self._most = most
        self._texts: OrderedDict[str, list[str]] = OrderedDict()
        self._words: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Hide a text's words of four letters or more from now on."""
        with self._lock:
            if text in self._texts:
                self._texts.move_to_end(text)
                return
            self._texts[text] = words = [word for word in _words_of(text) if word not in _ORDINARY]
            self._words.update(words)
            if len(self._texts) > self._most:
                _, old = self._texts.popitem(last=False)
                self._words.subtract(old)

    def cut(self, text: str) -> str:
        """A text without the words that are hidden."""
        return _WORD.sub(lambda match: "…" if self._words[match[0].lower()] > 0 else match[0], text)


_hidden = HiddenTexts()


def hide(*texts: str) -> None:
    """Keep the words of texts that a person wrote out of what libraries, and errors, say in the log."""
    for text in texts:
        if text:
            _hidden.add(text)


class RedactingFormatter(logging.Formatter):
    """A formatter that removes tokens from the finished text, and people's words from what is not Atelier's own."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record in English, whatever language is spoken meanwhile, then redact it."""
        with speaking(Language.ENGLISH):
            return self._formatted(record)

    def _formatted(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        # Another handler's formatter may have left its text there.
        record.exc_text = None
        if record.name.partition(".")[0] not in _OWN:
            record.msg, record.args = _hidden.cut(record.getMessage()), None
        elif isinstance(record.args, tuple):
            record.args = tuple(_hidden.cut(str(arg)) if isinstance(arg, BaseException) else arg for arg in record.args)
        text = super().format(record)
        for pattern, replacement in _SECRETS:
            text = pattern.sub(replacement, text)
        return text

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - logging's own name
        """The traceback, with people's words cut out of the messages; its lines of code hold none."""
        return _cut(traceback.format_exception(*ei))


def without_words(text: str, *private: str) -> str:
    """The text with every word of `private` removed that has four letters or more: an error may quote a prompt."""
    words = {word for words in private for word in _words_of(words)}
    if not words:
        return text
    return re.sub("|".join(sorted(map(re.escape, words), key=len, reverse=True)), "…", text, flags=re.IGNORECASE)


def traced(error: BaseException, *private: str) -> str:
    """The traceback of an error, without the words of `private` and those that are hidden."""
    with speaking(Language.ENGLISH):
        return without_words(_cut(traceback.format_exception(error)), *private)


def setup_logging(level: str) -> None:
    """Log at `level` to standard error; the debug messages of all libraries are left out, for they show payloads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    for name in _OWN:
        logging.getLogger(name).setLevel(level.upper())
    for name, logger in list(logging.root.manager.loggerDict.items()):
        # Some libraries set levels of their own when they are imported.
        if isinstance(logger, logging.Logger) and logger.level and name.partition(".")[0] not in _OWN:
            logger.setLevel(max(logger.level, root.level))
    # They log every address that is asked, and that of a picture at a provider may hold a key to it.
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # A library's warning may quote a prompt as well.
    logging.captureWarnings(True)


def _cut(lines: Sequence[str]) -> str:
    """The lines of a traceback without the words that are hidden; its lines of code have none."""
    return "".join(line if line.startswith('  File "') else _hidden.cut(line) for line in lines).rstrip()


def _words_of(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
