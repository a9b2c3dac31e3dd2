"""*Improve my prompt*: words and settings that many people of the server like, offered as a change to accept."""

from __future__ import annotations

import discord
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import Operation, PictureRef
from bot.language import mark, say
from bot.requests import edits
from bot.requests.improver import Offer
from bot.storage.lineage import Lineage
from bot.storage.queue import Queue
from cogs import _targets
from cogs._buttons import CustomId, add_cog, pressed, submitted
from cogs._forms import Submission, form, text_field
from cogs.forms import Forms
from cogs.intake import Intake, OpenOffer

NOTHING = mark("Not enough people here have rated pictures of prompts like this yet, so nothing can be offered.")
_HINT = 100
"""The most characters of the description of a field."""


class Improve(commands.Cog):
    """Offers what would improve a prompt, and paints what the person accepts."""

    def __init__(self, intake: Intake, queue: Queue, lineage: Lineage) -> None:
        self._intake = intake
        self._queue = queue
        self._lineage = lineage

    @pressed("improve")
    async def improve_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Look up what would improve the prompt of a result, for the person who presses."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        request = job.request
        if not request.prompt or request.operation is Operation.UPSCALE:
            raise UserError("This picture was not painted from words, so there is no prompt to improve.")
        await responses.defer(interaction, ephemeral=True, thinking=True)
        options = edits.again(request, await self._lineage.repeated(job.id))
        fixed = ("aspect",) if request.uploads else ()
        offer = await self._intake.improvement(interaction, options, request, fixed)
        if isinstance(offer, Offer):
            await self._intake.show_offer(interaction, offer, {})
        else:
            await interaction.followup.send(say(NOTHING), ephemeral=True)

    @pressed("change")
    async def change_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the changed prompt in a form, in which the person can change it or take it back."""
        offer = self._intake.offers.get(interaction, about.job_id).offer
        added = say("Added: {words}", words="; ".join(addition.text for addition in offer.additions))
        hint = added if len(added) <= _HINT else f"{added[: _HINT - 1]}…"
        field = text_field("prompt", say("Prompt"), hint=hint, value=offer.prompt, long=True, required=True)
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("improved", about)), say("Improve my prompt"), [field])
        )

    @submitted("improved")
    async def improved_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Paint what the person accepted."""

        async def paint(opened: OpenOffer) -> None:
            options = edits.with_prompt(opened.offer.options, filled.texts.get("prompt", ""))
            await self._intake.take(interaction, options, opened.attachments)

        # A refusal keeps the offer, so that the form can be sent again.
        done = f"✅ {say('Improve my prompt')}"
        await self._intake.offers.attempt(interaction, known.about.job_id, paint, done)

    @pressed("astyped")
    async def typed_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Paint the prompt as it was typed."""

        async def paint(opened: OpenOffer) -> None:
            await self._intake.take(interaction, opened.offer.options, opened.attachments)

        await self._intake.offers.answer(interaction, about.job_id, paint)


async def setup(client: Client) -> None:
    """Add the cog, its buttons and its form."""
    app = client.app
    await add_cog(client, Improve(Intake.of(client), app.queue, app.lineage))
