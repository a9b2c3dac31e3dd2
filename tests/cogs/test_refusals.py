"""What happens to a request that is over each of the limits, or that a moderator's decision stops.

A refusal says the rule, when it will work, who can change it, and hands the prompt back, to the asker alone. Where less
still means something, less is painted, and a note says by whose rule.

Where every command is tried, as a member, as a moderator, and as a moderator of another server:

- /limits show, set, clear, explain: test_limits (hidden and refused to members), and here in two servers
- /mod pause, resume, block, unblock, cancel, quota reset, delete, cases, undo: test_moderation, and here in two servers
- questions before a change: here; the bill before a big request: test_quota
- /imagine: here, members and moderators alike
- /queue, /cancel, the red button: test_queue; /quota: test_quota
"""

from __future__ import annotations

import re
from typing import Any

import discord
import pytest
import simcord

from bot.client import PERMISSIONS
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from bot.policy.limits import LimitName
from tests.cogs import test_providers
from tests.cogs.test_limits import confirmed
from tests.cogs.test_moderation import COMMANDS
from tests.conftest import Workshop

SERVERS = "(the rule for this server)"


async def ruled(workshop: Workshop, moderator: simcord.MemberActor, **options: Any) -> None:
    """Set a limit, and mean it."""
    answer = await moderator.slash(workshop.channel, "limits set", **options)
    if "It applies at once" in answer.response.content:
        await confirmed(moderator, answer)


REFUSED: dict[LimitName, tuple[dict[str, Any], dict[str, Any], str, bool]] = {
    LimitName.DEPTH: ({"depth": 1}, {}, "Your queue is full: 1 of 1 requests wait", True),
    LimitName.QUOTA: (
        {"quota": "1"},
        {"images": 4},
        "Not enough of your quota is left: this takes about ",
        True,
    ),
    LimitName.PIXELS: ({"pixels": "8x8"}, {}, "Pictures may have up to 64 pixels here", False),
    LimitName.MODELS: ({"models": "none"}, {}, "No model is allowed here", False),
    LimitName.CHANNELS: ({"channels": "none"}, {}, "You cannot ask for pictures in any channel", False),
}
LESS: dict[LimitName, tuple[dict[str, Any], dict[str, Any], str]] = {
    LimitName.PIXELS: ({"pixels": "64x64"}, {}, "size 128×128 became 64×64"),
    LimitName.STEPS: (
        {"steps": 5},
        {"steps": 9},
        "you asked for 9 steps and get 5, the most here (the rule for this server)",
    ),
    LimitName.IMAGES: (
        {"images": 1},
        {"images": 3},
        "you asked for 3 pictures and get 1, the most here (the rule for this server)",
    ),
}
LATER = {
    LimitName.PACE: "test_a_pace_makes_wait",
    LimitName.WEIGHT: "test_a_weight_set_mid_queue_reorders_what_waits",
    LimitName.PERMUTATIONS: "test_a_prompt_with_too_many_choices_is_refused_and_explained",
    LimitName.ANIMATION: "test_an_animation_over_its_limit_is_refused_and_explained",
}
OF_PROVIDERS = {
    LimitName.MONEY: "test_a_person_a_server_and_the_host_have_limits",
    LimitName.SERVER_MONEY: "test_a_person_a_server_and_the_host_have_limits",
}


def test_every_limit_is_here() -> None:
    assert {*REFUSED, *LESS, *LATER, *OF_PROVIDERS} == set(LimitName)
    assert all(name in globals() for name in LATER.values())
    assert all(hasattr(test_providers.TestMoney, name) for name in OF_PROVIDERS.values())


