"""Reports: members report a result, moderators decide about it, and both hear what became of it."""

from __future__ import annotations

import re

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.delivery.removal_notes import RemovalNotes
from bot.errors import StorageError, UserError
from bot.jobs import ChannelId, GuildId, Job, JobId, MessageId, PictureRef, Scope, UserId
from bot.language import mark, say, say_many
from bot.policy.limits import BLOCKED, LOG, SERVER
from bot.queue.dispatcher import Dispatcher
from bot.storage.cases import By, Case, Cases
from bot.storage.member_reports import MemberReports, Report
from bot.storage.queue import Queue
from bot.storage.removals import Removals
from cogs import _cases, _people, _permissions, _targets, _views, _words
from cogs._buttons import CustomId, add_cog, button, pressed, submitted
from cogs._forms import Submission, form, text_field
from cogs._posting import own_messages, translated
from cogs._verdicts import Verdict, classify
from cogs.forms import Forms

MOST_REASON = 500
_SHOWN_REASONS = 5
_LINK = re.compile(r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/(\d+)/(\d+)/)?(\d{15,20})")
NOT_OURS = mark(
    "Only my own results can be reported to the moderators here. Discord has a report of its own for messages."
)
FILED = mark(
    "Reported to the moderators of this server. When they have decided, I tell you in a direct message, and `/report` "
    "without options shows it, too."
)
NO_REPORTS = mark("No report waits for a moderator.")
_NEEDED_TO_LOG = ("read_messages", "send_messages", "read_message_history")


