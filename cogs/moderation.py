"""/mod: pause, block, cancel, remove; every change is a numbered case, and most can be undone."""

from __future__ import annotations

import re

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import IMAGES
from bot.delivery.removal_notes import RemovalNotes
from bot.errors import UserError
from bot.jobs import (
    GuildId,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Requester,
    RuleValue,
    Scope,
    Subject,
    UserId,
    to_text,
    utcnow,
)
from bot.language import say, say_many
from bot.policy.limits import BLOCKED, GALLERY, PAUSED, QUOTA_FROM, SERVER, THRESHOLDS, block_of, gallery_of
from bot.policy.picture_limits import PERCENT, THRESHOLD_RULES, check_thresholds
from bot.policy.policy import Policy
from bot.policy.words import check_room
from bot.queue.dispatcher import Dispatcher
from bot.requests.admission import Admission
from bot.requests.defaults import NAMES as DEFAULTS
from bot.requests.defaults import RULES as DEFAULT_RULES
from bot.requests.shapes import check_aspect
from bot.storage.cases import By, Case, Cases
from bot.storage.queue import Queue
from bot.storage.removals import Removals
from bot.storage.rules import Rules
from cogs import _cases, _people, _permissions, _words
from cogs._cases import SHOWN, page, plain
from cogs._confirm import Confirmations
from cogs._lists import Choices, aspect_choices, known_model, model_choices, usable_models
from cogs._people import Place
from cogs._times import duration_of
from cogs.series_posts import SeriesPosts

Reason = app_commands.Range[str, 1, 300]

FAVOURITES_NEEDED = 3
"""The threshold of a gallery that no moderator chose."""

