"""/presets: moderators let the ratings of a server choose among presets, and see how each is liked."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import GuildId, UserId
from bot.language import mark, say, sentence
from bot.policy.limits import SERVER
from bot.requests import presets as rules
from bot.requests import styles as style_rules
from bot.requests.presets import RULE, objection, presets_of
from bot.search.quality import interval
from bot.storage.cases import By, Cases
from bot.storage.presets import GROUP, PresetRatings
from bot.storage.rules import Rules
from bot.storage.styles import Style, Styles
from cogs import _cases, _people, _words
from cogs._lists import Choices, next_of_list

OFF = "off"
_HOW = mark(
    "-# A request that chooses no style, sampler, steps, guidance or seed gets one of these or the usual settings. "
    "What people like better is taken more often. One in {control:.0f} such requests gets the usual settings at "
    "random, and `/stats` compares both."
)
_ONE_IN = 1 / rules.CONTROL
_PRESET = mark("A preset has no words but `{prompt}`, and sets a sampler, steps or guidance.")


class PresetsCog(commands.Cog, name="Presets"):
    """Lets ratings choose, or no longer."""

    def __init__(self, cases: Cases, book: Rules, styles: Styles, ratings: PresetRatings) -> None:
        self._cases = cases
        self._rules = book
        self._styles = styles
        self._ratings = ratings

    @app_commands.command(
        description="Let ratings choose among styles without words, or see what they chose (moderators)"
    )
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.describe(
        styles="Styles without words, with commas between them; off ends it; leave it open to see what holds",
        reason="Why; kept with the case",
    )
    async def presets(
        self,
        interaction: discord.Interaction[Client],
        styles: app_commands.Range[str, 1, 300] | None = None,
        reason: app_commands.Range[str, 1, 300] | None = None,
    ) -> None:
        """Set the presets as a case, or show them."""
        guild_id = _people.moderated(interaction)
        if styles is None:
            await responses.send(interaction, _words.fitting(await self._state(guild_id)), ephemeral=True)
            return
        by = By(guild_id, UserId(interaction.user.id), reason or "")
        if styles.strip().lower() == OFF:
            case = await self._cases.change(by, "presets", SERVER, {}, [RULE])
        else:
            case = await self._cases.change(by, "presets", SERVER, {RULE: await self._named(guild_id, styles)})
        said = say("No change: the rules already say this.") if case is None else _cases.receipt(case)
        await responses.send(interaction, _words.fitting([said, *await self._state(guild_id)]), ephemeral=True)

    async def _named(self, guild_id: GuildId, typed: str) -> tuple[str, ...]:
        """The presets that a moderator named. Raises UserError for a style that cannot be one."""
        names = rules.checked(typed.split(","))
        if not names or len(names) > rules.MOST:
            raise UserError("Name one to {most} styles with commas between them, or `{off}`.", most=rules.MOST, off=OFF)
        known = await self._styles.of(guild_id)
        for name in names:
            style = style_rules.named(name, known)
            assert style is not None  # noqa: S101 - it is named
            if words := objection(style):
                raise UserError(words, style=name, preset=sentence(_PRESET))
        return names

    async def _state(self, guild_id: GuildId) -> list[str]:
        """What holds, and how each preset is liked by model."""
        names = presets_of(await self._rules.book(guild_id))
        if not names:
            return [say("Ratings choose no settings here. `/presets styles:` names the styles that they choose among.")]
        listed = ", ".join(f"`{name}`" for name in names)
        lines = [say("Ratings choose among {styles} and the usual settings.", styles=listed)]
        known = await self._styles.of(guild_id)
        for (model, arm), received in sorted(
            (await self._ratings.of(guild_id)).items(), key=lambda item: repr(item[0])
        ):
            if arm.style and not _is_current(known.get(arm.style), arm.version):
                continue
            low, high = interval(received.likes / received.people, received.people)
            lines.append(
                say(
                    "- {style} with `{model}`: {share:.0%} ({low:.0%}–{high:.0%}, {people} people)",
                    style=f"`{arm.style or say('usual')}`",
                    model=model,
                    share=received.likes / received.people,
                    low=low,
                    high=high,
                    people=received.people,
                )
            )
        lines.append(say("-# Ratings are hidden and have no effect until {people} people have rated.", people=GROUP))
        return [*lines, say(_HOW, control=_ONE_IN)]

    @presets.autocomplete("styles")
    async def _styles_here(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if interaction.guild_id is None or not _people.is_moderator(interaction):
            return []
        known = await self._styles.of(GuildId(interaction.guild_id))
        able = [name for name, style in known.items() if objection(style) is None]
        return next_of_list([OFF, *able] if "," not in typed else able, typed, lambda name: name in able, rules.MOST)


def _is_current(style: Style | None, version: int) -> bool:
    return style is not None and style.version == version


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(PresetsCog(app.cases, app.rules, app.styles, app.preset_ratings))
