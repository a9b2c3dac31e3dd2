"""The page in a real browser, at a desk and on a phone."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, expect
from playwright.async_api import Page as Tab

from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.try_page.sample import FILE, PROMPT
from tests.bot.try_page.browser import browser as opened_browser
from tests.bot.try_page.browser import needs_chromium
from tests.bot.try_page.conftest import Page, opened

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

DESK, PHONE = (1280, 800), (390, 844)
BOTH = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
PATIENCE = 20_000
expect.set_options(timeout=PATIENCE)
DEVELOPERS_WORDS = re.compile(r"simcord|inspector|capture|preview|viewport|debug|payload|snowflake", re.IGNORECASE)


wrong: list[str] = []
"""What the page's script did wrong in the test that runs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with opened_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(config: Config, engine: FakeEngine) -> AsyncIterator[Page]:
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


async def area(locator: Locator) -> Any:
    """Where something is, in pixels: x, y, width and height."""
    box = await locator.bounding_box()
    assert box is not None
    return box


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
    await expect(tab.locator("#welcome")).to_contain_text(f"stay in {page.app.config.data.absolute()}")
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


async def test_typing_goes_on_in_the_first_option_of_a_command(browser: Browser, page: Page) -> None:
    tab = await look(browser, page, (1280, 860))
    await tab.locator("#say").focus()
    await tab.keyboard.type("/compare")
    await tab.keyboard.press("Enter")
    await tab.keyboard.type("a fox")
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a fox")


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

    await grid.get_by_role("button").nth(1).click()
    dialog = tab.get_by_role("dialog", name="Picture")
    await expect(dialog).to_contain_text("2 of 4")
    await tab.keyboard.press("ArrowRight")
    await expect(dialog).to_contain_text("3 of 4")
    await expect(dialog.get_by_role("img")).to_have_attribute("alt", re.compile("a rocket in space"))
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(grid.get_by_role("button").nth(1)).to_be_focused()