_ALL = "everything"
_MESSAGE = re.compile(r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/(\d+)/(\d+)/)?(\d{15,20})")


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Moderation(commands.GroupCog, group_name="mod", group_description="Pause, block, cancel, remove, and undo"):
    """The commands of a server's moderators; they affect only this server."""

    quota = app_commands.Group(name="quota", description="The quotas of people")

    def __init__(
        self,
        client: Client,
        rules: Rules,
        cases: Cases,
        removals: Removals,
        queue: Queue,
        dispatcher: Dispatcher,
        removal_notes: RemovalNotes,
        admission: Admission,
        policy: Policy,
    ) -> None:
        self._policy = policy
        self._client = client
        self._rules = rules
        self._cases = cases
        self._removals = removals
        self._queue = queue
        self._dispatcher = dispatcher
        self._removal_notes = removal_notes
        self._admission = admission
        self._confirmations = Confirmations(client, "mod")

    @app_commands.command(
        description="Pause painting on the server or in a channel; waiting requests keep their places"
    )
    @app_commands.describe(channel="Where; leave open for the whole server", reason="Why; kept with the case")
    async def pause(
        self, interaction: discord.Interaction[Client], channel: Place | None = None, reason: Reason | None = None
    ) -> None:
        """Stop starting and accepting requests."""
        by, subject = _by(interaction, reason), _place(channel)

        async def do() -> str:
            case = await self._cases.change(by, "pause", subject, {PAUSED: True})
            if subject == SERVER:
                return _said(case, say("Painting is paused for this server already."))
            return _said(case, say("Painting is paused for {channel} already.", channel=_words.subject(subject)))

        if subject == SERVER:
            question = say(
                "This pauses painting on the whole server. Until you resume it, no request is started or accepted."
            )
            await self._confirmations.ask(interaction, question, say("Pause painting"), do)
        else:
            await responses.send(interaction, await do(), ephemeral=True)

    @app_commands.command(description="Continue painting after a pause")
    @app_commands.describe(channel="Where; leave open for the whole server", reason="Why; kept with the case")
    async def resume(
        self, interaction: discord.Interaction[Client], channel: Place | None = None, reason: Reason | None = None
    ) -> None:
        """Start and accept requests again."""
        subject = _place(channel)
        case = await self._cases.change(_by(interaction, reason), "resume", subject, {}, [PAUSED])
        otherwise = say("Painting is not paused for {channel}.", channel=_words.subject(subject))
        if subject == SERVER:
            otherwise = say("Painting is not paused for this server.")
        await responses.send(interaction, _said(case, otherwise), ephemeral=True)

    @app_commands.command(description="Refuse a person's requests")
    @app_commands.describe(
        member="The person",
        duration="For how long, like 30m, 12h, 7d; leave empty to block until you unblock",
        reason="Why; the person reads it, and it is kept with the case",
    )
    @app_commands.rename(duration="for")
    async def block(
        self,
        interaction: discord.Interaction[Client],
        member: discord.User,
        duration: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Refuse a person's requests from now on; their waiting requests are painted unless they are cancelled."""
        by = _by(interaction, reason)
        until = None if duration is None else to_text(utcnow() + duration_of(duration))
        case = await self._cases.change(by, "block", (Scope.PERSON, member.id), {BLOCKED: until})
        said = _said(case, say("{person} is blocked already.", person=f"<@{member.id}>"))
        if waiting := await self._queue.of_person(Requester(UserId(member.id), by.guild_id)):
            said += "\n" + say_many(
                "They have 1 request open; `/mod cancel member` cancels it.",
                "They have {count} requests open; `/mod cancel member` cancels them.",
                len(waiting),
            )
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(description="End a block: accept the person's requests again")
    @app_commands.describe(member="The person", reason="Why; kept with the case")
    async def unblock(
        self, interaction: discord.Interaction[Client], member: discord.User, reason: Reason | None = None
    ) -> None:
        """End a block."""
        by = _by(interaction, reason)
        stands = block_of(await self._rules.book(by.guild_id), Requester(UserId(member.id), by.guild_id), utcnow())
        case = await self._cases.change(by, "unblock", (Scope.PERSON, member.id), {}, [BLOCKED]) if stands else None
        await responses.send(
            interaction, _said(case, say("{person} is not blocked.", person=f"<@{member.id}>")), ephemeral=True
        )

    @app_commands.command(description="Cancel open requests: one, a person's, or all of this server")
    @app_commands.describe(
        job="One request",
        member="All requests of a person",
        everything="All requests of this server",
        reason="Why; kept with the case",
    )
    async def cancel(
        self,
        interaction: discord.Interaction[Client],
        job: str | None = None,
        member: discord.User | None = None,
        everything: bool = False,
        reason: Reason | None = None,
    ) -> None:
        """Cancel requests that wait or are being painted; they cost their people no quota."""
        by = _by(interaction, reason)
        if sum((job is not None, member is not None, everything)) != 1:
            raise UserError("Choose one: `job:`, `member:` or `everything:True`.")
        if job is not None and not (job.isascii() and job.isdigit() and len(job) < 18):
            raise UserError("That is not an open request of this server. Choose one from the list.")
        subject: Subject = SERVER
        if member is not None:
            subject = (Scope.PERSON, member.id)
        elif job is not None and (found := await self._queue.get(JobId(int(job)))) is not None:
            subject = (Scope.PERSON, found.requester.user_id)

        async def do() -> str:
            case, cancelled = await self._cases.cancel(
                by,
                subject,
                job_id=None if job is None else JobId(int(job)),
                user_id=None if member is None else UserId(member.id),
            )
            self._dispatcher.stop(cancelled)
            return _said(case, say("There is no such open request on this server."))

        if everything:
            question = say(
                "This cancels every request of this server that waits or is being painted. It cannot be undone."
            )
            await self._confirmations.ask(interaction, question, say("Cancel all requests"), do)
        else:
            await responses.send(interaction, await do(), ephemeral=True)

    @cancel.autocomplete("job")
    async def _open_jobs(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if interaction.guild_id is None or not interaction.permissions.manage_guild:
            return []
        jobs = await self._queue.open_in(GuildId(interaction.guild_id))
        choices = [app_commands.Choice(name=_about(job), value=str(job.id)) for job in jobs]
        return [choice for choice in choices if typed in choice.name][:25]

    @quota.command(name="reset", description="Stop counting what a person used of their quota so far")
    @app_commands.describe(member="The person", reason="Why; kept with the case")
    async def quota_reset(
        self, interaction: discord.Interaction[Client], member: discord.User, reason: Reason | None = None
    ) -> None:
        """Count only what the person uses from now on."""
        values: dict[str, RuleValue] = {QUOTA_FROM: to_text(utcnow())}
        case = await self._cases.change(_by(interaction, reason), "quota reset", (Scope.PERSON, member.id), values)
        await responses.send(interaction, _said(case, say("This quota was reset a moment ago.")), ephemeral=True)

    @app_commands.command(description="Remove a result for good: from its message and from the disk")
    @app_commands.describe(message="The link of the message, or its id", reason="Why; kept with the case")
    async def delete(
        self, interaction: discord.Interaction[Client], message: str, reason: Reason | None = None
    ) -> None:
        """Remove the pictures of a message; the message says so."""
        by = _by(interaction, reason)
        match = _MESSAGE.fullmatch(message.strip())
        if match is None or (match[1] and int(match[1]) != by.guild_id):
            raise UserError(
                "That is not a link to a message on this server. Open the message's menu and copy its link."
            )
        case, _, cancelled = await self._removals.remove(by, MessageId(int(match[3])))
        self._dispatcher.stop(cancelled)
        await responses.send(interaction, _cases.receipt(case), ephemeral=True)
        await self._removal_notes.catch_up()

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
        by = _by(interaction, reason)
        now = gallery_of(await self._rules.book(by.guild_id))
        if channel is None and threshold is None:
            case = await self._cases.change(by, "gallery", SERVER, {}, [GALLERY])
            await responses.send(interaction, _said(case, say("This server has no gallery.")), ephemeral=True)
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
        await responses.send(interaction, _said(case, say("The gallery is set like that already.")), ephemeral=True)

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
        by, subject = _by(interaction, reason), _place(channel)
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
        await responses.send(interaction, _said(case, say("The defaults are like that already.")), ephemeral=True)

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
        by, subject = _by(interaction, reason), _place(channel)
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
        await responses.send(interaction, _said(case, say("The thresholds are like that already.")), ephemeral=True)

    @defaults.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return model_choices(await usable_models(self._admission, interaction), typed)

    @defaults.autocomplete("aspect")
    async def _aspects(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return aspect_choices(typed)

    @app_commands.command(description="What moderators did here: who, when, what, and why")
    @app_commands.describe(
        case="One case by its number", member="Cases about a person", before="Cases older than this one"
    )
    async def cases(
        self,
        interaction: discord.Interaction[Client],
        case: app_commands.Range[int, 1, 2**31 - 1] | None = None,
        member: discord.User | None = None,
        before: app_commands.Range[int, 1, 2**31 - 1] | None = None,
    ) -> None:
        """List the newest cases, or show one."""
        guild_id = _people.moderated(interaction)
        if case is not None:
            found = [await self._cases.get(guild_id, case)]
        else:
            subject = None if member is None else (Scope.PERSON, member.id)
            found = await self._cases.latest(guild_id, SHOWN, before=before or 2**31, subject=subject)
        await responses.send(interaction, page(found), ephemeral=True)

    @app_commands.command(description="Undo a case: restore the values from before it")
    @app_commands.describe(case="The number of the case", reason="Why; kept with the new case")
    async def undo(
        self,
        interaction: discord.Interaction[Client],
        case: app_commands.Range[int, 1, 2**31 - 1],
        reason: Reason | None = None,
    ) -> None:
        """Undo a case, unless what it changed has been changed since."""
        by = _by(interaction, reason)
        # It may put terms back.
        posts = SeriesPosts.of(interaction.client)
        before = await posts.shown_titles(by.guild_id)
        undone = await self._cases.undo(by, case, check_room)
        await responses.send(interaction, _cases.receipt(undone), ephemeral=True)
        await posts.mask(before)

    @undo.autocomplete("case")
    async def _undoable(
        self, interaction: discord.Interaction[Client], typed: int | str
    ) -> list[app_commands.Choice[int]]:
        if interaction.guild_id is None or not interaction.permissions.manage_guild:
            return []
        cases = await self._cases.latest(GuildId(interaction.guild_id), 25)
        return [
            app_commands.Choice(
                name=f"{case.number}: {plain(_cases.change(case), interaction.guild)}"[:100], value=case.number
            )
            for case in cases
            if str(case.number).startswith(str(typed or ""))
        ]


def _by(interaction: discord.Interaction[Client], reason: str | None) -> By:
    """The moderator who gave the command, and their reason; raises UserError if they are no moderator."""
    return By(_people.moderated(interaction), UserId(interaction.user.id), reason or "")


def _place(channel: Place | None) -> Subject:
    return SERVER if channel is None else (Scope.CHANNEL, channel.id)


def _said(case: Case | None, otherwise: str) -> str:
    return otherwise if case is None else _cases.receipt(case)


def _about(job: Job) -> str:
    """A request without its words, which only the person who asked may see."""
    return say(
        "{number}: {pictures} with {model}, {status}",
        number=job.id,
        pictures=_words.amount(job.request),
        model=job.request.model,
        status=say("running") if job.status is JobStatus.RUNNING else say("queued"),
    )


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(
        Moderation(
            client,
            app.rules,
            app.cases,
            app.removals,
            app.queue,
            app.dispatcher,
            app.removal_notes,
            app.admission,
            app.policy,
        )
    )
