"""What is offered while a person types: models, and the next entry of a list with commas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import discord
from discord import app_commands

from bot.client import Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.language import mark
from bot.requests.admission import Admission
from bot.requests.shapes import ASPECTS
from bot.requests.wording import unknown
from bot.storage.styles import Styles
from cogs import _people

Choices = list[app_commands.Choice[str]]

MOST = 25
"""Choices that Discord shows at once."""
LONGEST = 100
"""Characters of a choice's name, and of its value."""


async def usable_models(admission: Admission, interaction: discord.Interaction[Client]) -> Sequence[ModelConfig]:
    """The models that the person may use here now; all of them where no pictures are painted."""
    if not _people.is_served(interaction):
        return admission.models
    who, where = _people.requester(interaction), _people.destination(interaction)
    return await admission.usable_models(who, where)


def model_choices(models: Iterable[ModelConfig], typed: str) -> Choices:
    """Choices of models whose name or description has what was typed."""
    return [
        app_commands.Choice(name=f"{model.name} — {model.about}"[:LONGEST].rstrip(" —"), value=model.name)
        for model in models
        if typed.lower() in f"{model.name} {model.about}".lower()
    ][:MOST]


async def style_choices(styles: Styles, interaction: discord.Interaction[Client], typed: str) -> Choices:
    """The styles of the server whose name or description has what was typed."""
    if not _people.is_served(interaction):
        return []
    return [
        app_commands.Choice(name=f"{style.name} — {style.description}"[:LONGEST].rstrip(" —"), value=style.name)
        for style in (await styles.of(_people.place(interaction))).values()
        if typed.strip().lower() in f"{style.name} {style.description}".lower()
    ][:MOST]


def known_model(admission: Admission, name: str) -> str:
    """The name of a model that exists. Raises UserError for another one."""
    names = [model.name for model in admission.models]
    if name.strip().lower() not in names:
        raise UserError(unknown(mark("model"), name, names))
    return name.strip().lower()


def aspect_choices(typed: str) -> Choices:
    """The shapes that begin with what was typed."""
    return [app_commands.Choice(name=each, value=each) for each in ASPECTS if each.startswith(typed.strip())]


def next_of_list(names: Iterable[str], typed: str, accepts: Callable[[str], bool], most: int | None = None) -> Choices:
    """Choices that add one more name to the list, or finish its last one.

    Nothing is offered after an entry that `accepts` would refuse, and no more than `most` entries. A list that is too
    long for a choice is offered without its blanks, and where that is too long as well it is not offered.
    """
    *before, last = (entry.strip() for entry in typed.split(","))
    before = [entry for entry in before if entry]
    if not all(map(accepts, before)) or (most is not None and len(before) >= most):
        return []
    choices: Choices = []
    for name in names:
        if last.lower() not in name:
            continue
        values = (joint.join([*before, name]) for joint in (", ", ","))
        value = next((value for value in values if len(value) <= LONGEST), None)
        if value is not None:
            choices.append(app_commands.Choice(name=value, value=value))
    return choices[:MOST]
