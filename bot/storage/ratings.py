"""Reactions under results, one row each, in the table `ratings`."""

from __future__ import annotations

from bot.jobs import Clock, MessageId, UserId, to_text
from bot.storage.database import Database

# Only results collect ratings, from the moment they can be seen, shortly before they count as delivered. The
# primary key makes an event that Discord repeats count once.
ADD = """
INSERT INTO ratings (message_id, user_id, emoji, post_id, added_at)
SELECT ?1, ?2, ?3, id, ?4 FROM posts WHERE message_id = ?1 AND EXISTS (
  SELECT 1 FROM jobs WHERE post_id = posts.id AND status IN ('rendered', 'delivered') AND forgotten_at IS NULL)
ON CONFLICT DO NOTHING
"""


class Ratings:
    """Adds and removes reactions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, message_id: MessageId, user_id: UserId, emoji: str) -> bool:
        """Record a reaction; False when the message is no result of ours or the reaction is known."""
        at = to_text(self._clock())
        return await self._database.execute(ADD, (message_id, user_id, emoji, at)) > 0

    async def remove(self, message_id: MessageId, *, user_id: UserId | None = None, emoji: str | None = None) -> int:
        """Remove the message's reactions, of one person or one emoji where given; returns how many."""
        return await self._database.execute(
            "DELETE FROM ratings WHERE message_id = ?1 AND (?2 IS NULL OR user_id = ?2) AND (?3 IS NULL OR emoji = ?3)",
            (message_id, user_id, emoji),
        )
