"""Reactions under results become ratings, and stop being ratings when they are taken back."""

from __future__ import annotations

import discord
from discord.ext import commands

from bot.client import Client
from bot.delivery.feedback import Feedback
from bot.jobs import MessageId, UserId


class FeedbackCog(commands.Cog, name="Feedback"):
    """Listens to raw reaction events, which also come for messages from before a restart."""

    def __init__(self, client: Client, feedback: Feedback) -> None:
        self._client = client
        self._feedback = feedback

    @commands.Cog.listener()
    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """A person reacted."""
        if not self._is_me(payload.user_id) and (payload.member is None or not payload.member.bot):
            await self._feedback.added(MessageId(payload.message_id), UserId(payload.user_id), str(payload.emoji))

    @commands.Cog.listener()
    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """A person took a reaction back."""
        if not self._is_me(payload.user_id):
            await self._feedback.removed(MessageId(payload.message_id), UserId(payload.user_id), str(payload.emoji))

    @commands.Cog.listener()
    async def on_raw_reaction_clear(self, payload: discord.RawReactionClearEvent) -> None:
        """A moderator removed every reaction."""
        await self._feedback.cleared(MessageId(payload.message_id))

    @commands.Cog.listener()
    async def on_raw_reaction_clear_emoji(self, payload: discord.RawReactionClearEmojiEvent) -> None:
        """A moderator removed every reaction of one emoji."""
        await self._feedback.cleared(MessageId(payload.message_id), str(payload.emoji))

    def _is_me(self, user_id: int) -> bool:
        return self._client.user is not None and user_id == self._client.user.id


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(FeedbackCog(client, client.app.feedback))
