"""/stats: what a server used and how its results were received."""

from __future__ import annotations

from datetime import timedelta

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.jobs import GuildId, utcnow
from bot.storage.usage import ModelUsage, Promises, Summary, Usage
from cogs import _words


class Stats(commands.Cog):
    """Sums up usage; it names nobody."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    @app_commands.command(description="What this server painted and how it was received")
    @app_commands.guild_only()
    @app_commands.describe(days="How many days back")
    async def stats(self, interaction: discord.Interaction[Client], days: app_commands.Range[int, 1, 365] = 7) -> None:
        """Show usage and ratings of the last days."""
        assert interaction.guild_id is not None  # noqa: S101 - the command is guild only
        guild_id = GuildId(interaction.guild_id)
        since = utcnow() - timedelta(days=days)
        summary = await self._usage.summary(guild_id, since)
        by_model = await self._usage.by_model(guild_id, since)
        promises = await self._usage.promises(guild_id, since)
        await interaction.response.send_message(_table(summary, promises, by_model, days), ephemeral=True)


def _table(summary: Summary, promises: Promises, by_model: list[ModelUsage], days: int) -> str:
    if not summary.asked:
        return f"Nobody asked for a picture here in the last {days} days."
    lines = [
        f"**The last {days} days on this server**",
        f"- {_words.pictures(summary.images)} for {summary.people} people, "
        f"{summary.delivered} of {summary.asked} requests delivered",
        f"- {summary.failed} failed, {summary.cancelled} cancelled, {summary.open} open",
        f"- {summary.cost:.1f} megapixel-steps in {_words.seconds(summary.painting_seconds)} of painting",
    ]
    if summary.wait_seconds is not None:
        lines.append(f"- {_words.seconds(summary.wait_seconds)} from asking to picture, on average")
    if promises.told:
        told = f"{promises.kept} of {promises.told} start times that people were told"
        lines.append(f"- {told} came true, give or take half of the wait")
    lines += [
        f"- `{model.model}`: {model.results} results, 👍 {model.up}, 👎 {model.down}, "
        f"{model.reactions - model.up - model.down} other reactions"
        for model in by_model
    ]
    return "\n".join(lines)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(Stats(client.app.usage))
