"""The page in a real browser, at a desk and on a phone: what it opens with, for everybody."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect
from playwright.async_api import Page as Tab

from tests.bot.try_page.browser import needs_chromium
from tests.bot.try_page.conftest import Page
from tests.bot.try_page.in_browser.looking import BOTH, area, look, sample

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

DEVELOPERS_WORDS = re.compile(r"simcord|inspector|capture|preview|viewport|debug|payload|snowflake", re.IGNORECASE)


@BOTH
async def test_what_the_page_opens_with(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    assert await tab.title() == "#easel · Atelier"
    await expect(tab.get_by_role("heading", name="Atelier", exact=True)).to_be_visible()
    async with page.session.get(page.address + "atelier.svg") as icon:
        assert icon.content_type == "image/svg+xml"
    assert await tab.locator("link[rel=icon]").get_attribute("href") == "atelier.svg"
    assert not DEVELOPERS_WORDS.search(await tab.locator("body").inner_text())
    await expect(sample(tab).get_by_role("button", name="Enlarge")).to_be_visible()
    await expect(tab.locator(".example")).to_have_count(4)
    await expect(tab.locator(".example").last).to_have_text("/storyboard")
    # The welcome and the sample are seen together, and everybody's name is.
    for seen in (
        tab.get_by_role("heading", name="Welcome to Atelier"),
        sample(tab).get_by_role("button", name="Enlarge"),
        sample(tab).get_by_role("button", name="Remix"),
        tab.get_by_role("heading", name="You are"),
        tab.get_by_text("Grace", exact=True),
    ):
        await expect(seen).to_be_in_viewport(ratio=1)
    assert str(page.app.config.data.absolute()) not in await tab.locator("body").inner_text()
    title = await area(tab.get_by_text("You are", exact=True))
    assert title["height"] < 40, "it stands on one line"
    first = await area(tab.locator(".seat").first)
    assert title["x"] + title["width"] <= first["x"] or title["y"] + title["height"] <= first["y"], "nothing covers it"
    await expect(tab.get_by_role("list", name="Direct messages").get_by_role("button")).to_have_text("@Atelier")
    # "16x9" is shown as it was typed, also in a font that makes another sign of it.
    assert await tab.evaluate("getComputedStyle(document.body).fontVariantLigatures") == "no-contextual"
    # A form fits into the window.
    await sample(tab).get_by_role("button", name="Remix").click()
    form = tab.get_by_role("dialog", name="Remix")
    assert await form.evaluate("form => form.scrollHeight <= form.clientHeight")
    await tab.keyboard.press("Escape")
    again = sample(tab).get_by_role("button", name="🔁 Paint the same words again with another seed")
    await expect(again).to_have_attribute("title", "Paint the same words again with another seed")
    # One press shows others, and those of the moderator are the moderator's.
    await tab.get_by_role("button", name="Other examples").click()
    await expect(tab.locator(".example").first).not_to_have_text("a red apple on a blue background")
    await expect(tab.locator(".example").last).to_have_text("/search robot")
    await tab.get_by_role("button", name="Mary Moderator").click()
    await expect(tab.locator(".example").last).to_have_text(re.compile("^/(limits|mod) "))
    # Nothing is wider than the window.
    assert await tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert await tab.locator("#log").evaluate("log => log.scrollWidth <= log.clientWidth")


@BOTH
async def test_everything_is_done_with_the_keyboard(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    await tab.keyboard.press("Tab")
    await expect(tab.get_by_role("link", name="Go to the message box")).to_be_focused()
    await tab.keyboard.press("Enter")
    # The examples, the button for others and that for files come before the box.
    for _ in range(7):
        await tab.keyboard.press("Tab")
    await expect(tab.locator("#say")).to_be_focused()
    # A command with all that it needs is sent by one Enter, and the next one is typed at once.
    await tab.keyboard.type("/imagine a blue cat")
    await tab.keyboard.press("Enter")
    await expect(tab.locator("#say")).to_be_focused()
    mine = tab.locator(".message", has_text="a blue cat").last
    await expect(mine.get_by_role("button", name="Remix")).to_be_visible()
    await expect(tab.locator("#news")).to_contain_text(re.compile("Atelier: a blue cat.*1 file"))

    await mine.get_by_role("button", name="Remix").focus()
    await tab.keyboard.press("Enter")
    form = tab.get_by_role("dialog", name="Remix")
    await expect(form.get_by_label("Prompt")).to_be_focused()
    await tab.keyboard.press("Control+A")
    await tab.keyboard.type("a green cat")
    await form.get_by_role("button", name="Submit").focus()
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".message", has_text="a green cat").last).to_be_visible()
    # The page follows what comes, and that closes an open menu.
    await expect(tab.locator("#news")).to_contain_text(re.compile("Atelier: a green cat.*1 file"))

    more = mine.get_by_role("button", name="More for this message")
    await more.focus()
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("menuitem", name="React with 👍")).to_be_focused()
    menu, opener = await area(tab.get_by_role("menu")), await area(more)
    assert abs(menu["x"] + menu["width"] - opener["x"] - opener["width"]) < 20, "it is where it was opened"
    await tab.keyboard.press("ArrowDown")
    await expect(tab.get_by_role("menuitem", name="React with 👎")).to_be_focused()
    await tab.keyboard.press("Escape")
    await expect(more).to_be_focused()


@BOTH
async def test_a_screen_reader_finds_its_way(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    await tab.locator(".example").first.click()
    await expect(tab.locator(".message").last.get_by_role("button", name="Remix")).to_be_visible()
    await check(tab, "the channel")
    await tab.get_by_role("combobox").fill("/")
    await check(tab, "the list of commands")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="+ aspect").click()
    await expect(tab.get_by_role("listbox", name="Choices for aspect")).to_be_visible()
    await check(tab, "a command with choices")
    await tab.get_by_role("button", name="Leave this command").click()
    await sample(tab).get_by_role("button", name="Remix").click()
    await expect(tab.get_by_role("dialog", name="Remix")).to_be_visible()
    await check(tab, "a form")
    await tab.keyboard.press("Escape")
    await sample(tab).get_by_role("button", name="Enlarge").click()
    await check(tab, "a large picture")
    await tab.keyboard.press("Escape")
    await sample(tab).get_by_role("button", name="More for this message").click()
    await check(tab, "a menu")
    await tab.keyboard.press("Escape")
    await tab.get_by_role("combobox").fill("/imagin a cat")
    await tab.keyboard.press("Enter")
    await check(tab, "advice")
    for picture in await tab.locator("#messages .picture img").all():
        assert await picture.get_attribute("alt")


async def check(tab: Tab, what: str) -> None:
    """Fail on what axe-core finds serious or critical."""
    # The page forbids strings that become scripts; axe is run by the browser's debugger, which may.
    results = await Axe().run(tab)
    found = [
        f"{violation['id']} ({violation['impact']}): {violation['nodes'][0]['html'][:200]}"
        for violation in results.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert found == [], what


async def test_another_person_and_a_moderator(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    box = tab.get_by_role("combobox")
    await box.fill("/limits")
    await expect(tab.get_by_role("listbox", name="Commands").get_by_role("option")).not_to_contain_text(["/limits set"])
    await tab.get_by_role("button", name="Mary Moderator").click()
    await expect(tab.get_by_role("button", name="Mary Moderator")).to_have_attribute("aria-pressed", "true")
    await box.fill("/limits set")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="+ images").click()
    await tab.keyboard.type("2")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".message").last).to_contain_text("Only you can see this")
    await tab.get_by_role("button", name="Ada Member").click()
    await expect(tab.locator(".message", has_text="Only you can see this")).to_have_count(0)
    await tab.get_by_role("button", name="Atelier", exact=True).click()
    await expect(tab.get_by_role("heading", name="@ Atelier")).to_be_visible()
    await expect(tab.locator(".message")).to_have_count(0)
