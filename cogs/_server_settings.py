"""What moderators set for a server: the gallery, the defaults, and how explicit pictures may be."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import IMAGES
from bot.errors import UserError
from bot.jobs import RuleValue, Scope, Subject
from bot.language import say
from bot.policy.limits import GALLERY, SERVER, THRESHOLDS, gallery_of
from bot.policy.picture_limits import PERCENT, THRESHOLD_RULES, check_thresholds
from bot.policy.policy import Policy
from bot.requests.admission import Admission
from bot.requests.defaults import NAMES as DEFAULTS
from bot.requests.defaults import RULES as DEFAULT_RULES
from bot.requests.shapes import check_aspect
from bot.storage.cases import Cases
from bot.storage.rules import Rules
from cogs import _cases, _people, _permissions, _words
from cogs._lists import Choices, aspect_choices, known_model, model_choices, usable_models
from cogs._people import Place

Reason = app_commands.Range[str, 1, 300]

FAVOURITES_NEEDED = 3
"""The threshold of a gallery that no moderator chose."""

_ALL = "everything"


class ServerSettings(commands.Cog):
    """The commands of `/mod` that set something for a server or a channel; the cog adds its other commands."""

    def __init__(self, client: Client, rules: Rules, cases: Cases, admission: Admission, policy: Policy) -> None:
        self._client = client
        self._rules = rules
        self._cases = cases
        self._admission = admission
        self._policy = policy

    @app_commands.command(description="Copy the results that people like best to a channel; without options, stop that")
    @app_commands.describe(
        channel="The gallery; leave both open to stop copying results",
        threshold="How many people must favourite a result with ❤️ or ⭐, besides the one who asked for it; usually 3",
        reason="Why; kept with the case",
    )
    async def gallery(
        self,
        interaction: discord.Interaction[Client],
        channel: discord.TextChannel | discord.Thread | None = None,
        threshold: app_commands.Range[int, THRESHOLDS[0], THRESHOLDS[1]] | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Set the gallery of the server, change it, or end it."""
        by = _people.by(interaction, reason)
        now = gallery_of(await self._rules.book(by.guild_id))
        if channel is None and threshold is None:
            case = await self._cases.change(by, "gallery", SERVER, {}, [GALLERY])
            await responses.send(interaction, _cases.said(case, say("This server has no gallery.")), ephemeral=True)
            return
        if channel is None and now is None:
            raise UserError("This server has no gallery yet. Name its channel too, as in `/mod gallery channel:#best`.")
        if channel is not None and (
            missing := _permissions.missing_to_post(channel.permissions_for(channel.guild.me), channel)
        ):
            raise UserError(
                "I cannot post in {channel}, because I lack these permissions there: {permissions}. Nothing was "
                "changed.",
                channel=f"<#{channel.id}>",
                permissions=_permissions.listed(missing),
            )
        place = channel.id if channel is not None else now.channel_id if now is not None else 0
        people = threshold or (now.threshold if now is not None else FAVOURITES_NEEDED)
        case = await self._cases.change(by, "gallery", SERVER, {GALLERY: (place, people)})
        await responses.send(
            interaction, _cases.said(case, say("The gallery is set like that already.")), ephemeral=True
        )

    @app_commands.command(description="Set what requests here get if people choose nothing; without options, show it")
    @app_commands.describe(
        images="How many pictures",
        aspect="The shape, like 16:9, or a size like 768x512",
        model="The model that paints",
        channel="Where; leave open for the whole server",
        clear="A default to remove",
        reason="Why; kept with the case",
    )
    @app_commands.choices(clear=[app_commands.Choice(name=name, value=name) for name in (*DEFAULTS, _ALL)])
    async def defaults(
        self,
        interaction: discord.Interaction[Client],
        images: app_commands.Range[int, *IMAGES] | None = None,
        aspect: str | None = None,
        model: str | None = None,
        channel: Place | None = None,
        clear: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Set or clear the defaults of the server or of a channel, or show them."""
        by, subject = _people.by(interaction, reason), place_of(channel)
        typed = {"images": images, "aspect": None if aspect is None else aspect.strip(), "model": model}
        values: dict[str, RuleValue] = {name: value for name, value in typed.items() if value is not None}
        if aspect is not None:
            check_aspect(aspect, self._admission.models[0])
        if model is not None:
            values["model"] = known_model(self._admission, model)
        cleared = DEFAULTS if clear == _ALL else (clear,) if clear else ()
        if both := next((name for name in cleared if name in values), None):
            raise UserError(
                "You set {option} and clear it in one command. Do one of the two.", option=_words.option(both)
            )
        if not values and not cleared:
            rules = (await self._rules.book(by.guild_id)).get(subject, {})
            await responses.send(interaction, _cases.defaults_of(subject, rules), ephemeral=True)
            return
        changes = {DEFAULT_RULES[name]: value for name, value in values.items()}
        case = await self._cases.change(by, "defaults", subject, changes, [DEFAULT_RULES[name] for name in cleared])
        await responses.send(interaction, _cases.said(case, say("The defaults are like that already.")), ephemeral=True)

    @app_commands.command(description="Set how explicit pictures may be here; without options, show it")
    @app_commands.describe(
        block="Pictures with this score or more, in percent, are not shown; a lower number is stricter",
        spoiler="Pictures with this score or more, in percent, get a spoiler; a lower number is stricter",
        channel="Where; leave open for the whole server",
        clear="A threshold to remove",
        reason="Why; kept with the case",
    )
    @app_commands.choices(clear=[app_commands.Choice(name=name, value=name) for name in (*THRESHOLD_RULES, _ALL)])
    async def pictures(
        self,
        interaction: discord.Interaction[Client],
        block: app_commands.Range[int, PERCENT[0], PERCENT[1]] | None = None,
        spoiler: app_commands.Range[int, PERCENT[0], PERCENT[1]] | None = None,
        channel: Place | None = None,
        clear: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Set or clear the thresholds of the safety check for the server or a channel, or show them."""
        by, subject = _people.by(interaction, reason), place_of(channel)
        values: dict[str, RuleValue] = {
            THRESHOLD_RULES[name]: value
            for name, value in (("block", block), ("spoiler", spoiler))
            if value is not None
        }
        cleared = [THRESHOLD_RULES[name] for name in THRESHOLD_RULES if clear in (name, _ALL)]
        if both := next((name for name, rule in THRESHOLD_RULES.items() if rule in values and rule in cleared), None):
            raise UserError(
                "You set {option} and clear it in one command. Do one of the two.", option=_words.option(both)
            )
        where = [] if channel is None else _people.channels_of(channel)
        if not values and not cleared:
            limits = await self._policy.picture_limits(by.guild_id, where)
            rules = (await self._rules.book(by.guild_id)).get(subject, {})
            words = _cases.thresholds_of(subject, rules, limits, is_off=self._client.app.config.engine.safety == "off")
            await responses.send(interaction, words, ephemeral=True)
            return
        restricted = self._policy.is_age_restricted(by.guild_id, where)
        check_thresholds(self._policy.defaults, values, subject, is_age_restricted=restricted)
        case = await self._cases.change(by, "pictures", subject, values, cleared)
        await responses.send(
            interaction, _cases.said(case, say("The thresholds are like that already.")), ephemeral=True
        )

    @defaults.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return model_choices(await usable_models(self._admission, interaction), typed)

    @defaults.autocomplete("aspect")
    async def _aspects(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return aspect_choices(typed)


def place_of(channel: Place | None) -> Subject:
    """The channel, or without one the server."""
    return SERVER if channel is None else (Scope.CHANNEL, channel.id)
