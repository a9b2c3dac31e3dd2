"""What a person types into a search: words, phrases, words to leave out, and filters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.errors import UserError
from bot.jobs import to_text
from bot.language import mark, sentence

MOST_TERMS = 32
"""Words of a query that are looked up; of more, the rarest ones in the index. All words count for the meaning."""
MOST_CHARACTERS = 4000
LONGEST_TERM = 64

_TOKEN = re.compile(r'-?(?:[A-Za-z]{2,12}:)?"[^"]*"|\S+')
_FILTER = re.compile(r"([A-Za-z]{2,12}):(?!/)(.+)", re.DOTALL)
_WORD = re.compile(r"[^\W_]+")
_OPERATORS = {"AND", "OR", "NOT", "NEAR"}
"""Operators of other searches. Every word counts here anyway, so that these mean nothing."""

_COMPARED = re.compile(r"(<=|>=|<|>|=|)(\d{1,9})(%?)")
_SIZE = re.compile(r"(\d{1,5})[x×](\d{1,5})")
_DAYS = re.compile(r"(\d{1,5})([dwmy])")
_UNITS = {"d": 1, "w": 7, "m": 30, "y": 365}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter asks of a result: a column of the index, a comparison, and a value."""

    column: str
    operator: str
    value: Any
    is_not: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it is understood."""

    text: str = ""
    """What is looked for by meaning; nothing where there are only filters."""
    terms: tuple[str, ...] = ()
    """Words, in small letters without accents; one that ends with * is the beginning of a word."""
    phrases: tuple[str, ...] = ()
    """What must be in the prompt as it is typed."""
    without: tuple[str, ...] = ()
    """What must not be in it."""
    conditions: tuple[Condition, ...] = ()

    @property
    def has_words(self) -> bool:
        """Whether anything is to be ranked; if not, the newest results come first."""
        return bool(self.text)


def folded(text: str) -> str:
    """Text as words are compared: in small letters, without accents, as the index does it."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    # Only the accents of Latin, Greek and Cyrillic letters: in other scripts such marks make other letters.
    return unicodedata.normalize("NFC", "".join(each for each in parts if not "\u0300" <= each <= "\u036f"))


def words_of(text: str) -> list[str]:
    """The words of a text, folded, each once, in their order."""
    return list(dict.fromkeys(word[:LONGEST_TERM] for word in _WORD.findall(folded(text))))


def like(prompt: str) -> Query:
    """The query for results whose prompt is like this one."""
    text = prompt[:MOST_CHARACTERS]
    return Query(text, tuple(words_of(text)))


def parse(typed: str, *, me: int, now: datetime) -> Query:
    """Read what a person typed; `me` is their id on Discord.

    Raises UserError for an unknown filter or value, and where nothing is left to look for.
    """
    typed = " ".join(typed.replace("\0", " ").split())[:MOST_CHARACTERS]
    said: list[str] = []
    terms: list[str] = []
    phrases: list[str] = []
    without: list[str] = []
    conditions: list[Condition] = []
    for token in _TOKEN.findall(typed):
        is_not, body = (True, token[1:]) if token.startswith("-") and len(token) > 1 else (False, token)
        if found := _FILTER.fullmatch(body):
            conditions.append(_condition(found[1].lower(), found[2].strip('"').strip(), is_not, me=me, now=now))
            continue
        is_phrase, body = body.startswith('"'), body.strip('"')
        if (body in _OPERATORS and not is_phrase) or not _WORD.search(body):
            continue
        if is_not:
            without.append(folded(body))
        elif is_phrase:
            phrases.append(folded(body))
            said.append(body)
        else:
            said.append(body.rstrip("*"))
            words = words_of(body)
            if body.endswith("*"):
                words[-1] += "*"
            terms += words
    if not said and not conditions:
        raise UserError(
            "There are no words to look for. Type words of a prompt, or a filter such as `by:me` or `tag:castle`."
        )
    return Query(" ".join(said), tuple(dict.fromkeys(terms)), tuple(phrases), tuple(without), tuple(conditions))


