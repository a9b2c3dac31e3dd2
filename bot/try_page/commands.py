"""Commands as Discord keeps them, read for the page: their full names, their options, and values that were typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import discord

from bot.errors import UserError

OptionType = discord.AppCommandOptionType
File = tuple[str, bytes]
"""A file's name and its bytes."""

_BRANCHES = {OptionType.subcommand.value, OptionType.subcommand_group.value}
_LIMITS = ("min_value", "max_value", "min_length", "max_length")


def leaves(command: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The commands that can be sent, each with its full name, such as `limits set`."""
    name = f"{above} {command['name']}".strip()
    branches = [option for option in command.get("options") or () if option["type"] in _BRANCHES]
    if not branches:
        yield name, command
    for branch in branches:
        yield from leaves(branch, name)


def shown(name: str, leaf: Mapping[str, Any]) -> dict[str, Any]:
    """A command as the page lists it."""
    return {
        "name": name,
        "id": leaf["id"],
        "description": leaf.get("description", ""),
        "options": [
            {
                "name": option["name"],
                "description": option.get("description", ""),
                "kind": OptionType(option["type"]).name,
                "required": bool(option.get("required")),
                "completes": bool(option.get("autocomplete")),
                "choices": [[choice["name"], choice["value"]] for choice in option.get("choices") or ()],
                **{limit: option[limit] for limit in _LIMITS if limit in option},
            }
            for option in leaf.get("options") or ()
        ],
    }


def value_of(
    option: Mapping[str, Any], typed: str, files: Sequence[File], find: Callable[[OptionType, int], Any]
) -> Any:
    """The value of an option; `find` gives what an id stands for. Raises UserError if there is no such value."""
    name, kind = option["name"], OptionType(option["type"])
    if kind is OptionType.attachment:
        if not files:
            raise UserError(f"`{name}` takes a file.")
        return files[0]
    match kind:
        case OptionType.string:
            _check_limits(option, len(typed), "_length", " characters")
            return typed
        case OptionType.boolean:
            if typed not in ("true", "false"):
                raise UserError(f"`{name}` takes true or false.")
            return typed == "true"
        case OptionType.integer:
            try:
                whole = int(typed)
            except ValueError:
                raise UserError(f"`{name}` takes a whole number, such as 7.") from None
            _check_limits(option, whole, "_value")
            return whole
        case OptionType.number:
            try:
                number = float(typed)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise UserError(f"`{name}` takes a number, such as 0.5.")
            _check_limits(option, number, "_value")
            return number
    found = find(kind, int(typed)) if typed.isascii() and typed.isdecimal() else None
    if found is None:
        raise UserError(f"`{name}` takes one of those in the list.")
    return found


def _check_limits(option: Mapping[str, Any], value: float, what: str, unit: str = "") -> None:
    """Raise UserError unless a value is within the option's limits, which are inclusive."""
    least, most = option.get(f"min{what}"), option.get(f"max{what}")
    if (least is None or value >= least) and (most is None or value <= most):
        return
    limits = [f"at least {least:,}"] * (least is not None) + [f"at most {most:,}"] * (most is not None)
    raise UserError(f"`{option['name']}` takes {' and '.join(limits)}{unit}; you gave {value:,}.")
