"""What a control is about: a result of the server in which it was pressed, with its pictures still there."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import ChannelId, Job, JobId, JobStatus, MessageId, Picture, PictureRef
from bot.language import mark, say
from bot.storage.queue import Queue
from cogs import _controls, _people, _searching

GONE = mark("This result was deleted, so nothing can be made of it.")
NO_RESULT = mark("There is no such result on this server.")
_ELSEWHERE = mark("This result is from an age-restricted channel. Ask for it there, or in another such channel.")
_NOT_READY = mark("This request has no pictures yet.")

Numbered = tuple[str, PictureRef]
"""A picture, with the number that it has in a message."""


async def result(queue: Queue, interaction: discord.Interaction[Client], job_id: JobId) -> tuple[Job, list[Picture]]:
    """A result and its pictures. Raises UserError if there is none with this number here, or if it was deleted."""
    job = await queue.get(job_id)
    if job is None or job.requester.guild_id != _people.place(interaction):
        raise UserError(NO_RESULT)
    if job.forgotten_at is not None:
        raise UserError(GONE)
    pictures = await queue.pictures(job_id)
    if not pictures:
        ended = job.status in (JobStatus.RENDERED, JobStatus.DELIVERED)
        raise UserError(GONE if ended else _NOT_READY)
    return job, pictures


async def picture(queue: Queue, interaction: discord.Interaction[Client], about: PictureRef) -> tuple[Job, Picture]:
    """One picture of a result. Raises UserError as `result` does."""
    job, pictures = await result(queue, interaction, about.job_id)
    if not 1 <= about.number <= len(pictures):
        raise UserError(NO_RESULT)
    return job, pictures[about.number - 1]


async def one(
    queue: Queue, interaction: discord.Interaction[Client], about: PictureRef, action: str
) -> tuple[Job, Picture] | None:
    """One picture of a result. None if `about` is a whole result with several: then the person is asked which one.

    The answer is a button with the same `action` for each picture. Raises UserError as `result` does.
    """
    if about.number:
        return await picture(queue, interaction, about)
    job, pictures = await result(queue, interaction, about.job_id)
    if len(pictures) == 1:
        return job, pictures[0]
    await ask_which(interaction, action, _numbered(pictures))
    return None


async def of_message(
    queue: Queue, interaction: discord.Interaction[Client], message: discord.Message
) -> Sequence[Numbered]:
    """The pictures that a message of ours shows, with their numbers there; none for every other message.

    Raises UserError as `result` does if the message shows no picture now.
    """
    if interaction.client.user is None or message.author.id != interaction.client.user.id:
        return ()
    jobs = await queue.shown_by(MessageId(message.id))
    if not jobs:
        return ()
    first, pictures = await result(queue, interaction, jobs[0])
    if first.series_id is None:
        return _numbered(pictures)
    places = {job.id: place for place, job in enumerate(await queue.of_series(first.series_id), start=1)}
    if panels := await interaction.client.app.panels.of(first.series_id):
        # A panel that was painted again shows its newest picture alone.
        places = {panel.job_id: place for place, panel in enumerate(panels, start=1) if panel.job_id is not None}
    found: list[Numbered] = []
    for job_id in sorted(set(jobs) & set(places), key=lambda job_id: places[job_id]):
        found += _numbered(await queue.pictures(job_id), str(places[job_id]))
    return found


def _numbered(pictures: Sequence[Picture], place: str = "") -> list[Numbered]:
    """The pictures of a request, with their numbers in a message; `place` is that of a request among several."""
    if place and len(pictures) == 1:
        return [(place, pictures[0].ref)]
    return [(f"{place}.{each.ref.number}" if place else str(each.ref.number), each.ref) for each in pictures]


async def ask_which(interaction: discord.Interaction[Client], action: str, pictures: Sequence[Numbered]) -> None:
    """Ask which of several pictures is meant; the answer is a button with this action."""
    view = _controls.which_view(action, pictures)
    await responses.send(interaction, say("Which picture?"), view=view, ephemeral=True)


def may_delete(job: Job, interaction: discord.Interaction[Client]) -> bool:
    """Whether the person may delete a result: its requester and moderators may."""
    return job.requester.user_id == interaction.user.id or _people.is_moderator(interaction)


def check_shown(job: Job, interaction: discord.Interaction[Client]) -> None:
    """Raise UserError unless the person may see a result where they are."""
    if not may_see(job, interaction):
        raise UserError(NO_RESULT)
    if not may_show(job, interaction):
        raise UserError(_ELSEWHERE)


def may_show(job: Job, interaction: discord.Interaction[Client]) -> bool:
    """Whether the person may see a result where they are: those of age-restricted channels only in such channels."""
    if not may_see(job, interaction):
        return False
    here = interaction.channel
    there = None if interaction.guild is None else interaction.guild.get_channel_or_thread(job.destination.channel_id)
    return not _searching.is_adult(there) or _searching.is_adult(here)


def may_see(job: Job, interaction: discord.Interaction[Client]) -> bool:
    """Whether the person may read the channel in which a result was asked for."""
    if job.requester.user_id == interaction.user.id:
        return True
    return may_read(job.destination.channel_id, interaction, job.destination.parent_id)


def may_read(
    channel_id: ChannelId, interaction: discord.Interaction[Client], parent_id: ChannelId | None = None
) -> bool:
    """Whether the person may read a channel, or the thread's parent where the thread is not known."""
    if channel_id == interaction.channel_id:
        return True
    guild, member = interaction.guild, interaction.user
    channel = None if guild is None else guild.get_channel_or_thread(channel_id)
    if channel is None and guild is not None and parent_id is not None:
        channel = guild.get_channel(parent_id)
    return channel is not None and isinstance(member, discord.Member) and _searching.may_read(channel, member)
