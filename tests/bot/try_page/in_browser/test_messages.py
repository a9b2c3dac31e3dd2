"""Messages of the page in a real browser: their words, their controls, and how the view follows them."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.bot.try_page.browser import needs_chromium
from tests.bot.try_page.conftest import Page
from tests.bot.try_page.in_browser.looking import area, look, sample, until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_what_a_person_writes_is_never_run(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    for words in (
        "<img src=x onerror=document.title='run'>",
        '[here](https://example.org/"onmouseover=alert(1))',
        "[there](javascript:alert(1)) ||<b>hidden</b>|| `<i>` **<u>bold</u>**",
        "<script>document.title='run'</script>",
    ):
        await page.act({"kind": "say", "content": words})
    await expect(tab.locator(".message").last).to_contain_text("<script>document.title='run'</script>")
    assert await tab.title() == "#easel · Atelier"
    assert await tab.locator("#messages :is(script, b, i, [onerror], [onmouseover], a[href^=javascript])").count() == 0


async def test_discords_markdown(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    ada = page.place.seats["member"].id
    words = (
        f"# Title\n**bold** *slanted* __under__ ~~gone~~ `code` <@{ada}> <#{page.place.main.id}> <t:0:D>\n"
        "- one\n> said\n-# small\n```\n**as it is**\n```\nsnake_case_name 2*3*4 \\*literal\\* https://example.org/a_b."
    )
    await page.act({"kind": "say", "content": words})
    body = tab.locator(".message").last.locator(".body")
    await expect(body.locator(".title-1")).to_have_text("Title")
    for tag, shown in (("strong", "bold"), ("em", "slanted"), ("u", "under"), ("s", "gone"), ("blockquote", "said")):
        await expect(body.locator(tag).first).to_have_text(shown)
    await expect(body.locator(".mention")).to_have_text(["@Ada", "#easel"])
    await expect(body.locator("time")).to_contain_text("1970")
    await expect(body.locator(".item")).to_have_text("one")
    await expect(body.locator("p.small")).to_have_text("small")
    await expect(body.locator("pre")).to_have_text("**as it is**")
    await expect(body).to_contain_text("snake_case_name")
    await expect(body).to_contain_text("*literal*")
    await expect(body.locator("a")).to_have_attribute("href", "https://example.org/a_b")


async def test_layouts_are_drawn(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    page.place.env.backend.create_message(
        page.place.main.id,
        page.place.env.backend.bot_user.id,
        flags=1 << 15,
        components=[
            {
                "type": 17,
                "accent_color": 0xFF8800,
                "components": [
                    {"type": 10, "content": "**In a box**"},
                    {"type": 14},
                    {"type": 1, "components": [{"type": 2, "style": 3, "label": "Go", "custom_id": "go"}]},
                ],
            }
        ],
    )
    box = tab.locator(".message").last.locator(".container")
    await expect(box.locator("strong")).to_have_text("In a box")
    await expect(box.get_by_role("button", name="Go")).to_be_enabled()
    assert await box.evaluate("box => getComputedStyle(box).borderLeftColor") == "rgb(255, 136, 0)"


async def test_a_menu_of_several_choices(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await sample(tab).get_by_role("button", name="Edit region").click()
    region = tab.locator(".message").last
    menu = region.locator(".select")
    await menu.focus()
    await tab.keyboard.press("Enter")
    options = tab.locator(".popup [role=listbox]")
    await expect(options).to_be_focused()
    assert await options.get_attribute("aria-multiselectable") == "true"
    await tab.keyboard.press("Space")
    await tab.keyboard.press("ArrowDown")
    await tab.keyboard.press("Space")
    await expect(options.locator("[aria-selected=true]")).to_have_count(2)
    await tab.locator(".popup").get_by_role("button", name="Choose").click()
    form = tab.get_by_role("dialog")
    await expect(form.get_by_role("button", name="Submit")).to_be_visible()


async def test_reactions_move_nothing_and_addresses_of_messages_are_short(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    page.fill(1)
    message = tab.locator(".message").last
    await expect(message.locator(".grid-4 img")).to_have_count(4)
    before = await area(message)
    await message.hover()
    await message.get_by_role("button", name="More for this message").click()
    await tab.get_by_role("menuitem", name="React with 👍").click()
    await expect(message.locator(".reaction")).to_have_count(1)
    assert (await area(message))["height"] == before["height"]

    known = await sample(tab).get_attribute("id")
    assert known
    where = f"{page.place.guild.id}/{page.place.main.id}/{known.removeprefix('message-')}"
    await page.act({"kind": "say", "content": f"see https://discord.com/channels/{where}"})
    link = tab.locator(".message").last.get_by_role("button", name="#easel, go to the message")
    await expect(link).to_have_text("#easel › 💬")
    await expect(link).to_have_attribute("title", "Go to the message")
    await link.click()
    await expect(sample(tab)).to_have_class(re.compile("found"))


async def test_the_view_follows_unless_one_has_scrolled_up(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    log = tab.locator("#log")
    rest = "log => Math.round(log.scrollHeight - log.scrollTop - log.clientHeight)"
    page.fill(3)
    await expect(tab.locator(".grid-4")).to_have_count(3)
    await until(log, rest, lambda left: left <= 2)
    await log.hover()
    await tab.mouse.wheel(0, -600)
    await until(log, rest, lambda left: left > 300)
    top = await log.evaluate("log => log.scrollTop")
    page.fill(1)
    newest = tab.get_by_role("button", name="New posts")
    await expect(newest).to_be_visible()
    assert abs(await log.evaluate("log => log.scrollTop") - top) < 2
    await newest.click()
    await until(log, rest, lambda left: left <= 2)
    await expect(newest).to_be_hidden()

    # Who presses a button further up goes on seeing it, and is told where the answer is.
    heart = sample(tab).get_by_role("button", name="❤️ Make this a favourite of yours")
    await heart.scroll_into_view_if_needed()
    await until(log, rest, lambda left: left > 300)
    await heart.click()
    answer = tab.get_by_role("button", name="Your answer")
    await expect(answer).to_be_visible()
    await expect(heart).to_be_in_viewport()
    # Who sends a command goes to what comes of it.
    await tab.locator("#say").fill("/quota")
    await tab.keyboard.press("Enter")
    await until(log, rest, lambda left: left <= 2)
    await expect(answer).to_be_hidden()
