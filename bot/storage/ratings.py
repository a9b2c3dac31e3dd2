"""Reactions under results, one row each, in the table `ratings`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import aiosqlite

from bot.jobs import ChannelId, Clock, GuildId, MessageId, UserId, to_text
from bot.storage.database import Database
from bot.storage.reactions import DELETE, HEART_BUTTON, NO_REACTIONS, SEND_SETTING

# A reaction that is given before the pictures are there is kept, too: it counts once they are delivered. The primary
# key makes an event that Discord repeats count once. Under a comparison, nothing counts for one of both requests: the
# person means what they see there, which is both. A button ❤️ names one of them, and counts once the comparison ended.
ADD = f"""
INSERT INTO ratings (message_id, user_id, emoji, post_id, added_at)
SELECT ?1, ?2, ?3, id, ?4 FROM posts WHERE message_id = ?1 AND EXISTS (
  SELECT 1 FROM jobs WHERE post_id = posts.id AND status NOT IN ('failed', 'cancelled') AND forgotten_at IS NULL)
AND (?3 IN ('{DELETE}', '{SEND_SETTING}') OR NOT EXISTS (
  SELECT 1 FROM jobs AS shown JOIN comparisons ON first_id = shown.id OR second_id = shown.id
  JOIN jobs AS other ON other.id = iif(first_id = shown.id, second_id, first_id)
  WHERE shown.post_id = posts.id AND other.status NOT IN ('failed', 'cancelled')
    AND (?3 != '{HEART_BUTTON}' OR ended_at IS NULL)))
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants

# The results whose reactions may have changed while the bot was away, the newest first.
RECENT = """
SELECT posts.channel_id, posts.message_id, jobs.guild_id FROM jobs JOIN posts ON posts.id = jobs.post_id
WHERE jobs.surface = 'discord' AND jobs.posted_at > ? AND jobs.status = 'delivered' AND jobs.forgotten_at IS NULL
  AND posts.message_id IS NOT NULL
GROUP BY posts.id ORDER BY max(jobs.posted_at) DESC LIMIT ?
"""


class Ratings:
    """Adds and removes reactions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, message_id: MessageId, user_id: UserId, emoji: str) -> bool:
        """Record a reaction; False when it does not count, or is known."""
        at = to_text(self._clock())
        return await self._database.execute(ADD, (message_id, user_id, emoji, at)) > 0

    async def recent(self, since: datetime, most: int) -> list[tuple[GuildId, ChannelId, MessageId]]:
        """Where the newest results since a time are shown, at most so many."""
        rows = await self._database.fetch_all(RECENT, (to_text(since), most))
        return [(GuildId(row["guild_id"]), ChannelId(row["channel_id"]), MessageId(row["message_id"])) for row in rows]

    async def replace(self, message_id: MessageId, reactions: Collection[tuple[UserId, str]]) -> None:
        """Make the ratings of a message those that stand under it: who reacted, and with which emoji.

        What people gave by a button stays.
        """
        at = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            rows = await connection.execute_fetchall(
                "SELECT user_id, emoji FROM ratings WHERE message_id = ? AND emoji NOT IN (?, ?)",
                (message_id, *NO_REACTIONS),
            )
            gone = {(row["user_id"], row["emoji"]) for row in rows} - set(reactions)
            await connection.executemany(
                "DELETE FROM ratings WHERE message_id = ? AND user_id = ? AND emoji = ?",
                [(message_id, *reaction) for reaction in gone],
            )
            await connection.executemany(ADD, [(message_id, *reaction, at) for reaction in reactions])

        await self._database.write(work)

    async def remove(self, message_id: MessageId, user_id: UserId | None = None, emoji: str | None = None) -> int:
        """Remove the message's reactions, of one person or one emoji where given; returns how many."""
        return await self._database.execute(
            "DELETE FROM ratings WHERE message_id = ?1 AND (?2 IS NULL OR user_id = ?2) AND (?3 IS NULL OR emoji = ?3)",
            (message_id, user_id, emoji),
        )
