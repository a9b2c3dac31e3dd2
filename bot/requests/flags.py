"""Trailing --flags of a prompt: they are moved from the prompt into the options of the same meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from bot.errors import UserError
from bot.requests.options import Option, Options, table
from bot.requests.wording import clean, quoted, unknown

OptionsT = TypeVar("OptionsT", bound=Options)


def with_flags(options: OptionsT) -> OptionsT:
    """Move trailing --flags out of the prompt; a flag replaces the option of the same meaning.

    Raises UserError for a flag that does not exist, that has no value, or that more words of the prompt follow.
    """
    known = _flags(type(options))
    prompt, *flags = _flag_start(known).split(clean(options.prompt))
    values: dict[str, Any] = {"prompt": clean(prompt)}
    for flag in flags:
        name, _, rest = flag.strip().replace("=", " ", 1).partition(" ")
        option = known.get(name.lower())
        if option is None:
            raise UserError(unknown("flag", name, list(known), dashes="--"))
        value, _, beyond = (rest, "", "") if option.spaced else rest.partition(" ")
        if not value:
            raise UserError(f"--{name} needs a value, like --{name} {option.example}.")
        if beyond:
            raise UserError(f"Flags go at the end: move {quoted(beyond)} before --{name}.")
        read = _read(option, name, value)
        values[option.name] = f"{values[option.name]}, {read}" if option.repeats and option.name in values else read
    return replace(options, **values)


def _flags(of: type[Options]) -> Mapping[str, Option]:
    return {flag: option for option in table(of) for flag in option.flags}


def _flag_start(names: Iterable[str]) -> re.Pattern[str]:
    """Where a flag begins. A phone's keyboard turns two hyphens into a dash; a dash before other words is no flag."""
    return re.compile(rf"(?:^|(?<=\s))(?:--(?=[A-Za-z])|[—–](?=(?:{'|'.join(names)})(?:[\s=]|$)))")


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
