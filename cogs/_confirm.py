"""Asks for confirmation before a command that affects many people, or deletes a person's data."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import discord

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import JobId, PictureRef
from bot.language import say
from cogs import _people, _words
from cogs._buttons import button

_OPEN = 200
"""The most questions that may be open; when there are more, the oldest expires."""

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

    async def ask(self, interaction: discord.Interaction, question: str, deed: str, do: Do) -> None:
        """Ask; `do` is done once the same person presses the button `deed`, and returns what to tell them."""
        number = secrets.randbelow(10**17)
        self._open[number] = (_asker(interaction), do)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        view = discord.ui.View(timeout=None)
        for action, label, style in (
            ("yes", deed, discord.ButtonStyle.danger),
            ("no", say("Leave it"), discord.ButtonStyle.secondary),
        ):
            view.add_item(button(f"{self._action}{action}", PictureRef(JobId(number)), label, style))
        await responses.send(interaction, question, view=view, ephemeral=True)

    async def _confirmed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        # A moderator who lost the right since the question may not say yes.
        self._may(interaction)
        do = self._take(interaction, about)
        await responses.edit(interaction, await do(), view=None)

    async def _kept(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        self._take(interaction, about)
        await responses.edit(interaction, say("Nothing was changed."), view=None)

    def _take(self, interaction: discord.Interaction[Client], about: PictureRef) -> Do:
        asked_by, do = self._open.get(about.job_id, (None, None))
        if do is None or asked_by != _asker(interaction):
            raise UserError(_words.EXPIRED)
        del self._open[about.job_id]
        return do


def _asker(interaction: discord.Interaction) -> tuple[int, int | None]:
    """The person and the server of a question; only the same person may answer it, on the same server."""
    return interaction.user.id, interaction.guild_id
