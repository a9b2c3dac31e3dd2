"""/privacy: shows people what is kept about them, gives them a copy, and deletes it."""

from __future__ import annotations

import asyncio
import gzip
import importlib.resources
import io
import json

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import Config
from bot.errors import UserError
from bot.jobs import UserId
from bot.language import say
from bot.queue.dispatcher import Dispatcher
from bot.storage.forgetting import Forgetting
from cogs import _held, _words
from cogs._confirm import Confirmations
from cogs.forms import Forms
from cogs.intake import Intake
from cogs.series import Series


def policy_text() -> str:
    """PRIVACY.md, written for members."""
    return importlib.resources.files("bot").joinpath("PRIVACY.md").read_text(encoding="utf-8")


class Privacy(commands.GroupCog, group_name="privacy", group_description="What is kept about you, and deleting it"):
    """Shows people what is kept about them, and deletes it; no command reaches another person's data."""

    def __init__(self, client: Client, forgetting: Forgetting, dispatcher: Dispatcher, config: Config) -> None:
        self._config = config
        self._forgetting = forgetting
        self._dispatcher = dispatcher
        # No right is needed to answer: only the person who was asked can.
        self._confirmations = Confirmations(client, "privacy", may=lambda _: None)

    @app_commands.command(description="What Atelier does with your data, who can see it, and what you can do")
    async def policy(self, interaction: discord.Interaction[Client]) -> None:
        """Show PRIVACY.md, in as many messages as it takes."""
        first, *rest = _words.pages(await asyncio.to_thread(policy_text))
        await responses.send(interaction, first, ephemeral=True)
        for page in rest:
            await interaction.followup.send(page, ephemeral=True)

    @app_commands.command(description="What Atelier keeps about you, why, and for how long")
    async def show(self, interaction: discord.Interaction[Client]) -> None:
        """Say what is kept, in words and numbers."""
        held = await self._forgetting.held(UserId(interaction.user.id))
        sent = _held.senders(self._config.remote_models, self._config.providers)
        await responses.send(interaction, _held.kept(held, sent), ephemeral=True)

    @app_commands.command(description="Everything Atelier keeps about you, as a JSON file")
    async def export(self, interaction: discord.Interaction[Client]) -> None:
        """Send the person every row about them, as JSON."""
        await responses.defer(interaction, ephemeral=True)
        rows = await self._forgetting.export(UserId(interaction.user.id))
        data, name = json.dumps(rows, indent=1, ensure_ascii=False).encode(), "atelier.json"
        if len(data) > interaction.filesize_limit:
            data, name = gzip.compress(data), "atelier.json.gz"
        if len(data) > interaction.filesize_limit:
            raise UserError("Your data is more than Discord takes in one file. Ask the host of Atelier for it.")
        await interaction.followup.send(
            say("Everything that is kept about you. `/history` has the pictures."),
            file=discord.File(io.BytesIO(data), name),
            ephemeral=True,
        )

    @app_commands.command(description="Delete what Atelier keeps about you, on every server; it asks first")
    async def delete(self, interaction: discord.Interaction[Client]) -> None:
        """Delete everything about a person once they confirm what goes and what stays."""
        user_id = UserId(interaction.user.id)

        async def do() -> str:
            cancelled = await self._forgetting.forget(user_id, self._dispatcher.used)
            self._dispatcher.stop(cancelled)
            client = interaction.client
            for cog in (Intake.of(client), Series.of(client), Forms.of(client)):
                cog.forget(user_id)
            return say(_words.FORGOTTEN)

        question = _held.forget_question(await self._forgetting.held(user_id))
        await self._confirmations.ask(interaction, question, say("Delete my data"), do)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(Privacy(client, client.app.forgetting, client.app.dispatcher, client.app.config))
