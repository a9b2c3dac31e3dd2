"""/quota, and the bill before a big request: as member, moderator and stranger, in two servers."""

from __future__ import annotations

import discord
import pytest

from bot.client import PERMISSIONS
from bot.config import EMBEDDED_MODEL, BillConfig, Config
from bot.engine.fake import FakeEngine
from bot.errors import StorageFull
from cogs import _waiting
from tests.cogs.test_every_control import forged
from tests.cogs.test_limits import confirmed
from tests.cogs.test_refusals import pressed_elsewhere
from tests.conftest import Workshop

USE = discord.Permissions(use_application_commands=True).value


@pytest.fixture
def config(config: Config) -> Config:
    """Nearly everything is big."""
    # The figures here count with the time of twenty steps.
    models = [EMBEDDED_MODEL.model_copy(update={"steps": 20})]
    return config.model_copy(update={"bill": BillConfig(seconds=0.4), "models": models})


async def test_a_quota_is_ones_own_and_a_servers_own(workshop: Workshop) -> None:
    ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    there = workshop.env.create_guild("Elsewhere")
    role = there.create_role("members", permissions=discord.Permissions(PERMISSIONS.value | USE))
    also = there.add_member(workshop.env.create_user("eve"), roles=[role])
    mine = await ada.slash(workshop.channel, "quota")
    theirs = await mod.slash(workshop.channel, "quota")
    elsewhere = await also.slash(there.create_text_channel("easel"), "quota")

    assert mine.ephemeral
    assert "What you used is all back on <t:" in mine.response.content
    assert "GPU" not in mine.response.content
    for other in (theirs, elsewhere):
        assert "**10 min of 10 min** of painting time is left: about " in other.response.content
        assert "back on" not in other.response.content


