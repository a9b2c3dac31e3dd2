"""/queue and /cancel: who waits, for how long, and changing one's mind."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot.client import Client
from bot.errors import StorageError, UserError
from bot.jobs import GuildId, Job, JobId, JobStatus, PictureRef, Requester, Scope, UserId
from bot.policy.policy import Policy
from bot.queue.dispatcher import Dispatcher
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.storage.cases import By, Cases
from bot.storage.queue import Queue
from cogs import _people, _words
from cogs._buttons import add_cog, pressed

log = logging.getLogger(__name__)

PRESENCE_SECONDS = 20.0
"""Between two looks at whether the presence is still true; Discord takes five changes in as many."""

_SHOWN = 8
_SHOWN_PROMPT = 40
_ALL = "all"


class QueueCog(commands.Cog, name="Queue"):
    """Shows the waiting line and takes people out of it."""

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
        """Keep the presence true."""
        self.presence.start()

    async def cog_unload(self) -> None:
        """Stop."""
        self.presence.cancel()

    @tasks.loop(seconds=PRESENCE_SECONDS)
    async def presence(self) -> None:
        """Show how many wait, where that has changed."""
        try:
            await self._show_presence()
        except Exception as error:  # noqa: BLE001 - nothing that happens here may end the loop
            # discord.py would log a traceback at each try, or end the loop.
            if self._outage is None:
                log.warning("the presence cannot be shown for now: %s", type(error).__name__)
            self._outage = error

    async def _show_presence(self) -> None:
        words = _words.presence(await self._queue.depth(), len(await self._queue.running()))
        if words == self._shown:
            # Nothing was said to Discord, so this tells nothing of an outage there.
            if isinstance(self._outage, StorageError):
                self._outage = None
        elif self._client.is_ready():
            await self._client.change_presence(activity=discord.CustomActivity(words))
            self._shown, self._outage = words, None

    @app_commands.command(description="Who waits, in which order, and when your pictures start")
    @app_commands.guild_only()
    async def queue(self, interaction: discord.Interaction[Client]) -> None:
        """Show my requests and everyone's places."""
        requester = _people.requester(interaction)
        turns = await self._line.turns()
        mine = await self._queue.of_person(requester)
        limits = await self._policy.limits(requester, _people.destination(interaction).channels)
        lines = ["**Yours**"]
        lines += _shortened(_of_person(mine, turns)) or ["Nothing waits."]
        if reason := _reason(requester, {job.id for job in mine}, turns, self._line.paced_until(requester)):
            lines.append(f"-# {reason}")
        lines += [f"-# Up to {limits.depth.value} may wait; {limits.pace.value} images a minute start."]
        lines += ["", "**Everyone**"]
        lines += await self._everyone(turns, requester.guild_id)
        await interaction.response.send_message("\n".join(lines), ephemeral=True)

    @app_commands.command(description="Take your requests out of the queue")
    @app_commands.guild_only()
    @app_commands.describe(request="Which one; only needed when several of yours wait")
    async def cancel(self, interaction: discord.Interaction[Client], request: str | None = None) -> None:
        """Cancel one of my requests, or all of them."""
        mine = await self._queue.of_person(_people.requester(interaction))
        if not mine:
            raise UserError("Nothing of yours waits or is being painted here.")
        if request is None and len(mine) > 1:
            raise UserError(f"{len(mine)} of your requests are open: say which one, or choose all of them.")
        chosen = mine if request in (None, _ALL) else [job for job in mine if str(job.id) == request]
        if not chosen:
            raise UserError("That is none of your open requests. It may have just finished.")
        cancelled = [job for job in chosen if await self._dispatcher.cancel(job.id)]
        if not cancelled:
            raise UserError("Too late: it has just finished.")
        named = [f"“{_words.inert(job.request.prompt, _SHOWN_PROMPT)}”" for job in cancelled]
        await interaction.response.send_message(f"Cancelled {', '.join(_shortened(named))}.", ephemeral=True)

    @cancel.autocomplete("request")
    async def _requests(self, interaction: discord.Interaction[Client], typed: str) -> list[app_commands.Choice[str]]:
        mine = await self._queue.of_person(_people.requester(interaction))
        choices = [app_commands.Choice(name=job.request.prompt[:100], value=str(job.id)) for job in mine]
        if len(mine) > 1:
            choices.insert(0, app_commands.Choice(name=f"all {len(mine)}", value=_ALL))
        return [choice for choice in choices if typed.lower() in choice.name.lower()][:25]

    @pressed("cancel")
    async def cancel_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """The red button: for the requester and for moderators of the server."""
        job_id = about.job_id
        job = await self._queue.get(job_id)
        if job is None or job.requester.guild_id != interaction.guild_id:
            raise UserError(_words.EXPIRED)
        if interaction.user.id != job.requester.user_id:
            # The button may be clicked anywhere: what a person may do in that channel is no matter.
            if not _people.is_moderator(interaction):
                raise UserError("Only the person who asked for it, or a member with Manage Server, can cancel this.")
            # As `/mod cancel` does it: with a case, and the person who asked pays for nothing.
            by = By(job.requester.guild_id, UserId(interaction.user.id))
            case, cancelled = await self._cases.cancel(by, (Scope.PERSON, job.requester.user_id), job_id=job_id)
            if case is None:
                raise UserError("Too late: it has just ended.")
            self._dispatcher.stop(cancelled)
            await interaction.response.send_message(f"Cancelled. {_words.receipt(case)}", ephemeral=True)
            return
        if not await self._dispatcher.cancel(job_id):
            raise UserError("Too late: it has just ended.")
        await interaction.response.send_message("Cancelled.", ephemeral=True)

    async def _everyone(self, turns: Sequence[Turn], guild_id: GuildId) -> list[str]:
        """The first places of the line; what other people asked for stays theirs."""
        running = await self._queue.running()
        lines = [f"🖌️ {_name(job, guild_id)} — being painted" for job in running]
        for place, turn in enumerate(turns[:_SHOWN], start=1):
            job = await self._queue.get(turn.job_id)
            if job is not None:
                count = _words.pictures(job.request.num_images_per_prompt)
                lines.append(f"{place}. {_name(job, guild_id)} — {count}, {_words.relative(turn.starts_at)}")
        if len(turns) > _SHOWN:
            lines.append(f"-# and {len(turns) - _SHOWN} more")
        return lines or ["The easel is free."]


