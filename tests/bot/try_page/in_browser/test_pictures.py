"""Pictures of the page in a real browser: their square, their covers, and when they are loaded."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, expect

from bot.try_page.sample import FILE
from tests.bot.try_page.browser import needs_chromium
from tests.bot.try_page.conftest import Page
from tests.bot.try_page.in_browser.looking import BOTH, PHONE, area, look, sample, until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]


@BOTH
async def test_an_example_becomes_four_pictures_in_a_square(
    browser: Browser, page: Page, size: tuple[int, int]
) -> None:
    tab = await look(browser, page, size)
    await tab.locator(".example").nth(2).click()
    grid = tab.locator(".grid-4")
    await expect(grid.locator("img")).to_have_count(4)
    boxes = [await cell.bounding_box() for cell in await grid.locator(".cell").all()]
    assert all(box is not None for box in boxes)
    corners = {(round(box["x"]), round(box["y"])) for box in boxes if box}
    assert len({x for x, _ in corners}) == len({y for _, y in corners}) == 2
    assert len(corners) == 4

    # A phone has no pointer that could ask what the numbered buttons do, so the first message with some says it.
    legend = tab.locator(".legend")
    await expect(legend.first).to_be_visible(visible=size == PHONE)
    await page.act({"kind": "command", "name": "imagine", "options": {"prompt": "a cat", "images": "4"}})
    await expect(grid).to_have_count(2)
    await expect(legend.last).to_be_hidden()
    grid = grid.first
    await grid.get_by_role("button").nth(1).click()
    dialog = tab.get_by_role("dialog", name="Picture")
    await expect(dialog).to_contain_text("2 of 4")
    await tab.keyboard.press("ArrowRight")
    await expect(dialog).to_contain_text("3 of 4")
    await expect(dialog.get_by_role("img")).to_have_attribute("alt", re.compile("ducks on a lake"))
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(grid.get_by_role("button").nth(1)).to_be_focused()


ALL_LOADED = "log => [...log.querySelectorAll('img')].every(image => image.complete)"
WATCH = """log => {
    window.watched = { removed: 0, added: 0, rows: 0 };
    for (const image of log.querySelectorAll('img')) image.known = true;
    new MutationObserver(records => {
        for (const record of records) {
            for (const node of record.removedNodes) {
                watched.removed += node.tagName === 'IMG';
                watched.removed += node.querySelectorAll?.('img').length ?? 0;
            }
            for (const node of record.addedNodes) {
                watched.added += 1;
                if (node.classList?.contains('message')) watched.rows += 1;
            }
        }
    }).observe(log, { childList: true, subtree: true });
}"""


@BOTH
async def test_pictures_are_seen_whole(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    wide = io.BytesIO()
    Image.new("RGB", (672, 384), "teal").save(wide, "PNG")
    like = next(message for message in page.place.env.backend.messages[page.place.main.id].values())

    async def post(*files: bytes, components: Any = like.components) -> Locator:
        backend, channel = page.place.env.backend, page.place.main.id
        named = [(f"{number}.png", data) for number, data in enumerate(files)]
        attachments = backend.store_attachments(channel, named)
        posted = backend.create_message(
            channel, backend.bot_user.id, "**wide**", components=components, attachments=attachments
        )
        message = tab.locator(f"#message-{posted.id}")
        await until(message.locator(".grid"), ALL_LOADED, bool)
        return message

    two = (await post(wide.getvalue(), wide.getvalue())).locator(".picture img")
    first, second = [await area(each) for each in await two.all()]
    for shown in (first, second):
        assert abs(shown["width"] / shown["height"] - 672 / 384) < 0.03, "as wide as it was painted"
    assert (first["x"] == second["x"]) == (size == PHONE), "below each other on a phone, beside each other elsewhere"
    # Pictures of several shapes have squares, in which nothing is cut off.
    mixed = (await post(wide.getvalue(), FILE.read_bytes())).locator(".picture img")
    assert await mixed.evaluate_all("all => all.map(each => getComputedStyle(each).objectFit)") == ["contain"] * 2

    # While something is painted there is no room for the reactions that a result gets.
    cancel = [{"type": 1, "components": [{"type": 2, "style": 4, "label": "Cancel", "custom_id": "cancel"}]}]
    await expect((await post(wide.getvalue())).locator(".reactions")).to_be_visible()
    await expect((await post(wide.getvalue(), components=cancel)).locator(".reactions")).to_be_hidden()


async def test_an_action_with_a_hundred_pictures_touches_only_what_changed(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    page.fill(25)
    await expect(tab.locator("#messages img")).to_have_count(101 + 26)
    await tab.locator("#log").evaluate("log => { log.scrollTop = 0; }")
    for message in await tab.locator(".message").all():
        await message.scroll_into_view_if_needed()
    await until(tab.locator("#log"), ALL_LOADED, bool)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(f"{request.method} {request.url.removeprefix(page.address)}"))

    # A reaction changes one button, and no picture is asked for again.
    await tab.locator("#log").evaluate(WATCH)
    await sample(tab).get_by_role("button", name="👍, no reactions").click()
    await expect(sample(tab).get_by_role("button", name="👍, 1 reaction")).to_be_visible()
    watched = await tab.evaluate("watched")
    assert asked == ["POST act"]
    assert watched["removed"] == watched["rows"] == 0
    assert watched["added"] <= 2

    # An answer adds one message; its avatar is there already.
    asked.clear()
    # A command without options is used at once.
    await tab.get_by_role("combobox").fill("/quota")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".message").last).to_contain_text("Only you can see this")
    watched = await tab.evaluate("watched")
    assert asked == ["POST act"]
    assert (watched["removed"], watched["rows"]) == (0, 1)
    assert await tab.locator("#messages .picture img").evaluate_all("all => all.every(image => image.known)")

    # Another person sees the same pictures: nothing is drawn or loaded again either.
    asked.clear()
    await tab.get_by_role("button", name="Grace Another member").click()
    await expect(tab.locator(".message", has_text="Only you can see this")).to_have_count(0)
    assert [each.partition("?")[0] for each in asked] == ["GET feed"]
    assert await tab.locator("#messages .picture img").evaluate_all("all => all.every(image => image.known)")


async def test_a_picture_stays_until_the_next_one_is_decoded(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    page.fill(1, pictures=1)
    shown = tab.locator(".message").last.locator(".picture img")
    await expect(shown).to_have_count(1)
    first = await shown.get_attribute("src")
    release = asyncio.Event()

    async def slowly(route: Any) -> None:
        await release.wait()
        await route.continue_()

    await tab.route(re.compile(r"/second\.png$"), slowly)
    backend = page.place.env.backend
    message = max(backend.messages[page.place.main.id].values(), key=lambda message: message.id)
    again = backend.store_attachments(page.place.main.id, [("second.png", FILE.read_bytes() + b"!")])
    backend.edit_message(page.place.main.id, message.id, {"content": "**now another**", "attachments": again})
    await expect(tab.locator(".message").last).to_contain_text("now another")
    assert await shown.get_attribute("src") == first
    release.set()
    await expect(shown).to_have_attribute("src", re.compile(r"second\.png$"))
    assert await shown.evaluate("image => image.complete && image.naturalWidth > 0")


async def test_a_spoiler_is_covered_until_it_is_pressed(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    page.place.env.backend.create_message(
        page.place.main.id,
        page.place.env.backend.bot_user.id,
        "||a secret||",
        attachments=page.place.env.backend.store_attachments(
            page.place.main.id, [("SPOILER_a.png", FILE.read_bytes())]
        ),
    )
    message = tab.locator(".message").last
    await expect(message.locator(".covered")).to_have_count(1)
    await message.get_by_role("button", name="Spoiler. Press to show the picture.").click()
    await expect(message.locator(".covered")).to_have_count(0)
    await message.get_by_role("button", name="Spoiler. Press to show it.").press("Enter")
    await expect(message.locator(".spoiler.shown")).to_have_text("a secret")