async def test_every_command_of_moderators_is_tried_and_members_see_none(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    theirs = set(moderator.available_commands(workshop.channel)) - set(ada.available_commands(workshop.channel))
    groups = {name for name in theirs if name.startswith(("mod ", "limits "))}
    tried = {f"mod {name}" for name in COMMANDS} | {f"limits {name}" for name in ("show", "set", "clear", "explain")}
    assert groups == tried
    assert not [name for name in ada.available_commands(workshop.channel) if name.startswith(("mod ", "limits "))]


@pytest.mark.parametrize("asker", ["member", "moderator"])
@pytest.mark.parametrize("limit", REFUSED)
async def test_a_refusal_says_all_there_is_to_say(
    workshop: Workshop, engine: FakeEngine, limit: LimitName, asker: str
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    who = ada if asker == "member" else moderator
    rule, options, words, returns = REFUSED[limit]
    for prompt in ("one", "two"):
        await who.slash(workshop.channel, "imagine", prompt=prompt)
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    await ruled(workshop, moderator, **rule)
    refused = await who.slash(workshop.channel, "imagine", prompt="a `cat`", **options)

    text = refused.response.content
    assert refused.ephemeral
    assert words in text
    assert "the rule for this server" in text
    assert ("It will work <t:" in text) is returns
    assert "Moderators can change this with `/limits set`." in text
    assert text.endswith("Your prompt, to copy:\n```\na `cat`\n```")
    assert len(await workshop.jobs()) == 2
    explained = await moderator.slash(workshop.channel, "limits explain", member=who)
    noted = explained.response.content.partition("Their latest refusals:")[2]
    assert f"**{limit}**" in noted
    assert ("possible again <t:" in noted) is returns


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "pixels": (
        {"pixels": "64x64"},
        "pictures of at most 64×64 pixels now (the rule for this server), and it asks for 16,384",
    ),
    "steps": ({"steps": 5}, "at most 5 steps now (the rule for this server), and it asks for 30"),
    "images": ({"images": 1}, "at most 1 picture per prompt now (the rule for this server), and it asks for 3"),
    "models": ({"models": "none"}, "the model emoji is no longer allowed here"),
    "channels": ({"channels": "none"}, "You cannot ask for pictures in any channel"),
    "quota": ({"quota": "1"}, "more than your quota of 1 s in 24 hours"),
}


@pytest.mark.parametrize("limit", CHANGED)
async def test_a_refusal_of_what_waited_says_all_that_one_at_asking_does(
    workshop: Workshop, engine: FakeEngine, limit: str
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "imagine", prompt="first")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    waiting = await ada.slash(workshop.channel, "imagine", prompt="a `cat`", images=3, steps=30)
    if "Paint it?" in waiting.response.content:
        waiting = await ada.click(waiting.response, label="Paint it")
    rule, words = CHANGED[limit]
    await ruled(workshop, moderator, **rule)
    engine.open.set()
    job = (await workshop.ended(2))[1]

    text = workshop.message(job.destination.message_id or 0).content
    assert job.status is JobStatus.FAILED
    assert "The limits changed while this request waited" in text
    assert words in text
    assert "(the rule for this server)" in text
    assert "Moderators can change this with `/limits set`." in text
    assert text.endswith("Your prompt, to copy:\n```\na `cat`\n```")
    quota = (await ada.slash(workshop.channel, "quota")).response.content
    assert re.match(r"\*\*(\S+ \S+) of \1\*\* of painting time is left", quota), "it costs nothing"
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert f"**{limit}**" in explained.response.content.partition("Their latest refusals:")[2]
    counted = await workshop.app.database.fetch_all("SELECT rule, user_id, guild_id FROM refusals")
    assert [tuple(row) for row in counted] == [(limit, ada.id, workshop.guild.id)], "what /stats counts"


@pytest.mark.parametrize("limit", LESS)
async def test_less_is_painted_and_a_note_says_by_whose_rule(workshop: Workshop, limit: LimitName) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    rule, options, words = LESS[limit]
    await ruled(workshop, moderator, **rule)
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", **options)
    assert "Queued" in asked.response.content
    (note,) = asked.followups
    assert words in note.content
    assert "the rule for this server" in note.content


async def test_a_prompt_with_too_many_choices_is_refused_and_explained(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    prompt = "a {red, green, blue} {fox, owl}"
    assert "Paint them?" in (await ada.slash(workshop.channel, "imagine", prompt=prompt)).response.content
    await ruled(workshop, moderator, permutations=5)
    refused = await ada.slash(workshop.channel, "imagine", prompt=prompt)
    assert "makes 6 prompts, and at most 5 are possible at once (the rule for this server)" in (
        refused.response.content
    )
    assert "Moderators can change this with `/limits set`." in refused.response.content
    assert "Your prompt, to copy" in refused.response.content
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert "**permutations**" in explained.response.content.partition("Their latest refusals:")[2]


async def test_a_pace_makes_wait(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ruled(workshop, moderator, pace=1)
    await ada.slash(workshop.channel, "imagine", prompt="one")
    paced = await ada.slash(workshop.channel, "imagine", prompt="two")
    assert "Queued: place 1, starts <t:" in paced.response.content
    (note,) = paced.followups
    assert note.ephemeral
    assert re.fullmatch(
        r"Your pace is 1 picture a minute \(the rule for this server\), so this request starts <t:\d+:R>\.",
        note.content,
    )
    assert "up to 1 of your pictures may start in a minute" in (
        (await ada.slash(workshop.channel, "queue")).response.content
    )


async def test_a_weight_set_mid_queue_reorders_what_waits(workshop: Workshop, engine: FakeEngine) -> None:
    """Two who each wait for four: by turns, until a moderator gives one of them four times the share."""
    engine.open.clear()
    engine.seconds = 0.2
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    await moderator.slash(workshop.channel, "imagine", prompt="first")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    for number in range(4):
        for actor in (grace, ada):
            await actor.slash(workshop.channel, "imagine", prompt=f"{'ada' if actor is ada else 'grace'} {number}")
    names = {job.id: job.request.prompt.split()[0] for job in await workshop.jobs()}
    before = [names[turn.job_id] for turn in await workshop.app.line.turns()]
    await moderator.slash(workshop.channel, "limits set", weight=400, member=ada)
    engine.open.set()

    async def all_painted() -> bool:
        return all(job.painted_at for job in await workshop.jobs())

    await workshop.until(all_painted)
    assert before == ["grace", "ada"] * 4
    assert [order.request.prompt.split()[0] for order in engine.orders[1:]] == [
        "grace", "ada", "ada", "ada", "ada", "grace", "grace", "grace",
    ]  # fmt: skip


async def test_the_limits_of_one_server_hold_for_the_same_person_there_alone(
    workshop: Workshop, engine: FakeEngine
) -> None:
    """A moderator of another server changes nothing here, in whatever way they name the person and the job."""
    engine.open.clear()
    ada = workshop.member("ada")
    other, there = workshop.elsewhere()
    guild = other.guild
    role = guild.create_role(
        "members",
        permissions=discord.Permissions(PERMISSIONS.value) | discord.Permissions(use_application_commands=True),
    )
    also = guild.add_member(ada.user, roles=[role])
    await other.slash(there, "mod block", member=also)
    await other.slash(there, "mod quota reset", member=also)
    await confirmed(other, await other.slash(there, "limits set", depth=1))
    asked = await other.slash(there, "limits set", models="none", member=also)
    await other.click(asked.response, label="Lower the limits")
    foreign = await other.slash(there, "limits set", channels=f"<#{workshop.channel.id}>", member=also)
    assert "is not a channel of this server" in foreign.response.content
    assert "A moderator blocked you" in (await also.slash(there, "imagine", prompt="a cat")).response.content
    for prompt in ("one", "two", "three"):
        assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt=prompt)).response.content
    moderator = workshop.member("mod", moderator=True)
    shown = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert "rule for" not in shown.response.content
    assert "None of their requests was refused lately." in shown.response.content
    assert (await moderator.slash(workshop.channel, "mod cases")).response.content == "There are no such cases."


async def pressed_elsewhere(
    workshop: Workshop, moderator: simcord.MemberActor, row: Any, *, label: str = "Pause painting"
) -> Any:
    """A person who was asked here answers on a server where they moderate: that right does not count here."""
    guild = workshop.env.create_guild("Elsewhere")
    keys = guild.create_role("keys", permissions=discord.Permissions(manage_guild=True))
    there, channel = guild.add_member(moderator.user, roles=[keys]), guild.create_text_channel("easel")
    view = discord.ui.View(timeout=None)
    for button in row["components"]:
        view.add_item(discord.ui.Button(label=button["label"], custom_id=button["custom_id"]))
    with workshop.env.time_context():
        forged = await workshop.env.bot.get_channel(channel.id).send("a message", view=view)
    view.stop()
    return await there.click(forged, label=label)


async def test_a_question_is_for_whoever_was_asked_while_they_may(workshop: Workshop) -> None:
    """The buttons are forged under a public message; a person who lost the right meanwhile may not say yes."""
    moderator = workshop.member("mod", moderator=True)
    asked = await moderator.slash(workshop.channel, "mod pause")
    (row,) = asked.response.components
    view = discord.ui.View(timeout=None)
    for button in row["components"]:
        view.add_item(discord.ui.Button(label=button["label"], custom_id=button["custom_id"]))
    with workshop.env.time_context():
        forged = await workshop.env.bot.get_channel(workshop.channel.id).send("a message", view=view)
    view.stop()
    second, eve = workshop.member("second", moderator=True), workshop.member("eve")
    for label, presser, said in (
        ("Pause painting", eve, "Only members with Manage Server"),
        ("Pause painting", second, "expired"),
        ("Leave it", eve, "expired"),
        ("Leave it", second, "expired"),
    ):
        assert said in (await presser.click(forged, label=label)).response.content
    assert await workshop.app.rules.books() == {}
    assert "expired" in (await pressed_elsewhere(workshop, moderator, row)).response.content
    assert await workshop.app.rules.books() == {}
    await workshop.restart()
    late = await moderator.click(asked.response, label="Pause painting")
    assert "expired" in late.response.content
    assert await workshop.app.rules.books() == {}


async def test_rules_of_a_channel_hold_in_its_threads_and_a_threads_own_come_first(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    with workshop.env.time_context():
        await workshop.env.bot.get_channel(workshop.channel.id).create_thread(
            name="sketches", type=discord.ChannelType.public_thread
        )
    (thread,) = workshop.channel.threads
    await ruled(workshop, moderator, steps=5, images=2, channel=workshop.channel)
    await ruled(workshop, moderator, images=1, channel=thread)
    await ruled(workshop, moderator, channels=f"<#{workshop.channel.id}>")
    await ada.slash(thread, "imagine", prompt="a cat", images=3, steps=9)
    (job,) = await workshop.ended()
    assert (job.request.num_inference_steps, job.request.num_images_per_prompt) == (5, 1)
    explained = (await moderator.slash(thread, "limits explain", member=ada)).response.content
    assert f"**steps**: at most 5 steps — the rule for <#{workshop.channel.id}>" in explained
    assert (
        f"at most 1 picture per prompt — the rule for <#{thread.id}>; instead of 2 (the rule for "
        f"<#{workshop.channel.id}>)" in (explained)
    )
    await moderator.slash(workshop.channel, "mod pause", channel=workshop.channel)
    paused = await ada.slash(thread, "imagine", prompt="a dog")
    assert f"paused painting for <#{workshop.channel.id}>" in paused.response.content
    await moderator.slash(workshop.channel, "mod resume", channel=workshop.channel)
    await moderator.slash(workshop.channel, "mod pause", channel=thread)
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="a dog")).response.content
    assert f"paused painting for <#{thread.id}>" in (await ada.slash(thread, "imagine", prompt="a")).response.content