def _shortened(lines: list[str]) -> list[str]:
    """As many entries as a message holds, and how many more there are."""
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]


def _of_person(jobs: Sequence[Job], turns: Sequence[Turn]) -> list[str]:
    places = {turn.job_id: (place, turn) for place, turn in enumerate(turns, start=1)}
    lines = []
    for job in jobs:
        prompt = _words.inert(job.request.prompt, _SHOWN_PROMPT)
        if job.status is JobStatus.RUNNING:
            lines.append(f"🖌️ {prompt} — being painted")
        elif job.id in places:
            place, turn = places[job.id]
            lines.append(f"🕓 {prompt} — place {place}, {_words.relative(turn.starts_at)}")
        else:
            lines.append(f"⏸️ {prompt} — paused by a moderator, keeps its place")
    return lines


def _reason(requester: Requester, mine: Collection[JobId], turns: Sequence[Turn], paced_until: datetime | None) -> str:
    """Why the first of a person's requests on this server, `mine`, has its place: who goes before it, and why."""
    place = next((n for n, turn in enumerate(turns) if turn.job_id in mine), None)
    if place is None:
        return ""
    paced = "" if paced_until is None else f" Your pace lets it start {_words.relative(paced_until)}."
    before = turns[:place]
    if not before:
        return f"Yours is next: no other person who waits has used less GPU time.{paced}"
    again = sum(turn.at is None for turn in before)
    first_turns = {turn.user_id for turn in before if turn.at is not None}
    less = len(first_turns - {requester.user_id})
    reasons = []
    if less:
        people = "one person who waits has" if less == 1 else f"{less} people who wait have"
        reasons.append(f"{people} used less GPU time or waited longer")
    if requester.user_id in first_turns:
        reasons.append("you have more waiting on another server")
    if again:
        reasons.append(f"{again} of those before you had begun and were cut short")
    return f"Place {place + 1}: {', and '.join(reasons)}.{paced}"


def _name(job: Job, guild_id: GuildId) -> str:
    return f"<@{job.requester.user_id}>" if job.requester.guild_id == guild_id else "someone on another server"


async def setup(client: Client) -> None:
    """Add the cog and its button."""
    app = client.app
    await add_cog(client, QueueCog(client, app.queue, app.line, app.policy, app.dispatcher, app.cases))
