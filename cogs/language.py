"""/language: moderators choose the language of what everyone on the server reads."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.jobs import GuildId, UserId
from bot.language import NAMES, Language, say
from bot.policy.language import RULE, language_of
from bot.policy.limits import SERVER
from bot.policy.policy import Policy
from bot.storage.cases import By, Cases
from bot.storage.rules import Rules
from cogs import _cases, _people, _words

_DISCORDS = "discord"
"""The value that gives the server the language of Discord's settings again."""


class LanguageCog(commands.Cog, name="Language"):
    """Shows and sets the language of a server. Each person still reads what only they see in their own."""

    def __init__(self, cases: Cases, rules: Rules, policy: Policy) -> None:
        self._cases = cases
        self._rules = rules
        self._policy = policy

    @app_commands.command(description="Set the language of public messages here, or show it (moderators)")
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.describe(language="The language of what everyone here reads", reason="Why; kept with the case")
    @app_commands.choices(
        language=[
            app_commands.Choice(name="as in the server's settings in Discord", value=_DISCORDS),
            *(app_commands.Choice(name=name, value=language.value) for language, name in NAMES.items()),
        ]
    )
    async def language(
        self,
        interaction: discord.Interaction[Client],
        language: str | None = None,
        reason: app_commands.Range[str, 1, 300] | None = None,
    ) -> None:
        """Set the language as a case, or show it."""
        guild_id = _people.moderated(interaction)
        lines = []
        if language is not None:
            by = By(guild_id, UserId(interaction.user.id), reason or "")
            values = {} if language == _DISCORDS else {RULE: Language(language).value}
            case = await self._cases.change(by, "language", SERVER, values, [RULE])
            unchanged = say("No change: the rules already say this.")
            lines.append(unchanged if case is None else _cases.receipt(case))
        lines += await self._state(guild_id)
        await responses.send(interaction, _words.fitting(lines), ephemeral=True)

    async def _state(self, guild_id: GuildId) -> list[str]:
        """Which language holds, and why."""
        name = NAMES[await self._policy.language(guild_id)]
        if language_of(await self._rules.book(guild_id)) is None:
            holds = say(
                "The language of public messages here: {language}. It comes from the server's settings in Discord.",
                language=name,
            )
        else:
            holds = say("The language of public messages here: {language}. A moderator chose it.", language=name)
        return [holds, say("-# What only you see is in the language of your own Discord, if I speak it.")]


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(LanguageCog(app.cases, app.rules, app.policy))
