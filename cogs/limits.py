"""/limits: moderators see, set and explain the limits of the server, a channel, a role or a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import Book, ChannelId, GuildId, Requester, RoleId, RuleValue, Scope, Subject, UserId, utcnow
from bot.language import lasting, say
from bot.policy.limits import (
    MEANING,
    SERVER,
    LimitName,
    Limits,
    block_of,
    candidates,
    check_values,
    lowered,
    pause_of,
)
from bot.policy.policy import Policy
from bot.storage.cases import By, Cases, Values
from bot.storage.refusals import Refusals
from bot.storage.rules import Rules
from cogs import _cases, _people, _words
from cogs._confirm import Confirmations
from cogs._limit_values import ALL, NONE, LimitValues, channels_named, pixels_of, refusal_said, short, was
from cogs._lists import Choices, next_of_list
from cogs._people import Place

_REFUSALS = 5
_MOST_CHOSEN = 75
"""Characters of a list that was typed already: after more, a choice of at most 100 has no space for another entry."""
_NO_MEMBER = UserId(0)
"""Stands for any person where a command is about a server, a channel or a role."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What a command is about, and a requester in a place to whom the rules of that subject apply."""

    subject: Subject
    who: Requester
    where: tuple[ChannelId, ...]


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class LimitsCog(commands.GroupCog, group_name="limits", group_description="What people may use here"):
    """Shows and changes the limits of one server; a change applies at once, also to waiting requests."""

    def __init__(
        self,
        client: Client,
        rules: Rules,
        cases: Cases,
        refusals: Refusals,
        policy: Policy,
        models: tuple[ModelConfig, ...],
    ) -> None:
        self._rules = rules
        self._cases = cases
        self._refusals = refusals
        self._policy = policy
        self._models = models
        self._values = LimitValues(policy, models)
        self._confirmations = Confirmations(client, "limits")

    @app_commands.command(description="Show the limits of this server, a channel, a role or a person")
    @app_commands.describe(member="Limits of a person", role="Limits of a role", channel="Limits in a channel")
    async def show(
        self,
        interaction: discord.Interaction[Client],
        member: discord.User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
    ) -> None:
        """Show each limit and who decided it."""
        target = _target(interaction, member, role, channel)
        lines = self._values.table(await self._policy.limits(target.who, target.where), target.subject)
        await responses.send(interaction, _words.fitting(lines), ephemeral=True)

    @app_commands.command(description="Set limits for this server, a channel, a role or a person")
    @app_commands.describe(
        pace="Pictures and frames per minute for one person; a request above that waits",
        depth="Requests of one person that may wait at a time",
        quota="Painting time of one person in any 24 hours, like 10 min, 600 s or 500 pictures",
        money="US cents of one person in any 24 hours, for models of providers",
        server_money="US cents of the whole server in any 24 hours, for models of providers",
        pixels="The largest picture, like 1024x1024; a larger one is made smaller",
        steps="The most denoising steps; a request for more gets this many",
        images="The most pictures of one request; a request for more gets this many",
        animation="The most pixels of all frames of an animation together",
        permutations="The most prompts that one prompt with choices can make",
        models="The models to choose from, like sd15, sdxl; or all, or none",
        weight="Share of the painting time when many wait: 100 is usual, 200 twice as much",
        channels="Where people may ask, like #art #sketches; or all, or none",
        member="For one person; leave member, role and channel empty for the whole server",
        role="For everyone with a role",
        channel="For everyone in a channel",
        reason="Why; kept with the case",
    )
    async def set(
        self,
        interaction: discord.Interaction[Client],
        pace: int | None = None,
        depth: int | None = None,
        quota: str | None = None,
        money: int | None = None,
        server_money: int | None = None,
        pixels: str | None = None,
        steps: int | None = None,
        images: int | None = None,
        animation: int | None = None,
        permutations: int | None = None,
        models: str | None = None,
        weight: int | None = None,
        channels: str | None = None,
        member: discord.User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        reason: app_commands.Range[str, 1, 300] | None = None,
    ) -> None:
        """Set the limits that are given, and keep the others."""
        target = _target(interaction, member, role, channel)
        given: dict[LimitName, RuleValue] = {
            LimitName.PACE: pace,
            LimitName.DEPTH: depth,
            LimitName.QUOTA: None if quota is None else self._values.quota(quota),
            LimitName.MONEY: money,
            LimitName.SERVER_MONEY: server_money,
            LimitName.PIXELS: None if pixels is None else pixels_of(pixels),
            LimitName.STEPS: steps,
            LimitName.IMAGES: images,
            LimitName.ANIMATION: animation,
            LimitName.PERMUTATIONS: permutations,
            LimitName.WEIGHT: weight,
        }
        values: dict[LimitName, RuleValue] = {name: value for name, value in given.items() if value is not None}
        if models is not None:
            values[LimitName.MODELS] = self._values.models(models)
        if channels is not None:
            values[LimitName.CHANNELS] = channels_named(channels, interaction)
        if not values:
            raise UserError("Say what to set: {limits}.", limits=", ".join(map(_words.option, LimitName)))
        check_values(target.subject[0], values)
        await self._change(interaction, target, "limits set", values, (), reason)

    @app_commands.command(description="Remove limits that were set for this server, a channel, a role or a person")
    @app_commands.describe(
        limit="Which limit; leave empty for all of them",
        member="For one person; leave member, role and channel empty for the whole server",
        role="For everyone with a role",
        channel="For everyone in a channel",
        reason="Why; kept with the case",
    )
    @app_commands.choices(limit=[app_commands.Choice(name=f"{n} — {MEANING[n]}", value=n.value) for n in LimitName])
    async def clear(
        self,
        interaction: discord.Interaction[Client],
        limit: str | None = None,
        member: discord.User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        reason: app_commands.Range[str, 1, 300] | None = None,
    ) -> None:
        """Remove rules, so that the more general ones apply again."""
        target = _target(interaction, member, role, channel)
        names = tuple(LimitName) if limit is None else (LimitName(limit),)
        await self._change(interaction, target, "limits clear", {}, names, reason)

    @app_commands.command(description="Which rule gives a person which limit, and why they were refused lately")
    @app_commands.describe(member="The person", channel="Where they ask; leave empty for this channel")
    async def explain(
        self, interaction: discord.Interaction[Client], member: discord.User, channel: Place | None = None
    ) -> None:
        """Show the rules that apply to a person, the winning one first, and the person's latest refusals."""
        guild_id = _people.moderated(interaction)
        who = _people.as_requester(member, guild_id)
        where = _people.destination(interaction).channels if channel is None else _channels(channel)
        book = await self._rules.book(guild_id)
        lines = [
            say(
                "Limits for {person} in {channel}, and which rules they override:",
                person=f"<@{member.id}>",
                channel=f"<#{where[0]}>",
            )
        ]
        if block := block_of(book, who, utcnow()):
            lines.append(
                say("- ⛔ blocked")
                if block.until is None
                else say("- ⛔ blocked until {when}", when=_words.moment(block.until))
            )
        if paused := pause_of(book, where):
            lines.append(
                say("- ⏸️ painting is paused for this server")
                if paused == SERVER
                else say("- ⏸️ painting is paused for {subject}", subject=_words.subject(paused))
            )
        for name, limits in candidates(self._policy.defaults, book, who, where).items():
            if not self._values.is_shown(name):
                continue
            line = self._values.line(name, limits[0])
            for limit in limits[1:]:
                line = say("{limit}; instead of {other}", limit=line, other=short(name, limit))
            lines.append(line)
        refusals = await self._refusals.of_person(who, _REFUSALS)
        lines += ["", say("Their latest refusals:") if refusals else say("None of their requests was refused lately.")]
        lines += map(refusal_said, refusals)
        await responses.send(interaction, _words.fitting(lines), ephemeral=True)

    @set.autocomplete("models")
    async def _models_typed(self, _: discord.Interaction[Client], typed: str) -> Choices:
        names = [model.name for model in self._models]
        # These stand alone.
        alone = [] if "," in typed else [ALL, NONE]
        return next_of_list([*alone, *names], typed, lambda name: name.lower() in names)

    @set.autocomplete("channels")
    async def _channels_typed(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        guild = interaction.guild
        channels = [] if guild is None else guild.text_channels
        *before, last = typed.split() if typed and not typed.endswith(" ") else [*typed.split(), ""]
        chosen = "".join(f"{entry} " for entry in before)
        choices = [
            app_commands.Choice(name=f"{chosen}#{channel.name}"[:100], value=f"{chosen}<#{channel.id}>")
            for channel in channels
            if last.strip("#").lower() in channel.name and len(chosen) < _MOST_CHOSEN
        ]
        return [app_commands.Choice(name=ALL, value=ALL), *choices][:25]

    async def _change(
        self,
        interaction: discord.Interaction[Client],
        target: _Target,
        action: str,
        values: Mapping[LimitName, RuleValue],
        remove: tuple[LimitName, ...],
        reason: str | None,
    ) -> None:
        """Change the rules of a subject; ask for confirmation if that lowers a limit for several people."""
        by = By(target.who.guild_id, UserId(interaction.user.id), reason or "")
        subject = target.subject
        plain: Values = {name.value: value for name, value in values.items()}

        book = await self._rules.book(by.guild_id)
        before = self._policy.limits_in(book, target.who, target.where)
        after = self._policy.limits_in(_with(book, subject, plain, remove), target.who, target.where)

        async def do() -> str:
            case = await self._cases.change(by, action, subject, plain, [name.value for name in remove])
            earlier = {name.value: was(name, before[name]) for name in LimitName}
            said = say("No change: the rules already say this.") if case is None else _cases.receipt(case, earlier)
            now = await self._policy.limits(target.who, target.where)
            changed = () if case is None else {*case.before, *case.after}
            return _words.fitting([said, *self._values.table(now, subject, changed)])

        less = lowered(before, after)
        if less and subject[0] is not Scope.PERSON:
            changes = "; ".join(self._values.lowered(name, before[name], after[name]) for name in less)
            question = say(
                "For everyone in {channel}, this lowers {limits}. It applies at once: a waiting request that is over a "
                "new limit is refused when its turn comes.",
                channel=_words.subject(subject),
                limits=changes,
            )
            if subject == SERVER:
                question = say(
                    "For everyone here, this lowers {limits}. It applies at once: a waiting request that is over a new "
                    "limit is refused when its turn comes.",
                    limits=changes,
                )
            if subject[0] is Scope.ROLE:
                question = say(
                    "For everyone with {role}, this lowers {limits}. It applies at once: a waiting request that is "
                    "over a new limit is refused when its turn comes.",
                    role=_words.subject(subject),
                    limits=changes,
                )
            await self._confirmations.ask(interaction, question, say("Lower the limits"), do)
        elif less and (nothing := await self._nothing_left(target, less, after)):
            await self._confirmations.ask(interaction, nothing, say("Lower the limits"), do)
        else:
            await responses.send(interaction, await do(), ephemeral=True)

    async def _nothing_left(self, target: _Target, less: Collection[LimitName], after: Limits) -> str:
        """The question before a change after which a person can paint nothing; empty if they still can."""
        person = _words.subject(target.subject)
        for name in (LimitName.MODELS, LimitName.CHANNELS):
            if name in less and after[name].value == ():
                return say(
                    "With this, {person} can paint nothing: {limit}. It applies at once, also to waiting requests.",
                    person=person,
                    limit=_words.limit_said(name, ()),
                )
        if LimitName.QUOTA not in less:
            return ""
        allowance = await self._policy.allowance(await self._policy.ruling(target.who, target.where))
        quota, usual = after.quota.value, self._policy.usual_seconds()
        if quota - allowance.used >= usual:
            return ""
        return say(
            "With this, {person} can paint nothing for now: {quota} of painting time is allowed, {used} is used, and a "
            "usual picture takes about {usual}. It applies at once, also to waiting requests.",
            person=person,
            quota=lasting(quota),
            used=lasting(allowance.used),
            usual=lasting(usual),
        )


def _subject(
    guild_id: GuildId, member: discord.User | None, role: discord.Role | None, channel: Place | None
) -> Subject:
    """The subject of a command. Raises UserError if the options name more than one."""
    if sum(option is not None for option in (member, role, channel)) > 1:
        raise UserError("Choose one: a member, a role or a channel. Leave all three empty for the whole server.")
    if member is not None:
        return (Scope.PERSON, member.id)
    if role is not None:
        if role.id == guild_id:
            raise UserError("Everyone has this role. Leave the role empty to set limits for the whole server.")
        return (Scope.ROLE, role.id)
    return SERVER if channel is None else (Scope.CHANNEL, channel.id)


def _target(
    interaction: discord.Interaction[Client],
    member: discord.User | None,
    role: discord.Role | None,
    channel: Place | None,
) -> _Target:
    """What a moderator's command is about. Raises UserError for more than one subject, or if they are no moderator."""
    guild_id = _people.moderated(interaction)
    subject = _subject(guild_id, member, role, channel)
    if member is not None:
        return _Target(subject, _people.as_requester(member, guild_id), ())
    roles = (RoleId(subject[1]),) if subject[0] is Scope.ROLE else ()
    where = () if channel is None else _channels(channel)
    return _Target(subject, Requester(_NO_MEMBER, guild_id, roles), where)


def _channels(channel: Place) -> tuple[ChannelId, ...]:
    if isinstance(channel, discord.Thread):
        return ChannelId(channel.id), ChannelId(channel.parent_id)
    return (ChannelId(channel.id),)


def _with(book: Book, subject: Subject, values: Values, remove: tuple[LimitName, ...]) -> Book:
    """The rules as they would be after a change."""
    kept = {name: value for name, value in book.get(subject, {}).items() if name not in remove}
    return {**book, subject: {**kept, **values}}


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(LimitsCog(client, app.rules, app.cases, app.refusals, app.policy, app.config.models))
