"""/mod defaults: what the requests of a server or a channel get if their person chose nothing."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import Config, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from cogs._controls import MORE
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    models = [ModelConfig(name=name, source="embedded") for name in ("first", "second", "third")]
    return Config(data=tmp_path / "data", models=models, limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


async def moderator_of(workshop: Workshop) -> Any:
    moderator = workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    return moderator


async def test_the_person_wins_over_the_channel_and_the_channel_over_the_server(workshop: Workshop) -> None:
    moderator, ada = await moderator_of(workshop), workshop.member("ada")
    await moderator.slash(workshop.channel, "mod defaults", images=3, aspect="3:2", model="second")
    await moderator.slash(workshop.channel, "mod defaults", images=2, channel=workshop.channel)
    await workshop.restart()
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert (job.request.num_images_per_prompt, job.request.model) == (2, "second")
    assert job.request.width > job.request.height
    message = workshop.message(job.destination.message_id)
    info = (await ada.click(message, label=MORE)).response.content
    assert "by the channel: `images` · by the server: `aspect`, `model`" in info.replace(
        "`model`, `aspect`", "`aspect`, `model`"
    )

    elsewhere = workshop.guild.create_text_channel("elsewhere")
    await ada.slash(elsewhere, "imagine", prompt="a cat")
    assert (await workshop.ended(2))[-1].request.num_images_per_prompt == 3
    await ada.slash(workshop.channel, "settings", images=1, model="third")
    await ada.slash(workshop.channel, "imagine", prompt="a cat --ar 1:1")
    request = (await workshop.ended(3))[-1].request
    assert (request.num_images_per_prompt, request.model, request.width) == (1, "third", request.height)


async def test_they_are_shown_cleared_undone_and_do_not_reach_another_server(workshop: Workshop) -> None:
    moderator = await moderator_of(workshop)

    async def said(**options: Any) -> str:
        answer = await moderator.slash(workshop.channel, "mod defaults", **options)
        assert answer.ephemeral
        return answer.response.content

    assert "- images: no rule" in await said()
    assert "usual images no rule → `2`" in await said(images=2, aspect="3:2")
    assert "already" in await said(images=2)
    assert "- images: `2`" in await said()
    assert "usual aspect `3:2` → no rule" in await said(clear="aspect")
    assert "usual images `2` → no rule" in await said(clear="everything")
    await moderator.slash(workshop.channel, "mod undo", case=3)
    assert "- images: `2`" in await said()
    other, there = workshop.elsewhere()
    await other.slash(there, "imagine", prompt="a cat")
    assert (await workshop.ended())[-1].request.num_images_per_prompt == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "fourth"}, "fourth"),
        ({"aspect": "wide"}, "wide"),
        ({"images": 2, "clear": "images"}, "Do one of the two"),
    ],
)
async def test_what_cannot_be_a_default_is_refused(workshop: Workshop, options: dict[str, Any], words: str) -> None:
    moderator = await moderator_of(workshop)
    answer = await moderator.slash(workshop.channel, "mod defaults", **options)
    assert answer.ephemeral
    assert words in answer.response.content
    assert await workshop.app.rules.books() == {}


async def test_a_default_model_that_may_not_be_used_is_left_out_with_a_note(workshop: Workshop) -> None:
    moderator, ada = await moderator_of(workshop), workshop.member("ada")
    await workshop.open_group("limits", moderator)
    await moderator.slash(workshop.channel, "mod defaults", model="second")
    answer = await moderator.slash(workshop.channel, "limits set", models="first, third")
    await moderator.click(answer.response, label="Lower the limits")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    assert job.request.model == "first"
    assert "the server's default model second cannot be used here now" in asked.followups[-1].content
