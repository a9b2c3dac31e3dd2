"""What the tests of the page in a browser share: how they look at it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect
from playwright.async_api import Page as Tab

from bot.try_page.sample import PROMPT
from tests.bot.try_page.conftest import Page

DESK, PHONE = (1280, 800), (390, 844)
BOTH = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
PATIENCE = 20_000
"""Milliseconds."""
expect.set_options(timeout=PATIENCE)

wrong: list[str] = []
"""What the page's script did wrong in the test that runs."""


async def look(browser: Browser, page: Page, size: tuple[int, int] = DESK) -> Tab:
    """Open the page; whatever its script does wrong fails the test at its end."""
    tab = await browser.new_page(viewport={"width": size[0], "height": size[1]})
    tab.set_default_timeout(PATIENCE)
    # To raise here would end the reader of the browser's messages, and the browser would be left behind.
    tab.on("pageerror", lambda error: wrong.append(f"the page's script failed: {error}"))
    tab.on("console", lambda said: wrong.append(f"the browser says: {said.text}") if said.type == "error" else None)
    await tab.goto(page.address)
    await expect(sample(tab).get_by_role("button", name="Remix")).to_be_visible()
    return tab


def sample(tab: Tab) -> Locator:
    """The message with the sample picture."""
    return tab.locator(".message", has_text=PROMPT).first


async def act_as(tab: Tab, who: str) -> None:
    """Take a seat, and wait until the page has that person's commands."""
    await tab.get_by_role("button", name=who).click()
    await expect(tab.get_by_role("button", name=who)).to_have_attribute("aria-pressed", "true")


async def area(locator: Locator) -> Any:
    """Where something is, in pixels: x, y, width and height."""
    box = await locator.bounding_box()
    assert box is not None
    return box


async def until(locator: Locator, script: str, wanted: Any) -> None:
    """Wait until what a script finds is as wanted."""
    async with asyncio.timeout(PATIENCE / 1000):
        while not wanted(await locator.evaluate(script)):  # noqa: ASYNC110 - the browser tells of no change
            await asyncio.sleep(0.02)
