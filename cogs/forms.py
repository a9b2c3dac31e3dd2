"""Forms: shown to people, answered by the cogs, and opened again with what was typed if the answer cannot be used."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

import discord
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import JobId, PictureRef
from bot.language import say
from bot.logs import hide
from cogs import _words
from cogs._buttons import CustomId, add_cog, button, pressed
from cogs._forms import Submission, refilled
from cogs._waiting import KEPT_SECONDS, Waiting

MOST = 1000
"""How many forms that were shown are remembered; a restart forgets them."""
_PROMPTS = ("prompt", "panels", "thing")
"""The fields whose text a refusal gives back beside the button that opens the form again."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A form that was shown, and when; `refused` are the numbers of its earlier tries."""

    modal: discord.ui.Modal
    at: float
    refused: tuple[JobId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Refused:
    """A form, what was typed into it, and the numbers of its earlier tries."""

    modal: discord.ui.Modal
    filled: Submission
    earlier: tuple[JobId, ...]


class Forms(commands.Cog):
    """Shows forms, and hands what was filled in to the cog that answers them."""

    def __init__(self) -> None:
        self._shown: OrderedDict[tuple[int, str], _Shown] = OrderedDict()
        """The forms that were not sent yet, by their persons and custom ids, the oldest first."""
        self._refused: Waiting[_Refused] = Waiting()

    @classmethod
    def of(cls, client: Client) -> Forms:
        """The forms of a client, which loads this cog before those that use it."""
        forms = client.get_cog(cls.__cog_name__)
        assert isinstance(forms, cls)  # noqa: S101 - see above
        return forms

    async def show(self, interaction: discord.Interaction[Client], modal: discord.ui.Modal) -> None:
        """Open a form. Raises as `responses.ask` does."""
        await self._show(interaction, modal)

    async def _show(
        self, interaction: discord.Interaction[Client], modal: discord.ui.Modal, refused: tuple[JobId, ...] = ()
    ) -> None:
        key, now = (interaction.user.id, modal.custom_id), time.monotonic()
        self._shown[key] = _Shown(modal, now, refused)
        self._shown.move_to_end(key)
        while len(self._shown) > MOST or next(iter(self._shown.values())).at < now - KEPT_SECONDS:
            self._shown.popitem(last=False)
        await responses.ask(interaction, modal)

    def forget(self, user_id: int) -> None:
        """Forget the forms of a person, and what they typed into them."""
        for key in [key for key in self._shown if key[0] == user_id]:
            del self._shown[key]
        self._refused.forget(user_id)

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Client]) -> None:
        """Answer a form that was sent; other interactions are left alone.

        discord.py forgets the open forms at a restart, so this is a listener for all interactions.
        """
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        client, data = interaction.client, cast(dict[str, Any], interaction.data)
        if not client.note_arrival(interaction):
            return
        custom_id = data.get("custom_id")
        known = CustomId.parse(custom_id)
        action = None if known is None else client.forms.get(known.action)
        submission = Submission.read(interaction)
        hide(*submission.texts.values())
        key = (interaction.user.id, str(custom_id))
        shown = self._shown.pop(key, None)
        try:
            if known is None or action is None:
                await responses.send(interaction, say(_words.EXPIRED), ephemeral=True)
            else:
                await action(interaction, known, submission)
        except Exception as error:  # noqa: BLE001 - explain() logs what is not for the person
            view = None
            if shown is not None and responses.is_too_late(error):
                # Discord keeps the form open, so that it can be sent again.
                self._shown.setdefault(key, shown)
            if shown is not None and isinstance(error, UserError):
                view = self._again_view(interaction, _Refused(shown.modal, submission, shown.refused))
            await client.explain(interaction, error, _kept(submission, whole=view is None), view)
        else:
            for number in () if shown is None else shown.refused:
                self._refused.drop(number)

    def _again_view(self, interaction: discord.Interaction[Client], refused: _Refused) -> discord.ui.View:
        """The button that opens a form again."""
        number = self._refused.add(interaction, refused, "")
        view = discord.ui.View(timeout=None)
        view.add_item(button("formagain", PictureRef(number), say("Open the form again"), discord.ButtonStyle.primary))
        return view

    @pressed("formagain")
    async def again_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Open a form again, with what was typed into it."""
        refused = self._refused.get(interaction, about.job_id)
        modal = refilled(refused.modal, refused.filled)
        await self._show(interaction, modal, (*refused.earlier, about.job_id))


def _kept(submission: Submission, *, whole: bool) -> str | None:
    """What a person gets back to copy: all that they typed, or the prompt alone; None if there is nothing."""
    names = submission.texts if whole else _PROMPTS
    texts = [text for name in names if (text := submission.texts.get(name))]
    return "\n\n".join(texts) or None


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    await add_cog(client, Forms())
