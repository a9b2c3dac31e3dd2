"""/mod: pause, block, cancel, remove; every change is a numbered case, and most can be undone."""

from __future__ import annotations

import re

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
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
from bot.policy.limits import BLOCKED, PAUSED, QUOTA_FROM, SERVER, block_of
from bot.policy.policy import Policy
from bot.policy.words import check_room
from bot.queue.dispatcher import Dispatcher
from bot.requests.admission import Admission
from bot.storage.cases import Cases
from bot.storage.queue import Queue
from bot.storage.removals import Removals
from bot.storage.rules import Rules
from cogs import _cases, _people, _words
from cogs._cases import SHOWN, page, plain
from cogs._confirm import Confirmations
from cogs._lists import Choices
from cogs._people import Place
from cogs._server_settings import Reason, ServerSettings, place_of
from cogs._times import duration_of
from cogs.series_posts import SeriesPosts

_MESSAGE = re.compile(r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/(\d+)/(\d+)/)?(\d{15,20})")


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Moderation(
    ServerSettings, commands.GroupCog, group_name="mod", group_description="Pause, block, cancel, remove, and undo"
):
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
        super().__init__(client, rules, cases, admission, policy)
        self._removals = removals
        self._queue = queue
        self._dispatcher = dispatcher
        self._removal_notes = removal_notes
        self._confirmations = Confirmations(client, "mod")

    @app_commands.command(
        description="Pause painting on the server or in a channel; waiting requests keep their places"
    )
    @app_commands.describe(channel="Where; leave open for the whole server", reason="Why; kept with the case")
    async def pause(
        self, interaction: discord.Interaction[Client], channel: Place | None = None, reason: Reason | None = None
    ) -> None:
        """Stop starting and accepting requests."""
        by, subject = _people.by(interaction, reason), place_of(channel)

        async def do() -> str:
            case = await self._cases.change(by, "pause", subject, {PAUSED: True})
            if subject == SERVER:
                return _cases.said(case, say("Painting is paused for this server already."))
            return _cases.said(case, say("Painting is paused for {channel} already.", channel=_words.subject(subject)))

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
        subject = place_of(channel)
        case = await self._cases.change(_people.by(interaction, reason), "resume", subject, {}, [PAUSED])
        otherwise = say("Painting is not paused for {channel}.", channel=_words.subject(subject))
        if subject == SERVER:
            otherwise = say("Painting is not paused for this server.")
        await responses.send(interaction, _cases.said(case, otherwise), ephemeral=True)

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
        by = _people.by(interaction, reason)
        until = None if duration is None else to_text(utcnow() + duration_of(duration))
        case = await self._cases.change(by, "block", (Scope.PERSON, member.id), {BLOCKED: until})
        said = _cases.said(case, say("{person} is blocked already.", person=f"<@{member.id}>"))
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
        by = _people.by(interaction, reason)
        stands = block_of(await self._rules.book(by.guild_id), Requester(UserId(member.id), by.guild_id), utcnow())
        case = await self._cases.change(by, "unblock", (Scope.PERSON, member.id), {}, [BLOCKED]) if stands else None
        await responses.send(
            interaction, _cases.said(case, say("{person} is not blocked.", person=f"<@{member.id}>")), ephemeral=True
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
        by = _people.by(interaction, reason)
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
            return _cases.said(case, say("There is no such open request on this server."))

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
        case = await self._cases.change(
            _people.by(interaction, reason), "quota reset", (Scope.PERSON, member.id), values
        )
        await responses.send(interaction, _cases.said(case, say("This quota was reset a moment ago.")), ephemeral=True)

    @app_commands.command(description="Remove a result for good: from its message and from the disk")
    @app_commands.describe(message="The link of the message, or its id", reason="Why; kept with the case")
    async def delete(
        self, interaction: discord.Interaction[Client], message: str, reason: Reason | None = None
    ) -> None:
        """Remove the pictures of a message; the message says so."""
        by = _people.by(interaction, reason)
        match = _MESSAGE.fullmatch(message.strip())
        if match is None or (match[1] and int(match[1]) != by.guild_id):
            raise UserError(
                "That is not a link to a message on this server. Open the message's menu and copy its link."
            )
        case, _, cancelled = await self._removals.remove(by, MessageId(int(match[3])))
        self._dispatcher.stop(cancelled)
        await responses.send(interaction, _cases.receipt(case), ephemeral=True)
        await self._removal_notes.catch_up()

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
        by = _people.by(interaction, reason)
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
