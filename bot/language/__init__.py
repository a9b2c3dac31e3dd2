"""Every sentence in the language of its reader.

English is the source: the code has the English sentence, whole and with named fields, and the catalogue of a language
has its translation. A sentence is put into words as late as possible, in the language of the task that says it: the
client sets it for each interaction, and for a public message to the language of the server.

Only other languages need the catalogues, so the engine process, which speaks to no one, never loads them.
"""

from __future__ import annotations

import datetime
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any


class Language(StrEnum):
    """What Atelier speaks; the value is the name of the catalogue's folder."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    SPANISH = "es"
    PORTUGUESE = "pt_BR"
    JAPANESE = "ja"
    POLISH = "pl"


NAMES = {
    Language.ENGLISH: "English",
    Language.GERMAN: "Deutsch",
    Language.FRENCH: "Français",
    Language.SPANISH: "Español",
    Language.PORTUGUESE: "Português do Brasil",
    Language.JAPANESE: "日本語",
    Language.POLISH: "Polski",
}
"""What each language is called by those who speak it."""

TRANSLATED = tuple(language for language in Language if language is not Language.ENGLISH)
"""The languages that have a catalogue."""

_spoken: ContextVar[Language] = ContextVar("language", default=Language.ENGLISH)


@lru_cache
def of_locale(locale: str) -> Language | None:
    """The language of one of Discord's locales, such as `es-419`; None if Atelier does not speak it."""
    wanted = locale.replace("-", "_")
    short = wanted.partition("_")[0]
    return next((language for language in Language if language in (wanted, short)), None)


def current() -> Language:
    """The language that this task speaks."""
    return _spoken.get()


def speak(language: Language) -> None:
    """Speak a language from now on in this task, and in tasks that it starts."""
    _spoken.set(language)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak a language in the body."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that is put into words when `str` is called, in the language that the task speaks then.

    `text` is English. `many` is the English plural of a sentence that depends on the field `count`, or empty.
    """

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    many: str = ""

    def __str__(self) -> str:
        """In words."""
        language = current()
        template = self._template(language)
        # Without fields, braces are what they are: references and examples have some.
        return _formatter(language).vformat(template, (), self.fields) if self.fields else template

    def _template(self, language: Language) -> str:
        if language is Language.ENGLISH:
            return self.many if self.many and self.fields["count"] != 1 else self.text
        from bot.language import catalogues

        if self.many:
            return catalogues.plural(language, self.text, self.many, self.fields["count"])
        return catalogues.translation(language, self.text)


@dataclass(frozen=True, slots=True)
class Listed:
    """Parts of a sentence as people list them, such as "one, two and three", put into words by `str`."""

    parts: Sequence[object]

    def __str__(self) -> str:
        """In words."""
        *before, last = map(str, self.parts)
        return say("{parts} and {last}", parts=", ".join(before), last=last) if before else last


def sentence(text: str, /, **fields: Any) -> Sentence:
    """A sentence that is put into words later; `text` is English and names the fields."""
    return Sentence(text, fields)


def sentence_many(one: str, many: str, count: float, /, **fields: Any) -> Sentence:
    """A sentence that depends on a number, which is its field `count`: `one` is the English singular."""
    return Sentence(one, {"count": count, **fields}, many)


def lasting(seconds: float, rounded: Callable[[float], int] = round) -> Sentence:
    """A duration such as "4.5 s", "9 min 47 s" or "2 h 5 min"; a negative one is shown as 0 s.

    `rounded` is `math.ceil` for what is asked and `math.floor` for what is left, so that they do not look the same
    where one is more than the other.
    """
    # Without the last digits, which say nothing, 0.3 is not rounded up to 0.4.
    seconds = round(seconds, 6)
    whole, tenths = max(rounded(seconds), 0), rounded(round(10 * seconds, 6))
    if 0 < tenths < 100:
        return sentence("{number:g} s", number=tenths / 10)
    if whole < 60:
        return sentence("{number:.0f} s", number=whole)
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        words = mark("{minutes} min {seconds} s") if rest else mark("{number:.0f} min")
        return sentence(words, minutes=minutes, seconds=rest, number=minutes)
    hours, minutes = divmod(rounded(whole / 60), 60)
    return sentence(mark("{hours} h {minutes} min") if minutes else mark("{hours} h"), hours=hours, minutes=minutes)


def in_quotes(text: object) -> Sentence:
    """Words in the quotation marks of the reader's language."""
    return sentence("“{text}”", text=text)


def say(text: str, /, **fields: Any) -> str:
    """A sentence in words now; `text` is English and names the fields."""
    return str(Sentence(text, fields))


def say_many(one: str, many: str, count: float, /, **fields: Any) -> str:
    """A sentence in words now that depends on a number, which is its field `count`: `one` is the English singular."""
    return str(Sentence(one, {"count": count, **fields}, many))


def mark(text: str) -> str:
    """The same text: it is a sentence that is said elsewhere, and so belongs into the catalogues."""
    return text


def day(date: datetime.date) -> str:
    """A day of a year, as short as the language of the task writes it, such as "3 Nov"."""
    language = current()
    if language is Language.ENGLISH:
        return f"{date.day} {date:%b}"
    from bot.language import catalogues

    return catalogues.day(language, date)


class _Formatter(string.Formatter):
    """Fills in the fields of a sentence; numbers with a format are written as the language writes them."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        """One field in words."""
        if not format_spec or self._language is Language.ENGLISH:
            return format(value, format_spec)
        from bot.language import catalogues

        return catalogues.number(self._language, value, format_spec)


_FORMATTERS = {language: _Formatter(language) for language in Language}


def _formatter(language: Language) -> _Formatter:
    return _FORMATTERS[language]
