"""What the database needs once a day: a full check, and a backup of what was found good."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from bot.errors import StorageError
from bot.jobs import Clock
from bot.storage import sqlite
from bot.storage.backups import back_up, backups_of, is_due, rotate
from bot.storage.database import Database
from bot.storage.integrity import CHECKED, Check, find_damage

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks at whether a backup is due; the first leaves a start its peace."""

RETRY_SECONDS = 3600.0
"""After a backup that failed: a check of a large file is work."""


async def keep_up(database: Database, path: Path, key: str | None, clock: Clock) -> None:
    """Check, back up and rotate daily, for ever; trouble is logged and met again at the next look."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if is_due(backups_of(path), clock()):
                await check_and_back_up(database, path, key, clock)
        except StorageError as error:
            log.warning("There is no backup of today yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def check_and_back_up(database: Database, path: Path, key: str | None, clock: Clock) -> Path:
    """Check the whole file, back it up, delete old backups, and return the new one.

    Raises StorageError when the file is damaged; then no backup is made and none is deleted.
    """
    damage = await sqlite.in_thread(lambda stop: find_damage(path, key, full=True, stop=stop))
    await database.remember(CHECKED, Check(clock(), damage).text)
    if damage:
        log.critical("%s is damaged: %s. Stop and start Atelier: it takes up the newest good backup.", path, damage)
        raise StorageError(f"{path} is damaged ({damage}).")
    backup = await sqlite.in_thread(lambda stop: back_up(path, key, stop, clock()))
    for gone in await sqlite.in_thread(lambda _: rotate(path)):
        log.info("deleted %s", gone)
    log.info("backed up to %s", backup)
    return backup
