"""/queue and /cancel: people see the waiting requests and cancel their own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot import responses
from bot.client import Client
from bot.errors import StorageError, UserError
from bot.jobs import GuildId, Job, JobId, JobStatus, PictureRef, Requester, Scope, UserId
from bot.language import Language, in_quotes, say, say_many, speaking
from bot.policy.policy import Policy
from bot.queue.dispatcher import Dispatcher
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.responses import fitted
from bot.storage.cases import By, Cases
from bot.storage.queue import Queue
from cogs import _cases, _people, _words
from cogs._buttons import add_cog, pressed

log = logging.getLogger(__name__)

PRESENCE_SECONDS = 20.0
"""The time between two checks of the bot's presence; Discord takes five changes of it in that time."""

_MOST_SERVERS = 20
"""Servers that are asked for their language; where there are more, they hardly speak one."""
_SHOWN = 8
_SHOWN_PROMPT = 40
_ALL = "all"


class QueueCog(commands.Cog, name="Queue"):
    """Shows the queue, and cancels requests in it."""

    def __init__(
        self, client: Client, queue: Queue, line: Line, policy: Policy, dispatcher: Dispatcher, cases: Cases
    ) -> None:
        self._client = client
        self._queue = queue
        self._line = line
        self._policy = policy
        self._dispatcher = dispatcher
        self._cases = cases
        self._shown: str | None = None
        self._outage: Exception | None = None
        """Why the presence cannot be shown now."""

    async def cog_load(self) -> None:
        """Start to update the presence."""
        self.presence.start()

    async def cog_unload(self) -> None:
        """Stop updating the presence."""
        self.presence.cancel()

    @tasks.loop(seconds=PRESENCE_SECONDS)
    async def presence(self) -> None:
        """Show how many requests are painted and wait, if that has changed."""
        try:
            await self._show_presence()
        except Exception as error:  # noqa: BLE001 - nothing that happens here may end the loop
            # discord.py would log a traceback at each try, or end the loop.
            if self._outage is None:
                log.warning("the presence cannot be shown for now: %s", type(error).__name__)
            self._outage = error

    async def _show_presence(self) -> None:
        waiting, running = await self._queue.depth(), len(await self._queue.running())
        with speaking(await self._language()):
            words = _words.presence(waiting, running)
        if words == self._shown:
            # Nothing was said to Discord, so this tells nothing of an outage there.
            if isinstance(self._outage, StorageError):
                self._outage = None
        elif self._client.is_ready():
            await self._client.change_presence(activity=discord.CustomActivity(words))
            self._shown, self._outage = words, None

    async def _language(self) -> Language:
        """The language of all servers, which see the same presence; English if they speak several."""
        found = {await self._policy.language(GuildId(guild.id)) for guild in self._client.guilds[:_MOST_SERVERS]}
        is_one = len(found) == 1 and len(self._client.guilds) <= _MOST_SERVERS
        return found.pop() if is_one else Language.ENGLISH

    @app_commands.command(description="Who waits, in which order, and when your pictures start")
    @app_commands.guild_only()
    async def queue(self, interaction: discord.Interaction[Client]) -> None:
        """Show the person's own requests, why the first has its place, and the first places of everyone."""
        requester = _people.requester(interaction)
        turns = await self._line.turns()
        mine = await self._queue.of_person(requester)
        limits = await self._policy.limits(requester, _people.destination(interaction).channels)
        lines = [say("**Yours**")]
        lines += _shortened(_of_person(mine, turns, self._line)) or [say("You have no open requests here.")]
        if reason := _reason(requester, {job.id for job in mine}, turns, self._line.paced_until(requester)):
            lines.append(f"-# {reason}")
        lines.append(
            say(
                "-# Up to {depth} of your requests may wait, and up to {pace} of your pictures may start in a minute. "
                "Each frame of an animation counts as a picture.",
                depth=limits.depth.value,
                pace=limits.pace.value,
            )
        )
        lines += ["", say("**Everyone**")]
        lines += await self._everyone(turns, requester.guild_id)
        await responses.send(interaction, _words.fitting(lines), ephemeral=True)

    @app_commands.command(description="Cancel your requests")
    @app_commands.guild_only()
    @app_commands.describe(request="Which request; only needed if several are open")
    async def cancel(self, interaction: discord.Interaction[Client], request: str | None = None) -> None:
        """Cancel one of the person's requests, or all of them."""
        mine = await self._queue.of_person(_people.requester(interaction))
        if not mine:
            raise UserError("You have no open requests on this server.")
        if request is None and len(mine) > 1:
            raise UserError("Several of your requests are open. Say which one to cancel, or choose all of them.")
        chosen = mine if request in (None, _ALL) else [job for job in mine if str(job.id) == request]
        if not chosen:
            raise UserError("That is not one of your open requests. It may have just ended.")
        # The last first: a panel that waits for another one would start when that one is cancelled.
        cancelled = [job for job in reversed(chosen) if await self._dispatcher.cancel(job.id)]
        if not cancelled:
            raise UserError("Too late: the request has just ended.")
        named = [str(in_quotes(_words.inert(job.request.title, _SHOWN_PROMPT))) for job in reversed(cancelled)]
        said = _words.fitting([say("Cancelled {requests}.", requests=", ".join(_shortened(named)))])
        await responses.send(interaction, said, ephemeral=True)

    @cancel.autocomplete("request")
    async def _requests(self, interaction: discord.Interaction[Client], typed: str) -> list[app_commands.Choice[str]]:
        mine = await self._queue.of_person(_people.requester(interaction))
        choices = [app_commands.Choice(name=fitted(job.request.title, 100), value=str(job.id)) for job in mine]
        if len(mine) > 1:
            choices.insert(0, app_commands.Choice(name=say("all {number}", number=len(mine)), value=_ALL))
        return [choice for choice in choices if typed.lower() in choice.name.lower()][:25]

    @pressed("cancel")
    async def cancel_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Cancel the request of a message: its requester and the server's moderators may."""
        job_id = about.job_id
        job = await self._queue.get(job_id)
        if job is None or job.requester.guild_id != _people.place(interaction):
            raise UserError(_words.EXPIRED)
        if interaction.user.id != job.requester.user_id:
            # The rights in the channel of the click do not count: the button may be pressed anywhere.
            if not _people.is_moderator(interaction):
                raise UserError("Only the person who asked for it, or a member with Manage Server, can cancel this.")
            # Do as `/mod cancel` does: write a case, and charge the requester nothing.
            by = By(job.requester.guild_id, UserId(interaction.user.id))
            case, cancelled = await self._cases.cancel(by, (Scope.PERSON, job.requester.user_id), job_id=job_id)
            if case is None:
                raise UserError("Too late: the request has just ended.")
            self._dispatcher.stop(cancelled)
            await responses.send(interaction, f"{say('Cancelled.')} {_cases.receipt(case)}", ephemeral=True)
            return
        if not await self._dispatcher.cancel(job_id):
            raise UserError("Too late: the request has just ended.")
        # The message of the request says that it is cancelled.
        await responses.defer(interaction)

    async def _everyone(self, turns: Sequence[Turn], guild_id: GuildId) -> list[str]:
        """The running jobs and the first places of the queue, without other people's prompts."""
        running = await self._queue.running()
        lines = [
            say(
                "🖌️ {amount} for {person} — being painted",
                amount=_words.amount(job.request),
                person=_name(job, guild_id),
            )
            for job in running
        ]
        for place, turn in enumerate(turns[:_SHOWN], start=1):
            job = await self._queue.get(turn.job_id)
            if job is not None:
                lines.append(
                    say(
                        "{place}. {amount} for {person} — starts {when}",
                        place=place,
                        amount=_words.amount(job.request),
                        person=_name(job, guild_id),
                        when=_words.coming(turn.starts_at),
                    )
                )
        if len(turns) > _SHOWN:
            lines.append(say("-# and {count} more", count=len(turns) - _SHOWN))
        return lines or [say("The queue is empty.")]


