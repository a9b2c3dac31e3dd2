"""Every control that the bot knows: by each kind of person, after a restart, twice, on deleted results, elsewhere."""

from __future__ import annotations

import random
from typing import Any

import discord
import pytest

from bot.config import Config, DiscordConfig, LimitsConfig, ModelConfig
from bot.engine.fake import flat_image
from bot.jobs import Job, JobStatus
from tests.conftest import Workshop

PAINTS = {
    *("again", "vary", "varysubtle", "varystrong", "upscale", "zoomsome", "zoomfar"),
    *("panleft", "panright", "panup", "pandown", "finish"),
}
"""Each press is a request of the person who presses."""
FORMS = {"region": {"prompt": "a hat"}, "asstyle": {}, "report": {"reason": "not nice"}}
FORMS |= {name: {"prompt": "a dog"} for name in ("remix", "use", "described", "improved", "panelwords")}
FORMS |= {"animate": {"prompt": "a dog"}, "variants": {"thing": "a dog", "backgrounds": "blue"}}
FORMS |= {name: {"seconds": "1"} for name in ("boardwebp", "boardgif")}
FORMS |= {"storyboard": {"title": "a day", "panels": "a dog\na cat"}}
"""What is sent with each form."""
ANSWERS = {"single", "region", "remix", "more", "original", "prompt", "family", "heart", "show", "alike", "asstyle"}
ANSWERS |= {"lookalike", "improve", "animate", "variants"}
"""Only the person who presses sees the answer, and nothing is painted."""
OWNED = {"spoiler", "delete"}
"""For the requester and for moderators."""
OTHERS = {
    "cells": "a menu, not a button",
    "walk": "a menu, not a button",
    "accept": "a bill",
    "decline": "a bill",
    "cancel": "a request that waits",
    "formagain": "a form that was refused",
}
OTHERS |= {"described": "words for a picture"}
OTHERS |= dict.fromkeys(("use", "enlarge"), "a picture of any message")
OTHERS |= {f"report{what}": "a report, for moderators" for what in ("remove", "block", "dismiss", "next")}
OTHERS |= {
    "found": "a hit of a search",
    "foundpage": "a page of hits",
    "historypage": "a page of /history",
    "stylepage": "a page of styles",
}
OTHERS |= {"samepage": "a page of duplicates", "statstable": "the table of /stats"}
OTHERS |= dict.fromkeys(("drain", "bringback"), "the engines, for the host")
OTHERS |= dict.fromkeys(("change", "astyped", "both"), "an offer to improve a prompt")
OTHERS |= dict.fromkeys(("seriesall", "seriesfirst", "seriesplain", "seriesno"), "a bill")
OTHERS |= {"stopseries": "a series that waits", "seriessheet": "variants"}
OTHERS |= dict.fromkeys(
    ("panel", "panelagain", "panelvary", "panelwords", "panelearlier", "panellater", "panelpicture"), "a storyboard"
)
OTHERS |= dict.fromkeys(("boardsheet", "boardpdf", "boardwebp", "boardgif"), "a storyboard")
OTHERS |= dict.fromkeys(("vote", "endvote", "endvoteyes"), "a comparison")
OTHERS |= {f"contest{what}": "a contest" for what in ("enter", "pick", "leave", "ballot", "page", "vote")}
OTHERS |= {f"{group}{answer}": "a question" for group in ("limits", "mod", "privacy") for answer in ("yes", "no")}
"""What does not stand under a result."""


@pytest.fixture
def config(tmp_path: Any) -> Config:
    model = ModelConfig(name="quick", source="embedded", draft_steps=2)
    limits = LimitsConfig(pace=10**4, depth=10**4, quota=10**6)
    return Config(data=tmp_path / "data", models=[model], limits=limits, discord=DiscordConfig(posts_per_channel=50))


class Stage:
    """A result of Ada, and people who press what may stand under it."""

    def __init__(self, workshop: Workshop, ada: Any, job: Job) -> None:
        self.workshop, self.ada, self.job = workshop, ada, job
        self.message = workshop.message(job.destination.message_id)

    async def press(self, person: Any, action: str, number: int = 1, job_id: int | None = None) -> Any:
        """Let a person press a button with this action under the result, also one that does not stand there."""
        return await self.use(person, f"a2:{action}:{self.job.id if job_id is None else job_id}:{number}")

    async def use(self, person: Any, custom_id: str, message: discord.Message | None = None) -> Any:
        """Let a person press a button with this custom id."""
        return await forged(self.workshop, person, message or self.message, custom_id)


async def forged(workshop: Workshop, person: Any, message: Any, custom_id: str) -> Any:
    """Let a person press a button with this custom id under a message, where it does not stand, or no longer."""
    channel = message.channel if isinstance(message, discord.Message) else workshop.channel
    shown = workshop.env.backend.get_message(channel.id, message.id)
    kept, button = shown.components, {"type": 2, "style": 2, "label": "Forged", "custom_id": custom_id}
    shown.components = [{"type": 1, "components": [button]}]
    try:
        return await person.click(message, custom_id=custom_id)
    finally:
        if shown.components and shown.components[0]["components"] == [button]:
            shown.components = kept


async def result(workshop: Workshop, **options: Any) -> Stage:
    """A new result of Ada's."""
    before, ada = len(await workshop.jobs()), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", **{"prompt": "a cat", "seed": 7} | options)
    return Stage(workshop, ada, (await workshop.ended(before + 1))[-1])


