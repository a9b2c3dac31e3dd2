"""Messages about a result in other places: its copy in the gallery, in a direct message, and what people are told.

Also the note in the message of a removed result. What is sent and deleted, and when, is decided in `bot/delivery/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import discord
from discord.ext import commands

from bot.client import Client
from bot.delivery.reactions import NOTE_STAYS
from bot.delivery.smaller import Smaller
from bot.errors import TryLater
from bot.jobs import ChannelId, Image, Job, MessageId, UserId
from bot.language import mark, say
from bot.policy.policy import Policy
from bot.responses import MESSAGE, fitted, units
from bot.storage.database import insist
from bot.storage.side_messages import Kind, SideMessage
from cogs import _requests, _views
from cogs._links import link
from cogs._posting import delete, own_messages, translated
from cogs._verdicts import GONE
from cogs.series_posts import SeriesPosts

REMOVED_BY_REQUESTER = mark("🗑️ The person who asked for this result deleted it.")


class SideMessages(commands.Cog, name="Side messages"):
    """The poster of `bot.delivery.reactions` and `bot.delivery.removal_notes`."""

    def __init__(self, client: Client, policy: Policy) -> None:
        self._client = client
        self._policy = policy

    async def cog_load(self) -> None:
        """Register as the poster."""
        self._client.app.reactions.attach(self)
        self._client.app.removal_notes.attach(self)

    async def say_removed(self, job: Job, *, by_requester: bool) -> None:
        """Let the job's message say who removed the result, and show nothing else."""
        assert job.destination.message_id is not None  # noqa: S101 - its result is there
        message = self._channel(job.destination.channel_id, job).get_partial_message(job.destination.message_id)
        async with self._client.speaking_to(job.requester.guild_id):
            words = say(REMOVED_BY_REQUESTER) if by_requester else say(_requests.REMOVED)
        with self._translated(job):
            try:
                if job.series_id is not None:
                    await SeriesPosts.of(self._client).refresh(job)
                    return
                await message.edit(content=words, attachments=[], embeds=[], view=None)
            except discord.HTTPException as error:
                if error.code not in GONE:
                    # Also where Discord takes no more edits for now: a result must not stay because of that.
                    raise TryLater(f"Discord answered {error.status} (code {error.code})") from error
                raise

    def may_show(self, channel_id: ChannelId, job: Job) -> bool:
        """Whether a channel may show a result: what is from an age-restricted channel stays in such channels."""
        guild = self._client.get_guild(job.requester.guild_id)
        if guild is None:
            return True
        source = next(filter(None, map(guild.get_channel_or_thread, job.destination.channels)), None)
        return _is_restricted(guild.get_channel_or_thread(channel_id)) or not (source is None or _is_restricted(source))

    async def open_direct(self, user_id: UserId, job: Job) -> ChannelId:
        """The channel of the direct messages to a person."""
        with self._translated(job):
            return ChannelId((await self._client.create_dm(discord.Object(user_id))).id)

    async def find_side(self, message: SideMessage, channel_id: ChannelId, job: Job) -> MessageId | None:
        """The message of a row, if an earlier attempt has sent it."""
        file, original = f"atelier-{job.id}-", link(self._client, job)
        async with self._client.speaking_to(job.requester.guild_id):
            note = closed(message.user_id, original)
        with self._translated(job):
            async for sent in own_messages(self._client, self._place(message, channel_id, job), message.begun_at):
                if message.kind is Kind.REFUSAL:
                    found = sent.content == note
                else:
                    # The link alone is also in the message that pings a person after a long wait.
                    found = original in sent.content and any(
                        each.filename.startswith(file) for each in sent.attachments
                    )
                if found:
                    return MessageId(sent.id)
        return None

    async def post_side(
        self,
        message: SideMessage,
        channel_id: ChannelId,
        job: Job,
        images: Sequence[Image],
        encoded: Smaller | None,
    ) -> MessageId:
        """Send the message of a row; `encoded` has the pictures smaller. Its nonce keeps it from being sent twice."""
        channel = self._place(message, channel_id, job)
        nonce, original = f"s{message.id}", link(self._client, job)
        async with self._client.speaking_to(job.requester.guild_id):
            note, content = closed(message.user_id, original), copied(message.kind, job, original, images, encoded)
        with self._translated(job):
            if message.kind is Kind.REFUSAL:
                person = discord.AllowedMentions(users=[discord.Object(message.user_id)])
                sent = await channel.send(note, allowed_mentions=person, nonce=nonce)
            else:
                pictures = [image.png for image in images] if encoded is None else encoded.files
                hidden = await self._is_hidden(message, channel_id, job, images)
                files = _views.result_files(job, pictures, spoiler=hidden)
                sent = await channel.send(content, files=files, nonce=nonce)
        return MessageId(sent.id)

    async def _is_hidden(self, message: SideMessage, channel_id: ChannelId, job: Job, images: Sequence[Image]) -> bool:
        """Whether the safety check hides a copy: where the result was asked for, or in the gallery."""
        scores = [image.nsfw for image in images]
        if await insist(self._policy.is_hidden, job, scores):
            return True
        if message.kind is Kind.PRIVATE:
            return False
        limits = await insist(self._policy.picture_limits, job.requester.guild_id, [channel_id])
        return any(map(limits.hides, scores))

    async def delete_side(self, channel_id: ChannelId, message_id: MessageId, job: Job) -> None:
        """Delete a message, which may be gone already."""
        with self._translated(job):
            await delete(self._channel(channel_id, job).get_partial_message(message_id))

    def _translated(self, job: Job) -> AbstractContextManager[None]:
        return translated(self._client, job.requester.guild_id)

    def _channel(self, channel_id: ChannelId, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(channel_id, guild_id=job.requester.guild_id)

    def _place(self, message: SideMessage, channel_id: ChannelId, job: Job) -> discord.PartialMessageable:
        if message.kind is Kind.PRIVATE:
            return self._client.get_partial_messageable(channel_id, type=discord.ChannelType.private)
        return self._channel(channel_id, job)


def copied(kind: Kind, job: Job, original: str, images: Sequence[Image], encoded: Smaller | None) -> str:
    """The text of a copy: the prompt, the person who asked, in a direct message also the values, and the original."""
    lines = [say("-# The original: {link}", link=original)]
    if encoded is not None:
        lines.append(_requests.smaller(encoded.lossless, moves=bool(job.request.frames)))
    text = _requests.headline(job) if kind is Kind.GALLERY else _requests.result(job, images)
    end = "\n".join(lines)
    return f"{fitted(text, MESSAGE - units(end) - 1)}\n{end}"


def closed(user_id: UserId, original: str) -> str:
    """The note to a person who asked for a direct message and takes none."""
    return say(
        "{person} you asked for {link} with ✉️, but you take no direct messages from me. Allow them in this server's "
        "privacy settings, take your ✉️ back and add it again. I delete this note after {seconds:.0f} s.",
        person=f"<@{user_id}>",
        link=original,
        seconds=NOTE_STAYS.total_seconds(),
    )


def _is_restricted(channel: object) -> bool:
    """Whether a channel, or a thread's channel, is age-restricted."""
    return isinstance(channel, (discord.abc.GuildChannel, discord.Thread)) and bool(getattr(channel, "is_nsfw", bool)())


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(SideMessages(client, client.app.policy))
