"""The values of a command's options as Discord sends them, and whether they are what the options take.

Discord checks them for commands that it knows, but it may know an older version of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import discord
from discord import app_commands

from bot.errors import UserError
from bot.language import catalogues, in_quotes, mark, say
from bot.translator import shown_name


def leaves(interaction: discord.Interaction) -> list[dict[str, Any]]:
    """The options of a command as Discord sent them, without the subcommands around them. Buttons have none."""
    data: Any = interaction.data or {}
    found, branches = [], list(data.get("options", ()))
    while branches:
        option = branches.pop(0)
        if "value" in option:
            found.append(option)
        branches += option.get("options", ())
    return found


NUMBER = discord.AppCommandOptionType.number.value


def is_number(value: object) -> bool:
    """Whether discord.py can read a value as a number; it can read an empty value."""
    try:
        return value in (None, "") or math.isfinite(float(str(value)))
    except ValueError:
        return False


_TYPES: Mapping[discord.AppCommandOptionType, tuple[tuple[type, ...], str]] = {
    discord.AppCommandOptionType.string: ((str,), mark("words, such as a red fox")),
    discord.AppCommandOptionType.integer: ((int,), mark("a whole number, such as 7")),
    discord.AppCommandOptionType.number: ((int, float), mark("a number, such as 0.5")),
    discord.AppCommandOptionType.boolean: ((bool,), mark("True or False")),
}
_THINGS: Mapping[discord.AppCommandOptionType, tuple[tuple[str, ...], str]] = {
    discord.AppCommandOptionType.user: (("users", "members"), mark("a person of this server, chosen from the list")),
    discord.AppCommandOptionType.channel: (("channels",), mark("a channel of this server, chosen from the list")),
    discord.AppCommandOptionType.role: (("roles",), mark("a role of this server, chosen from the list")),
    discord.AppCommandOptionType.attachment: (("attachments",), mark("a file that is attached to the command")),
}
"""What an option of a type may be: the values of JSON, or where Discord describes the thing that it names; in words."""


def fits(value: object, parameter: app_commands.Parameter, interaction: discord.Interaction) -> bool:
    """Whether a value is of a parameter's type and among its choices."""
    if parameter.type in _THINGS:
        data: Any = interaction.data or {}
        return any(str(value) in data.get("resolved", {}).get(kind, {}) for kind in _THINGS[parameter.type][0])
    types = _TYPES.get(parameter.type, ((object,), ""))[0]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return not parameter.choices or value in [choice.value for choice in parameter.choices]


def misfit(value: object, parameter: app_commands.Parameter) -> UserError:
    """Which option has a value that does not fit, and what would work."""
    kind = say((_TYPES.get(parameter.type) or _THINGS.get(parameter.type) or ((), mark("another value")))[1])
    if parameter.choices:
        names = ", ".join(str(in_quotes(shown_name(catalogues.CHOICE, each.name))) for each in parameter.choices)
        kind = say("one of {choices}", choices=names)
    return UserError(
        "The option {option} takes {kind}, and “{value}” is not that. Nothing was done.",
        option=shown_name(catalogues.OPTION, parameter.display_name),
        kind=kind,
        value=discord.utils.escape_markdown(discord.utils.escape_mentions(str(value)[:60])),
    )
