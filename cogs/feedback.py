"""Reactions under results become ratings, and stop being ratings when they are taken back.

Discord sends no events of the time in which the bot was away, so after each start the reactions of recent results are
read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import aiohttp
import discord
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.delivery.feedback import Feedback
from bot.delivery.reactions import Reactions
from bot.errors import UserError
from bot.jobs import ChannelId, GuildId, MessageId, PictureRef, UserId, utcnow
from bot.language import say, say_many
from bot.storage.queue import Queue
from cogs import _targets, _words
from cogs._buttons import add_cog, pressed

RECENT = timedelta(days=7)
RECENT_RESULTS = 200
"""How many results, of how long a time, are read again after a start."""
READ_SECONDS = 1.0
"""Between two of them: Discord limits requests, and people's requests go first."""
_TRIES = 3
"""How often a message is read if reactions change meanwhile."""

log = logging.getLogger(__name__)


class FeedbackCog(commands.Cog, name="Feedback"):
    """Listens to raw reaction events, which also come for messages from before a restart, and to the button ❤️."""

    def __init__(self, client: Client, feedback: Feedback, queue: Queue, reactions: Reactions) -> None:
        self._reactions = reactions
        self._client = client
        self._queue = queue
        self._feedback = feedback
        self._reading: asyncio.Task[None] | None = None
        self._events: Counter[int] = Counter()
        """How many events came about each message that is being read again."""

    async def cog_unload(self) -> None:
        """Stop reading; the next start reads again."""
        if self._reading is not None:
            self._reading.cancel()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Read the reactions of recent results again: the bot has missed the events before this session."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read_recent(), name="read reactions again")

    async def _read_recent(self) -> None:
        for guild_id, channel_id, message_id in await self._feedback.recent(utcnow() - RECENT, RECENT_RESULTS):
            try:
                await self._read(guild_id, channel_id, message_id)
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                log.info("the reactions of message %d were not read again: %s", message_id, type(error).__name__)
            await asyncio.sleep(READ_SECONDS)

    async def _read(self, guild_id: GuildId, channel_id: ChannelId, message_id: MessageId) -> None:
        """Make the ratings of a result those that stand under it."""
        channel = self._client.get_partial_messageable(channel_id, guild_id=guild_id)
        for _ in range(_TRIES):
            self._events[message_id] = 0
            message = await channel.fetch_message(message_id)
            reactions = [
                (UserId(user.id), str(reaction.emoji))
                for reaction in message.reactions
                if reaction.count > reaction.me
                async for user in reaction.users()
                if not user.bot
            ]
            # What was read is outdated if an event came meanwhile.
            if not self._events.pop(message_id, 0):
                await self._feedback.seen(message_id, reactions)
                return

    def _note(self, message_id: int) -> None:
        if message_id in self._events:
            self._events[message_id] += 1

    @commands.Cog.listener()
    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A person reacted."""
        self._note(payload.message_id)
        if not self._is_me(payload.user_id) and (payload.member is None or not payload.member.bot):
            await self._feedback.added(MessageId(payload.message_id), UserId(payload.user_id), str(payload.emoji))

    @commands.Cog.listener()
    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """A person took a reaction back."""
        self._note(payload.message_id)
        if not self._is_me(payload.user_id):
            await self._feedback.removed(MessageId(payload.message_id), UserId(payload.user_id), str(payload.emoji))

    @commands.Cog.listener()
    async def on_raw_reaction_clear(self, payload: discord.RawReactionClearEvent) -> None:
        """A moderator removed every reaction."""
        self._note(payload.message_id)
        await self._feedback.cleared(MessageId(payload.message_id))

    @commands.Cog.listener()
    async def on_raw_reaction_clear_emoji(self, payload: discord.RawReactionClearEmojiEvent) -> None:
        """A moderator removed every reaction of one emoji."""
        self._note(payload.message_id)
        await self._feedback.cleared(MessageId(payload.message_id), str(payload.emoji))

    @pressed("heart")
    async def heart_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Make a result a favourite of the person, or take that back."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        if job.destination.message_id is None:
            raise UserError(_words.EXPIRED)
        is_one = await self._feedback.heart_pressed(job.destination.message_id, UserId(interaction.user.id))
        words = say("This is no favourite of yours any more.")
        if is_one:
            words = say("This is a favourite of yours now. ❤️")
            gallery = await self._reactions.gallery_for(job)
            if gallery is not None:
                words += " " + say_many(
                    "A result that {count} person besides the one who asked for it likes with ❤️ is copied to "
                    "{gallery}, where everyone sees it.",
                    "A result that {count} people besides the one who asked for it like with ❤️ is copied to "
                    "{gallery}, where everyone sees it.",
                    gallery.threshold,
                    gallery=f"<#{gallery.channel_id}>",
                )
        await responses.send(interaction, words, ephemeral=True)

    def _is_me(self, user_id: int) -> bool:
        return self._client.user is not None and user_id == self._client.user.id


async def setup(client: Client) -> None:
    """Add the cog."""
    await add_cog(client, FeedbackCog(client, client.app.feedback, client.app.queue, client.app.reactions))
