"""Forms: shown to people, answered by the cogs, and opened again with what was typed if the answer cannot be used."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import discord
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import PictureRef
from bot.language import say
from bot.logs import hide
from cogs import _words
from cogs._buttons import CustomId, add_cog, button, pressed
from cogs._forms import Submission
from cogs._waiting import Waiting

MOST = 1000
"""How many forms that were shown are remembered; a restart forgets them."""
_PROMPTS = ("prompt", "panels", "thing")
"""The fields whose text a refusal gives back beside the button that opens the form again."""


class Forms(commands.Cog):
    """Shows forms, and hands what was filled in to the cog that answers them."""

    def __init__(self) -> None:
        self._shown: OrderedDict[tuple[int, str], discord.ui.Modal] = OrderedDict()
        """The last forms, by their persons and custom ids."""
        self._refused: Waiting[discord.ui.Modal] = Waiting()

    @classmethod
    def of(cls, client: Client) -> Forms:
        """The forms of a client, which loads this cog before those that use it."""
        forms = client.get_cog(cls.__cog_name__)
        assert isinstance(forms, cls)  # noqa: S101 - see above
        return forms

    async def show(self, interaction: discord.Interaction[Client], modal: discord.ui.Modal) -> None:
        """Open a form. Raises as `responses.ask` does."""
        self._shown[interaction.user.id, modal.custom_id] = modal
        self._shown.move_to_end((interaction.user.id, modal.custom_id))
        while len(self._shown) > MOST:
            self._shown.popitem(last=False)
        await responses.ask(interaction, modal)

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
        try:
            if known is None or action is None:
                await responses.send(interaction, say(_words.EXPIRED), ephemeral=True)
            else:
                await action(interaction, known, submission)
        except Exception as error:  # noqa: BLE001 - explain() logs what is not for the person
            modal = self._shown.get((interaction.user.id, str(custom_id)))
            view = None
            if modal is not None and isinstance(error, UserError):
                view = self._again_view(interaction, _filled(modal, submission))
            await client.explain(interaction, error, _kept(submission, whole=view is None), view)

    def _again_view(self, interaction: discord.Interaction[Client], modal: discord.ui.Modal) -> discord.ui.View:
        """The button that opens a form again."""
        number = self._refused.add(interaction, modal, "")
        view = discord.ui.View(timeout=None)
        view.add_item(button("formagain", PictureRef(number), say("Open the form again"), discord.ButtonStyle.primary))
        return view

    @pressed("formagain")
    async def again_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Open a form again, with what was typed into it."""
        await self.show(interaction, self._refused.get(interaction, about.job_id))


def _kept(submission: Submission, *, whole: bool) -> str | None:
    """What a person gets back to copy: all that they typed, or the prompt alone; None if there is nothing."""
    names = submission.texts if whole else _PROMPTS
    texts = [text for name in names if (text := submission.texts.get(name))]
    return "\n\n".join(texts) or None


def _filled(modal: discord.ui.Modal, submission: Submission) -> discord.ui.Modal:
    """The form with what was typed. Files cannot be filled in: Discord lets only people choose them."""
    filled = discord.ui.Modal(title=modal.title, custom_id=modal.custom_id, timeout=modal.timeout)
    for label in modal.children:
        assert isinstance(label, discord.ui.Label)  # noqa: S101 - `form` takes only these
        field = label.component
        if isinstance(field, discord.ui.TextInput):
            field.default = submission.texts.get(field.custom_id) or None
        filled.add_item(label)
    return filled


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    await add_cog(client, Forms())