async def test_a_big_request_is_confirmed_and_nothing_is_held_until_then(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    assert bill.ephemeral
    assert (
        "This is a big one: 2 pictures, about 0.7 s of the 10 min of painting time that you have left today. Paint it?"
        in bill.response.content
    )
    assert await workshop.jobs() == []
    pressed = bill.response.components[0]["components"][0]["custom_id"]
    await ada.click(bill.response, label="Paint it")
    assert (bill.response.content, bill.response.components) == ("✅ Paint it", [])
    (job,) = await workshop.ended()
    assert (job.request.prompt, job.requester) == ("a cat", workshop.requester(ada))
    again = await forged(workshop, ada, bill.response, pressed)
    assert again.response.content == "You already answered this."
    assert len(await workshop.jobs()) == 1


async def test_after_a_restart_a_bill_says_that_it_expired(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    await workshop.restart()
    pressed = await ada.click(bill.response, label="Paint it")
    assert "Atelier was restarted" in pressed.response.content
    assert await workshop.jobs() == []


async def test_a_bill_that_is_declined_hands_the_prompt_back_and_counts_nothing(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a ``` cat", images=2)
    declined = await ada.click(bill.response, label="Cancel")
    assert "Your quota is unchanged. Your prompt, to copy:\n```\na `​`` cat\n```" in declined.response.content
    assert declined.response.components == []
    assert await workshop.jobs() == []
    assert "**10 min of 10 min**" in (await ada.slash(workshop.channel, "quota")).response.content


async def test_a_refusal_after_the_bill_says_all_that_any_other_does(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    await moderator.slash(workshop.channel, "limits set", quota="1 s", member=ada)
    await ada.slash(workshop.channel, "imagine", prompt="first", images=1)
    other = await ada.slash(workshop.channel, "imagine", prompt="second", images=1)
    refused = await ada.click(bill.response, label="Paint it")
    assert "Queued" in other.response.content
    text = refused.response.content
    assert refused.ephemeral
    assert (bill.response.content, bill.response.components) == ("This request was not accepted.", [])
    assert (
        "Not enough of your quota is left: this takes about 0.7 s of painting time, and 0.3 s of 1 s in 24 hours is "
        f"left (the rule for <@{ada.id}>)" in text
    )
    assert "It will work <t:" in text
    assert "Moderators can change this with `/limits set`." in text
    assert "```\na cat\n```" in text
    assert len(await workshop.jobs()) == 2


async def test_nobody_else_can_answer_a_bill(workshop: Workshop) -> None:
    """Only the person who asked sees the bill; its buttons are forged here under a message that others see."""
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a secret", images=2)
    (row,) = bill.response.components
    view = discord.ui.View(timeout=None)
    for button in row["components"]:
        view.add_item(discord.ui.Button(label=button["label"], custom_id=button["custom_id"]))
    with workshop.env.time_context():
        forged = await workshop.env.bot.get_channel(workshop.channel.id).send("a message", view=view)
    view.stop()
    for stranger in (workshop.member("eve"), workshop.member("mod", moderator=True)):
        for label in ("Paint it", "Cancel"):
            pressed = await stranger.click(forged, label=label)
            assert "this message is too old" in pressed.response.content
            assert "secret" not in pressed.response.content
    assert await workshop.jobs() == []
    await ada.click(bill.response, label="Paint it")
    assert len(await workshop.jobs()) == 1


async def test_a_bill_is_accepted_with_the_roles_of_now(workshop: Workshop) -> None:
    """A person who lost a role since the bill was shown no longer has what the role gave."""
    moderator, artists = workshop.member("mod", moderator=True), workshop.guild.create_role("artists")
    ada = workshop.guild.add_member(workshop.env.create_user("ada"), roles=[workshop.members, artists])
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", images=1))
    await moderator.slash(workshop.channel, "limits set", images=4, role=artists)
    bills = [await ada.slash(workshop.channel, "imagine", prompt="a cat", images=3) for _ in range(2)]
    assert "This is a big one: 3 pictures" in bills[0].response.content
    await ada.click(bills[0].response, label="Paint it")
    workshop.guild.remove_member(ada)
    ada = workshop.guild.add_member(ada.user, roles=[workshop.members])
    await ada.click(bills[1].response, label="Paint it")
    jobs = await workshop.jobs()
    assert [job.request.num_images_per_prompt for job in jobs] == [3, 1]
    assert [artists.id in job.requester.roles for job in jobs] == [True, False]


async def test_a_bill_is_not_answered_on_another_server(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a secret", images=2)
    (row,) = bill.response.components
    pressed = await pressed_elsewhere(workshop, ada, row, label="Paint it")
    assert "this message is too old" in pressed.response.content
    assert await workshop.jobs() == []
    await ada.click(bill.response, label="Paint it")
    assert [job.requester.guild_id for job in await workshop.jobs()] == [workshop.guild.id]


async def test_the_oldest_bill_expires_where_there_are_too_many(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "MOST", 1)
    ada, grace = workshop.member("ada"), workshop.member("grace")
    first = await ada.slash(workshop.channel, "imagine", prompt="one", images=2)
    second = await grace.slash(workshop.channel, "imagine", prompt="two", images=2)
    assert "Ask again; your quota is unchanged." in (await ada.click(first.response, label="Paint it")).response.content
    await grace.click(second.response, label="Paint it")
    assert [job.request.prompt for job in await workshop.jobs()] == ["two"]


async def test_a_bill_that_was_answered_takes_no_place_and_keeps_no_words(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "MOST", 2)
    ada, grace = workshop.member("ada"), workshop.member("grace")
    first = await grace.slash(workshop.channel, "imagine", prompt="the first", images=2)
    for label in ("Paint it", "Cancel", "Cancel"):
        bill = await ada.slash(workshop.channel, "imagine", prompt="a zeppelin", images=2)
        await ada.click(bill.response, label=label)
    bills = workshop.env.bot.get_cog("Intake")._bills
    assert [each.prompt for each in bills._open.values()] == ["the first"]
    await grace.click(first.response, label="Paint it")
    assert [job.request.prompt for job in await workshop.jobs()] == ["a zeppelin", "the first"]


async def test_a_bill_that_is_too_old_is_forgotten_when_the_next_comes(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    old = await ada.slash(workshop.channel, "imagine", prompt="one", images=2)
    monkeypatch.setattr(_waiting, "KEPT_SECONDS", 60.0)
    await workshop.env.advance_time(61)
    await ada.slash(workshop.channel, "imagine", prompt="two", images=2)
    assert "this message is too old" in (await ada.click(old.response, label="Paint it")).response.content


@pytest.mark.parametrize("label", ["Paint it", "Cancel"])
async def test_a_press_that_comes_too_late_can_be_repeated(workshop: Workshop, label: str) -> None:
    workshop.foreseen += (discord.NotFound,)
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    workshop.env.inject_error("POST", "/interactions/*", status=404, code=10062)
    await ada.click(bill.response, label=label)
    assert await workshop.jobs() == []
    again = await ada.click(bill.response, label=label)
    if label == "Cancel":
        assert "Your quota is unchanged." in again.response.content
    else:
        assert bill.response.content == "✅ Paint it"
        assert len(await workshop.jobs()) == 1


async def test_a_request_is_not_called_refused_if_storage_fails_once_it_is_accepted(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StorageFull("The storage is full.")

    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    question = bill.response.content
    monkeypatch.setattr(workshop.app.queue, "place_message", full)
    pressed = await ada.click(bill.response, label="Paint it")
    assert "Queued" in pressed.response.content
    assert (bill.response.content, bill.response.components) == (question, [])
    assert len(await workshop.jobs()) == 1


async def test_the_host_says_what_is_big(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    small = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=1)
    big = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=1, steps=40)
    assert "**a cat**" in small.response.content
    assert "Paint it?" in big.response.content


async def test_a_full_disk_after_a_bill_hands_the_prompt_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StorageFull("Not accepted: the storage is full.")

    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a cat in the rain", images=2)
    assert "Paint it?" in bill.response.content
    monkeypatch.setattr(workshop.app.admission, "admit", full)
    pressed = await ada.click(bill.response, label="Paint it")
    assert "storage is full" in pressed.response.content
    assert "```\na cat in the rain\n```" in pressed.response.content
