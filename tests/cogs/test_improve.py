"""*Improve my prompt* and --enhance: what is offered, what is painted, and what is compared."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.config import Config, LimitsConfig
from bot.errors import UserError
from bot.jobs import UserId, utcnow
from bot.requests.improver import NOT_LOOKED_UP, NOTHING_KNOWN
from bot.storage.ratings import Ratings
from cogs._buttons import CustomId
from cogs.improve import NOTHING
from tests.cogs.test_every_control import forged
from tests.conftest import PATIENCE_SECONDS, Workshop


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the process that searches takes to start."""
    monkeypatch.setattr("cogs.intake.OFFER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


@pytest.fixture
async def liked(workshop: Workshop) -> int:
    """Ten people asked for a fox in the golden hour, and ten people like each of these results; returns how many."""
    for number in range(10):
        await workshop.member(f"m{number}").slash(workshop.channel, "imagine", prompt=f"a fox {number}, golden hour")
    jobs = await workshop.ended(10)
    ratings = Ratings(workshop.app.database, utcnow)
    for job in jobs:
        for rater in range(10):
            assert job.destination.message_id is not None
            assert await ratings.add(job.destination.message_id, UserId(5000 + rater), "👍")
    await workshop.app.search.finish()
    return len(jobs)


async def asked(workshop: Workshop, actor: simcord.MemberActor, prompt: str, **options: Any) -> Any:
    return (await actor.slash(workshop.channel, "imagine", prompt=prompt, **options)).response


async def test_with_enhance_the_offer_comes_first_and_nothing_changes_silently(workshop: Workshop, liked: int) -> None:
    ada = workshop.member("ada")
    offer = await asked(workshop, ada, "a fox --ar 16:9 --enhance")
    assert offer.ephemeral
    assert "**golden hour**: liked by 100% of the 10 people who rated" in offer.content
    assert len(await workshop.jobs()) == liked, "nothing is painted yet"
    changed = await ada.click(offer, label="Show the improved prompt")
    (field,) = changed.modal["components"]
    assert field["component"]["value"] == "a fox, golden hour"
    assert field["description"] == "Added: golden hour"
    pressed = offer.components[0]["components"][1]["custom_id"]
    await ada.submit_modal(changed, {"prompt": "a fox, golden hour, fog --seed 5"})
    assert (offer.content, offer.components) == ("✅ Improve my prompt", [])
    job = (await workshop.ended(liked + 1))[-1]
    assert (job.request.prompt, job.request.seed) == ("a fox, golden hour, fog", 5)
    assert job.request.width > job.request.height, "the flags of the first prompt count"
    again = await forged(workshop, ada, offer, pressed)
    assert again.response.content == "You already answered this."


async def test_the_person_can_paint_the_prompt_as_it_was_typed(workshop: Workshop, liked: int) -> None:
    ada = workshop.member("ada")
    offer = await asked(workshop, ada, "a fox", enhance=True, steps=7)
    await ada.click(offer, label="Paint as typed")
    job = (await workshop.ended(liked + 1))[-1]
    assert (job.request.prompt, job.request.num_inference_steps) == ("a fox", 7)


async def test_if_nothing_is_known_one_sentence_says_so_and_the_prompt_is_painted(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    given = await ada.slash(workshop.channel, "imagine", prompt="a fox --enhance")
    (job,) = await workshop.ended(1)
    assert job.request.prompt == "a fox"
    assert NOTHING_KNOWN in given.followups[-1].content
    menu = (await ada.click(workshop.message(job.destination.message_id), label="More")).response
    pressed = await ada.click(menu, label="Improve my prompt")
    assert NOTHING in [each.content for each in (*pressed.followups, pressed.response)]


async def test_a_search_that_takes_too_long_or_fails_delays_no_request(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("cogs.intake.OFFER_SECONDS", 0.05)
    monkeypatch.setattr(workshop.app.search.__class__, "_ask", slow)
    given = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a fox --enhance")
    await workshop.ended(1)
    assert NOT_LOOKED_UP in given.followups[-1].content


async def test_the_button_improves_the_prompt_of_a_result(workshop: Workshop, liked: int) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await asked(workshop, ada, "a fox at night --steps 9")
    job = (await workshop.ended(liked + 1))[-1]
    menu = (await grace.click(workshop.message(job.destination.message_id), label="More")).response
    pressed = await grace.click(menu, label="Improve my prompt")
    changed = await grace.click(
        pressed.followups[-1] if pressed.followups else pressed.response, label="Show the improved prompt"
    )
    assert changed.modal["components"][0]["component"]["value"] == "a fox at night, golden hour"
    await grace.submit_modal(changed, {"prompt": "a fox at night, golden hour --steps 11"})
    made = (await workshop.ended(liked + 2))[-1]
    assert made.request.prompt == "a fox at night, golden hour"
    assert made.request.num_inference_steps == 11
    assert made.requester.user_id == grace.id


async def test_accepted_words_pass_the_hard_block_and_the_list_of_terms(workshop: Workshop, liked: int) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await mo.slash(workshop.channel, "mod terms add", terms="forbidden phrase")
    for words, said in (
        ("a fox, golden hour, forbidden phrase", "do not allow"),
        ("a nude child, golden hour", "is never painted"),
    ):
        offer = await asked(workshop, ada, "a fox --enhance")
        changed = await ada.click(offer, label="Show the improved prompt")
        refused = await ada.submit_modal(changed, {"prompt": words})
        assert refused.response.ephemeral
        assert said in refused.response.content
    assert len(await workshop.jobs()) == liked


async def test_no_button_answers_an_offer_while_its_form_is_worked_on(
    workshop: Workshop, liked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, intake = workshop.member("ada"), workshop.env.bot.get_cog("Intake")
    offer = await asked(workshop, ada, "a fox --enhance")
    changed = await ada.click(offer, label="Show the improved prompt")
    known = CustomId.parse(offer.components[0]["components"][0]["custom_id"])
    assert known is not None
    take = intake.take

    async def watched(interaction: Any, *args: Any) -> None:
        with pytest.raises(UserError, match="already answered"):
            intake.offers.get(interaction, known.about.job_id)
        await take(interaction, *args)

    monkeypatch.setattr(intake, "take", watched)
    sent = await ada.submit_modal(changed, {"prompt": "a fox, golden hour"})
    assert "Queued" in sent.response.content
    assert [job.request.prompt for job in (await workshop.jobs())[liked:]] == ["a fox, golden hour"]


async def test_a_refused_form_keeps_its_offer(workshop: Workshop, liked: int) -> None:
    ada = workshop.member("ada")
    offer = await asked(workshop, ada, "a fox --enhance")
    changed = await ada.click(offer, label="Show the improved prompt")
    await ada.submit_modal(changed, {"prompt": "a fox --steps many"})
    await ada.click(offer, label="Paint as typed")
    assert [job.request.prompt for job in (await workshop.ended(liked + 1))[liked:]] == ["a fox"]


async def test_a_prompt_is_compared_with_its_improved_form_without_a_word_about_which_is_which(
    workshop: Workshop, liked: int
) -> None:
    ada = workshop.member("ada")
    offer = await asked(workshop, ada, "a fox --steps 5 --enhance")
    await ada.click(offer, label="Compare both")
    one, other = (await workshop.ended(liked + 2))[-2:]
    assert [one.request.prompt, other.request.prompt] == ["a fox", "a fox, golden hour"]
    assert one.request.seed == other.request.seed
    assert one.request.num_inference_steps == other.request.num_inference_steps == 5
    ballot = next(message for message in workshop.channel.history() if "Which picture" in message.content)
    assert "golden" not in ballot.content
    comparison = await workshop.app.comparisons.of_job(one.id)
    assert comparison is not None
    assert (comparison.first, comparison.second) == ("", "--enhance: golden hour"), "this is told after the end"


async def test_a_setting_of_a_comparison_may_be_the_improved_prompt(workshop: Workshop, liked: int) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(
        workshop.channel, "compare", prompt="a fox", first="--steps 5", second="--steps 5 --enhance"
    )
    assert asked.ephemeral
    assert "**golden hour**" in asked.response.content
    assert "2 pictures, about " in asked.response.content
    assert "Paint it?" in asked.response.content
    assert "This is a big one" not in asked.response.content
    assert len(await workshop.jobs()) == liked
    await ada.click(asked.response, label="Paint it")
    one, other = (await workshop.ended(liked + 2))[-2:]
    assert [one.request.prompt, other.request.prompt] == ["a fox", "a fox, golden hour"]


async def test_without_anything_to_improve_there_is_nothing_to_compare(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for first, second in (("--steps 5", "--enhance"), ("--enhance", "--steps 5")):
        refused = await ada.slash(workshop.channel, "compare", prompt="a fox", first=first, second=second)
        assert "nothing to compare with" in refused.response.content
    assert await workshop.jobs() == []
