"""/limits: what moderators see, set and explain, and that it holds."""

from __future__ import annotations

import re

import pytest
import simcord

from bot.engine.fake import FakeEngine
from bot.jobs import GuildId, JobStatus, Scope
from tests.conftest import Workshop


async def confirmed(actor: simcord.MemberActor, asked: simcord.InteractionResult) -> str:
    """Say yes, and return what the question became."""
    assert asked.ephemeral
    (row,) = asked.response.components
    result = await actor.click(asked.response, custom_id=row["components"][0]["custom_id"])
    return result.response.content


async def test_the_limits_say_who_decided_them(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    asked = await moderator.slash(workshop.channel, "limits set", quota="50")
    assert asked.response.content.startswith("For everyone here, this lowers quota from 10 min to 50 s (about ")
    assert await workshop.app.rules.books() == {}, "nothing holds before it is confirmed"
    done = await confirmed(moderator, asked)
    assert done.startswith(
        "Case 1: at most 50 s of painting time in 24 hours (before: 10 min, this bot's default), for everyone here. "
        "`/mod undo case:1` undoes it."
    )
    receipt = await moderator.slash(workshop.channel, "limits set", depth=2, models="none", member=ada, reason="flood")
    assert receipt.response.content.startswith("With this, <@")
    receipt = await moderator.click(receipt.response, label="Lower the limits")
    assert receipt.response.content.startswith(
        "Case 2: at most 2 requests waiting (before: 5, this bot's default); no model (before: every model, this bot's "
        f"default), for <@{ada.id}>."
    )
    await moderator.slash(workshop.channel, "limits set", weight=300, role=workshop.members)
    shown = await moderator.slash(workshop.channel, "limits show", member=ada)

    assert shown.ephemeral
    text = shown.response.content
    assert "**pace**: at most 20 pictures per minute — this bot's default" in text
    assert f"**depth**: at most 2 requests waiting — the rule for <@{ada.id}>" in text
    assert re.search(
        r"\*\*quota\*\*: at most 50 s of painting time in 24 hours \(about [\d,]+ usual pictures\) — the rule for this",
        text,
    )
    assert "**animation**: at most 16,777,216 pixels in all frames of an animation (1,024 frames of 128×128) —" in text
    assert "**images**: at most 4 pictures per prompt — this bot's default" in text
    assert f"**models**: no model — the rule for <@{ada.id}>" in text
    assert (
        "**weight**: a weight of 300, 3 times the share of a person with the usual 100 when many wait — "
        f"the rule for <@&{workshop.members.id}>" in (text)
    )


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("90", 90),
        ("90 s", 90),
        ("1.5 min", 90),
        ("10 minutes", 600),
        ("2h", 7200),
        ("9 min 47 s", 587),
        ("2 h 5 min", 7500),
        ("10 Minuten", 600),
        ("1 heure", 3600),
        ("10分", 600),
        ("1d", 86400),
        ("100 pictures", 20),
        ("9 Bilder", 2),
    ],
)
async def test_a_quota_is_typed_as_time_or_as_pictures(workshop: Workshop, typed: str, seconds: int) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", quota=typed, member=ada)
    book = await workshop.app.rules.book(GuildId(workshop.guild.id))
    assert book[Scope.PERSON, ada.id]["quota"] == pytest.approx(seconds, abs=1)


