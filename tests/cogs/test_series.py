"""Prompts with choices: one bill, one job for each, one post for four pictures, and what survives a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.config import Config, DiscordConfig, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.jobs import ChannelId, Destination, JobStatus
from bot.requests.options import Options
from bot.requests.series import Member, SeriesQuote
from cogs._controls import MORE
from cogs._series import bill as words_of
from cogs.reports import FILED
from tests.cogs.test_every_control import Stage, forged
from tests.cogs.test_moderation import said
from tests.cogs.test_reactions import gallery, rests
from tests.conftest import Workshop

SIX = "a {red, green, blue} {fox, owl}"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    limits = LimitsConfig(pace=10**4, quota=10**6, depth=2)
    return Config(data=tmp_path / "data", limits=limits, discord=DiscordConfig(posts_per_channel=50))


async def bill(workshop: Workshop, ada: simcord.MemberActor, prompt: str = SIX, **options: Any) -> Any:
    """What is asked before anything is painted."""
    asked = await ada.slash(workshop.channel, "imagine", prompt=prompt, **options)
    assert asked.ephemeral, asked.response.content
    assert await workshop.jobs() == [] or "Paint them?" in asked.response.content
    return asked


async def accepted(workshop: Workshop, ada: simcord.MemberActor, prompt: str = SIX, label: str = "Paint all") -> Any:
    """The answer after a bill was accepted."""
    return await ada.click((await bill(workshop, ada, prompt)).response, label=label)


def labels(message: Any) -> list[str]:
    """What the buttons of a message say."""
    rows = [row["components"] if isinstance(row, dict) else row.children for row in message.components]
    labelled = [
        each.get("label") if isinstance(each, dict) else getattr(each, "label", None) for r in rows for each in r
    ]
    return [label for label in labelled if label]


def posts(workshop: Workshop) -> list[Any]:
    """The messages of the channel, the oldest first."""
    return sorted(workshop.channel.history(), key=lambda message: message.id)


async def test_one_bill_for_all_and_one_post_for_four_pictures_with_the_values_of_each(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await bill(workshop, ada)
    assert "6 pictures, about " in asked.response.content
    assert "-# 2. red, owl" in asked.response.content
    assert labels(asked.response) == [
        "Paint all",
        "First four",
        "As it is written",
        "Cancel",
    ]
    answer = await ada.click(asked.response, label="Paint all")
    assert "1. red, fox · 🕓 waits" in answer.response.content
    jobs = await workshop.ended(6)
    assert [job.request.prompt for job in jobs] == [
        f"a {colour} {animal}" for colour in ("red", "green", "blue") for animal in ("fox", "owl")
    ]
    assert len({job.request.seed for job in jobs}) == 1, "so that only the choices differ"
    assert all(job.status is JobStatus.DELIVERED for job in jobs)
    first, second = posts(workshop)
    assert [len(message.attachments) for message in (first, second)] == [4, 2]
    assert [job.destination.message_id for job in jobs] == [first.id] * 4 + [second.id] * 2
    assert second.content.startswith("**a {red, green, blue} {fox, owl}** — <@")
    assert f"5. blue, fox · seed `{jobs[4].request.seed}` · `/show id:{jobs[4].id}`" in second.content
    assert "model `emoji`" in second.content
    assert second.attachments[0].description == "5. blue, fox: a blue fox"
    single = await ada.click(second, label="6")
    assert single.followups[-1].ephemeral
    assert "blue owl" in single.followups[-1].content
    assert not any(label.startswith("Cancel") for post in posts(workshop) for label in labels(post)), "all has ended"
    assert await workshop.seen(lambda: [str(each.emoji) for each in workshop.message(second.id).reactions])


@pytest.mark.parametrize(
    ("label", "count", "words"),
    [("First four", 4, ""), ("As it is written", 1, ""), ("Cancel", 0, "Your quota is unchanged")],
)
async def test_a_part_the_text_itself_or_nothing(workshop: Workshop, label: str, count: int, words: str) -> None:
    ada = workshop.member("ada")
    asked = await bill(workshop, ada)
    (all_of_it, *_) = [each["custom_id"] for row in asked.response.components for each in row["components"]]
    answer = await ada.click(asked.response, label=label)
    assert words in answer.response.content
    assert labels(asked.response) == [], "the question became its answer"
    assert asked.response.content.startswith("Your quota is unchanged." if label == "Cancel" else f"✅ {label}")
    jobs = await workshop.ended(count) if count else await workshop.jobs()
    assert len(jobs) == count
    if label == "As it is written":
        assert jobs[0].request.prompt == SIX
        assert jobs[0].series_id is None
    if label == "First four":
        again = await forged(workshop, ada, asked.response, all_of_it)
        assert again.response.content == "You already answered this."


async def test_copies_have_seeds_of_their_own_and_flags_may_have_choices(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada, "{a, b} fox --seed 7 --repeat 2 --images 2 --ar {1:1, 2:1}")
    jobs = await workshop.ended(8)
    assert [(job.label, job.request.seed, job.request.width) for job in jobs[:4]] == [
        ("a, ar 1:1", 7, 128),
        ("a, ar 1:1", 9, 128),
        ("a, ar 2:1", 7, jobs[2].request.width),
        ("a, ar 2:1", 9, jobs[2].request.width),
    ]
    assert jobs[2].request.width > 128
    assert [len(message.attachments) for message in posts(workshop)] == [4, 4, 4, 4]


async def test_the_bill_of_copies_alone_has_neither_names_for_them_nor_words_on_braces(workshop: Workshop) -> None:
    asked = await bill(workshop, workshop.member("ada"), "a fox --repeat 9")
    assert asked.response.content.startswith("9 pictures, about ")
    assert len(asked.response.content.splitlines()) == 1


async def test_wildcards_are_drawn_before_the_request_is_accepted(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await said(moderator, workshop, "wildcards add", name="animal", words="cat, dog, fox")
    alone = await ada.slash(workshop.channel, "imagine", prompt="a red __animal__")
    assert not alone.ephemeral, "one prompt is no series"
    await accepted(workshop, ada, "a __animal__ --repeat 9")
    jobs = await workshop.ended(10)
    drawn = [job.request.prompt.removeprefix("a ") for job in jobs[1:]]
    assert {animal: drawn.count(animal) for animal in drawn} == {"cat": 3, "dog": 3, "fox": 3}
    assert [job.label for job in jobs[1:]] == drawn
    await said(moderator, workshop, "terms add", terms="dog")
    refused = await ada.slash(workshop.channel, "imagine", prompt="a __animal__ --repeat 9")
    assert "do not allow" in refused.response.content
    await said(moderator, workshop, "wildcards add", name="animal", words="big __animal__")
    refused = await ada.slash(workshop.channel, "imagine", prompt="a __animal__")
    assert "`__animal__` contains itself: animal → animal" in refused.response.content


async def test_a_prompt_with_a_choice_that_a_new_term_stops_leaves_every_message(
    workshop: Workshop, engine: FakeEngine
) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    engine.open.clear()
    await accepted(workshop, ada, "a {red, green, blue} {fox, owl, cat}")
    await said(moderator, workshop, "terms add", terms="blue cat")
    engine.open.set()
    jobs = await workshop.ended(9)
    assert [job.is_withheld for job in jobs] == [False] * 8 + [True]
    assert len(posts(workshop)) == 3
    await workshop.seen(lambda: all(post.content.startswith("**A request** — ") for post in posts(workshop)))
    assert [len(post.attachments) for post in posts(workshop)] == [4, 4, 0]
    assert not any("{" in post.content for post in posts(workshop))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a {red, green apple", "is not closed"),
        ("{a,b}{a,b}{a,b}{a,b}{a,b}", "makes 32 prompts, and at most 16 are possible at once"),
        ("{a,b}" * 200, "makes more than 1,000,000 prompts"),
        ("a fox --repeat 999999999", "makes more than 1,000,000 prompts"),
        ("a fox --sampler {euler, lost}", "This is about the choice “sampler lost”"),
        ("a fox --steps {5, x}", "is not a whole number"),
        ("a {red, green} fox --enhance", "only one prompt can be improved at a time"),
    ],
)
async def test_what_cannot_be_painted_gets_one_sentence_and_the_prompt_back(
    workshop: Workshop, prompt: str, words: str
) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt=prompt)
    assert refused.ephemeral
    assert words in refused.response.content
    assert "Your prompt, to copy" in refused.response.content
    assert await workshop.jobs() == []


async def test_a_series_counts_as_one_request_that_waits(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    for _ in range(2):
        assert "waits" in (await accepted(workshop, ada)).response.content
    await workshop.until(lambda: workshop.app.queue.running())
    refused = await accepted(workshop, ada)
    assert (
        "Your queue is full: 2 of 2 requests wait" in refused.followups[-1].content
        if refused.followups
        else ("Your queue is full: 2 of 2 requests wait" in refused.response.content)
    )
    assert len(await workshop.jobs()) == 12, "all of a series or none"
    engine.open.set()
    await workshop.ended(12)


async def test_what_does_not_fit_into_the_quota_is_offered_in_part(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")

    async def limited(quota: int) -> None:
        answer = await moderator.slash(workshop.channel, "limits set", quota=str(quota))
        if "It applies at once" in answer.response.content:
            await moderator.click(answer.response, label="Lower the limits")

    await limited(2)
    asked = await ada.slash(workshop.channel, "imagine", prompt="{" + ", ".join("abcdefghijklmn") + "} fox")
    assert "The first 4 fit" in asked.response.content
    assert "Paint all" not in labels(asked.response)
    await ada.click(asked.response, label="First four")
    await workshop.ended(4)
    place = Destination(ChannelId(workshop.channel.id))
    series = await workshop.app.series.read(workshop.requester(ada), Options(SIX), place)
    assert isinstance(series, SeriesQuote)
    first = series.first
    allowance = replace(first.allowance, quota=7200.0, spent=())
    close = replace(series, members=(Member(replace(first, seconds=7229 / 2, allowance=allowance), ""),) * 2)
    assert "about 2 h 1 min of painting time, and 2 h of your quota is left" in words_of(close)
    await limited(1)
    refused = await ada.slash(workshop.channel, "imagine", prompt=f"{SIX} --steps 150 --images 4")
    assert "quota" in refused.response.content
    assert not refused.response.components


@pytest.mark.parametrize("who", ["requester", "stranger", "moderator"])
@pytest.mark.parametrize("after_restart", [False, True])
async def test_cancelling_a_post_cancels_what_waits(
    workshop: Workshop, engine: FakeEngine, who: str, after_restart: bool
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.until(lambda: workshop.app.queue.running())
    if after_restart:
        await workshop.restart()
    person = ada if who == "requester" else workshop.member(who, moderator=who == "moderator")
    pressed = await person.click(posts(workshop)[1], label="Cancel the rest")
    if who == "stranger":
        assert "Only the person who asked for it" in pressed.response.content
        engine.open.set()
        assert all(job.status is JobStatus.DELIVERED for job in await workshop.ended(6))
        return
    assert "Cancelled" in pressed.response.content
    if who == "moderator":
        assert "6 requests" in pressed.response.content
    jobs = await workshop.ended(6)
    assert all(job.status is JobStatus.CANCELLED for job in jobs)
    assert "6. blue, owl · 🚫 cancelled" in posts(workshop)[1].content
    assert not posts(workshop)[1].components
    engine.open.set()


async def test_after_a_restart_the_posts_are_finished_and_a_bill_has_expired(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    asked = await bill(workshop, ada)
    await workshop.restart()
    assert "Atelier was restarted" in (await ada.click(asked.response, label="Paint all")).response.content
    engine.open.set()
    await workshop.ended(6)
    assert [len(message.attachments) for message in posts(workshop)] == [4, 2]


async def test_a_further_post_that_a_kill_left_out_is_sent_at_the_next_start(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")

    async def killed(*_: Any) -> None:
        return

    with monkeypatch.context() as patched:
        patched.setattr(type(workshop.env.bot.get_cog("Series posts")), "begin", killed)
        await accepted(workshop, ada)
    assert len(posts(workshop)) == 1
    await workshop.restart()
    engine.open.set()
    await workshop.ended(6)
    assert [len(message.attachments) for message in posts(workshop)] == [4, 2]


async def test_a_series_of_which_nobody_saw_a_message_is_withdrawn_at_the_next_start(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    asked = await bill(workshop, ada)
    admission = workshop.app.series

    async def killed(*_: Any, **__: Any) -> list[Any]:
        await real(*_, **__)
        return []

    real = admission.admit
    monkeypatch.setattr(type(admission), "admit", lambda self, *a, **k: killed(*a, **k))
    await ada.click(asked.response, label="Paint all")
    monkeypatch.undo()
    assert len(await workshop.jobs()) == 6
    await workshop.restart()

    async def none_left() -> bool:
        return not await workshop.jobs()

    await workshop.until(none_left)
    assert await workshop.app.database.fetch_all("SELECT * FROM series") == []


async def test_a_message_that_was_deleted_is_replaced_once_and_a_deleted_picture_leaves_the_others(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada, "a {red, green, blue} fox")
    with workshop.env.time_context():
        await posts(workshop)[0].delete()
    engine.open.set()
    jobs = await workshop.ended(3)
    (message,) = posts(workshop)
    assert len(message.attachments) == 3
    await workshop.app.removals.remove_own(jobs[1].requester, jobs[1].id)
    await workshop.seen(lambda: len(workshop.message(message.id).attachments) == 2)
    shown = workshop.message(message.id)
    assert "2. green · 🗑️ deleted" in shown.content
    assert labels(shown) == ["1", "3"]


async def test_a_copy_of_one_result_of_a_series_goes_with_it(workshop: Workshop) -> None:
    best = await gallery(workshop, 1)
    ada, bob, eve = (workshop.member(name) for name in ("ada", "bob", "eve"))
    await accepted(workshop, ada, "a {red, green} fox")
    jobs = await workshop.ended(2)
    (message,) = posts(workshop)
    await bob.react(message, "⭐")
    (copy,) = await workshop.seen(best.history)
    assert copy.attachments[0].filename.startswith(f"atelier-{jobs[0].id}-")
    assert await workshop.app.queue.copied_by(copy.id) == [jobs[0].id]
    await rests(workshop)
    single = (await ada.click(message, label="1")).followups[-1]
    await ada.click((await ada.click(single, label=MORE)).response, label="Delete")
    await workshop.seen(lambda: copy.id not in [each.id for each in best.history()])
    (other,) = await workshop.seen(best.history)
    assert other.attachments[0].filename.startswith(f"atelier-{jobs[1].id}-")
    await rests(workshop)
    moderator = workshop.member("mod", moderator=True)
    form = await eve.context_menu(best, "Report", other)
    assert (await eve.submit_modal(form, {})).response.content == FILED
    answer = await moderator.slash(workshop.channel, "mod reports")
    (file,) = (answer.followups[-1] if answer.followups else answer.response).attachments
    assert file.filename.removeprefix("SPOILER_").startswith(f"atelier-{jobs[1].id}-")


async def test_one_result_of_a_series_has_no_spoiler_of_its_own(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada, "a {red, green, blue} fox")
    jobs = await workshop.ended(3)
    (message,) = posts(workshop)
    names = [file.filename for file in message.attachments]
    single = (await ada.click(message, label="2")).followups[-1]
    menu = (await ada.click(single, label=MORE)).response
    assert "Delete" in labels(menu)
    assert "Spoiler on/off" not in labels(menu)
    pressed = await Stage(workshop, ada, jobs[1]).press(ada, "spoiler", 0)
    assert pressed.ephemeral
    assert pressed.response.content == "This message shows several results. Delete the one that people should not see."
    assert [file.filename for file in workshop.message(message.id).attachments] == names


async def test_what_is_forgotten_leaves_no_message(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.ended(6)
    await workshop.app.forgetting.forget(ada.id)
    await workshop.seen(lambda: not workshop.channel.history())
    assert await workshop.app.database.fetch_all("SELECT * FROM series") == []


async def test_a_deletion_by_reaction_takes_all_of_one_message_at_once_and_what_waits_for_it(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    jobs = await workshop.ended(6)
    first, second = posts(workshop)
    settled: list[int] = []
    settle = workshop.app.removals._settle

    async def noted(names: Any) -> None:
        settled.append(len(names))
        await settle(names)

    monkeypatch.setattr(workshop.app.removals, "_settle", noted)
    await ada.react(first, "❌")
    await workshop.seen(lambda: posts(workshop)[0].content.count("🗑️ deleted") == 4)
    await rests(workshop)
    assert settled == [4]
    assert [len(await workshop.app.queue.pictures(job.id)) for job in jobs] == [0, 0, 0, 0, 1, 1]
    assert len(posts(workshop)[1].attachments) == 2
    assert second.id == posts(workshop)[1].id


async def test_a_moderators_removal_of_one_message_cancels_what_waits_of_the_whole_request(
    workshop: Workshop, engine: FakeEngine
) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await accepted(workshop, ada)
    jobs = await workshop.ended(6)
    first, _ = posts(workshop)
    engine.open.clear()
    await workshop.app.database.execute(
        "UPDATE jobs SET status = 'queued', posted_at = NULL WHERE id >= ?", (jobs[4].id,)
    )
    answer = await moderator.slash(workshop.channel, "mod delete", message=str(first.id))
    assert "4 pictures of message" in answer.response.content
    assert "2 open requests of this message were cancelled" in answer.response.content
    ended = await workshop.ended(6)
    assert [job.status for job in ended[4:]] == [JobStatus.CANCELLED] * 2
