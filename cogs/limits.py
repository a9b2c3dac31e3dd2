"""/limits: moderators see and set what people may use, for the server and for one person."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.errors import UserError
from bot.jobs import GuildId, Requester, UserId
from bot.limits import MEANING, LimitName, Limits, check_values
from bot.line import Line
from bot.storage.rules import Rules


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class LimitsCog(commands.GroupCog, group_name="limits", group_description="What people may use here"):
    """Shows and changes the limits of one server; a change holds from the next request on."""

    def __init__(self, rules: Rules, line: Line) -> None:
        self._rules = rules
        self._line = line

    @app_commands.command(description="Show the limits of this server, or of one person")
    @app_commands.describe(member="Whose limits; leave open for the server's")
    async def show(self, interaction: discord.Interaction[Client], member: discord.User | None = None) -> None:
        """Show what holds and who decided it."""
        guild_id = _moderated(interaction)
        await interaction.response.send_message(await self._table(guild_id, member), ephemeral=True)

    @app_commands.command(description="Set limits for this server, or for one person")
    @app_commands.describe(
        pace="Images per minute of one person; what is over it waits",
        depth="Requests of one person that may wait at a time",
        quota="Images of one person in any 24 hours",
        member="For whom; leave open for the whole server",
    )
    async def set(
        self,
        interaction: discord.Interaction[Client],
        pace: int | None = None,
        depth: int | None = None,
        quota: int | None = None,
        member: discord.User | None = None,
    ) -> None:
        """Change what is given, keep the rest."""
        guild_id = _moderated(interaction)
        given = {LimitName.PACE: pace, LimitName.DEPTH: depth, LimitName.QUOTA: quota}
        values = {name: value for name, value in given.items() if value is not None}
        if not values:
            raise UserError("Say what to set: pace, depth or quota.")
        check_values(values)
        by = UserId(interaction.user.id)
        await self._rules.set(guild_id, _user_id(member), {str(n): v for n, v in values.items()}, by)
        table = await self._table(guild_id, member)
        await interaction.response.send_message(f"Done.\n{table}", ephemeral=True)

    @app_commands.command(description="Remove what was set for this server, or for one person")
    @app_commands.describe(member="For whom; leave open for the whole server")
    async def clear(self, interaction: discord.Interaction[Client], member: discord.User | None = None) -> None:
        """Go back to what holds without the rules."""
        guild_id = _moderated(interaction)
        cleared = await self._rules.clear(guild_id, _user_id(member))
        said = "Done." if cleared else "Nothing was set there."
        table = await self._table(guild_id, member)
        await interaction.response.send_message(f"{said}\n{table}", ephemeral=True)

    async def _table(self, guild_id: GuildId, member: discord.User | None) -> str:
        limits = await self._line.limits(Requester(_user_id(member) or UserId(0), guild_id))
        whom = "everyone here" if member is None else f"<@{member.id}>"
        return "\n".join([f"Limits for {whom}:", *_lines(limits)])


def _lines(limits: Limits) -> list[str]:
    return [f"- **{name}** {limits[name].value:,} {MEANING[name]} — {limits[name].origin}" for name in LimitName]


def _user_id(member: discord.User | None) -> UserId | None:
    return None if member is None else UserId(member.id)


def _moderated(interaction: discord.Interaction[Client]) -> GuildId:
    """The server the person moderates; Discord's own check is only a default that admins can change."""
    assert interaction.guild_id is not None  # noqa: S101 - the group is guild only
    if not interaction.permissions.manage_guild:
        raise UserError("Only members with Manage Server can see and set limits.")
    return GuildId(interaction.guild_id)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(LimitsCog(client.app.rules, client.app.line))
