"""/quota: what is left of the day's GPU time and money, and when the rest returns."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.language import say
from bot.policy.limits import QUOTA_WINDOW
from bot.policy.policy import Policy
from cogs import _people, _words

_SHOWN = 5


class Quota(commands.Cog):
    """Shows a person their own quota, and no other person's."""

    def __init__(self, policy: Policy, *, has_providers: bool) -> None:
        self._policy = policy
        self._has_providers = has_providers

    @app_commands.command(description="What is left of your quota here, and when the rest returns")
    @app_commands.guild_only()
    async def quota(self, interaction: discord.Interaction[Client]) -> None:
        """Show what is left, and the next times at which some of it returns."""
        requester, destination = _people.requester(interaction), _people.destination(interaction)
        ruling = await self._policy.ruling(requester, destination.channels)
        allowance = await self._policy.allowance(ruling)
        lines = [
            say(
                "**{left} of {pictures}** left: {time} of {most} of GPU time in 24 hours ({origin}).",
                left=allowance.pictures(allowance.left),
                pictures=_words.pictures(allowance.pictures(allowance.quota)),
                time=_words.seconds(allowance.left),
                most=_words.seconds(allowance.quota),
                origin=_words.origin(allowance.origin),
            )
        ]
        returning = [(at, seconds) for at, seconds in allowance.spent if seconds > 0]
        lines += [
            say("- {time} return {when}", time=_words.seconds(seconds), when=_words.relative(at + QUOTA_WINDOW))
            for at, seconds in returning[:_SHOWN]
        ]
        if len(returning) > _SHOWN:
            lines.append(say("- and {count} more", count=len(returning) - _SHOWN))
        if self._has_providers:
            purse = await self._policy.purse(ruling)
            lines += [f"- {_words.spent(fund)}" for fund in purse.funds]
        lines.append(
            say("-# Counted in pictures of the default model with default settings. What fails costs nothing.")
        )
        await responses.send(interaction, "\n".join(lines), ephemeral=True)


async def setup(client: Client) -> None:
    """Add the cog."""
    cog = Quota(client.app.policy, has_providers=bool(client.app.config.remote_models))
    _people.open_to_messages(client, cog.quota)
    await client.add_cog(cog)
