"""/describe: a sentence about a picture, by the model that the host set up for it, and a button that paints it."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import JobId, PictureRef
from bot.language import mark, say
from bot.policy.policy import Policy
from bot.requests.describing import Describer
from bot.requests.options import Options
from bot.requests.uploads import CALLED, check_facts
from cogs import _people, _words
from cogs._buttons import CustomId, add_cog, button, pressed, submitted
from cogs._forms import Submission, form, text_field
from cogs.forms import Forms
from cogs.intake import Intake

NO_MODEL = mark(
    "No model that describes pictures is set up here. To paint from the picture, attach it as an image to {command} or "
    "`/blend`."
)
NO_WORDS = mark("The model has no words for this picture.")
_NONE = PictureRef(JobId(0))
"""The button is about no job: the words are in its own message."""


class Describe(commands.Cog):
    """Describes pictures, and takes requests for what it described."""

    def __init__(
        self, describer: Describer, policy: Policy, intake: Intake, command: str, *, checks_uploads: bool
    ) -> None:
        self._describer = describer
        self._policy = policy
        self._intake = intake
        self._command = command
        self._checks_uploads = checks_uploads

    @app_commands.command(description="Words for a picture, where a model that describes pictures is set up")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.describe(image="The picture: PNG, JPEG or WebP")
    async def describe(self, interaction: discord.Interaction[Client], image: discord.Attachment) -> None:
        """Say what the picture shows, to the person alone."""
        if not self._describer.has_model:
            raise UserError(NO_MODEL, command=_words.command(self._command))
        requester = _people.requester(interaction)
        channels = _people.destination(interaction).channels
        self._policy.check(await self._policy.ruling(requester, channels))
        check_facts(CALLED["image"], image.size, image.width, image.height, image.content_type)
        self._describer.check_room(requester.user_id)
        await responses.defer(interaction, ephemeral=True)
        picture = (await self._intake.fetched({"image": image}))["image"]
        limits = None
        if self._checks_uploads:
            limits = await self._policy.picture_limits(requester.guild_id, channels)
        said = await self._describer.describe(requester.user_id, picture.data, limits)
        if not said:
            raise UserError(NO_WORDS)
        view = discord.ui.View(timeout=None)
        view.add_item(button("described", _NONE, say("Paint this")))
        await interaction.followup.send(_words.described(said), view=view, ephemeral=True)

    @pressed("described")
    async def paint_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Offer the words of the message as a prompt."""
        said = "" if interaction.message is None else _words.described_in(interaction.message.content)
        if not said:
            raise UserError(_words.EXPIRED)
        fields = [text_field("prompt", say("Prompt"), value=said, long=True, required=True)]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("described", about)), say("Paint this"), fields)
        )

    @submitted("described")
    async def paint_submitted(
        self,
        interaction: discord.Interaction[Client],
        known: CustomId,  # noqa: ARG002 - the form is about no job
        filled: Submission,
    ) -> None:
        """Take the words as a request."""
        await self._intake.take(interaction, Options(filled.texts.get("prompt", "")))


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    checks_uploads = app.config.engine.safety == "on"
    command = app.config.discord.command
    await add_cog(
        client, Describe(app.describer, app.policy, Intake.of(client), command, checks_uploads=checks_uploads)
    )
