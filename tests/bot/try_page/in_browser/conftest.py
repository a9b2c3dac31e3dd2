"""One browser for all tests of a module, and a page for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from bot.config import Config
from bot.engine.fake import FakeEngine
from tests.bot.try_page.browser import browser as opened_browser
from tests.bot.try_page.conftest import Page, opened
from tests.bot.try_page.in_browser.looking import wrong


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with opened_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(config: Config, engine: FakeEngine) -> AsyncIterator[Page]:
    """The page of an Atelier that paints flat colours."""
    async with opened(config, engine) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser, page: Page) -> AsyncIterator[Browser]:
    """The browser. Its tabs are closed before the page is gone, because they would complain about that."""
    wrong.clear()
    yield chromium
    for context in chromium.contexts:
        await context.close()
    assert wrong == []
