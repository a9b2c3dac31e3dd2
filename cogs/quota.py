"""/quota: what is left of the day's painting time and money, and when the rest returns."""

from __future__ import annotations

from datetime import datetime, timedelta

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.language import lasting, say
from bot.policy.limits import QUOTA_WINDOW
from bot.policy.policy import Policy
from cogs import _bills, _people, _words

_APART = timedelta(hours=1)
"""Two times that are closer together are told as one."""


class Quota(commands.Cog):
    """Shows a person their own quota, and no other person's."""

    def __init__(self, policy: Policy, *, has_providers: bool) -> None:
        self._policy = policy
        self._has_providers = has_providers

    @app_commands.command(description="What is left of your quota here, and when the rest returns")
    @app_commands.guild_only()
    async def quota(self, interaction: discord.Interaction[Client]) -> None:
        """Show what is left, and when the rest returns."""
        requester, destination = _people.requester(interaction), _people.destination(interaction)
        ruling = await self._policy.ruling(requester, destination.channels)
        allowance = await self._policy.allowance(ruling)
        usual = self._policy.usual_seconds()
        lines = [
            say(
                "**{left} of {quota}** of painting time is left: {pictures} ({origin}).",
                left=lasting(allowance.left),
                quota=lasting(allowance.quota),
                pictures=_words.usual_pictures(allowance.left, usual),
                origin=_words.origin(allowance.origin),
            )
        ]
        if returning := [(at + QUOTA_WINDOW, seconds) for at, seconds in allowance.spent if seconds > 0]:
            lines.append(_returns(*returning[0], returning[-1][0]))
        if self._has_providers:
            purse = await self._policy.purse(ruling)
            lines += [f"- {_bills.spent(fund)}" for fund in purse.funds]
        lines.append(
            say(
                "-# Painting time is how long the computer works on your pictures, and what you use comes back after "
                "24 hours. A usual picture takes about {time} now, less if several are painted together. What fails "
                "costs nothing.",
                time=lasting(usual),
            )
        )
        await responses.send(interaction, "\n".join(lines), ephemeral=True)


def _returns(at: datetime, seconds: float, last: datetime) -> str:
    """When what is used of a quota returns: the first `seconds` of it, and the last of it if that is much later."""
    if last - at < _APART:
        return say("-# What you used is all back on {when}.", when=_words.moment(last))
    return say(
        "-# {time} of what you used returns {when}, and all of it is back on {last}.",
        time=lasting(seconds),
        when=_words.relative(at),
        last=_words.moment(last),
    )


async def setup(client: Client) -> None:
    """Add the cog."""
    cog = Quota(client.app.policy, has_providers=bool(client.app.config.remote_models))
    _people.open_to_messages(client, cog.quota)
    await client.add_cog(cog)
