"""Buttons that work after any restart: all that a button needs is in its custom id and in the database.

A cog marks a method with `pressed("action")` and is added by `add_cog`: from then on the method answers that button.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import discord
from discord.ext import commands

from bot import responses
from bot.client import ButtonAction, Client
from bot.jobs import JobId, PictureRef
from cogs import _words

Handler = TypeVar("Handler", bound=Callable[..., Any])

_ACTION = "__answers_button__"
"""The attribute of a method with the action of the button that it answers."""

# Version, action, job and number. Buttons of version 1, which had no number, stand under old messages for ever.
_CUSTOM_ID = r"(?:a2:[a-z]{1,16}:[0-9]{1,18}:[0-9]{1,4}|a1:[a-z]{1,16}:[0-9]{1,18})"


@dataclass(frozen=True, slots=True)
class CustomId:
    """The content of a button's custom id: its action, and the picture or job that it is about."""

    action: str
    about: PictureRef

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read a custom id of this version or an earlier one; None where it is not one of ours."""
        if text is None or not re.fullmatch(_CUSTOM_ID, text):
            return None
        _, action, job_id, *number = text.split(":")
        return cls(action, PictureRef(JobId(int(job_id)), *map(int, number)))

    def __str__(self) -> str:
        """As Discord keeps it."""
        return f"a2:{self.action}:{self.about.job_id}:{self.about.number}"


class JobButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=_CUSTOM_ID):
    """A button about one job or picture; what it does is looked up in `Client.buttons`."""

    def __init__(self, known: CustomId, button: discord.ui.Button[discord.ui.View]) -> None:
        # A button of an earlier version keeps its id, by which it is found again.
        if CustomId.parse(button.custom_id) != known:
            button.custom_id = str(known)
        super().__init__(button)
        self.known = known

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003 - discord.py's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button that was pressed."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - only buttons carry this custom id
        known = CustomId.parse(match[0])
        assert known is not None  # noqa: S101 - it matches the template
        return cls(known, item)

    async def callback(self, interaction: discord.Interaction[Client]) -> None:  # type: ignore[override]
        """Do what the button says, or explain why not."""
        client = interaction.client
        if not client.note_arrival(interaction):
            return
        action = client.buttons.get(self.known.action)
        try:
            if action is None:
                await responses.send(interaction, _words.EXPIRED, ephemeral=True)
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
        await responses.send(interaction, _words.EXPIRED, ephemeral=True)


def pressed(action: str) -> Callable[[Handler], Handler]:
    """Mark a method of a cog as the answer to a button."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, _ACTION, action)
        return handler

    return mark


async def add_cog(client: Client, cog: commands.Cog) -> None:
    """Add a cog with the buttons that it answers."""
    client.add_dynamic_items(JobButton, ExpiredButton)
    answers: list[tuple[str, ButtonAction]] = [
        (getattr(method, _ACTION), method)
        for _, method in inspect.getmembers(cog, inspect.ismethod)
        if hasattr(method, _ACTION)
    ]
    client.buttons |= answers
    await client.add_cog(cog)


def button(
    action: str,
    about: PictureRef,
    label: str,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
) -> JobButton:
    """A button about a job or a picture."""
    return JobButton(CustomId(action, about), discord.ui.Button(label=label, style=style))
