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
from bot.jobs import NO_GUILD, GuildId, JobId, PictureRef
from bot.language import mark, say
from bot.storage.reports import Period, Report, Reports
from cogs import _report, _report_charts, _report_table
from cogs._buttons import add_cog, button, pressed
from cogs._people import NOT_A_MODERATOR

log = logging.getLogger(__name__)

Back = Literal["24 hours", "7 days", "30 days", "90 days", "12 months"]
Where = Literal["this server", "all servers"]

_PERIODS = tuple(Period)

NOT_THE_HOST = mark("Only the host of Atelier can see all servers. Moderators can use `/stats` on their own server.")


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
        """Show the figures and their charts, with a button for the table."""
        scope = await self._scope(interaction, of)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        report = await self._reports.report(scope, Period(last))
        if _report.is_empty(report):
            await interaction.edit_original_response(content=_report.empty(report))
            return
        names = {NO_GUILD: "atelier imagine"} | {GuildId(guild.id): guild.name for guild in self._client.guilds}
        words = _report.text(report, names)
        files: list[discord.File] = []
        try:
            files = await self._charts(report)
        except PlotError as error:
            log.warning("%s", error)
            words += "\n-# " + say("The charts could not be drawn this time. The figures are complete.")
        view = discord.ui.View(timeout=None)
        # The server takes the place of a job in the button's id, or 0 all servers.
        about = PictureRef(JobId(scope or 0), _PERIODS.index(report.period))
        view.add_item(button("statstable", about, say("Table (CSV)")))
        await interaction.edit_original_response(content=words, attachments=files, view=view)

    async def _charts(self, report: Report) -> list[discord.File]:
        """The charts of a report. Raises PlotError."""
        files = []
        # One at a time: a person who asks again and again delays other charts, but no picture.
        async with self._drawing:
            for (chart, alt), name in zip(_report_charts.charts(report), ("stats.png", "models.png"), strict=False):
                files.append(discord.File(io.BytesIO(await plot.draw(chart)), name, description=alt))
        return files

    @pressed("statstable")
    async def table_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send the figures of the same period, as they are now, as a table."""
        scope = await self._scope(interaction, "this server" if about.job_id else "all servers")
        await responses.defer(interaction, ephemeral=True, thinking=True)
        report = await self._reports.report(scope, _PERIODS[about.number % len(_PERIODS)])
        table = io.BytesIO(_report_table.table(report).encode())
        file = discord.File(table, "stats.csv", description=say("The same figures as a table"))
        await interaction.edit_original_response(attachments=[file])

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
    """Add the cog and its button."""
    await add_cog(client, Stats(client, client.app.reports))
