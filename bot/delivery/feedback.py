"""Ratings of results: reactions, counted once per person, emoji and result."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from bot.errors import UserError
from bot.jobs import ChannelId, GuildId, MessageId, UserId
from bot.storage.database import insist
from bot.storage.ratings import Ratings
from bot.storage.reactions import DISLIKE, HEART_BUTTON, LIKE, NUMBERS, SEND_SETTING

_KEYCAPS = tuple(f"{number[0]}\ufe0f{number[1]}" for number in NUMBERS)
"""The numbers as Discord has them."""

_SKIN_TONES = {ord(tone): None for tone in "🏻🏼🏽🏾🏿"}
_VARIATION_SELECTOR = {0xFE0F: None}


def offered(pictures: int) -> tuple[str, ...]:
    """The reactions that the bot adds to a result, so that people rate it, or one picture of several, with one tap."""
    return (LIKE, DISLIKE, *(_KEYCAPS[:pictures] if pictures > 1 else ()))


class Feedback:
    """Keeps the stored ratings equal to the reactions under the results."""

    def __init__(self, ratings: Ratings) -> None:
        self._ratings = ratings

    async def recent(self, since: datetime, most: int) -> list[tuple[GuildId, ChannelId, MessageId]]:
        """Where the newest results since a time are shown, at most so many."""
        return await insist(self._ratings.recent, since, most)

    async def seen(self, message_id: MessageId, reactions: Collection[tuple[UserId, str]]) -> None:
        """These are all reactions under a result, each by a person with an emoji."""
        await insist(self._ratings.replace, message_id, {(user_id, plain(emoji)) for user_id, emoji in reactions})

    async def added(self, message_id: MessageId, user_id: UserId, emoji: str) -> bool:
        """A person reacted. Returns False when the message is not a result or the reaction was known."""
        return await insist(self._ratings.add, message_id, user_id, plain(emoji))

    async def removed(self, message_id: MessageId, user_id: UserId, emoji: str) -> None:
        """A person took a reaction back."""
        await insist(self._ratings.remove, message_id, user_id, plain(emoji))

    async def heart_pressed(self, message_id: MessageId, user_id: UserId) -> bool:
        """A person pressed ❤️: the result is a favourite of theirs, or no longer. Returns whether it is one now.

        Raises UserError while people vote on the result.
        """
        if await insist(self._ratings.remove, message_id, user_id, HEART_BUTTON):
            return False
        if not await insist(self._ratings.add, message_id, user_id, HEART_BUTTON):
            raise UserError("People vote on this result in a comparison. It can be a favourite when that has ended.")
        return True

    async def send_always(self, message_id: MessageId, user_id: UserId) -> None:
        """The person who asked wants all their results in direct messages: this one, too, once it is there."""
        await insist(self._ratings.add, message_id, user_id, SEND_SETTING)

    async def cleared(self, message_id: MessageId, emoji: str | None = None) -> None:
        """A moderator removed all reactions, or all of one emoji."""
        await insist(self._ratings.remove, message_id, None, None if emoji is None else plain(emoji))


def plain(emoji: str) -> str:
    """The emoji without skin tone and variation selector, so that 👍🏽 counts as 👍."""
    return emoji.translate(_SKIN_TONES).translate(_VARIATION_SELECTOR) or emoji
