"""Why a request failed: a sentence that another process writes, that a row keeps, and that is said to people later.

A reason crosses the pipe and is stored as text, by `packed`: one that has no fields as its English sentence, as all
were in early versions, and one that has some as JSON of its template and its fields. `unpacked` reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from bot.language import Language, Listed, Sentence, speaking

_TEXT, _FIELDS, _MANY, _LISTED = "text", "fields", "many", "listed"


class Reason(str):
    """A sentence as text.

    Its characters are English, so logs, tests and files read it like any other text; `str` and `format` put it into
    words in the language that the task speaks.
    """

    __slots__ = ("sentence",)
    sentence: Sentence

    def __new__(cls, text: str | Sentence) -> Self:
        """A reason of a sentence; text is one without fields, unless it is a reason already."""
        said = text.sentence if isinstance(text, Reason) else Sentence(text) if isinstance(text, str) else text
        with speaking(Language.ENGLISH):
            made = super().__new__(cls, str(said))
        made.sentence = said
        return made

    def __str__(self) -> str:
        """In words."""
        return str(self.sentence)

    def __format__(self, spec: str) -> str:
        """In words."""
        return format(str(self), spec)


def packed(reason: str) -> str:
    """A reason, or plain text, as text that `unpacked` reads."""
    said = Reason(reason).sentence
    return json.dumps(_written(said), ensure_ascii=False) if said.fields else said.text


def unpacked(text: str) -> Reason:
    """A reason as `packed` wrote it; any other text is a sentence without fields."""
    try:
        said = _read(json.loads(text))
        return Reason(said if isinstance(said, Sentence) else text)
    except (ValueError, LookupError, TypeError, AttributeError):
        return Reason(text)


def _written(value: Any) -> Any:
    match value:
        case Reason():
            return _written(value.sentence)
        case Sentence():
            fields = {name: _written(each) for name, each in value.fields.items()}
            return {_TEXT: value.text, _FIELDS: fields} | ({_MANY: value.many} if value.many else {})
        case Listed():
            return {_LISTED: [_written(part) for part in value.parts]}
        case bool() | int() | float():
            return value
    return str(value)


def _read(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if _LISTED in value:
        return Listed([_read(part) for part in value[_LISTED]])
    return Sentence(value[_TEXT], {name: _read(each) for name, each in value[_FIELDS].items()}, value.get(_MANY, ""))
