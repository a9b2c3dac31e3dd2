"""The person and the channel of an interaction as a Requester and a Destination, and the check for moderators."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands

from bot.client import Client
from bot.errors import UserError
from bot.jobs import ChannelId, Destination, GuildId, Requester, RoleId, UserId
from bot.language import mark
from bot.storage.cases import By

Place = discord.TextChannel | discord.VoiceChannel | discord.ForumChannel | discord.Thread
"""A channel that a moderator can name in a command."""

NOT_A_MODERATOR = mark("Only members with Manage Server can do this.")


NOT_HERE = mark(
    "Pictures are painted only on servers, because the host of this bot has not opened direct messages. "
    "Use this command in a channel of a server that we are both on."
)


def is_served(interaction: discord.Interaction[Client]) -> bool:
    """Whether people may ask for pictures where an interaction comes from."""
    if interaction.channel_id is None:
        return False
    return interaction.guild_id is not None or interaction.client.app.config.discord.direct_messages


def place(interaction: discord.Interaction[Client]) -> GuildId:
    """The server of an interaction. Direct messages count as a server of their own, with the id of their channel.

    So no rule of a server holds there, and people see nothing of each other. Raises UserError where nothing is served.
    """
    if not is_served(interaction):
        raise UserError(NOT_HERE)
    assert interaction.channel_id is not None  # noqa: S101 - or it were not served
    return GuildId(interaction.guild_id or interaction.channel_id)


def open_to_messages(client: Client, *on: app_commands.Command[Any, ..., Any]) -> None:
    """Offer commands also in direct messages, if the host opened them."""
    if client.app.config.discord.direct_messages:
        for command in on:
            command.guild_only = False
            command.allowed_contexts = app_commands.AppCommandContext(guild=True, dm_channel=True)


def requester(interaction: discord.Interaction[Client]) -> Requester:
    """The person who started an interaction, with their roles. Raises UserError where nothing is served."""
    return as_requester(interaction.user, place(interaction))


def as_requester(user: discord.User | discord.Member, guild_id: GuildId) -> Requester:
    """A person in a server, with their roles, the highest first, if they are a member."""
    roles = user.roles if isinstance(user, discord.Member) else []
    return Requester(
        UserId(user.id), guild_id, tuple(RoleId(role.id) for role in reversed(roles) if not role.is_default())
    )


def destination(interaction: discord.Interaction) -> Destination:
    """The channel of an interaction, with the parent channel of a thread, because its rules apply there too."""
    assert interaction.channel_id is not None  # noqa: S101 - commands are used in channels
    parent_id = interaction.channel.parent_id if isinstance(interaction.channel, discord.Thread) else None
    return Destination(ChannelId(interaction.channel_id), parent_id=None if parent_id is None else ChannelId(parent_id))


def channels_of(channel: Place) -> list[ChannelId]:
    """A channel that a moderator named; a thread before its parent channel."""
    parent_id = getattr(channel, "parent_id", None)
    return [ChannelId(channel.id), *([] if parent_id is None else [ChannelId(parent_id)])]


def is_moderator(interaction: discord.Interaction) -> bool:
    """Whether a person moderates the server of an interaction: with Manage Server, which no single channel grants."""
    return interaction.permissions.manage_guild


def moderated(interaction: discord.Interaction) -> GuildId:
    """The server of a moderator's command. Raises UserError if the person has no right to Manage Server.

    Discord's own check is only a default that administrators can change.
    """
    assert interaction.guild_id is not None  # noqa: S101 - the groups are guild only
    if not is_moderator(interaction):
        raise UserError(NOT_A_MODERATOR)
    return GuildId(interaction.guild_id)


def by(interaction: discord.Interaction[Client], reason: str | None) -> By:
    """The moderator who gave a command, and their reason; raises UserError if they are no moderator."""
    return By(moderated(interaction), UserId(interaction.user.id), reason or "")
