"""Controls that work after any restart: all that a button, menu or form needs is in its custom id and in the database.

A cog marks a method with `pressed("action")` or `submitted("action")` and is added by `add_cog`: from then on the
method answers that button or select menu, or that form.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import discord
from discord.ext import commands

from bot import responses
from bot.client import ButtonAction, Client
from bot.jobs import JobId, PictureRef
from bot.language import say
from cogs import _words

Handler = TypeVar("Handler", bound=Callable[..., Any])

_ACTION = "__answers_button__"
"""The attribute of a method with the actions of the buttons that it answers."""
_FORM = "__answers_form__"
"""The same with those of forms."""

# Version, action, job and number. Buttons of version 1, which had no number, stand under old messages for ever. A form
# may have one more number, for what was chosen before it was opened.
# The id of a message may take the place of the job's: it has 19 digits, and fits into 63 bits.
_NUMBER = r"(?:[0-9]{1,18}|[1-8][0-9]{18})"
_CUSTOM_ID = rf"(?:a2:[a-z]{{1,16}}:{_NUMBER}:[0-9]{{1,4}}(?::[0-9]{{1,9}})?|a1:[a-z]{{1,16}}:{_NUMBER})"

Control = discord.ui.Button[discord.ui.View] | discord.ui.Select[discord.ui.View]


@dataclass(frozen=True, slots=True)
class CustomId:
    """The content of a control's custom id: its action, the picture or job that it is about, and a number or 0."""

    action: str
    about: PictureRef
    argument: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read a custom id of this version or an earlier one; None where it is not one of ours."""
        if text is None or not re.fullmatch(_CUSTOM_ID, text):
            return None
        _, action, job_id, *numbers = text.split(":")
        number, argument = (*map(int, numbers), 0, 0)[:2]
        return cls(action, PictureRef(JobId(int(job_id)), number), argument)

    def __str__(self) -> str:
        """As Discord keeps it."""
        more = f":{self.argument}" if self.argument else ""
        return f"a2:{self.action}:{self.about.job_id}:{self.about.number}{more}"


class JobControl(discord.ui.DynamicItem[Control], template=_CUSTOM_ID):
    """A button or a select menu about one job or picture; what it does is looked up in `Client.buttons`."""

    def __init__(self, known: CustomId, control: Control) -> None:
        # A button of an earlier version keeps its id, by which it is found again.
        if CustomId.parse(control.custom_id) != known:
            control.custom_id = str(known)
        super().__init__(control)
        self.known = known

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003 - discord.py's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the control that was used."""
        assert isinstance(item, discord.ui.Button | discord.ui.Select)  # noqa: S101 - only these carry this custom id
        known = CustomId.parse(match[0])
        assert known is not None  # noqa: S101 - it matches the template
        return cls(known, item)

    async def callback(self, interaction: discord.Interaction[Client]) -> None:  # type: ignore[override]
        """Do what the control says, or explain why not."""
        client = interaction.client
        if not client.note_arrival(interaction):
            return
        action = client.buttons.get(self.known.action)
        try:
            if action is None:
                await responses.send(interaction, say(_words.EXPIRED), ephemeral=True)
            else:
                await action(interaction, self.known.about)
        except Exception as error:  # noqa: BLE001 - explain() logs what is not for the person
            await client.explain(interaction, error)


class ExpiredButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=rf"(?!{_CUSTOM_ID}\Z)[\s\S]+"):
    """Every button that nothing else answers to; without this class Discord shows an unexplained failure."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003 - discord.py's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],  # noqa: ARG003
    ) -> Self:
        """Take over the unknown button."""
        return cls(item)  # type: ignore[arg-type]

    async def callback(self, interaction: discord.Interaction[Client]) -> None:  # type: ignore[override]
        """Say that it has expired."""
        if not interaction.client.note_arrival(interaction):
            return
        await responses.send(interaction, say(_words.EXPIRED), ephemeral=True)


def pressed(*actions: str) -> Callable[[Handler], Handler]:
    """Mark a method of a cog as the answer to a button or a select menu.

    With several actions the method gets the one that was pressed, as `action`.
    """
    return _marked(_ACTION, actions)


def submitted(*actions: str) -> Callable[[Handler], Handler]:
    """Mark a method of a cog as the answer to a form, or to several; the method gets its custom id."""
    return _marked(_FORM, actions)


def _marked(attribute: str, value: object) -> Callable[[Handler], Handler]:
    def mark(handler: Handler) -> Handler:
        setattr(handler, attribute, value)
        return handler

    return mark


async def add_cog(client: Client, cog: commands.Cog) -> None:
    """Add a cog with the controls and forms that it answers."""
    client.add_dynamic_items(JobControl, ExpiredButton)
    methods = [method for _, method in inspect.getmembers(cog, inspect.ismethod)]
    answers: dict[str, ButtonAction] = {}
    for method in methods:
        actions = getattr(method, _ACTION, ())
        for action in actions:
            answers[action] = method if len(actions) == 1 else partial(method, action=action)
    client.buttons |= answers
    client.forms |= {action: method for method in methods for action in getattr(method, _FORM, ())}
    await client.add_cog(cog)


def button(
    action: str,
    about: PictureRef,
    label: str,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
    row: int | None = None,
) -> JobControl:
    """A button about a job or a picture."""
    return JobControl(CustomId(action, about), discord.ui.Button(label=label, style=style, row=row))


def select(
    action: str, about: PictureRef, placeholder: str, options: list[discord.SelectOption], most: int = 1
) -> JobControl:
    """A select menu about a job or a picture, from which up to `most` options can be chosen."""
    menu: discord.ui.Select[discord.ui.View] = discord.ui.Select(
        placeholder=placeholder, options=options, min_values=1, max_values=most
    )
    return JobControl(CustomId(action, about), menu)


def chosen(interaction: discord.Interaction[Client]) -> list[str]:
    """The values that were chosen in the select menu of an interaction."""
    data: Any = interaction.data
    return [str(value) for value in data.get("values", ())]