async def test_rules_cases_and_quotas_survive_a_restart(workshop: Workshop, engine: FakeEngine) -> None:
    """Used quota still counts, returned quota still does not, and another moderator can undo a case later."""
    engine.open.clear()
    moderator, ada, grace = workshop.member("mod", moderator=True), workshop.member("ada"), workshop.member("grace")
    many = {"images": 3, "steps": 20}
    for actor in (ada, grace):
        await ruled(workshop, moderator, quota="1", member=actor)
        assert "Queued" in (await actor.slash(workshop.channel, "imagine", prompt="a", **many)).response.content
    await moderator.slash(workshop.channel, "mod quota reset", member=ada, reason="a good cause")
    before = [(await moderator.slash(workshop.channel, "mod cases")).response.content]
    before += [(await actor.slash(workshop.channel, "quota")).response.content for actor in (ada, grace)]
    await workshop.restart()
    after = [(await moderator.slash(workshop.channel, "mod cases")).response.content]
    after += [(await actor.slash(workshop.channel, "quota")).response.content for actor in (ada, grace)]
    assert after == before
    assert "— a good cause" in before[0]
    assert "**1 s of 1 s** of painting time is left" in before[1]
    assert "**0 s of 1 s** of painting time is left" in before[2]
    assert (
        "Not enough of your quota is left"
        in (await grace.slash(workshop.channel, "imagine", prompt="b")).response.content
    )
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="b")).response.content
    await moderator.slash(workshop.channel, "mod undo", case=3)
    assert (
        "Not enough of your quota is left"
        in (await ada.slash(workshop.channel, "imagine", prompt="c")).response.content
    )


async def test_an_animation_over_its_limit_is_refused_and_explained(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ruled(workshop, moderator, animation=100)
    refused = await ada.slash(workshop.channel, "animate", prompt="a fox", to="an owl")
    assert "The frames of an animation may have up to 100 pixels together here (the rule for this server)" in (
        refused.response.content
    )
    assert "Moderators can change this with `/limits set`." in refused.response.content
    assert "a fox → an owl" in refused.response.content
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert "**animation**" in explained.response.content.partition("Their latest refusals:")[2]
