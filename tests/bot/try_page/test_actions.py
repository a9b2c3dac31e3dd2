"""What people do on the page, and what each of them sees of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.config import Config, DiscordConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.try_page.place import CLOCK_SECONDS
from bot.try_page.sample import PROMPT
from tests.bot.try_page.conftest import Page, opened


def is_result(message: Any) -> bool:
    return bool(message["components"] and message["files"])


def labels(message: Any) -> list[str]:
    return [button.get("label") for row in message["components"] for button in row["components"]]


def control(message: Any, label: str) -> str:
    return next(
        button["custom_id"]
        for row in message["components"]
        for button in row["components"]
        if button.get("label") == label
    )


async def sample(page: Page) -> Any:
    return await page.seen(lambda message: is_result(message) and PROMPT in message["content"])


async def test_a_sample_with_its_buttons_and_reactions_is_there(page: Page) -> None:
    message = await sample(page)
    assert {"Vary (subtle)", "Remix", "Upscale"} <= set(labels(message))
    (picture,) = message["files"]
    assert (picture["width"], picture["height"]) == (512, 512)
    assert PROMPT in picture["alt"]
    rated = await page.seen(lambda message: len(message["reactions"]) == 2)
    assert [reaction["emoji"] for reaction in rated["reactions"]] == ["👍", "👎"]
    async with page.session.get(page.address + picture["url"]) as response:
        assert response.content_type == "image/png"
    (row,) = await page.app.database.fetch_all("SELECT status, used_seconds FROM jobs")
    assert tuple(row) == ("delivered", 0.0)


async def test_a_host_with_another_model_and_another_name_for_the_command(config: Config, engine: FakeEngine) -> None:
    other = ModelConfig(name="other", source="org/other", width=512, height=512)
    changed = config.model_copy(update={"models": (other,), "discord": DiscordConfig(command="paint")})
    async with opened(changed, engine) as page:
        seen = await page.everything()
        assert "messages" not in seen, "no picture that this model did not paint"
        assert seen["commands"][0]["name"] == seen["command"] == "paint"
        assert await page.act({"kind": "command", "name": "paint", "options": {"prompt": "a cat"}}) == {}
        assert await page.seen(is_result)


async def test_the_command_that_paints_is_first(page: Page) -> None:
    member = await page.everything()
    names = [command["name"] for command in member["commands"]]
    assert names[0] == "imagine"
    assert "limits set" not in names
    moderator = await page.everything("moderator")
    limits = [command["name"] for command in moderator["commands"] if command["name"].startswith("limits ")]
    assert limits == ["limits explain", "limits set", "limits show", "limits clear"], "what removes something is last"
    assert "Report" in member["menus"]


@pytest.mark.parametrize("option", ["aspect", "model", "sampler"])
async def test_choices_are_there_before_a_letter_is_typed(page: Page, option: str) -> None:
    answer = await page.act({"kind": "complete", "name": "imagine", "option": option, "typed": "", "options": {}})
    assert answer["choices"]
    assert all(label and value for label, value in answer["choices"])


async def test_a_picture_that_is_asked_for_comes_and_everybody_sees_it(page: Page) -> None:
    options = {"prompt": "a cat", "images": "4"}
    assert await page.act({"kind": "command", "name": "imagine", "options": options}) == {}
    for seat in ("member", "another", "moderator"):
        message = await page.seen(lambda message: "a cat" in message["content"] and is_result(message), seat)
        assert len(message["files"]) == 4
        assert message["used"] == {"by": str(page.place.seats["member"].id), "name": "imagine"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "a cat", "images": "many"}, "`images` takes a whole number, such as 7."),
        ({"prompt": "a cat", "images": "9"}, "`images` takes at least 1 and at most 4; you gave 9."),
        ({"prompt": "a cat", "guidance_scale": "nan"}, "`guidance_scale` takes a number, such as 0.5."),
        ({"prompt": "a cat", "enhance": "perhaps"}, "`enhance` takes true or false."),
        ({"prompt": "a cat", "image": "no file"}, "`image` takes a file."),
    ],
)
async def test_an_option_that_cannot_be_is_said_in_a_sentence(page: Page, options: dict[str, str], words: str) -> None:
    assert await page.act({"kind": "command", "name": "imagine", "options": options}) == {"error": words}


async def test_a_command_of_moderators_is_theirs_alone(page: Page) -> None:
    asked = {"kind": "command", "name": "limits set", "options": {"pace": "3"}}
    assert await page.act(asked) == {"error": "You do not have that command here."}
    assert await page.act({**asked, "as": "moderator"}) == {}
    grace = str(page.place.seats["another"].id)
    assert await page.act({**asked, "as": "moderator", "options": {"pace": "2", "member": grace}}) == {}
    told = await page.seen(lambda message: message["hidden"] and grace in message["content"], "moderator")
    assert "2" in told["content"]


async def test_what_one_person_is_told_others_do_not_see(page: Page) -> None:
    await page.act({"kind": "command", "name": "quota", "options": {}})
    told = await page.seen(lambda message: message["hidden"])
    assert told["id"] not in [message["id"] for message in (await page.everything("another"))["messages"]]
    refused = await page.act({"kind": "dismiss", "as": "another", "message": told["id"]})
    assert refused == {"error": "That message is gone."}
    async with page.feed() as feed:
        await feed.news()
        assert await page.act({"kind": "dismiss", "message": told["id"]}) == {}
        gone: list[str] = []
        # The reactions of the sample may be news, too.
        while told["id"] not in gone:
            gone += (await feed.news()).get("gone", [])


async def test_a_form_is_opened_filled_in_and_sent_once(page: Page) -> None:
    message = await sample(page)
    asked = {"kind": "click", "message": message["id"], "control": control(message, "Remix")}
    form = (await page.act(asked))["form"]
    assert form["title"] == "Remix"
    names = [part["component"]["custom_id"] for part in form["components"]]
    values = {part["component"]["custom_id"]: part["component"].get("value", "") for part in form["components"]}
    values = {name: value for name, value in values.items() if value} | {names[0]: "a house"}
    sent = {"kind": "form", "form": form["key"], "values": values}
    assert "error" in await page.act({**sent, "as": "another"})
    assert await page.act(sent) == {}
    await page.seen(lambda message: "a house" in message["content"] and is_result(message))
    assert await page.act(sent) == {"error": "This form is too old. Open it again."}


async def test_a_picture_may_be_sent_with_a_command(page: Page) -> None:
    message = await sample(page)
    async with page.session.get(page.address + message["files"][0]["url"]) as response:
        png = await response.read()
    options = {"prompt": "a horse"}
    asked = {"kind": "command", "name": "imagine", "options": options}
    assert await page.act(asked, {"image": ("cactus.png", png)}) == {}
    await page.seen(lambda message: "a horse" in message["content"] and is_result(message))


async def test_a_reaction_is_given_and_taken_back(page: Page) -> None:
    message = await page.seen(lambda message: message["reactions"])
    # The bot's own reactions only offer them.
    for on, count in ((True, 1), (False, 0)):
        asked = {"kind": "react", "message": message["id"], "emoji": "👍", "on": on}
        assert await page.act(asked) == {}
        shown = await page.everything()
        (after,) = [each for each in shown["messages"] if each["id"] == message["id"]]
        assert after["reactions"][0] == {"emoji": "👍", "count": count, "mine": on}


async def test_the_menu_of_a_message(page: Page) -> None:
    message = await sample(page)
    assert await page.act({"kind": "menu", "name": "Info", "message": message["id"]}) == {}
    told = await page.seen(lambda message: message["hidden"])
    assert "Request 1" in told["content"]


async def test_a_message_is_written_and_deleted(page: Page) -> None:
    assert await page.act({"kind": "say", "content": "hello"}) == {}
    said = await page.seen(lambda message: message["content"] == "hello")
    refused = await page.act({"kind": "delete", "as": "another", "message": said["id"]})
    assert refused == {"error": "You may not do that here."}
    assert await page.act({"kind": "delete", "as": "moderator", "message": said["id"]}) == {}
    assert await page.act({"kind": "delete", "message": said["id"]}) == {"error": "That message is gone."}
    assert await page.act({"kind": "say", "content": " "}) == {"error": "Write something first, or add a file."}
    assert "2,000 characters" in (await page.act({"kind": "say", "content": "x" * 2001}))["error"]


async def test_a_button_that_is_gone_is_said_in_a_sentence(page: Page) -> None:
    message = await sample(page)
    asked = {"kind": "click", "message": message["id"], "control": "no such button"}
    assert await page.act(asked) == {"error": "That button is not there any more."}
    assert await page.act({**asked, "message": "1"}) == {"error": "That message is gone."}


async def test_direct_messages_are_a_place_of_their_own(page: Page) -> None:
    there = (await page.everything())["channels"][-1]
    assert there["direct"]
    asked = {"kind": "command", "name": "imagine", "options": {"prompt": "a cat"}, "in": there["id"]}
    assert await page.act(asked) == {}
    told = await page.seen(lambda message: message["hidden"], channel=there["id"])
    assert "has not opened direct messages" in told["content"]
    assert await page.act({"kind": "say", "content": "hi", "in": there["id"]}) == {}
    assert await page.seen(lambda message: message["content"] == "hi", channel=there["id"])
    # Another person who names that channel is shown the main one, and says nothing anywhere.
    said = await page.act({"kind": "say", "content": "hi", "as": "another", "in": there["id"]})
    assert said == {"error": "You are not in that channel any more. Reload the page."}
    assert (await page.everything("another", there["id"]))["channel"] == str(page.place.main.id)


async def test_a_result_is_sent_to_direct_messages_by_a_reaction(page: Page) -> None:
    message = await page.seen(lambda message: message["reactions"])
    there = (await page.everything())["channels"][-1]["id"]
    await page.act({"kind": "react", "message": message["id"], "emoji": "✉️", "on": True})
    assert await page.seen(lambda message: message["files"], channel=there)


async def test_what_the_bot_does_for_a_person_runs_in_the_time_of_everything_else(page: Page) -> None:
    times = []

    def asked(_: Any) -> float:
        times.append(asyncio.get_running_loop().time())
        return 0.0

    page.place.env.bot.age_of = asked
    before = asyncio.get_running_loop().time()
    await page.act({"kind": "command", "name": "quota", "options": {}})
    assert before <= times[0] + CLOCK_SECONDS
    assert times[0] <= asyncio.get_running_loop().time()


async def test_the_gallery_is_the_servers_gallery(page: Page) -> None:
    message = await page.seen(lambda message: message["reactions"])
    await page.act({"kind": "react", "message": message["id"], "emoji": "❤️", "on": True})
    copied = await page.seen(lambda message: message["files"], channel=page.place.gallery.id)
    assert PROMPT in copied["content"]