class ReportsCog(commands.Cog, name="Reports"):
    """The menu *Report*, /report, and what moderators do with reports; also the poster of `bot.delivery.notices`."""

    def __init__(
        self,
        client: Client,
        queue: Queue,
        reports: MemberReports,
        cases: Cases,
        removals: Removals,
        removal_notes: RemovalNotes,
        dispatcher: Dispatcher,
    ) -> None:
        self._dispatcher = dispatcher
        self._client = client
        self._queue = queue
        self._reports = reports
        self._cases = cases
        self._removals = removals
        self._removal_notes = removal_notes
        self._menu = app_commands.ContextMenu(name="Report", callback=self._report_message)
        self._menu.guild_only = True

    async def cog_load(self) -> None:
        """Add the entry of the menu of a message, and register as the poster of notices."""
        self._client.tree.add_command(self._menu)
        self._client.app.notices.attach(self)

    async def _report_message(self, interaction: discord.Interaction[Client], message: discord.Message) -> None:
        """Ask why a result is reported."""
        job = await self._shown_by(interaction, MessageId(message.id))
        fields = [
            text_field("reason", say("What is wrong with it?"), hint=say("May stay empty"), most=MOST_REASON, long=True)
        ]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("report", PictureRef(job.id))), say("Report to the moderators"), fields)
        )

    @submitted("report")
    async def report_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Report the result."""
        await self._file(interaction, known.about.job_id, filled.texts.get("reason", "")[:MOST_REASON])

    @app_commands.command(description="Report a result to the moderators; without options, see your reports")
    @app_commands.guild_only()
    @app_commands.describe(message="The link of the message, or its id", reason="What is wrong with it")
    async def report(
        self,
        interaction: discord.Interaction[Client],
        message: str | None = None,
        reason: app_commands.Range[str, 1, MOST_REASON] | None = None,
    ) -> None:
        """Report a result, or show what became of the person's reports."""
        if message is None:
            reports = await self._reports.of_person(UserId(interaction.user.id), _people.place(interaction))
            lines = [f"- {_words.pair(_words.past(report.opened_at), _became(report))}" for report in reports]
            words = (
                [say("**Your reports here**"), *lines] if lines else [say("You have reported nothing on this server.")]
            )
            await responses.send(interaction, _words.fitting(words), ephemeral=True)
            return
        match = _LINK.fullmatch(message.strip())
        if match is None or (match[1] and int(match[1]) != interaction.guild_id):
            raise UserError(
                "That is not a link to a message on this server. Open the message's menu and copy its link, or choose "
                "*Report* in that menu."
            )
        job = await self._shown_by(interaction, MessageId(int(match[3])))
        await self._file(interaction, job.id, reason or "")

    async def _shown_by(self, interaction: discord.Interaction[Client], message_id: MessageId) -> Job:
        """The result that a message shows, or of which it is a copy. Raises UserError if it is none of this server."""
        jobs = await self._queue.shown_by(message_id) or await self._queue.copied_by(message_id)
        job = await self._queue.get(jobs[0]) if jobs else None
        if job is None or job.requester.guild_id != _people.place(interaction) or interaction.guild_id is None:
            raise UserError(NOT_OURS)
        return job

    async def _file(self, interaction: discord.Interaction[Client], job_id: JobId, reason: str) -> None:
        """Report a result. Raises UserError for one that is gone, not theirs to see, or their own."""
        job, _ = await _targets.result(self._queue, interaction, job_id)
        if interaction.guild_id is None or not await self._may_see(job, interaction):
            raise UserError(_targets.NO_RESULT)
        if job.requester.user_id == interaction.user.id:
            raise UserError("This is your own result: react with ❌ to delete it.")
        await self._reports.add(job.requester.guild_id, job, UserId(interaction.user.id), reason)
        await responses.send(interaction, say(FILED), ephemeral=True)

    async def _may_see(self, job: Job, interaction: discord.Interaction[Client]) -> bool:
        """Whether the person may read the channel of a result, or a gallery that shows it."""
        if _targets.may_see(job, interaction):
            return True
        galleries = await self._queue.galleries(job.id)
        return any(_targets.may_read(channel_id, interaction) for channel_id in galleries)

    async def show_next(self, interaction: discord.Interaction[Client], after: int = 0) -> None:
        """Show a moderator the next open report, with its pictures behind spoilers."""
        guild_id = _people.moderated(interaction)
        report, count = await self._reports.next_open(guild_id, after)
        if report is None:
            words = say(NO_REPORTS)
            if count:
                words = say("That was the last one. `/mod reports` begins with the oldest again.")
            await responses.send(interaction, words, ephemeral=True)
            return
        await responses.defer(interaction, ephemeral=True, thinking=True)
        job, pictures = await _targets.result(self._queue, interaction, report.job_id)
        words = _about(report, job, await self._reports.reasons(report), count)
        view = _controls(report)
        try:
            images = await self._queue.read(pictures)
            files = _views.result_files(job, [image.png for image in images], spoiler=True)
            await interaction.followup.send(words, files=files, view=view, ephemeral=True)
        except (StorageError, discord.HTTPException) as error:
            if isinstance(error, discord.HTTPException) and classify(error) is not Verdict.TOO_LARGE:
                raise
            await interaction.followup.send(
                f"{words}\n{say('-# The link shows the pictures.')}", view=view, ephemeral=True
            )

    @pressed("reportnext")
    async def next_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the report after this one."""
        await self.show_next(interaction, about.job_id)

    @pressed("reportremove")
    async def remove_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Remove the result; the report ends with it."""
        _, job, by = await self._decided(interaction, about)
        if job.destination.message_id is None:
            raise UserError(_words.EXPIRED)
        case, _, cancelled = await self._removals.remove(by, job.destination.message_id)
        self._dispatcher.stop(cancelled)
        await responses.edit(interaction, _cases.receipt(case), view=None, attachments=[])
        await self._removal_notes.catch_up()

    @pressed("reportblock")
    async def block_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Block the person who asked for the result; the report stays open."""
        report, job, by = await self._decided(interaction, about)
        who = job.requester.user_id
        case = await self._cases.change(by, "block", (Scope.PERSON, who), {BLOCKED: None})
        blocked = say("{person} is blocked already.", person=f"<@{who}>")
        said = blocked if case is None else _cases.receipt(case)
        still = say("Report {number} is still open: remove the result, or dismiss the report.", number=report.id)
        await responses.send(interaction, f"{said}\n{still}", ephemeral=True)

    @pressed("reportdismiss")
    async def dismiss_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """End the report and leave the result."""
        report, job, by = await self._decided(interaction, about)
        case = await self._reports.dismiss(by, report, job.requester.user_id)
        await responses.edit(interaction, _cases.receipt(case), view=None, attachments=[])

    async def _decided(self, interaction: discord.Interaction[Client], about: PictureRef) -> tuple[Report, Job, By]:
        """The open report that a moderator decides about, and its result. Raises UserError for anybody else."""
        if interaction.guild_id is None:
            raise UserError(_people.NOT_A_MODERATOR)
        guild_id = _people.moderated(interaction)
        report = await self._reports.open_one(guild_id, about.job_id)
        job, _ = await _targets.result(self._queue, interaction, report.job_id)
        return report, job, By(guild_id, UserId(interaction.user.id), f"report {report.id}")

    async def set_log(self, interaction: discord.Interaction[Client], channel: discord.TextChannel | None) -> None:
        """Set the log channel of the server, or end it."""
        by = By(_people.moderated(interaction), UserId(interaction.user.id))
        if channel is None:
            case = await self._cases.change(by, "log", SERVER, {}, [LOG])
            otherwise = say("This server has no log channel. Name one, as in `/mod log channel:#log`.")
        else:
            given = channel.permissions_for(channel.guild.me)
            if lacking := [name for name in _NEEDED_TO_LOG if not getattr(given, name)]:
                raise UserError(
                    "I cannot post in {channel}, because I lack these permissions there: {permissions}. Nothing was "
                    "changed.",
                    channel=f"<#{channel.id}>",
                    permissions=_permissions.listed(lacking),
                )
            case = await self._cases.change(by, "log", SERVER, {LOG: channel.id})
            otherwise = say("The log channel is set like that already.")
        await responses.send(interaction, otherwise if case is None else _cases.receipt(case), ephemeral=True)

    async def post_case(self, case: Case, channel_id: ChannelId) -> None:
        """Tell a log channel what a moderator did."""
        reason = f" — {_words.inert(case.reason, 300)}" if case.reason else ""
        async with self._client.speaking_to(case.guild_id):
            change = _cases.change(case)
            words = say(
                "**Case {number}** {person}: {change}", number=case.number, person=f"<@{case.by}>", change=change
            )
        await self._post(words + reason, f"c{case.guild_id:x}-{case.number}", case.guild_id, channel_id)

    async def post_report(self, report: Report, channel_id: ChannelId) -> None:
        """Tell a log channel that a result was reported."""
        async with self._client.speaking_to(report.guild_id):
            words = say("🚩 Report {number}: a result was reported. `/mod reports` shows it.", number=report.id)
        await self._post(words, f"r{report.id}", report.guild_id, channel_id)

    async def _post(self, words: str, nonce: str, guild_id: GuildId, channel_id: ChannelId) -> None:
        """Send a message once, also if an earlier attempt has sent it and its outcome was unknown."""
        channel = self._client.get_partial_messageable(channel_id, guild_id=guild_id)
        with translated(self._client, guild_id):
            await channel.send(responses.fitted(words), nonce=nonce[-25:])

    async def tell_reporter(self, report: Report, user_id: UserId) -> None:
        """Tell a person what became of their report."""
        guild = self._client.get_guild(report.guild_id)
        # A person's own language is known only while they use a command.
        async with self._client.speaking_to(report.guild_id):
            words = say("Your report {number}: {outcome}.", number=report.id, outcome=_became(report))
            if guild is not None:
                words = say(
                    "Your report {number} on {server}: {outcome}.",
                    number=report.id,
                    server=_words.inert(guild.name, 100),
                    outcome=_became(report),
                )
        with translated(self._client, report.guild_id):
            channel = await self._client.create_dm(discord.Object(user_id))
            async for sent in own_messages(self._client, channel, report.opened_at):
                if sent.content == words:
                    return
            await channel.send(words, nonce=f"t{report.id}-{user_id % 10**12}"[:25])


def _became(report: Report) -> str:
    """What became of a report, in words."""
    return {
        "": say("no moderator has decided yet"),
        "removed": say("the result was removed. Thank you"),
        "dismissed": say("a moderator looked at the result and left it"),
    }[report.outcome]


def _about(report: Report, job: Job, reasons: list[str], count: int) -> str:
    """A report, for moderators: the result, who asked for it, and what people wrote."""
    people = say_many("1 person", "{count} people", len(reasons))
    if not reasons:
        people = say("people who had their data deleted,")
    place = f"{job.requester.guild_id}/{job.destination.channel_id}/{job.destination.message_id}"
    lines = [
        say(
            "**Report {number}** of {open} open: a result of {person}, reported by {people} {when}",
            number=report.id,
            open=count,
            person=f"<@{job.requester.user_id}>",
            people=people,
            when=_words.past(report.opened_at),
        ),
        say("Prompt: {prompt}", prompt=f"||{_words.inert(job.request.title)}||"),
        f"https://discord.com/channels/{place}",
    ]
    written = [reason for reason in reasons if reason]
    lines += [f"- {_words.inert(reason, 200)}" for reason in written[:_SHOWN_REASONS]]
    return _words.fitting(lines)


def _controls(report: Report) -> discord.ui.View:
    """What a moderator can do about a report."""
    view = discord.ui.View(timeout=None)
    about = PictureRef(JobId(report.id))
    view.add_item(button("reportremove", about, say("Remove the result"), discord.ButtonStyle.danger))
    view.add_item(button("reportblock", about, say("Block the person")))
    view.add_item(button("reportdismiss", about, say("Dismiss the report")))
    view.add_item(button("reportnext", about, say("Next")))
    return view


async def setup(client: Client) -> None:
    """Add the cog, and its commands for moderators to /mod."""
    app = client.app
    cog = ReportsCog(client, app.queue, app.member_reports, app.cases, app.removals, app.removal_notes, app.dispatcher)

    @app_commands.command(description="The results that members reported, one after the other")
    async def reports(interaction: discord.Interaction[Client]) -> None:
        await cog.show_next(interaction)

    @app_commands.command(description="Note every case and report in a channel; without options, stop that")
    @app_commands.describe(channel="The log channel; leave empty to note nothing more")
    async def log(interaction: discord.Interaction[Client], channel: discord.TextChannel | None = None) -> None:
        await cog.set_log(interaction, channel)

    group = client.tree.get_command("mod")
    assert isinstance(group, app_commands.Group)  # noqa: S101 - its cog is loaded before
    group.add_command(reports)
    group.add_command(log)
    await add_cog(client, cog)
