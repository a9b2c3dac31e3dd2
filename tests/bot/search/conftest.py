"""A storeroom with the process that searches it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.jobs import Surface
from bot.search.client import Search
from bot.search.index_files import index_of
from bot.search.queries import parse
from bot.search.visibility import Scope, Seer
from bot.storage import search_changes
from tests.bot.storage.conftest import ADA, CHANNEL, GUILD, NOON, Store, open_store

READER = Seer(ADA, GUILD, Scope.PUBLIC, readable=frozenset({CHANNEL}))


class Library:
    """A store, and searches in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index = index_of(store.folder)
        self.search = Search(store.database, self.index, store.folder / "atelier.db", None, Surface.DISCORD)

    async def open(self) -> None:
        await search_changes.watch(self.store.database, self.search._touched.add)

    async def paint(self, *prompts: str, user: int = ADA, **changes: object) -> list[int]:
        """Deliver a result for each prompt; returns their ids."""
        return [(await self.store.delivered(user, prompt=prompt, **changes)).id for prompt in prompts]

    async def found(self, typed: str, seer: Seer = READER) -> list[int]:
        """The ids of what a search finds, the best first."""
        answer = await self.search.find(parse(typed, me=seer.user_id, now=NOON), seer)
        return [hit.job_id for hit in answer.hits]


@asynccontextmanager
async def open_library(folder: Path) -> AsyncIterator[Library]:
    """Open a library in `folder`."""
    async with open_store(folder) as store:
        library = Library(store)
        await library.open()
        try:
            yield library
        finally:
            await library.search.close()


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    """A library of Discord's results."""
    async with open_library(tmp_path) as library:
        yield library
