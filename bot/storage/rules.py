"""The limits moderators set, kept in the table `limits`."""

from __future__ import annotations

import aiosqlite

from bot.jobs import Clock, GuildId, Row, Rule, UserId, to_text
from bot.storage.database import Database

# One look-up by primary key finds the server's rules and the person's.
RULES_FOR = "SELECT user_id, name, value FROM limits WHERE guild_id = ? AND user_id IN (0, ?)"

SET = """
INSERT INTO limits (guild_id, user_id, name, value, set_by, set_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, set_by = excluded.set_by, set_at = excluded.set_at
"""


class Rules:
    """Reads and changes the rules of servers and of persons in them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, guild_id: GuildId, user_id: UserId | None = None) -> list[Rule]:
        """The rules that bear on a person in a server, or on the server alone."""
        rows = await self._database.fetch_all(RULES_FOR, (guild_id, user_id or 0))
        return [_rule(row) for row in rows]

    async def all(self) -> dict[GuildId, list[Rule]]:
        """Every rule of every server."""
        rules: dict[GuildId, list[Rule]] = {}
        for row in await self._database.fetch_all("SELECT guild_id, user_id, name, value FROM limits"):
            rules.setdefault(GuildId(row["guild_id"]), []).append(_rule(row))
        return rules

    async def set(self, guild_id: GuildId, user_id: UserId | None, values: dict[str, int], by: UserId) -> None:
        """Set limits by name for a person, or for the server when `user_id` is None."""
        at = to_text(self._clock())

        async def work(connection: aiosqlite.Connection) -> None:
            await connection.executemany(
                SET, [(guild_id, user_id or 0, name, value, by, at) for name, value in values.items()]
            )

        await self._database.write(work)

    async def clear(self, guild_id: GuildId, user_id: UserId | None) -> bool:
        """Remove all rules of a person, or of the server; False when there were none."""

        async def work(connection: aiosqlite.Connection) -> bool:
            cursor = await connection.execute(
                "DELETE FROM limits WHERE guild_id = ? AND user_id = ?", (guild_id, user_id or 0)
            )
            return bool(cursor.rowcount)

        return await self._database.write(work)


def _rule(row: Row) -> Rule:
    return Rule(UserId(row["user_id"]) if row["user_id"] else None, row["name"], row["value"])
