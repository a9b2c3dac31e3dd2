"""/describe: says that no model describes pictures here, because the engine can load none that does."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client

NO_MODEL = (
    "No model that describes pictures is set up here, because Atelier cannot load one yet: to paint from the picture, "
    "attach it as an image to `/{}` or `/blend`."
)


class Describe(commands.Cog):
    """Answers people who want a picture described."""

    def __init__(self, command: str) -> None:
        self._command = command

    @app_commands.command(description="Words for a picture, where a model that describes pictures is set up")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.describe(image="The picture")
    async def describe(
        self,
        interaction: discord.Interaction[Client],
        image: discord.Attachment,  # noqa: ARG002 - it is only named, since no model could look at it
    ) -> None:
        """Say what is missing."""
        await responses.send(interaction, NO_MODEL.format(self._command), ephemeral=True)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(Describe(client.app.config.discord.command))