def _condition(name: str, value: str, is_not: bool, *, me: int, now: datetime) -> Condition:
    if name not in _FILTERS:
        raise UserError(
            "There is no filter `{filter}:`. There are {known}. To look for a text with a colon, put it into quotation "
            "marks.",
            filter=name,
            known=", ".join(f"`{known}:`" for known in _FILTERS),
        )
    if not value:
        raise UserError("The filter `{filter}:` needs a value right after the colon.", filter=name)
    read, example = _FILTERS[name]
    try:
        column, operator, wanted = read(value, me, now)
    except (ValueError, OverflowError):
        raise UserError(
            "The filter `{filter}:` does not take this value. Write it like {example}.",
            filter=name,
            example=sentence(example),
        ) from None
    return Condition(column, operator, wanted, is_not)


Read = Callable[[str, int, datetime], tuple[str, str, Any]]


def _by(value: str, me: int, _: datetime) -> tuple[str, str, Any]:
    if value.lower() == "me":
        return "user_id", "=", me
    return "user_id", "=", _id(value, "@")


def _in(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    return "channel_id", "=", _id(value, "#")


def _id(value: str, mark: str) -> int:
    found = re.fullmatch(rf"<{mark}!?(\d{{1,19}})>|(\d{{15,19}})", value)
    if found is None or (number := int(found[1] or found[2])) >= 2**63:
        raise ValueError
    return number


def _model(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    return "model", "=", value.lower()


def _style(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    return "style", "=", value.lower()


def _tag(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    return "tag", "=", " ".join(folded(value).split())


def _rated(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    found = _COMPARED.fullmatch(value)
    if found is None:
        raise ValueError
    if found[3]:
        if int(found[2]) > 100:
            raise ValueError
        return "score", found[1] or ">=", int(found[2]) / 100
    return "likes", found[1] or ">=", int(found[2])


def _before(value: str, _me: int, now: datetime) -> tuple[str, str, Any]:
    return "asked_at", "<", to_text(_day(value, now))


def _after(value: str, _me: int, now: datetime) -> tuple[str, str, Any]:
    return "asked_at", ">=", to_text(_day(value, now))


def _day(value: str, now: datetime) -> datetime:
    if found := _DAYS.fullmatch(value.lower()):
        try:
            return now - timedelta(days=int(found[1]) * _UNITS[found[2]])
        except OverflowError:
            raise ValueError from None
    day = datetime.fromisoformat(value)
    return day.replace(tzinfo=UTC) if day.tzinfo is None else day.astimezone(UTC)


def _size(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    if value.lower() in ("portrait", "landscape", "square"):
        return "shape", "=", value.lower()
    if found := _SIZE.fullmatch(value.lower()):
        return "size", "=", f"{int(found[1])}x{int(found[2])}"
    if (found := _COMPARED.fullmatch(value)) and not found[3]:
        return "longest", found[1] or "=", int(found[2])
    raise ValueError


def _seed(value: str, _me: int, _now: datetime) -> tuple[str, str, Any]:
    number = int(value)
    if not 0 <= number < 2**63:
        raise ValueError
    return "seed", "=", number


_FILTERS: dict[str, tuple[Read, str]] = {
    "by": (_by, mark("`by:me`, or `by:` and a mention of the person")),
    "in": (_in, mark("`in:` and a mention of the channel")),
    "model": (_model, "`model:emoji`"),
    "style": (_style, "`style:old-ink`"),
    "tag": (_tag, mark('`tag:castle` or `tag:"old castle"`')),
    "rated": (_rated, mark("`rated:3` for at least three likes, or `rated:50%` for the score")),
    "before": (_before, mark("`before:2026-05-31`, or `before:7d` for more than seven days ago")),
    "after": (_after, mark("`after:2026-05-31`, or `after:7d` for the last seven days")),
    "size": (_size, mark("`size:1024x768`, `size:>=1024` for the longest side, or `size:portrait`")),
    "seed": (_seed, "`seed:7`"),
}
FILTER_NAMES = tuple(_FILTERS)