async def test_a_quota_in_pictures_is_shown_with_about_as_many_pictures(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    asked = await moderator.slash(workshop.channel, "limits set", quota="50 pictures")
    assert "10 min to 10 s (about 50 usual pictures). It applies at once: a waiting" in asked.response.content
    first, *table = (await confirmed(moderator, asked)).split("\n")
    assert first.startswith("Case 1: at most 10 s of painting time in 24 hours (before")
    marked = [line for line in table if line.endswith("✏️")]
    assert marked == [
        "- **quota**: at most 10 s of painting time in 24 hours (about 50 usual pictures) — the rule for this server ✏️"
    ]
    shown = (await ada.slash(workshop.channel, "quota")).response.content
    assert "**10 s of 10 s** of painting time is left: about 50 usual pictures (the rule for this server)." in shown


async def test_a_change_that_leaves_a_person_with_nothing_is_confirmed(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=4, steps=40)
    asked = await moderator.slash(workshop.channel, "limits set", quota="1", member=ada)
    assert asked.response.content.startswith(
        f"With this, <@{ada.id}> can paint nothing for now: 1 s of painting time is"
    )
    assert await workshop.app.rules.books() == {}
    assert (await confirmed(moderator, asked)).startswith(
        "Case 1: at most 1 s of painting time in 24 hours (before: 10 min"
    )
    told = (await ada.slash(workshop.channel, "quota")).response.content
    assert re.match(r"\*\*\S+ s of 1 s\*\* of painting time is left: about \d usual pictures? \(the rule for <@", told)


async def test_a_question_can_be_answered_with_no(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    asked = await moderator.slash(workshop.channel, "limits set", quota="50")
    kept = await moderator.click(asked.response, label="Leave it")
    assert kept.response.content == "Nothing was changed."
    assert await workshop.app.rules.books() == {}


async def test_a_change_holds_from_the_next_request_on_and_survives_a_restart(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="one")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    await ada.slash(workshop.channel, "imagine", prompt="two")
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", depth=1))
    refused = await ada.slash(workshop.channel, "imagine", prompt="three")
    await workshop.restart()
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    still = await ada.slash(workshop.channel, "imagine", prompt="four")
    await moderator.slash(workshop.channel, "limits set", depth=2, member=ada)
    accepted = await ada.slash(workshop.channel, "imagine", prompt="five")

    for answer, prompt in ((refused, "three"), (still, "four")):
        text = answer.response.content
        assert "1 of 1 requests wait (the rule for this server). It will work <t:" in text
        assert "Moderators can change this with `/limits set`." in text
        assert f"```\n{prompt}\n```" in text
        assert answer.ephemeral
    assert "Queued" in accepted.response.content


async def test_explain_says_which_rule_gives_what_and_why_requests_were_refused(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=60, channel=workshop.channel)
    await moderator.slash(workshop.channel, "limits set", pace=40, member=ada)
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", models="none", member=ada))
    await ada.slash(workshop.channel, "imagine", prompt="a secret")
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)

    text = explained.response.content
    assert (
        f"**pace**: at most 40 pictures per minute — the rule for <@{ada.id}>; instead of 60 (the rule for "
        f"<#{workshop.channel.id}>); instead of 20 (this bot's default)"
    ) in text
    assert f"**models** (the rule for <@{ada.id}>)" in text.partition("refusals")[2]
    assert "secret" not in text
    assert (await moderator.slash(workshop.channel, "limits explain", member=moderator)).response.content.endswith(
        "None of their requests was refused lately."
    )


async def test_a_role_and_a_channel_decide_what_a_request_becomes(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", steps=5, role=workshop.members))
    await confirmed(
        moderator, await moderator.slash(workshop.channel, "limits set", images=1, channel=workshop.channel)
    )
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=3, steps=9)
    (job,) = await workshop.ended()
    assert (job.request.num_inference_steps, job.request.num_images_per_prompt) == (5, 1)


async def test_a_channel_that_is_not_allowed_refuses_and_names_those_that_are(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    studio = workshop.guild.create_text_channel("studio")
    asked = await moderator.slash(workshop.channel, "limits set", channels=f"<#{studio.id}>")
    await confirmed(moderator, asked)
    refused = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    accepted = await ada.slash(studio, "imagine", prompt="a cat")

    assert (
        f"You cannot ask for pictures in this channel (the rule for this server), but you can in <#{studio.id}>."
        in (refused.response.content)
    )
    assert "Queued" in accepted.response.content


async def test_a_limit_that_changes_while_something_waits_holds_for_it(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="one")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    await ada.slash(workshop.channel, "imagine", prompt="two", images=2)
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", images=1))
    engine.open.set()
    jobs = await workshop.ended(2)

    assert [job.status for job in jobs] == [JobStatus.DELIVERED, JobStatus.FAILED]
    assert "The limits changed while this request waited: at most 1 picture per prompt now (the rule" in (
        workshop.message(jobs[1].destination.message_id or 0).content
    )


async def test_a_raised_pace_frees_what_waits_at_once(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await confirmed(moderator, await moderator.slash(workshop.channel, "limits set", pace=1))
    await ada.slash(workshop.channel, "imagine", prompt="one")
    paced = await ada.slash(workshop.channel, "imagine", prompt="two")
    await workshop.ended(1)
    assert "starts <t:" in paced.response.content
    assert (await workshop.jobs())[1].status is JobStatus.QUEUED

    await moderator.slash(workshop.channel, "limits set", pace=60)
    assert [job.status for job in await workshop.ended(2)] == [JobStatus.DELIVERED] * 2


async def test_clear_goes_back_to_the_default(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=3, depth=2, member=ada)
    one = await moderator.slash(workshop.channel, "limits clear", member=ada, limit="pace")
    cleared = await moderator.slash(workshop.channel, "limits clear", member=ada)
    again = await moderator.slash(workshop.channel, "limits clear", member=ada)

    removed = f"Case 2: the limit pace is removed (it was: 3, the rule for <@{ada.id}>), for <@{ada.id}>."
    assert removed in one.response.content
    assert "**depth**: at most 2 requests waiting " in one.response.content
    assert "**depth**: at most 5 requests waiting — this bot's default" in cleared.response.content
    assert again.response.content.startswith("No change: the rules already say this.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Say what to set: pace, depth, quota"),
        ({"pace": 0}, "`pace` (pictures per minute) can be 1 to 10,000."),
        ({"depth": -5}, "`depth` (requests waiting at a time) can be 1"),
        ({"quota": "2000000", "pace": 5}, "Nothing was changed."),
        ({"quota": "ten cats"}, "takes painting time, such as 10 min, or pictures, such as 500 pictures."),
        ({"pixels": "large"}, "is not a size. Write one like 1024x1024. Nothing was changed."),
        ({"pixels": "9x1"}, "can be 64 to"),
        ({"models": "emoji, mona"}, "There is no model “mona”. Choose from: emoji; or write `all` or `none`."),
        ({"models": ""}, "Choose from: emoji; or write `all`"),
        ({"channels": "<#123456789012345678>"}, "is not a channel of this server"),
        ({"channels": "@everyone"}, "is not a channel of this server"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused_whole(
    workshop: Workshop, options: dict[str, int], words: str
) -> None:
    moderator = workshop.member("mod", moderator=True)
    refused = await moderator.slash(workshop.channel, "limits set", **options)

    assert words in refused.response.content
    assert await workshop.app.database.fetch_all("SELECT 1 FROM rules") == []


async def test_what_is_typed_is_completed_one_after_the_other(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    studio = workshop.guild.create_text_channel("studio")

    async def offered(option: str, typed: str) -> list[str]:
        choices = await moderator.autocomplete(workshop.channel, "limits set", option, typed)
        return [choice["value"] for choice in choices]

    easel = f"<#{workshop.channel.id}>"
    assert await offered("channels", "") == ["all", easel, f"<#{studio.id}>"]
    assert await offered("channels", f"{easel} stu") == ["all", f"{easel} <#{studio.id}>"]
    assert await offered("models", "") == ["all", "none", "emoji"]
    assert await offered("models", "emoji, em") == ["emoji, emoji"]


async def test_lists_as_long_as_they_may_be_are_answered(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    many = [workshop.guild.create_text_channel(f"room-{number}") for number in range(26)]
    for names in (many[:25], many[1:]):
        named = " ".join(f"<#{channel.id}>" for channel in names)
        answer = await moderator.slash(workshop.channel, "limits set", channels=named, member=ada)
        assert answer.response.content.startswith("Case ")
    too_many = " ".join(f"<#{channel.id}>" for channel in many)
    refused = await moderator.slash(workshop.channel, "limits set", channels=too_many, member=ada)
    assert "You can name up to 25 channels." in refused.response.content


async def test_a_rule_is_about_one_thing(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    refused = await moderator.slash(workshop.channel, "limits set", pace=3, member=ada, role=workshop.members)
    assert "Choose one: a member, a role or a channel." in refused.response.content


async def test_discord_hides_the_group_from_members(workshop: Workshop) -> None:
    with pytest.raises(simcord.SetupError):
        await workshop.member("eve").slash(workshop.channel, "limits set", pace=100)


@pytest.mark.parametrize("command", ["show", "set", "clear", "explain"])
async def test_the_code_refuses_members_to_whom_an_admin_opened_the_group(workshop: Workshop, command: str) -> None:
    eve = workshop.member("eve")
    await workshop.open_group("limits", eve)
    options = {"set": {"pace": 100}, "explain": {"member": eve}}.get(command, {})
    refused = await eve.slash(workshop.channel, f"limits {command}", **options)

    assert "Only members with Manage Server" in refused.response.content
    assert await workshop.app.database.fetch_all("SELECT 1 FROM cases") == []


async def test_a_rule_of_one_server_is_nothing_to_another(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "limits set", pace=33)
    other, channel = workshop.elsewhere()
    shown = await other.slash(channel, "limits show")
    explained = await other.slash(channel, "limits explain", member=other)

    for answer in (shown, explained):
        assert "**pace**: at most 20 pictures per minute — this bot's default" in answer.response.content
