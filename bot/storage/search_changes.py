"""Word of every job of which search must know something new."""

from __future__ import annotations

from collections.abc import Callable

import aiosqlite

from bot.storage.database import Database

# The triggers live with the connection, as those of the queue's changes do.
WATCH = (
    "CREATE TEMP TRIGGER IF NOT EXISTS search_job AFTER UPDATE OF status, request, forgotten_at ON main.jobs "
    "BEGIN SELECT search_touched(NEW.id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_job_gone AFTER DELETE ON main.jobs "
    "BEGIN SELECT search_touched(OLD.id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_image AFTER INSERT ON main.images "
    "BEGIN SELECT search_touched(NEW.job_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_image_gone AFTER DELETE ON main.images "
    "BEGIN SELECT search_touched(OLD.job_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_panel AFTER UPDATE OF job_id ON main.panels "
    "WHEN OLD.job_id IS NOT NULL BEGIN SELECT search_touched(OLD.job_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_tag AFTER INSERT ON main.tags "
    "BEGIN SELECT search_touched(NEW.job_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_tag_gone AFTER DELETE ON main.tags "
    "BEGIN SELECT search_touched(OLD.job_id); END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_rating AFTER INSERT ON main.ratings "
    "BEGIN SELECT search_touched(id) FROM main.jobs WHERE post_id = NEW.post_id; END",
    "CREATE TEMP TRIGGER IF NOT EXISTS search_rating_gone AFTER DELETE ON main.ratings "
    "BEGIN SELECT search_touched(id) FROM main.jobs WHERE post_id = OLD.post_id; END",
)


async def watch(database: Database, touched: Callable[[int], None]) -> None:
    """Have `touched` called, in the thread of the database, with the id of every such job from now on.

    It is not committed yet, and may be undone: read what became of it after the commit.
    """

    async def work(connection: aiosqlite.Connection) -> None:
        await connection.create_function("search_touched", 1, touched)
        for trigger in WATCH:
            await connection.execute(trigger)

    await database.write(work)
