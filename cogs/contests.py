"""/contest: a theme, one picture a person, a blind vote, and winners that are posted to the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import Unreachable, UserError
from bot.jobs import ChannelId, GuildId, Job, JobId, JobStatus, MessageId, PictureRef, UserId, utcnow
from bot.language import mark, say
from bot.policy.limits import gallery_of
from bot.policy.policy import Policy
from bot.storage.contests import Contest, Contests, Entry, State
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from bot.storage.rules import Rules
from cogs import _cases, _contests, _people, _permissions, _searching, _targets, _words
from cogs._buttons import CustomId, add_cog, chosen, pressed, select
from cogs._contests import PAGE, THEME
from cogs._gallery import Gallery
from cogs._lists import Choices
from cogs._posting import own_messages, translated
from cogs._times import duration_of
from cogs._verdicts import UNKNOWN_MESSAGE
from cogs.side_messages import SideMessages

_LONGEST = timedelta(days=60)
_RECENT = 25
"""Results of a person that are offered; Discord takes no more in a menu."""
_SHOWN = 10
Reason = app_commands.Range[str, 1, 300]
Number = app_commands.Range[int, 1, 2**31 - 1]
_NO_ENTRIES = mark("There is no picture that you can vote for: the pictures of other people were withdrawn or deleted.")
_ALL_HIDDEN = mark(
    "No picture of this contest can be shown in this channel, because it is not age-restricted. Vote in one that is."
)


@app_commands.guild_only()
class ContestsCog(
    commands.GroupCog, group_name="contest", group_description="A theme, your pictures, and a blind vote"
):
    """The commands and buttons of contests; also the poster of `bot.delivery.contests`."""

    def __init__(
        self,
        client: Client,
        contests: Contests,
        queue: Queue,
        rules: Rules,
        preferences: PreferenceStore,
        policy: Policy,
    ) -> None:
        self._policy = policy
        self._client = client
        self._contests = contests
        self._queue = queue
        self._rules = rules
        self._gallery = Gallery(queue, preferences)

    async def cog_load(self) -> None:
        """Register as the poster."""
        self._client.app.contest_keeper.attach(self)

    @app_commands.command(description="Begin a contest in this channel")
    @app_commands.describe(
        theme="What the pictures are to be about",
        entries="For how long people enter pictures, like 12h or 7d",
        votes="For how long people vote after that, like 1d; usually as long as people enter pictures",
        gallery="Where the winners are copied; usually the gallery of the server",
        reason="Why; kept with the case",
    )
    async def start(
        self,
        interaction: discord.Interaction[Client],
        theme: app_commands.Range[str, 1, THEME],
        entries: str,
        votes: str | None = None,
        gallery: discord.TextChannel | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Begin a contest; its message is posted in the channel."""
        by = _people.by(interaction, reason)
        takes = duration_of(entries, _LONGEST)
        lasts = takes if votes is None else duration_of(votes, _LONGEST)
        _check_postable(interaction.channel_id, interaction.app_permissions, interaction.channel)
        if gallery is not None:
            _check_postable(gallery.id, gallery.permissions_for(gallery.guild.me), gallery)
        now = gallery_of(await self._rules.book(by.guild_id))
        gallery_id = ChannelId(gallery.id) if gallery is not None else now.channel_id if now is not None else None
        channel_id = _people.destination(interaction).channel_id
        _, case = await self._contests.start(by, " ".join(theme.split()), channel_id, gallery_id, takes, lasts)
        said = _cases.receipt(case)
        if gallery_id is None:
            said += " " + say(
                "This server has no gallery, so the winners are named here and not copied; `/mod gallery` sets one."
            )
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(description="End the current part of a contest: the entries or the vote")
    @app_commands.describe(contest="The number of the contest", reason="Why; kept with the case")
    async def end(
        self, interaction: discord.Interaction[Client], contest: Number, reason: Reason | None = None
    ) -> None:
        """Let the vote begin now, or count the votes now."""
        was, case = await self._contests.end(_people.by(interaction, reason), contest)
        what = say("Entries are closed.") if was.state is State.ENTRIES else say("The votes are counted.")
        await responses.send(interaction, f"{what} {_cases.receipt(case)}", ephemeral=True)

    @app_commands.command(description="Cancel a contest: it ends without a winner")
    @app_commands.describe(contest="The number of the contest", reason="Why; kept with the case")
    async def cancel(
        self, interaction: discord.Interaction[Client], contest: Number, reason: Reason | None = None
    ) -> None:
        """End a contest without a winner; the votes are deleted."""
        _, case = await self._contests.cancel(_people.by(interaction, reason), contest)
        said = f"{_cases.receipt(case)} {say('An undo does not bring votes back.')}"
        await responses.send(interaction, said, ephemeral=True)

    @end.autocomplete("contest")
    @cancel.autocomplete("contest")
    async def _open_ones(
        self, interaction: discord.Interaction[Client], typed: int | str
    ) -> list[app_commands.Choice[int]]:
        if interaction.guild_id is None:
            return []
        return [
            app_commands.Choice(name=f"{each.id}: {each.theme}"[:100], value=each.id)
            for each in await self._contests.latest(GuildId(interaction.guild_id), _RECENT)
            if each.is_open and str(each.id).startswith(str(typed or ""))
        ]

    @app_commands.command(name="list", description="The newest contests of this server")
    async def show(self, interaction: discord.Interaction[Client]) -> None:
        """Show which contests there are, and until when they last."""
        found = await self._contests.latest(_people.place(interaction), _SHOWN)
        lines = [_contests.listed(contest) for contest in found]
        said = _words.fitting(lines or [say("There was no contest here yet.")])
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(description="Enter one of your results in a contest; it replaces your earlier entry")
    @app_commands.describe(
        result="One of your results, from the list or by its number",
        picture="Which of its pictures",
        contest="The number of the contest; leave it open if there is only one",
    )
    async def enter(
        self,
        interaction: discord.Interaction[Client],
        result: str,
        picture: app_commands.Range[int, 1, 8] = 1,
        contest: Number | None = None,
    ) -> None:
        """Enter a picture."""
        found = await self._choose(interaction, contest)
        ref = _ref(f"{result}:{picture}")
        await self._enter(interaction, found, ref)

    @enter.autocomplete("result")
    async def _results(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if interaction.guild_id is None:
            return []
        found = [(f"{job.id}: {job.request.prompt}"[:100], str(job.id)) for job in await self._mine(interaction)]
        return [app_commands.Choice(name=name, value=value) for name, value in found if typed.lower() in name.lower()]

    @pressed("contestenter")
    async def enter_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Offer the newest pictures of the person."""
        await self._check_not_blocked(interaction)
        contest = await self._known(interaction, about.job_id)
        options = []
        for job in await self._mine(interaction):
            for picture in await self._queue.pictures(job.id):
                ref = picture.ref
                name = (
                    f"{job.id}: {job.request.prompt}"
                    if ref.number == 1
                    else say("{request}, picture {number}", request=job.id, number=ref.number)
                )
                options.append(discord.SelectOption(label=name[:100], value=f"{ref.job_id}:{ref.number}"))
        if not options:
            raise UserError("You have no result on this server yet. Paint one, and press this again.")
        view = discord.ui.View(timeout=None)
        menu = select("contestpick", PictureRef(JobId(contest.id)), say("Choose a picture"), options[:_RECENT])
        view.add_item(menu)
        words = say(
            "Which picture? `/contest enter` takes older ones, too. Nobody sees before the end that it is yours."
        )
        await responses.send(interaction, words, view=view, ephemeral=True)

    @pressed("contestpick")
    async def picked(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Enter the picture that was chosen."""
        values = chosen(interaction)
        await self._enter(interaction, await self._known(interaction, about.job_id), _ref(values[0] if values else ""))

    @pressed("contestleave")
    async def leave_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Take the entry of the person out."""
        await self._contests.withdraw(await self._known(interaction, about.job_id), UserId(interaction.user.id))
        await responses.send(interaction, say("Your picture is no longer in the contest."), ephemeral=True)

    @pressed("contestballot")
    async def ballot_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the first pictures to choose from, to the person alone."""
        await self._show_ballot(interaction, await self._known(interaction, about.job_id), 0)

    @pressed("contestpage")
    async def page_turned(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show more of them."""
        await self._show_ballot(interaction, await self._known(interaction, about.job_id), about.number)

    @pressed("contestvote")
    async def vote_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Vote for a picture, or take the vote back."""
        await self._check_not_blocked(interaction)
        entry = await self._contests.entry(about.job_id)
        if entry is None:
            raise UserError("This picture is no longer in the contest. Press Vote again for another one.")
        contest = await self._known(interaction, entry.contest_id)
        votes = await self._contests.vote(contest, UserId(interaction.user.id), entry.id)
        until = _words.moment(contest.votes_until)
        said = say("You have no vote now. You can vote until {until}.", until=until)
        if votes:
            said = say(
                "Your vote is for picture {number}. You can change it until {until}.",
                number=about.number,
                until=until,
            )
        await responses.send(interaction, said, ephemeral=True)

    async def _show_ballot(self, interaction: discord.Interaction[Client], contest: Contest, page: int) -> None:
        if contest.part(utcnow()) is not State.VOTING:
            raise UserError("People do not vote in this contest now.")
        await self._check_not_blocked(interaction)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        voter = UserId(interaction.user.id)
        entries, jobs, hidden = [], {}, 0
        for entry in await self._contests.ballot(contest, voter):
            job = await self._queue.get(entry.ref.job_id)
            if job is not None and self._may_be_shown(interaction, job):
                entries.append(entry)
                jobs[entry.id] = job
            else:
                hidden += job is not None
        first = page * PAGE
        shown = entries[first : first + PAGE]
        if not shown:
            await interaction.followup.send(say(_ALL_HIDDEN if hidden else _NO_ENTRIES), ephemeral=True)
            return
        vote = await self._contests.vote_of(contest, voter)
        number = next((at for at, entry in enumerate(entries, start=1) if entry.id == vote), None)
        pictures = [(jobs[entry.id], entry.ref.number) for entry in shown]
        files = await self._gallery.drawn(interaction, pictures, first + 1)
        words = _contests.ballot(contest, len(entries), first + 1, first + len(shown), number, hidden)
        view = _contests.ballot_view(contest, entries, page, vote)
        await interaction.followup.send(words, files=files, view=view, ephemeral=True)

    async def _mine(self, interaction: discord.Interaction[Client]) -> list[Job]:
        """The newest results of the person that have pictures and may be shown where they are."""
        jobs = await self._queue.history(_people.requester(interaction), 0, 2 * _RECENT)
        found = [job for job in jobs if job.status is JobStatus.DELIVERED and self._may_be_shown(interaction, job)]
        return [job for job in found if await self._queue.has_images(job.id)][:_RECENT]

    async def _enter(self, interaction: discord.Interaction[Client], contest: Contest, ref: PictureRef) -> None:
        await self._check_not_blocked(interaction)
        job, picture = await _targets.picture(self._queue, interaction, ref)
        if job.requester.user_id != interaction.user.id:
            raise UserError("Only your own results can be entered.")
        if job.status is not JobStatus.DELIVERED:
            raise UserError("This result is not posted yet. Enter it once people see it.")
        if not self.may_show(contest.channel_id, job):
            raise UserError(
                "This result is from an age-restricted channel, and the contest is not in one. Enter another one."
            )
        again = await self._contests.enter(contest, UserId(interaction.user.id), picture.ref)
        known = {"number": ref.number, "request": job.id, "contest": contest.id}
        words = say(
            "Picture {number} of request {request} is in contest {contest}. Nobody sees before the end that it is "
            "yours.",
            **known,
        )
        if again:
            words = say(
                "Picture {number} of request {request} is in contest {contest}. It replaces your earlier entry.",
                **known,
            )
        await responses.send(interaction, words, ephemeral=True)

    async def _check_not_blocked(self, interaction: discord.Interaction[Client]) -> None:
        """Raise Rejected if a moderator blocked the person. Their entry and their vote from before stay."""
        where = _people.destination(interaction)
        self._policy.check_block(await self._policy.ruling(_people.requester(interaction), where.channels))

    async def _choose(self, interaction: discord.Interaction[Client], number: int | None) -> Contest:
        """The contest that a person names, or the only one that takes entries. Raises UserError if there is none."""
        if number is not None:
            return await self._known(interaction, number)
        found = await self._contests.latest(_people.place(interaction), _RECENT)
        takes = [each for each in found if each.state is State.ENTRIES]
        if len(takes) != 1:
            if takes:
                raise UserError("Several contests take entries. `/contest list` shows them; choose one by `contest:`.")
            raise UserError("No contest takes entries now. `/contest list` shows them.")
        return takes[0]

    async def _known(self, interaction: discord.Interaction[Client], number: int) -> Contest:
        """A contest of the server. Raises UserError if there is none, or if it is over."""
        contest = await self._contests.get(number)
        if contest is None or contest.guild_id != interaction.guild_id:
            raise UserError("There is no contest {number} on this server.", number=number)
        if not contest.is_open:
            raise UserError("Contest {number} is over.", number=number)
        return contest

    def _may_be_shown(self, interaction: discord.Interaction[Client], job: Job) -> bool:
        """Whether a result may be shown where the person is: those of age-restricted channels only in such channels.

        Its person entered it, so that others may see it who may not read its channel.
        """
        there = (
            None if interaction.guild is None else interaction.guild.get_channel_or_thread(job.destination.channel_id)
        )
        return not _searching.is_adult(there) or _searching.is_adult(interaction.channel)

    def may_show(self, channel_id: ChannelId, job: Job) -> bool:
        """Whether a channel may show a result: what is from an age-restricted channel stays in such channels."""
        side_messages = self._client.get_cog(SideMessages.__cog_name__)
        assert isinstance(side_messages, SideMessages)  # noqa: S101 - it is loaded before
        return side_messages.may_show(channel_id, job)

    async def show_contest(self, contest: Contest, winners: Sequence[tuple[Entry, Job]]) -> MessageId | None:
        """Post the message of a contest, or change it; one that was deleted is posted anew while it is open."""
        async with self._client.speaking_to(contest.guild_id):
            words, view = _contests.words(contest, winners), _contests.view(contest)
        channel = self._channel(contest)
        with translated(self._client, contest.guild_id):
            if contest.message_id is not None:
                try:
                    await channel.get_partial_message(contest.message_id).edit(content=words, view=view)
                except discord.HTTPException as error:
                    if error.code != UNKNOWN_MESSAGE or not contest.is_open:
                        raise
                else:
                    return None
            found = await self._found(
                contest, lambda sent: contest.id in _contests_of(sent) and sent.id != contest.message_id
            )
            if found is None:
                if not contest.is_open:
                    raise Unreachable("the message of a contest is gone")
                sent = await channel.send(words, view=view, nonce=f"k{contest.id}-{contest.changed}")  # type: ignore[arg-type]
                return MessageId(sent.id)
            await found.edit(content=words, view=view)
            return MessageId(found.id)

    async def name_winners(self, contest: Contest, winners: Sequence[tuple[Entry, Job]]) -> MessageId:
        """Send the message that names the winners, which pings them, or change it."""
        async with self._client.speaking_to(contest.guild_id):
            words = _contests.news(contest, winners)
            begins = f"{_contests.headline(contest)}\n🏆"
        with translated(self._client, contest.guild_id):
            if contest.news_id:
                await self._channel(contest).get_partial_message(contest.news_id).edit(content=words)
                return contest.news_id
            found = await self._found(
                contest, lambda sent: sent.content.startswith(begins) and sent.id != contest.message_id
            )
            if found is None:
                people = [discord.Object(entry.user_id) for entry, _ in winners]
                allowed = discord.AllowedMentions(users=people[:100])
                found = await self._channel(contest).send(words, allowed_mentions=allowed, nonce=f"w{contest.id}")
            return MessageId(found.id)

    async def _found(self, contest: Contest, is_it: Any) -> discord.Message | None:
        """A message that an interrupted attempt has left, if it has."""
        async for message in own_messages(self._client, self._channel(contest), contest.begun_at):
            if is_it(message):
                return message
        return None

    def _channel(self, contest: Contest) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(contest.channel_id, guild_id=contest.guild_id)


def _ref(text: str) -> PictureRef:
    """A picture as the menu names it. Raises UserError for other words."""
    job_id, _, number = text.partition(":")
    if not (job_id.isascii() and job_id.isdigit() and len(job_id) < 18 and number.isascii() and number.isdigit()):
        raise UserError("That is not a result of yours. Choose one from the list, or write its number.")
    return PictureRef(JobId(int(job_id)), int(number))


def _contests_of(message: discord.Message) -> set[int]:
    """The contests that the buttons of a message are about."""
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    known = [CustomId.parse(each.custom_id) for row in rows for each in row.children if hasattr(each, "custom_id")]
    return {each.about.job_id for each in known if each is not None and each.action == "contestleave"}


def _check_postable(channel_id: int | None, given: discord.Permissions, channel: object) -> None:
    """Raise UserError for a channel in which the bot may not post what a contest needs."""
    if missing := _permissions.missing_to_post(given, channel):
        raise UserError(
            "I cannot post in {channel}, because I lack these permissions there: {permissions}. Nothing was changed.",
            channel=f"<#{channel_id}>",
            permissions=_permissions.listed(missing),
        )


async def setup(client: Client) -> None:
    """Add the cog and its buttons."""
    app = client.app
    await add_cog(client, ContestsCog(client, app.contests, app.queue, app.rules, app.preferences, app.policy))
