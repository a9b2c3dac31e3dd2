"""Word of every post whose reactions, pictures or gallery changed, so that only these are looked at again."""

from __future__ import annotations

from collections.abc import Callable

import aiosqlite

from bot.storage.database import Database

EVERY_POST = 0
"""Told in place of a post when the gallery of a server changed."""

# The triggers live with the connection. Most jobs change without a reaction.
WATCH = (
    "CREATE TEMP TRIGGER IF NOT EXISTS reaction_insert AFTER INSERT ON main.ratings "
    "BEGIN SELECT reacted(NEW.post_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS reaction_delete AFTER DELETE ON main.ratings "
    "BEGIN SELECT reacted(OLD.post_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS reaction_removal AFTER INSERT ON main.removals "
    "BEGIN SELECT reacted(post_id) FROM main.jobs WHERE id = NEW.job_id; END",
    "CREATE TEMP TRIGGER IF NOT EXISTS reaction_job AFTER UPDATE OF status, forgotten_at ON main.jobs "
    "WHEN EXISTS (SELECT 1 FROM main.ratings WHERE post_id = NEW.post_id) "
    "OR EXISTS (SELECT 1 FROM main.side_messages WHERE post_id = NEW.post_id) "
    "BEGIN SELECT reacted(NEW.post_id); END",
    *(
        f"CREATE TEMP TRIGGER IF NOT EXISTS reaction_gallery_{event} AFTER {event} ON main.rules "
        f"WHEN {row}.name = 'gallery' BEGIN SELECT reacted({EVERY_POST}); END"
        for event, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD"))
    ),
)


async def watch_reactions(database: Database, reacted: Callable[[int], None]) -> None:
    """Have `reacted` called, in the thread of the database, with the id of every such post from now on.

    It may be written in a transaction that is undone, and it is not committed yet: read what became of it.
    """

    async def work(connection: aiosqlite.Connection) -> None:
        await connection.create_function("reacted", 1, reacted)
        for trigger in WATCH:
            await connection.execute(trigger)

    await database.write(work)
