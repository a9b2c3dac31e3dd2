"""What is done with a data folder while Atelier is stopped: forget a person, encrypt, build the search index anew."""

from __future__ import annotations

import asyncio

from bot.app import database_of, lock_folder
from bot.child import ChildFailed
from bot.config import Config
from bot.errors import StorageError
from bot.jobs import Surface, UserId, utcnow
from bot.search.client import Search
from bot.search.hashes import fill_hashes
from bot.search.index_files import delete, files_of, index_of
from bot.storage import encryption, sqlite
from bot.storage.backups import clear_leftovers
from bot.storage.database import open_database
from bot.storage.forgetting import Forgetting, Held
from bot.storage.former_folders import empty_former_folders
from bot.storage.pictures import Pictures
from bot.storage.recovery import finish


async def forget_person(config: Config, user_id: UserId) -> Held | None:
    """Delete what is kept about a person while Atelier is stopped, in backups too.

    Returns how much the database had; None if it had nothing about the person.
    """
    with lock_folder(config.data):
        path = database_of(config.data)
        key = await sqlite.in_thread(lambda _: encryption.prepare(path, encrypt=False))
        # Finish an open restore first; otherwise it would bring back the data that is deleted now.
        await sqlite.in_thread(lambda _: finish(path))
        if not path.exists():
            raise StorageError(f"{path} does not exist: there is nothing to delete.")
        await sqlite.in_thread(lambda _: clear_leftovers(path, start=True))
        async with open_database(path, key) as database:
            folder = await sqlite.in_thread(lambda _: encryption.pictures_of(path, key, seals=False))
            pictures = Pictures(database, folder)
            await empty_former_folders(config.data, database, pictures)

            async def erase_index() -> None:
                await asyncio.to_thread(delete, index_of(config.data))

            forgetting = Forgetting(database, pictures, path, key, Surface.DISCORD, utcnow, erase_index)
            known = any(rows for what, rows in (await forgetting.export(user_id)).items() if what != "deletions")
            held = await forgetting.held(user_id) if known else None
            await forgetting.forget(user_id)
            if not await forgetting.finish():
                raise StorageError("A backup is being made. Atelier finishes the deletion when it runs again.")
    return held


async def encrypt_database(config: Config, *, again: bool) -> str:
    """Encrypt the database and its backups while Atelier is stopped, or give them a new key; returns what was done.

    Pictures are encrypted or decrypted as the settings say. Raises StorageError where everything is as it should be
    already, or with `again` where the database is not encrypted.
    """
    with lock_folder(config.data):
        path, index = database_of(config.data), index_of(config.data)
        await sqlite.in_thread(lambda _: finish(path))
        await sqlite.in_thread(lambda _: clear_leftovers(path, start=True))
        seals, derived = config.encrypt_pictures, files_of(index)
        return await sqlite.in_thread(lambda _: encryption.change(path, again=again, seals=seals, derived=derived))


async def rebuild_index(config: Config) -> int:
    """Build the search index anew while Atelier is stopped; returns how many results it has."""
    with lock_folder(config.data):
        path = database_of(config.data)
        key = await sqlite.in_thread(lambda _: encryption.prepare(path, encrypt=False))
        await sqlite.in_thread(lambda _: finish(path))
        if not path.exists():
            raise StorageError(f"{path} does not exist: there is nothing to index.")
        async with open_database(path, key) as database:
            folder = await sqlite.in_thread(lambda _: encryption.pictures_of(path, key, seals=config.encrypt_pictures))
            await fill_hashes(database, folder)
            search = Search(database, index_of(config.data), path, key, Surface.DISCORD, config.engine.likeness)
            try:
                return await search.rebuild()
            except ChildFailed as failure:
                raise StorageError(f"The search index could not be built: {failure.reason}") from failure
            finally:
                await search.close()
