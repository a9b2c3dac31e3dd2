"""/blend: two to four pictures mixed evenly, and their mean painted over."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.jobs import Operation
from bot.requests.admission import Admission
from bot.requests.options import BLENDED, Options
from cogs._buttons import add_cog
from cogs._lists import Choices, model_choices, usable_models
from cogs.intake import Intake


class Blend(commands.Cog):
    """Takes requests that mix pictures."""

    def __init__(self, intake: Intake, admission: Admission) -> None:
        self._intake = intake
        self._admission = admission

    @app_commands.command(description="Mix two to four pictures evenly, pixel by pixel, and paint over the mix")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.describe(
        image1="The first picture, whose shape the result has: PNG, JPEG or WebP",
        image2="The second picture; each is cropped to the shape of the first",
        image3="A third picture",
        image4="A fourth picture",
        prompt="What the mix should become; may end in flags, like --seed 7",
        strength="How much of the mix is painted over, up to 1",
        model="Which model paints",
    )
    async def blend(
        self,
        interaction: discord.Interaction[Client],
        image1: discord.Attachment,
        image2: discord.Attachment,
        image3: discord.Attachment | None = None,
        image4: discord.Attachment | None = None,
        prompt: str | None = None,
        strength: float | None = None,
        model: str | None = None,
    ) -> None:
        """Accept the request and answer with the message that will become the result."""
        sent = zip(BLENDED, (image1, image2, image3, image4), strict=True)
        attachments = {name: attachment for name, attachment in sent if attachment is not None}
        options = Options(prompt or "", strength=strength, model=model)
        await self._intake.take(interaction, options, attachments)

    @blend.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        models = await usable_models(self._admission, interaction)
        able = [model for model in models if Operation.BLEND in self._admission.operations(model.name)]
        return model_choices(able, typed)


async def setup(client: Client) -> None:
    """Add the cog."""
    await add_cog(client, Blend(Intake.of(client), client.app.admission))
