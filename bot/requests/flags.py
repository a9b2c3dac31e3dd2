"""Trailing --flags of a prompt: they are moved from the prompt into the options of the same meaning."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from bot.errors import UserError
from bot.requests.options import Option, Options, table
from bot.requests.wording import clean, quoted, unknown

OptionsT = TypeVar("OptionsT", bound=Options)

Names = Mapping[str, Collection[str]]
"""What the value of an option may name, by the option's name, in lower case."""

_LONGEST_VALUE = 120
"""No value after a dash is longer: it may be a number, a size or a few names."""


def with_flags(options: OptionsT, notes: list[str] | None = None, names: Names | None = None) -> OptionsT:
    """Move trailing --flags out of the prompt; a flag wins over the option of the same meaning.

    A phone's keyboard turns two hyphens into a dash. A dash begins a flag only where it cannot be prose: before the
    name of a flag and a value that nothing follows but flags, and that is a number, a size or one of `names`. A dash
    before "no" begins a flag only after another flag. `notes` gets sentences about that, and about flags that came
    more than once.

    Raises UserError for a flag that does not exist, has no value or stands before more of the prompt.
    """
    text = clean(options.prompt)
    known = {flag: option for option in table(type(options)) for flag in option.flags}
    starts, prose = _starts(text, known, names or {})
    values: dict[str, Any] = {"prompt": clean(text[: starts[0]] if starts else text)}
    again: list[str] = []
    for start, end in itertools.pairwise((*starts, len(text))):
        name, _, rest = text[start:end].lstrip("-—–").strip().replace("=", " ", 1).partition(" ")
        option = known.get(name.lower())
        if option is None:
            raise UserError(unknown("flag", name, list(known), dashes="--"))
        value, _, beyond = (rest, "", "") if option.spaced else rest.partition(" ")
        if not value:
            raise UserError(f"--{name} needs a value, like --{name} {option.example}.")
        if beyond:
            raise UserError(f"Flags go at the end: move {quoted(beyond)} before --{name}.")
        read = _read(option, name, value)
        if option.name in values and option.repeats:
            read = f"{values[option.name]}, {read}"
        elif option.name in values:
            again.append(f"--{name.lower()}")
        values[option.name] = read
    if notes is not None:
        if prose:
            word = quoted(text[prose[0] :].partition(" ")[0])
            notes.append(f"{word} is read as a word of the prompt; a flag has two hyphens")
        if again:
            notes.append(f"the last one counts of each flag that came again: {', '.join(dict.fromkeys(again))}")
    return replace(options, **values)


def _starts(text: str, known: Mapping[str, Option], names: Names) -> tuple[list[int], list[int]]:
    """Where each flag begins, and where a dash begins what could be a flag but is read as prose; both in order."""
    certain: list[int] = []
    unsure: list[int] = []
    end = len(text)
    # From the end on, because a value reaches to the next flag.
    for start, hyphens, name in reversed(list(_candidates(text, known))):
        option = known.get(name.lower())
        if hyphens or option is None or _cannot_be_prose(option, text[start + 1 + len(name) : end], names):
            certain.append(start)
        elif option.type is str and option.spaced and option.name not in names:
            # It is a flag if one comes before it, and then the value of that one ends here.
            unsure.append(start)
        else:
            continue
        end = start
    first = min(certain, default=len(text))
    return sorted(certain + [start for start in unsure if start > first]), sorted(
        start for start in unsure if start < first
    )


def _candidates(text: str, known: Mapping[str, Option]) -> Iterator[tuple[int, bool, str]]:
    """Everything that may begin a flag: its position, whether it has two hyphens, and the name after a dash."""
    dashed = re.compile(rf"(?:^|(?<=\s))(?:--(?=[A-Za-z])|[—–]({'|'.join(known)})(?=[\s=]|$))", re.IGNORECASE)
    for match in dashed.finditer(text):
        yield match.start(), match[1] is None, match[1] or ""


def _cannot_be_prose(option: Option, rest: str, names: Names) -> bool:
    """Whether what follows the name of a flag, up to the next flag, is a value of it and no words of a prompt."""
    if rest.startswith("="):
        return True
    value = rest.strip().lower() if len(rest) <= _LONGEST_VALUE else ""
    if option.type is not str:
        return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value) is not None
    if option.looks:
        return re.fullmatch(option.looks, value) is not None
    known = names.get(option.name, ())
    return all(entry.partition(":")[0].strip() in known for entry in value.split(","))


def _read(option: Option, name: str, value: str) -> Any:
    """The value of a flag in its option's type."""
    if option.type is str:
        return value
    kind = "number" if option.type is float else "whole number"
    with suppress(ValueError):
        number = option.type(value)
        if isinstance(number, int) or math.isfinite(number):
            return number
    raise UserError(f"--{name} needs a {kind}, like --{name} {option.example}; {quoted(value)} is not a {kind}.")
