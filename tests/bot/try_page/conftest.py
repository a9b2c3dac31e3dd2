"""The try page of an app that paints flat colours, and one who asks it as the page's own script does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser

from bot.app import App, open_app
from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.jobs import Surface
from bot.sandbox import try_page
from bot.try_page.place import Place
from bot.try_page.sample import FILE
from tests.bot.try_page.browser import browser as chromium
from tests.conftest import PATIENCE_SECONDS


class Page:
    """What the page's script does: hears what changed, and asks for something to be done."""

    def __init__(self, app: App, place: Place, address: str, session: aiohttp.ClientSession) -> None:
        self.app = app
        self.place = place
        self.address = address
        self.session = session

    def fill(self, messages: int, pictures: int = 4) -> None:
        """Post messages like a result into the main channel, each with pictures of its own."""
        backend, channel = self.place.env.backend, self.place.main
        like = next(message for message in backend.messages[channel.id].values() if message.components)
        first = len(backend.messages[channel.id])
        for number in range(first, first + messages):
            # What follows the end of a PNG is not read, and makes each a file of its own.
            files = [(f"{number}-{each}.png", FILE.read_bytes() + bytes([number, each])) for each in range(pictures)]
            backend.create_message(
                channel.id,
                backend.bot_user.id,
                f"**picture {number}**",
                components=like.components,
                attachments=backend.store_attachments(channel.id, files),
            )

    async def act(self, asked: dict[str, Any], files: dict[str, tuple[str, bytes]] | None = None) -> Any:
        """Ask for something, with files by their names."""
        form = aiohttp.FormData({"asked": json.dumps(asked)})
        for name, (filename, data) in (files or {}).items():
            form.add_field(name, data, filename=filename)
        async with self.session.post(f"{self.address}act", data=form) as response:
            assert response.status == 200
            return await response.json()

    @asynccontextmanager
    async def feed(self, seat: str = "member", channel: int | str = "") -> AsyncIterator[Feed]:
        """Listen while the body runs."""
        query = {"as": seat, "in": str(channel)}
        async with self.session.get(f"{self.address}feed", params=query) as response:
            assert response.status == 200
            yield Feed(response)

    async def everything(self, seat: str = "member", channel: int | str = "") -> Any:
        """What a person sees who opens a channel."""
        async with self.feed(seat, channel) as feed:
            return await feed.news()

    async def seen(self, wanted: Any, seat: str = "member", channel: int | str = "") -> Any:
        """Wait until a person sees a message for which `wanted` is true; returns it."""
        async with self.feed(seat, channel) as feed:
            while True:
                for message in (await feed.news()).get("messages", ()):
                    if wanted(message):
                        return message


class Feed:
    """What the page hears."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._lines = response.content

    async def news(self) -> Any:
        """The next news."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                if line.startswith(b"data: "):
                    return json.loads(line.removeprefix(b"data: "))
        raise AssertionError("the feed ended")


@asynccontextmanager
async def opened(config: Config, engine: FakeEngine | None) -> AsyncIterator[Page]:
    """The page of an Atelier, whose clock goes as fast as the real one."""
    async with (
        open_app(config, Surface.SANDBOX, engine=engine) as app,
        try_page(app) as (place, address),
        aiohttp.ClientSession() as session,
    ):
        clock = asyncio.create_task(place.keep_time())
        try:
            yield Page(app, place, address, session)
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)


@pytest.fixture
async def page(config: Config, engine: FakeEngine) -> AsyncIterator[Page]:
    """The page of an Atelier that paints flat colours."""
    async with opened(config, engine) as page:
        yield page


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser without a window."""
    async with chromium() as opened:
        yield opened
