"""/stats: figures of a server for its moderators, and of all servers for the host."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import plot
from bot.client import Client
from bot.errors import PlotError, UserError
from bot.jobs import GuildId
from bot.storage.reports import Period, Reports
from cogs import _report
from cogs._people import NOT_A_MODERATOR

log = logging.getLogger(__name__)

Back = Literal["24 hours", "7 days", "30 days", "90 days", "12 months"]
Where = Literal["this server", "all servers"]

_TERMINAL = GuildId(0)
"""The requests of the terminal have this instead of a server."""

NOT_THE_HOST = "Only the host of Atelier can see all servers. Moderators can use `/stats` on their own server."


class Stats(commands.Cog):
    """Shows statistics; they name no person."""

    def __init__(self, client: Client, reports: Reports) -> None:
        self._client = client
        self._reports = reports
        self._drawing = asyncio.Lock()

    @app_commands.command(description="What was painted, waited for, refused and liked: in figures, a chart, a table")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.describe(last="How far back", of="Of which servers; all of them are for the host alone")
    async def stats(
        self, interaction: discord.Interaction[Client], last: Back = "7 days", of: Where = "this server"
    ) -> None:
        """Show the figures, with a chart and a table to keep."""
        scope = await self._scope(interaction, of)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        report = await self._reports.report(scope, Period(last))
        if _report.is_empty(report):
            await interaction.edit_original_response(content=_report.empty(report))
            return
        names = {_TERMINAL: "atelier imagine"} | {GuildId(guild.id): guild.name for guild in self._client.guilds}
        words = _report.text(report, names)
        table = _report.table(report).encode()
        files = [discord.File(io.BytesIO(table), "stats.csv", description="The same figures as a table")]
        try:
            # One at a time: a person who asks again and again delays other charts, but no picture.
            async with self._drawing:
                png = await plot.draw(_report.chart(report))
                models = _report.drift(report)
                drift = None if models is None else await plot.draw(models)
        except PlotError as error:
            log.warning("%s", error)
            words += f"\n-# {error}"
        else:
            files.insert(0, discord.File(io.BytesIO(png), "stats.png", description=_report.alt(report)))
            if drift is not None:
                files.insert(1, discord.File(io.BytesIO(drift), "models.png", description=_report.drift_alt(report)))
        await interaction.edit_original_response(content=words, attachments=files)

    async def _scope(self, interaction: discord.Interaction[Client], of: Where) -> GuildId | None:
        """The server that a person may see, or None for all of them; Discord's own check is only a default."""
        if of == "all servers" or interaction.guild_id is None:
            if not await self._client.is_owner(interaction.user):
                raise UserError(NOT_THE_HOST)
            return None
        if not interaction.permissions.manage_guild and not await self._client.is_owner(interaction.user):
            raise UserError(NOT_A_MODERATOR)
        return GuildId(interaction.guild_id)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(Stats(client, client.app.reports))
