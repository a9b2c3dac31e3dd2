"""Where the message of a result is."""

from __future__ import annotations

import discord

from bot.jobs import Job


def link(client: discord.Client, job: Job) -> str:
    """The address of the message of a job; empty if it has none."""
    place = job.destination
    if place.message_id is None:
        return ""
    # Direct messages count as a server with the id of their channel, but Discord's addresses name them @me. An old
    # server has a channel with its id, too.
    guild_id: int = job.requester.guild_id
    is_direct = guild_id == place.channel_id and client.get_guild(guild_id) is None
    return f"https://discord.com/channels/{'@me' if is_direct else guild_id}/{place.channel_id}/{place.message_id}"