@BOTH
async def test_choices_come_before_a_letter(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    await tab.get_by_role("combobox").fill("/")
    await expect(tab.get_by_role("listbox", name="Commands").get_by_role("option").first).to_contain_text("/imagine")
    await tab.keyboard.press("Enter")
    for option in ("aspect", "model", "sampler"):
        await tab.get_by_role("button", name=f"+ {option}").click()
        choices = tab.get_by_role("listbox", name=f"Choices for {option}")
        await expect(choices.get_by_role("option").first).to_be_visible()
        await tab.keyboard.press("ArrowDown")
        await tab.keyboard.press("Enter")
        await expect(choices).to_be_hidden()
        assert await tab.get_by_label(option, exact=True).input_value()


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
    await tab.keyboard.type("/imagine a blue cat")
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a blue cat")
    await tab.keyboard.press("Enter")
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
    await sample(tab).get_by_role("button", name="👍, 1 reaction").click()
    await expect(sample(tab).get_by_role("button", name="👍, 2 reactions")).to_be_visible()
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


async def until(locator: Locator, script: str, wanted: Any) -> None:
    """Wait until what a script finds is as wanted."""
    async with asyncio.timeout(PATIENCE / 1000):
        while not wanted(await locator.evaluate(script)):  # noqa: ASYNC110 - the browser tells of no change
            await asyncio.sleep(0.02)


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


async def test_files_are_chosen_dropped_and_sent_with_a_command(browser: Browser, page: Page, tmp_path: Path) -> None:
    tab = await look(browser, page)
    png = tmp_path / "mine.png"
    png.write_bytes(FILE.read_bytes())
    await tab.locator(".box input[type=file]").set_input_files(png)
    await tab.get_by_role("button", name="Send", exact=True).click()
    await expect(tab.locator(".message").last.locator(".picture img")).to_have_attribute("src", re.compile("mine.png"))

    await tab.get_by_role("combobox").fill("/imagine a horse")
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Enter")
    dropped = await tab.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.png', { type: 'image/png' }));
            return transfer;
        }""",
        list(FILE.read_bytes()),
    )
    await tab.locator(".room").dispatch_event("drop", {"dataTransfer": dropped})
    assert await tab.get_by_label("image", exact=True).evaluate("input => input.files[0].name") == "dropped.png"
    await tab.get_by_label("prompt", exact=True).press("Enter")
    await expect(tab.locator(".message", has_text="a horse").last.get_by_role("button", name="Remix")).to_be_visible()
    rows = await page.app.database.fetch_all("SELECT json_extract(request, '$.image') FROM jobs ORDER BY id DESC")
    assert rows[0][0] == hashlib.sha256(FILE.read_bytes()).hexdigest()


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


async def test_what_cannot_be_done_is_said_and_nothing_typed_is_lost(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await tab.get_by_role("combobox").fill("/imagine a cat")
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="+ images").click()
    await tab.keyboard.type("9")
    await tab.keyboard.press("Enter")
    refused = tab.get_by_role("alert").filter(has_text="“images” takes at least 1 and at most 4; you gave 9.")
    await expect(refused).to_be_visible()
    field, said = await area(tab.get_by_label("images", exact=True)), await area(refused)
    assert said["y"] >= field["y"] + field["height"], "it covers no field"
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a cat")
    await tab.get_by_label("prompt", exact=True).fill("")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("alert").filter(has_text="Fill in prompt")).to_be_visible()


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


async def test_what_is_typed_after_a_command_fills_its_fields(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await tab.get_by_role("button", name="Mary Moderator").click()
    await expect(tab.get_by_role("button", name="Mary Moderator")).to_have_attribute("aria-pressed", "true")
    box, about = tab.locator("#say"), tab.locator(".about")

    async def typed(words: str, **fields: str) -> None:
        await box.fill(words)
        await tab.keyboard.press("Enter")
        for name, value in fields.items():
            await expect(tab.get_by_label(name, exact=True)).to_have_value(value)

    await typed("/search kitty -dog", query="kitty -dog")
    await expect(about).to_contain_text('query Words, "phrases", -words to leave out')
    await tab.keyboard.press("Escape")
    await expect(box).to_have_value("/search query:kitty -dog")

    await typed("/mod undo case:1 a mistake", case="1", reason="a mistake")
    await tab.keyboard.press("Escape")
    await typed("/imagine images:2 a cat, seen from above: fluffy seed:x", images="2")
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a cat, seen from above: fluffy seed:x")
    await tab.keyboard.press("Escape")

    # What fits no field is said and kept, and so is what was typed in the box before.
    await typed("/mod cases pac:3")
    await expect(tab.get_by_role("alert").filter(has_text="No option of this command takes “pac:3”")).to_be_visible()
    await tab.get_by_role("button", name="Leave this command").click()
    await expect(box).to_have_value("/mod cases pac:3")
    await typed("/limits set pace:10 role:@newcomers", pace="10", role="@newcomers")
    await expect(tab.get_by_role("alert").filter(has_text="“@newcomers” is not among the choices")).to_be_visible()
    await expect(tab.get_by_label("role", exact=True)).to_be_focused()
    choices, whole = tab.get_by_role("listbox", name="Choices for role"), tab.locator(".command")
    await expect(choices).to_be_visible()
    shown, around = await area(choices), await area(whole)
    assert shown["y"] + shown["height"] <= around["y"], "the choices cover nothing"
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Escape")
    await expect(box).to_have_value("/limits set pace:10 role:@newcomers")
    await typed("/quota now")
    await expect(box).to_have_value("/quota now")

    # The description of an option is told before it is added; the first field that is needed has the focus.
    await typed("/contest start")
    await expect(tab.get_by_label("theme", exact=True)).to_be_focused()
    await tab.get_by_role("button", name="+ votes").hover()
    await expect(about).to_contain_text("votes ")
    await tab.keyboard.press("Escape")

    await typed("/limits set pace:10 member:ada", pace="10", member="Ada")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".message").last).to_contain_text("Only you can see this")
    rows = await page.app.database.fetch_all("SELECT value FROM rules WHERE name = 'pace'")
    assert [row[0] for row in rows] == ["10"]


async def test_text_that_is_no_command_is_answered_on_the_page(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    box, advice = tab.locator("#say"), tab.get_by_role("status")
    await box.fill("a red dragon")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("Ordinary text is only chat")
    await expect(tab.locator(".message").last.locator(".meta")).to_have_text(re.compile(r"^Ada\d+:\d+.[AP]M$"))
    await advice.get_by_role("button", name="/imagine a red dragon").click()
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a red dragon")
    await tab.get_by_label("prompt", exact=True).fill("")
    await tab.keyboard.press("Escape")

    await box.fill("/imagin a blue dragon")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("You have no command “/imagin” here. Did you mean this?")
    await expect(box).to_have_value("/imagin a blue dragon")
    await advice.get_by_role("button", name="/imagine a blue dragon").click()
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a blue dragon")
    await tab.get_by_label("prompt", exact=True).fill("")
    await tab.keyboard.press("Escape")

    # Enter takes none of several commands, of which some remove things.
    await tab.get_by_role("button", name="Mary Moderator").click()
    await expect(tab.get_by_role("button", name="Mary Moderator")).to_have_attribute("aria-pressed", "true")
    await box.fill("/limits")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("Several commands fit “/limits”")
    await expect(box).to_be_visible()

    await tab.get_by_role("button", name="Atelier", exact=True).click()
    await expect(tab.get_by_role("heading", name="@ Atelier")).to_be_visible()
    await box.fill("hello")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("To paint it in #easel")
    await advice.get_by_role("button", name="/imagine hello").click()
    await expect(tab.get_by_role("heading", name="# easel")).to_be_visible()
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("hello")


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
    await link.click()
    await expect(sample(tab)).to_have_class(re.compile("found"))
