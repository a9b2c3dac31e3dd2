"""Tags on results: words by which people find them again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

import aiosqlite

from bot.errors import UserError
from bot.jobs import ChannelId, Clock, GuildId, JobId, UserId, to_text
from bot.storage.database import Database

MOST_TAGS = 10
"""Tags of one result."""
LONGEST_TAG = 32
"""Characters of a tag."""

_TAG = re.compile(r"[\w](?:[\w &'-]*[\w])?")

OF_JOB = "SELECT tag FROM tags WHERE job_id = ? ORDER BY tag"

# The tags of a person's own results and of those in the channel where they ask: what is in other channels may not be
# for them.
OFFERED = """
SELECT tag, count(*) AS uses FROM tags CROSS JOIN jobs ON jobs.id = job_id CROSS JOIN posts ON posts.id = post_id
WHERE jobs.guild_id = ?1 AND (jobs.user_id = ?2 OR posts.channel_id = ?3) AND instr(tag, ?4)
GROUP BY tag ORDER BY uses DESC, tag LIMIT ?5
"""


def as_tag(typed: str) -> str:
    """A tag as it is kept: in small letters, without accents of Latin letters and with single blanks.

    Raises UserError if it is no tag.
    """
    parts = unicodedata.normalize("NFKD", typed.casefold())
    plain = unicodedata.normalize("NFC", "".join(each for each in parts if not "\u0300" <= each <= "\u036f"))
    tag = " ".join(plain.split())
    if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag):
        raise UserError(
            "A tag has letters and digits, with blanks between words, and at most {most} characters, such as "
            "`old castle`.",
            most=LONGEST_TAG,
        )
    return tag


class Tags:
    """Reads and changes tags; who may do that is decided by the caller."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, job_id: JobId) -> list[str]:
        """The tags of a result, sorted."""
        return [row["tag"] for row in await self._database.fetch_all(OF_JOB, (job_id,))]

    async def add(self, job_id: JobId, user_id: UserId, tags: Collection[str]) -> list[str]:
        """Put tags on a result; returns all that it has. Raises UserError if these would be too many."""

        async def work(connection: aiosqlite.Connection) -> list[str]:
            await connection.executemany(
                "INSERT INTO tags (job_id, tag, user_id, added_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(job_id, tag, user_id, to_text(self._clock())) for tag in tags],
            )
            now = [row["tag"] for row in await connection.execute_fetchall(OF_JOB, (job_id,))]
            if len(now) > MOST_TAGS:
                raise UserError("A result has at most {most} tags. Remove some first.", most=MOST_TAGS)
            return now

        return await self._database.write(work)

    async def remove(self, job_id: JobId, tags: Collection[str]) -> list[str]:
        """Take tags off a result; returns those that it still has."""

        async def work(connection: aiosqlite.Connection) -> list[str]:
            await connection.executemany(
                "DELETE FROM tags WHERE job_id = ? AND tag = ?", [(job_id, tag) for tag in tags]
            )
            return [row["tag"] for row in await connection.execute_fetchall(OF_JOB, (job_id,))]

        return await self._database.write(work)

    async def offered(
        self, guild_id: GuildId, user_id: UserId, channel_id: ChannelId, typed: str, most: int
    ) -> list[str]:
        """Tags to offer to a person while they type, the most used first."""
        rows = await self._database.fetch_all(OFFERED, (guild_id, user_id, channel_id, typed.casefold(), most))
        return [row["tag"] for row in rows]
