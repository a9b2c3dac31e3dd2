"""Asks for a confirmation before a command takes much from many people, or everything from one."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import discord

from bot.client import Client
from bot.errors import UserError
from bot.jobs import JobId
from cogs import _people, _views, _words

_OPEN = 200
"""Questions that may be open at a time; the oldest expires."""

Do = Callable[[], Awaitable[str]]


class Confirmations:
    """Open questions by number. A restart forgets them, and then their buttons say that they have expired."""

    def __init__(
        self, client: Client, action: str, may: Callable[[discord.Interaction], object] = _people.moderated
    ) -> None:
        self._action = action
        self._may = may
        self._open: OrderedDict[int, tuple[tuple[int, int | None], Do]] = OrderedDict()
        client.buttons[f"{action}yes"] = self._confirmed
        client.buttons[f"{action}no"] = self._kept

    async def ask(self, interaction: discord.Interaction, question: str, do: Do) -> None:
        """Ask; `do` is done once the same person says yes, and returns what to tell them."""
        number = secrets.randbelow(10**17)
        self._open[number] = (_asker(interaction), do)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        view = discord.ui.View(timeout=None)
        for action, label, style in (
            ("yes", "Do it", discord.ButtonStyle.danger),
            ("no", "Leave it", discord.ButtonStyle.secondary),
        ):
            button: discord.ui.Button[discord.ui.View] = discord.ui.Button(label=label, style=style)
            view.add_item(_views.JobButton(f"{self._action}{action}", JobId(number), button))
        await interaction.response.send_message(question, view=view, ephemeral=True)

    async def _confirmed(self, interaction: discord.Interaction[Client], number: JobId) -> None:
        # A moderator who lost the right since the question may not say yes.
        self._may(interaction)
        do = self._take(interaction, number)
        await interaction.response.edit_message(content=await do(), view=None)

    async def _kept(self, interaction: discord.Interaction[Client], number: JobId) -> None:
        self._take(interaction, number)
        await interaction.response.edit_message(content="Nothing was changed.", view=None)

    def _take(self, interaction: discord.Interaction[Client], number: JobId) -> Do:
        asked_by, do = self._open.get(number, (None, None))
        if do is None or asked_by != _asker(interaction):
            raise UserError(_words.EXPIRED)
        del self._open[number]
        return do


def _asker(interaction: discord.Interaction) -> tuple[int, int | None]:
    """Who was asked, and where: the right that is checked again with the answer is that of the same server."""
    return interaction.user.id, interaction.guild_id