def test_each_control_is_tried_here(workshop: Workshop) -> None:
    bot = workshop.env.bot
    assert set(bot.buttons) == PAINTS | ANSWERS | OWNED | set(OTHERS)
    assert set(bot.forms) == set(FORMS)


@pytest.mark.parametrize("after_restart", [False, True])
@pytest.mark.parametrize("who", ["requester", "stranger", "moderator"])
async def test_every_control_twice_by_everybody(workshop: Workshop, who: str, after_restart: bool) -> None:
    stage = await result(workshop, prompt="a cat --draft", images=2)
    if after_restart:
        await workshop.restart()
    person = stage.ada if who == "requester" else workshop.member(who, moderator=who == "moderator")
    count = 1
    for action in sorted(PAINTS):
        for _ in range(2):
            pressed = await stage.press(person, action)
            assert not pressed.ephemeral, (action, pressed.response and pressed.response.content)
            count += 1
    for action in sorted(ANSWERS):
        for _ in range(2):
            pressed = await stage.press(person, action)
            assert pressed.acknowledged, action
            assert pressed.modal or pressed.ephemeral or pressed.followups[-1].ephemeral, action
    for form in ("remix", "region"):
        for _ in range(2):
            shown = await stage.press(person, "remix")
            shown._interaction.modal["custom_id"] = f"a2:{form}:{stage.job.id}:1" + (":3" if form == "region" else "")
            await person.submit_modal(shown, FORMS[form] | ({"strength": "0.5"} if form == "remix" else {}))
            count += 1
    made = (await workshop.ended(count))[1:]
    assert {job.requester for job in made} == {workshop.requester(person)}
    assert all(job.status is JobStatus.DELIVERED for job in made)
    assert [job.request.region for job in made[-2:]] == [(0, 1), (0, 1)], "3 is the sum of the first two cells"
    # Deleting comes last; what may not be done changes nothing.
    for action in ("spoiler", "delete"):
        for _ in range(2):
            pressed = await stage.press(person, action)
            assert pressed.acknowledged, action
    kept = len(await workshop.app.queue.pictures(stage.job.id))
    assert kept == (2 if who == "stranger" else 0)
    assert len(await workshop.jobs()) == count


@pytest.mark.parametrize("who", ["requester", "stranger", "moderator"])
async def test_no_control_of_a_deleted_result_paints_or_raises(workshop: Workshop, who: str) -> None:
    stage = await result(workshop, prompt="a cat --draft", images=2)
    await workshop.app.removals.remove_own(stage.job.requester, stage.job.id)
    person = stage.ada if who == "requester" else workshop.member(who, moderator=who == "moderator")
    for action in sorted(PAINTS | ANSWERS | OWNED):
        for _ in range(2):
            pressed = await stage.press(person, action)
            answer = pressed.response or pressed.followups[-1]
            assert answer.ephemeral, action
            assert answer.content or answer.attachments, action
            if action in PAINTS - {"again", "finish"} | {"remix", "region", "single", "original"}:
                assert "deleted" in answer.content, action


async def test_a_thousand_forged_custom_ids_change_nothing(workshop: Workshop) -> None:
    """Pressed on another server, by one of its moderators, about results that are not theirs or do not exist."""
    stage = await result(workshop, images=2)
    hidden = await result(workshop)
    await workshop.app.removals.remove_own(hidden.job.requester, hidden.job.id)
    other, there = workshop.elsewhere()
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel(there.id).send("a message")
    before = await workshop.app.database.fetch_all("SELECT * FROM jobs_with_post ORDER BY id")
    chance = random.Random(7)
    actions = [*workshop.env.bot.buttons, *workshop.env.bot.forms, "none", "x"]
    for _ in range(1000):
        job_id = chance.choice([stage.job.id, hidden.job.id, 0, 3, 10**18 - 1, chance.randrange(10**9)])
        custom_id = f"a2:{chance.choice(actions)}:{job_id}:{chance.choice([0, 1, 2, 3, 9, 9999])}"
        custom_id += chance.choice(["", "", f":{chance.randrange(10**9)}"])
        if chance.random() < 0.2:
            place = chance.randrange(len(custom_id))
            custom_id = custom_id[:place] + chance.choice("-_%'é A\n:") + custom_id[place + 1 :]
        pressed = await stage.use(other, custom_id, message)
        assert pressed.acknowledged, custom_id
        assert not pressed.modal or "a cat" not in str(pressed.modal), custom_id
        answer = pressed.response or (pressed.followups[-1] if pressed.followups else None)
        assert answer is None or answer.ephemeral, custom_id
        assert answer is None or "a cat" not in answer.content, custom_id
    sent = await other.send(there, "mine", attachments=[("mine.png", flat_image(1, 64, 48).png)])
    for _ in range(50):
        shown = await other.context_menu(there, "Use this picture", sent)
        form, about = chance.choice(("remix", "region")), chance.choice([stage.job.id, hidden.job.id, 10**18])
        shown._interaction.modal["custom_id"] = f"a2:{form}:{about}:1:{chance.choice([1, 65535, 10**8])}"
        answer = await other.submit_modal(shown, {"prompt": "a dog"})
        assert answer.ephemeral, about
    after = await workshop.app.database.fetch_all("SELECT * FROM jobs_with_post ORDER BY id")
    assert [tuple(row) for row in after] == [tuple(row) for row in before]
    assert len(await workshop.app.queue.pictures(stage.job.id)) == 2
