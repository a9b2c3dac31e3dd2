"""A draft is quick, and Finish paints one picture of it properly: by anybody, at any time later."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import EMBEDDED_MODEL, Config, LimitsConfig, ModelConfig
from bot.jobs import Job, PictureRef
from cogs._controls import MORE
from tests.cogs.test_edits import forged, labels
from tests.conftest import Workshop

OTHER = ModelConfig(name="other", source="embedded", width=64, height=64, steps=12)


@pytest.fixture
def config(tmp_path: Any) -> Config:
    limits = LimitsConfig(pace=1000, depth=1000, quota=10**6)
    return Config(data=tmp_path / "data", limits=limits, models=(EMBEDDED_MODEL, OTHER))


def shown_labels(answer: Any) -> list[list[str]]:
    """The labels of an answer's controls, row by row."""
    return [[child["label"] for child in row["components"]] for row in answer.components]


async def drafted(workshop: Workshop, typed: str = "a cat --draft --seed 7", **options: Any) -> tuple[Job, Any]:
    """A draft of a new member, and its message."""
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt=typed, **options)
    job = (await workshop.ended())[-1]
    return job, workshop.message(job.destination.message_id)


async def test_a_draft_offers_to_finish_each_picture(workshop: Workshop) -> None:
    job, message = await drafted(workshop)
    assert job.request.draft
    assert job.request.num_inference_steps == EMBEDDED_MODEL.draft_steps
    assert labels(message) == [
        ["U1", "U2", "U3", "U4", "🔁"],
        ["Finish 1", "Finish 2", "Finish 3", "Finish 4", MORE],
    ]
    assert "\n-# draft · seeds `7`" in message.content
    grace = workshop.member("grace")
    shown = (await grace.slash(workshop.channel, "show", id=job.id)).response
    assert shown_labels(shown) == labels(message)
    info = (await grace.click(message, label=MORE)).response
    assert "-# draft · " in info.content
    single = (await grace.click(message, label="U3")).followups[-1]
    assert shown_labels(single) == [
        ["Finish", "Vary (subtle)", "Vary (strong)", "Remix", "Upscale"],
        ["Edit region", "Zoom out 1.5×", "Zoom out 2×", "🔁", MORE],
        ["⬅️", "➡️", "⬆️", "⬇️", "❤️"],
        ["Animate", "Paint variants"],
    ]


async def test_a_draft_of_one_picture_begins_with_finish(workshop: Workshop) -> None:
    job, message = await drafted(workshop, "a cat --draft", images=1)
    assert labels(message)[0][0] == "Finish"
    await workshop.member("grace").click(message, label="Finish")
    made = (await workshop.ended(2))[-1]
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id, 1),)
    assert made.request.seed == job.request.seed


@pytest.mark.parametrize("after_restart", [False, True])
async def test_a_stranger_finishes_one_picture_from_its_seed(workshop: Workshop, after_restart: bool) -> None:
    job, message = await drafted(workshop, "a cat --draft --seed 7 --no dogs --ar 3:2")
    if after_restart:
        await workshop.restart()
    grace = workshop.member("grace")
    pressed = await grace.click(message, label="Finish 3")
    assert not pressed.ephemeral
    assert not pressed.followups, "no note"
    made = (await workshop.ended(2))[-1]
    assert made.requester == workshop.requester(grace)
    request = made.request
    assert (request.seed, request.num_images_per_prompt, request.draft) == (9, 1, False)
    usual = EMBEDDED_MODEL.steps, EMBEDDED_MODEL.guidance_scale
    assert (request.num_inference_steps, request.guidance_scale) == usual
    assert (request.prompt, request.negative_prompt, request.image) == ("a cat", "dogs", "")
    assert (request.width, request.height) == (job.request.width, job.request.height)
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id, 3),)
    shown = workshop.message(pressed.response.id)
    assert labels(shown)[0][0] == "Vary (subtle)", "what is finished is no draft"
    assert "draft" not in shown.content
    place = f"{workshop.guild.id}/{workshop.channel.id}/{job.destination.message_id}"
    assert f"From [picture 3 of request {job.id}](<https://discord.com/channels/{place}>)" in shown.content


async def test_finishing_twice_makes_two_results(workshop: Workshop) -> None:
    _, message = await drafted(workshop)
    grace = workshop.member("grace")
    for _ in range(2):
        await grace.click(message, label="Finish 2")
    first, second = (await workshop.ended(3))[1:]
    assert first.request == second.request


async def test_again_is_a_draft_and_what_else_is_made_of_a_draft_is_none(workshop: Workshop) -> None:
    job, message = await drafted(workshop)
    grace = workshop.member("grace")
    await grace.click(message, label="🔁")
    again = (await workshop.ended(2))[-1]
    assert again.request.draft
    assert labels(workshop.message(again.destination.message_id))[1][0] == "Finish 1"
    single = (await grace.click(message, label="U2")).followups[-1]
    for number, label in enumerate(("Vary (subtle)", "Zoom out 2×", "Upscale"), start=3):
        await grace.click(single, label=label)
        request = (await workshop.ended(number))[-1].request
        assert (request.draft, request.num_inference_steps) == (False, EMBEDDED_MODEL.steps), label
    form = await grace.click(single, label="Remix")
    await grace.submit_modal(form, {"prompt": "a dog --draft", "negative": "", "strength": "0.5", "seed": ""})
    remixed = (await workshop.ended(6))[-1].request
    assert (remixed.draft, remixed.num_inference_steps) == (True, EMBEDDED_MODEL.draft_steps)
    await grace.slash(workshop.channel, "reproduce", id=job.id)
    reproduced = (await workshop.ended(7))[-1]
    assert reproduced.request == job.request
    assert "every pixel is equal" in workshop.message(reproduced.destination.message_id).content


async def test_a_model_without_a_preset_paints_as_usual_with_a_note(workshop: Workshop) -> None:
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat --draft", model="other")
    (job,) = await workshop.ended()
    assert (job.request.draft, job.request.num_inference_steps) == (False, 12)
    assert "no preset for drafts" in asked.followups[-1].content
    message = workshop.message(job.destination.message_id)
    assert "Finish" not in str(labels(message))
    refused = await workshop.member("grace").click(await forged(workshop, f"a2:finish:{job.id}:1"), label="Forged")
    assert "no draft" in refused.response.content
    assert len(await workshop.jobs()) == 1


async def test_a_deleted_draft_cannot_be_finished(workshop: Workshop) -> None:
    job, message = await drafted(workshop)
    moderator = workshop.member("mod", moderator=True)
    single = (await moderator.click(message, label="U1")).followups[-1]
    await workshop.open_group("mod", moderator)
    await moderator.slash(workshop.channel, "mod delete", message=str(job.destination.message_id))
    assert not workshop.message(job.destination.message_id).components
    for answered in (
        await moderator.click(single, label="Finish"),
        await moderator.click(await forged(workshop, f"a2:finish:{job.id}:2"), label="Forged"),
    ):
        assert "was deleted" in answered.response.content
    assert len(await workshop.jobs()) == 1


async def test_finishing_obeys_the_limits_of_the_person_who_presses(workshop: Workshop) -> None:
    _, message = await drafted(workshop)
    grace, moderator = workshop.member("grace"), workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    await moderator.slash(workshop.channel, "mod block", member=grace)
    refused = await grace.click(message, label="Finish 1")
    assert refused.ephemeral
    assert "block" in refused.response.content
    assert len(await workshop.jobs()) == 1