def _shortened(lines: list[str]) -> list[str]:
    """The first entries, and how many more there are."""
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], say("and {count} more", count=len(lines) - _SHOWN)]


def _of_person(jobs: Sequence[Job], turns: Sequence[Turn], line: Line) -> list[str]:
    places = {turn.job_id: (place, turn) for place, turn in enumerate(turns, start=1)}
    lines = []
    for job in jobs:
        prompt = _words.inert(job.request.title, _SHOWN_PROMPT)
        if job.status is JobStatus.RUNNING:
            lines.append(say("🖌️ {request} — being painted", request=prompt))
        elif job.id in places:
            place, turn = places[job.id]
            starts = _words.coming(turn.starts_at)
            lines.append(say("🕓 {request} — place {place}, starts {when}", request=prompt, place=place, when=starts))
        elif line.is_drained(job.request.model):
            lines.append(say("⏸️ {request} — the host has stopped the engines for it, keeps its place", request=prompt))
        else:
            lines.append(say("⏸️ {request} — paused by a moderator, keeps its place", request=prompt))
    return lines


def _reason(requester: Requester, mine: Collection[JobId], turns: Sequence[Turn], paced_until: datetime | None) -> str:
    """Why the first of a person's requests on this server (`mine`) has its place; empty if none has a place."""
    place = next((n for n, turn in enumerate(turns) if turn.job_id in mine), None)
    if place is None:
        return ""
    paced = ""
    if paced_until is not None:
        paced = " " + say("Your pace lets it start {when}.", when=_words.coming(paced_until))
    before = turns[:place]
    if not before:
        return say("You're next.") + paced
    again = sum(turn.at is None for turn in before)
    first_turns = {turn.user_id for turn in before if turn.at is not None}
    less = len(first_turns - {requester.user_id})
    reasons = []
    if less:
        reasons.append(
            say_many(
                "one person who waits has used less painting time or waited longer",
                "{count} people who wait have used less painting time or waited longer",
                less,
            )
        )
    if requester.user_id in first_turns:
        reasons.append(say("a request of yours on another server comes first"))
    if again:
        reasons.append(
            say_many(
                "{count} interrupted request starts again first",
                "{count} interrupted requests start again first",
                again,
            )
        )
    why = reasons[0]
    for reason in reasons[1:]:
        why = say("{reason}, and {other}", reason=why, other=reason)
    return say("Place {place}: {reason}.", place=place + 1, reason=why) + paced


def _name(job: Job, guild_id: GuildId) -> str:
    return f"<@{job.requester.user_id}>" if job.requester.guild_id == guild_id else say("someone on another server")


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    app = client.app
    cog = QueueCog(client, app.queue, app.line, app.policy, app.dispatcher, app.cases)
    _people.open_to_messages(client, cog.queue, cog.cancel)
    await add_cog(client, cog)
