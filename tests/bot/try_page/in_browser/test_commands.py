"""What is typed into the page in a real browser: commands, their options, files and text."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bot.try_page.sample import FILE
from tests.bot.try_page.browser import needs_chromium
from tests.bot.try_page.conftest import Page
from tests.bot.try_page.in_browser.looking import BOTH, act_as, area, look

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]


async def test_typing_goes_on_in_the_first_option_of_a_command(browser: Browser, page: Page) -> None:
    tab = await look(browser, page, (1280, 860))
    await tab.locator("#say").focus()
    await tab.keyboard.type("/compare")
    await tab.keyboard.press("Enter")
    await tab.keyboard.type("a fox")
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a fox")


async def test_the_first_match_is_marked_and_taken_with_enter_or_tab(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await act_as(tab, "Mary Moderator")
    box = tab.locator("#say")
    # The first of several commands is none that removes something, and it is not used before it was read.
    await box.fill("/limits")
    marked = tab.get_by_role("listbox", name="Commands").get_by_role("option", selected=True)
    await expect(marked).to_contain_text("/limits explain")
    await box.fill("/privacy")
    await tab.keyboard.press("Enter")
    await expect(box).to_have_value("/privacy export")
    await expect(marked).to_contain_text("/privacy export")

    await box.fill("/limits expl")
    await tab.keyboard.press("Tab")
    member = tab.get_by_label("member", exact=True)
    for key, letters, name in (("Enter", "Gra", "Grace"), ("Tab", "ad", "Ada")):
        await member.fill("")
        # The key may follow at once: nobody else is taken.
        await tab.keyboard.type(letters)
        await tab.keyboard.press(key)
        await expect(member).to_have_value(name)
        await expect(tab.get_by_role("button", name="Send")).to_be_focused()
    # Tab goes past a field in which nothing was typed.
    await tab.get_by_role("button", name="+ channel").click()
    await expect(tab.get_by_role("option", name="#easel", selected=True)).to_be_visible()
    await tab.keyboard.press("Tab")
    await expect(tab.get_by_label("channel", exact=True)).to_have_value("")
    await expect(tab.get_by_role("button", name="Remove channel")).to_be_focused()
    await tab.get_by_role("button", name="Leave this command").click()
    # "all" is always offered here, but is no match of what was typed.
    await box.fill("/limits set")
    await tab.keyboard.press("Enter")
    await tab.get_by_role("button", name="+ channels").click()
    await tab.keyboard.type("#eas")
    await expect(tab.get_by_role("option", selected=True)).to_have_text("#easel")
    await tab.keyboard.type("y")
    await expect(tab.get_by_role("option")).to_have_text(["all"])
    await expect(tab.get_by_role("option", selected=True)).to_have_count(0)


async def test_the_pointer_tells_of_no_option_before_it_is_moved(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await tab.locator("#say").fill("/imagine")
    await tab.keyboard.press("Enter")
    at = await area(tab.get_by_role("button", name="+ seed"))
    await tab.keyboard.press("Escape")
    await tab.mouse.move(at["x"] + 10, at["y"] + 10)
    await tab.locator("#say").fill("/imagine")
    await tab.keyboard.press("Enter")
    about = tab.locator(".about")
    await expect(tab.get_by_role("button", name="+ seed")).to_be_visible()
    # The browser tells the page of the pointer before it draws.
    await tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    await expect(about).to_contain_text("prompt What to paint")
    await tab.mouse.move(at["x"] + 14, at["y"] + 12)
    await expect(about).to_contain_text("seed ")
    await tab.keyboard.type("a")
    await expect(about).to_contain_text("prompt What to paint")


@BOTH
async def test_choices_come_before_a_letter(browser: Browser, page: Page, size: tuple[int, int]) -> None:
    tab = await look(browser, page, size)
    await tab.get_by_role("combobox").fill("/")
    await expect(tab.get_by_role("listbox", name="Commands").get_by_role("option").first).to_contain_text("/imagine")
    commands = await area(tab.get_by_role("listbox", name="Commands"))
    assert commands["width"] >= min(size[0] - 16, 600), "a phone's list is as wide as the phone"
    await tab.keyboard.press("Enter")
    for option in ("aspect", "model", "sampler"):
        await tab.get_by_role("button", name=f"+ {option}").click()
        choices = tab.get_by_role("listbox", name=f"Choices for {option}")
        await expect(choices.get_by_role("option").first).to_be_visible()
        await tab.keyboard.press("ArrowDown")
        await tab.keyboard.press("Enter")
        await expect(choices).to_be_hidden()
        assert await tab.get_by_label(option, exact=True).input_value()
        await expect(tab.get_by_label("prompt", exact=True), "what is missing is next").to_be_focused()


async def test_what_is_typed_after_a_command_fills_its_fields(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await act_as(tab, "Mary Moderator")
    box, about = tab.locator("#say"), tab.locator(".about")

    async def typed(words: str, **fields: str) -> None:
        await box.fill(words)
        await tab.keyboard.press("Enter")
        for name, value in fields.items():
            await expect(tab.get_by_label(name, exact=True)).to_have_value(value)

    async def sent(words: str, **options: str) -> None:
        async with tab.expect_request("**/act") as asked:
            await typed(words)
        found = re.search(r'^{"as".*}', (await asked.value).post_data or "", re.MULTILINE)
        assert found
        assert json.loads(found.group())["options"] == options

    # With all that it needs, a command is sent by one Enter.
    await sent("/search kitty -dog", query="kitty -dog")
    await sent("/mod undo case:1 a mistake", case="1", reason="a mistake")
    await sent(
        "/imagine images:2 a cat, seen from above: fluffy seed:x",
        prompt="a cat, seen from above: fluffy seed:x",
        images="2",
    )
    await expect(box).to_have_value("")
    # One that needs nothing shows what it could be given, and the next Enter sends it.
    await typed("/search")
    await expect(about).to_have_text("Send it as it is, or press an option to add it.")
    await expect(tab.get_by_role("button", name="Send")).to_be_focused()
    await tab.get_by_role("button", name="+ query").click()
    await expect(about).to_contain_text('query Words, "phrases", -words to leave out')
    await tab.keyboard.type("kitty")
    await tab.keyboard.press("Escape")
    await expect(box).to_have_value("/search query:kitty")

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

    await sent("/limits set pace:10 member:ada", pace="10", member=str(page.place.seats["member"].id))
    await expect(tab.locator(".message", has_text="pace").last).to_contain_text("Only you can see this")


async def test_text_that_is_no_command_is_answered_on_the_page(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    box, advice = tab.locator("#say"), tab.get_by_role("status")
    results = tab.locator(".message", has=tab.get_by_role("button", name="Remix"))
    await box.fill("a red dragon")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("Ordinary text is only chat")
    await expect(tab.locator(".message").last.locator(".meta")).to_have_text(re.compile(r"^Ada\d+:\d+.[AP]M$"))
    await advice.get_by_role("button", name="/imagine a red dragon").click()
    await expect(results.filter(has_text="a red dragon")).to_have_count(1)

    await box.fill("/imagin a blue dragon")
    await tab.keyboard.press("Enter")
    await expect(advice).to_contain_text("You have no command “/imagin” here. Did you mean this?")
    await expect(box).to_have_value("/imagin a blue dragon")
    await advice.get_by_role("button", name="/imagine a blue dragon").click()
    await expect(results.filter(has_text="a blue dragon")).to_have_count(1)

    # Without the list, none of several commands is taken.
    await act_as(tab, "Mary Moderator")
    await box.fill("/limits")
    await tab.keyboard.press("Escape")
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
    await expect(results.filter(has_text="hello")).to_have_count(1)


async def test_what_cannot_be_done_is_said_and_nothing_typed_is_lost(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    await tab.get_by_role("combobox").fill("/imagine a cat images:9")
    await tab.keyboard.press("Enter")
    refused = tab.get_by_role("alert").filter(has_text="“images” takes at least 1 and at most 4; you gave 9.")
    await expect(refused).to_be_visible()
    await expect(tab.get_by_label("images", exact=True)).to_be_focused()
    field, said = await area(tab.get_by_label("images", exact=True)), await area(refused)
    assert said["y"] >= field["y"] + field["height"], "it covers no field"
    await expect(tab.get_by_label("prompt", exact=True)).to_have_value("a cat")
    await tab.get_by_label("prompt", exact=True).fill("")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("alert").filter(has_text="Fill in prompt")).to_be_visible()
    # A field that was corrected is wrong no longer.
    await tab.get_by_label("prompt", exact=True).fill("a cat")
    await tab.get_by_label("images", exact=True).fill("2")
    for option in ("seed", "steps"):
        await tab.get_by_role("button", name=f"+ {option}", exact=True).click()
    await tab.get_by_role("button", name="Remove steps").click()
    await expect(tab.get_by_label("seed", exact=True)).to_be_focused()


async def test_the_enter_that_ends_a_composition_takes_and_sends_nothing(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    box, composed = tab.locator("#say"), {"key": "Enter", "isComposing": True, "bubbles": True}
    acts: list[str] = []
    tab.on("request", lambda request: acts.append(request.post_data or "") if request.url.endswith("/act") else None)
    await box.fill("/imag")
    await box.dispatch_event("keydown", composed)
    await expect(box).to_have_value("/imag")
    await expect(tab.get_by_role("option", selected=True)).to_contain_text("/imagine")
    await tab.keyboard.press("Enter")
    prompt = tab.get_by_label("prompt", exact=True)
    await prompt.fill("猫")
    await prompt.dispatch_event("keydown", composed)
    await prompt.dispatch_event("keydown", composed | {"key": "Escape"})
    await expect(prompt).to_have_value("猫")
    await expect(tab.get_by_role("button", name="Send")).to_be_enabled()
    assert not [each for each in acts if '"kind":"command"' in each.replace(" ", "")]


async def test_a_command_that_has_all_its_options_offers_no_more(browser: Browser, page: Page) -> None:
    tab = await look(browser, page)
    told = await tab.evaluate(
        """async () => {
            const { CommandForm } = await import("./command.js");
            const option = (name) => ({ name, kind: "integer", description: name, required: false, choices: [] });
            const command = { name: "x", description: "", options: [option("a"), option("b")] };
            const told = (words) => new CommandForm(command, words, {}).hint.textContent;
            return [told("a:1 b:2"), told("a:1")];
        }"""
    )
    assert told == ["Send it as it is.", "Send it as it is, or press an option to add it."]


async def test_files_are_chosen_dropped_and_sent_with_a_command(browser: Browser, page: Page, tmp_path: Path) -> None:
    tab = await look(browser, page)
    png = tmp_path / "mine.png"
    png.write_bytes(FILE.read_bytes())
    await tab.locator(".box input[type=file]").set_input_files(png)
    await tab.get_by_role("button", name="Send", exact=True).click()
    await expect(tab.locator(".message").last.locator(".picture img")).to_have_attribute("src", re.compile("mine.png"))

    await tab.get_by_role("combobox").fill("/imagine")
    await tab.keyboard.press("Enter")
    await tab.keyboard.type("a horse")
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
