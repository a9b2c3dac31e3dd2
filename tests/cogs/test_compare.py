"""/compare: two settings side by side, a blind vote, and a verdict."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import simcord

from bot.config import BillConfig, Config, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Path) -> Config:
    models = [ModelConfig(name=name, source="embedded") for name in ("first", "second")]
    limits = LimitsConfig(pace=1000, depth=1000, quota=10**6)
    return Config(data=tmp_path / "data", models=models, limits=limits)


async def compared(workshop: Workshop, ada: simcord.MemberActor, **options: Any) -> Any:
    """The ballot of a comparison of Ada's."""
    before = len(await workshop.jobs())
    given = {"prompt": "a fox", "first": "--steps 5", "second": "--model second --steps 9"} | options
    asked = await ada.slash(workshop.channel, "compare", **given)
    assert not asked.ephemeral, asked.response.content
    await workshop.ended(before + 2)
    return next(message for message in workshop.channel.history() if message.attachments)


async def said(actor: simcord.MemberActor, message: Any, label: str) -> str:
    clicked = await actor.click(message, label=label)
    return str((clicked.followups[-1] if clicked.followups else clicked.response).content)


async def test_both_settings_are_painted_from_one_seed_and_shown_without_a_word_about_them(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    ballot = await compared(workshop, ada, images=2)
    one, other = await workshop.jobs()
    assert one.request.seed == other.request.seed
    assert (one.request.model, one.request.num_inference_steps) == ("first", 5)
    assert (other.request.model, other.request.num_inference_steps) == ("second", 9)
    for message in workshop.channel.history():
        said_of_it = [message.content, *workshop.edits(message.id), *(str(each) for each in message.attachments)]
        assert not any(word in text for text in said_of_it for word in ("steps", "model", "seed", "second"))
        assert not message.reactions
    (attachment,) = ballot.attachments
    assert attachment.filename == "comparison.png"
    with workshop.env.time_context():
        data = await attachment.read()
    shown = PIL.Image.open(io.BytesIO(data))
    assert shown.size == (1048, 1048)
    comparison = await workshop.app.comparisons.of_job(one.id)
    assert comparison is not None
    for pair in (1, 2):
        pictures = [await workshop.app.queue.read(await workshop.app.queue.pictures(job.id)) for job in (one, other)]
        left = pictures[comparison.is_swapped(pair)][pair - 1]
        wanted = PIL.Image.open(io.BytesIO(left.png)).convert("RGB").getpixel((0, 0))
        assert shown.getpixel((5, (pair - 1) * 536 + 500)) == wanted, "each pair has its own order"


async def test_a_person_has_one_vote_for_each_pair_and_can_change_it_after_a_restart_too(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    ballot = await compared(workshop, ada, images=2)
    assert await said(grace, ballot, "1: Left") == (
        "Your votes: pair 1: left. You can change them until the comparison ends."
    )
    assert "pair 1: left, pair 2: right" in await said(grace, ballot, "2: Right")
    await workshop.restart()
    ballot = workshop.message(ballot.id)
    assert "pair 1: right, pair 2: right" in await said(grace, ballot, "1: Right")
    (count,) = await workshop.app.database.fetch_one("SELECT count(*) FROM votes")
    assert count == 2
    assert "pair 1: right. You" in await said(grace, ballot, "2: Right")
    assert "no vote" in await said(grace, ballot, "1: Right")
    assert "<@" not in str([dict(row) for row in await workshop.app.database.fetch_all("SELECT * FROM votes")])


async def test_the_verdict_comes_after_the_end_and_says_which_was_which(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    ballot = await compared(workshop, ada)
    (one, _) = await workshop.jobs()
    comparison = await workshop.app.comparisons.of_job(one.id)
    second = "Left" if comparison.is_swapped(1) else "Right"
    voters = [workshop.member(f"v{number}") for number in range(12)]
    for voter in voters:
        await voter.click(ballot, label=second)
    assert "Only the person who asked" in await said(voters[0], ballot, "End the vote")
    asked = await ada.click(ballot, label="End the vote")
    assert "12 people have voted. The verdict is given once" in asked.response.content
    assert "second" not in asked.response.content
    ended = await ada.click(asked.response, label="End the vote")
    verdict = ended.followups[-1].content if ended.followups else ended.response.content
    assert "“\\-\\-model second \\-\\-steps 9” is liked better" in verdict
    assert "12 people" in verdict
    public = workshop.message(ballot.id)
    assert "is liked better" in public.content
    assert public.components == []
    assert f"“\\-\\-steps 5” was {'right' if second == 'Left' else 'left'} in 1" in public.content
    assert f"`/show id:{comparison.first_id}`" in public.content
    before = await workshop.app.comparisons.tally(comparison.id)
    await workshop.app.comparisons.vote(comparison.id, ada.id, 1, for_second=False)
    assert await workshop.app.comparisons.tally(comparison.id) == before, "a vote that comes late changes nothing"


async def test_reactions_under_a_comparison_rate_neither_of_both(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    ballot = await compared(workshop, ada)
    one, _ = await workshop.jobs()
    ratings = "SELECT emoji FROM ratings ORDER BY emoji"
    for emoji in ("👍", "⭐", "✉️"):
        await grace.react(ballot, emoji)
    await workshop.restart()
    assert await workshop.app.database.fetch_all(ratings) == []
    shown = (await grace.slash(workshop.channel, "show", id=one.id)).response
    heart = f"a2:heart:{one.id}:1"
    assert "People vote on this result" in (await grace.click(shown, custom_id=heart)).response.content
    asked = await ada.click(workshop.message(ballot.id), label="End the vote")
    await ada.click(asked.response, label="End the vote")
    assert "favourite of yours now" in (await grace.click(shown, custom_id=heart)).response.content
    await grace.react(workshop.message(ballot.id), "👎")
    assert [row["emoji"] for row in await workshop.app.database.fetch_all(ratings)] == ["button:❤"]
    await ada.react(workshop.message(ballot.id), "❌")
    assert len(await workshop.app.database.fetch_all(ratings)) == 2, "the person who asked can delete it"


async def test_of_fewer_than_ten_people_nothing_is_said(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    ballot = await compared(workshop, ada)
    for number in range(9):
        await workshop.member(f"v{number}").click(ballot, label="Left")
    asked = await ada.click(ballot, label="End the vote")
    assert "With fewer than 10 people there is no verdict" in asked.response.content
    await ada.click(asked.response, label="End the vote")
    assert "Fewer than 10 people voted" in workshop.message(ballot.id).content


async def test_what_cannot_be_compared_is_refused_and_nothing_is_painted(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for options, words in (
        ({"first": "--steps 5", "second": "--steps 5"}, "paint the same"),
        ({"first": "--steps 30"}, "paint the same"),
        ({"first": "a red hat --steps 5"}, "has flags only"),
        ({"first": "--images 3"}, "same number of pictures"),
        ({"first": "--model lost"}, "There is no model"),
    ):
        refused = await ada.slash(workshop.channel, "compare", prompt="a fox", **options)
        assert words in refused.response.content, options
        assert refused.ephemeral
    assert await workshop.jobs() == []


async def test_a_comparison_that_costs_much_has_the_bill_of_every_request(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    workshop.app.admission._thresholds = BillConfig(seconds=0.001)
    asked = await ada.slash(workshop.channel, "compare", prompt="a fox", first="--steps 5", images=2)
    assert asked.ephemeral
    assert "This is a big one: 4 pictures" in asked.response.content
    assert await workshop.jobs() == []
    declined = await ada.click(asked.response, label="Cancel")
    assert "Your quota is unchanged" in declined.response.content
    assert "a fox" in declined.response.content
    asked = await ada.slash(workshop.channel, "compare", prompt="a fox", first="--steps 5", images=2)
    await ada.click(asked.response, label="Paint it")
    one, other = await workshop.ended(2)
    assert one.request.seed == other.request.seed
    assert await workshop.app.comparisons.of_job(one.id) is not None


async def test_if_one_of_both_is_cancelled_the_other_is_an_ordinary_result(workshop: Workshop) -> None:
    await workshop.restart(FakeEngine(seconds=0.02))
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "compare", prompt="a fox", first="--steps 5", second="--steps 9")
    one, other = await workshop.jobs()
    await ada.click(workshop.message(other.destination.message_id), custom_id=f"a2:cancel:{other.id}:0")
    one, other = await workshop.ended(2)
    assert other.status is JobStatus.CANCELLED
    texts = [message.content for message in workshop.channel.history()]
    assert any("5 steps" in text for text in texts) or any(f"/show id:{one.id}" in text for text in texts)
    await ada.react(workshop.message(one.destination.message_id), "👍")
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM ratings")) == 1


@pytest.mark.parametrize("which", ["first", "ballot"])
@pytest.mark.parametrize("way", ["requester", "moderator"])
async def test_when_one_half_is_removed_the_other_half_and_the_picture_of_both_go_too(
    workshop: Workshop, way: str, which: str
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    ballot = await compared(workshop, ada)
    one, other = await workshop.jobs()
    first = next(each for each in (one, other) if each.destination.message_id != ballot.id)
    message_id = ballot.id if which == "ballot" else first.destination.message_id
    if way == "requester":
        await ada.react(workshop.message(message_id), "❌")
    else:
        moderator = workshop.member("mod", moderator=True)
        answer = await moderator.slash(workshop.channel, "mod delete", message=str(message_id))
        assert "2 pictures of message" in answer.response.content
    note = "The person who asked for this result deleted it." if way == "requester" else "A moderator removed"
    for job in (one, other):
        await workshop.seen(lambda job=job: note in workshop.message(job.destination.message_id).content)
        assert await workshop.app.queue.pictures(job.id) == []
        shown = await grace.slash(workshop.channel, "show", id=job.id)
        assert "deleted" in shown.response.content
    assert not any(message.attachments for message in workshop.channel.history())
    await workshop.app.search.finish()
    found = await grace.slash(workshop.channel, "search", query="fox")
    assert "No result" in found.response.content


async def test_choices_in_a_comparison_are_refused_and_wildcards_are_drawn_once_for_both(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    for options in (
        {"prompt": "a {red, green} fox", "first": "--steps 5"},
        {"prompt": "a fox", "first": "--steps {5, 6}"},
    ):
        refused = await ada.slash(workshop.channel, "compare", **options)
        assert "only one picture is possible here, and these words have choices for 2" in refused.response.content, (
            options
        )
    assert await workshop.jobs() == []
    entries = ", ".join(f"animal {number}" for number in range(50))
    await moderator.slash(workshop.channel, "mod wildcards add", name="animal", words=entries)
    await compared(workshop, ada, prompt="a __animal__")
    one, other = await workshop.jobs()
    assert one.request.prompt == other.request.prompt
    assert one.request.prompt.startswith("a animal ")
    comparison = await workshop.app.comparisons.of_job(one.id)
    assert comparison is not None
    assert comparison.prompt == one.request.prompt


async def test_a_half_that_failed_takes_no_result_along(workshop: Workshop) -> None:
    await workshop.restart(FakeEngine(seconds=0.02))
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "compare", prompt="a fox", first="--steps 5", second="--steps 9")
    one, other = await workshop.jobs()
    await ada.click(workshop.message(other.destination.message_id), custom_id=f"a2:cancel:{other.id}:0")
    one, other = await workshop.ended(2)
    assert other.status is JobStatus.CANCELLED
    refused = await moderator.slash(workshop.channel, "mod delete", message=str(other.destination.message_id))
    assert "That request is cancelled: it shows no pictures" in refused.response.content
    assert await workshop.app.queue.pictures(one.id)
