"""/film: a model for videos, set up by the host, paints frames from words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.jobs import Operation
from tests.bot.worker.test_films import PICTURE
from tests.bot.worker.tiny_films import SIDE, make_film_folder
from tests.cogs.test_moderation import said
from tests.cogs.test_refusals import ruled
from tests.cogs.test_series import labels
from tests.conftest import Workshop


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("films")
    return {kind: make_film_folder(parent / kind, kind) for kind in ("WanPipeline", "LTXImageToVideoPipeline")}


@pytest.fixture
def config(tmp_path: Path, folders: dict[str, Path]) -> Config:
    films = {"words": folders["WanPipeline"], "picture": folders["LTXImageToVideoPipeline"]}
    models = [ModelConfig(name="emoji", source="embedded", width=128, height=128, steps=4)]
    models += [
        ModelConfig(name=name, source=str(folder), width=SIDE, height=SIDE, steps=2) for name, folder in films.items()
    ]
    return Config(data=tmp_path / "data", models=models, limits=LimitsConfig(pace=10**4, quota=10**6))


def last(answer: Any) -> Any:
    return answer.followups[-1] if answer.followups else answer.response


async def test_the_model_for_videos_is_found_and_the_frames_count(workshop: Workshop, engine: FakeEngine) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "settings", model="emoji")
    answer = await ada.slash(workshop.channel, "film", prompt="a red fox --seed 7", frames=20)
    assert "frames 20 became 17" in last(answer).content
    await ada.slash(workshop.channel, "film", prompt="a red fox", picture=("a.png", PICTURE))
    one, two = await workshop.ended(2)
    assert (one.request.model, one.request.operation, one.request.frames) == ("words", Operation.FILM, 17)
    assert (two.request.model, two.request.operation, two.request.frames) == ("picture", Operation.IMAGE2FILM, 25)
    assert engine.orders[1].uploads == {two.request.image: PICTURE}
    message = workshop.message(one.destination.message_id)
    assert message.attachments[0].description == "A film of 17 frames: a red fox"
    assert labels(message) == ["🔁", "❤️", "More"]
    await ada.click(message, label="🔁")
    again = (await workshop.ended(3))[2].request
    assert (again.operation, again.frames, again.model) == (Operation.FILM, 17, "words")
    assert again.seed != 7
    info = await ada.context_menu(workshop.channel, "Info", message)
    assert "by flags: `seed`" in info.response.content
    assert "by options" not in info.response.content, "nobody chose the model"


async def test_choices_are_refused_and_wildcards_are_drawn(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await said(moderator, workshop, "wildcards add", name="animal", words="otter")
    refused = last(await ada.slash(workshop.channel, "film", prompt="a {red, green} fox"))
    assert "only one picture is possible here, and these words have choices for 2" in refused.content
    await ada.slash(workshop.channel, "film", prompt="a __animal__")
    (job,) = await workshop.ended()
    assert job.request.prompt == "a otter"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 0}, "A film has 9 to 121 frames, and you asked for 0."),
        ({"frames": 8}, "A film has 9 to 121 frames, and you asked for 8."),
        ({"frames": 122}, "A film has 9 to 121 frames, and you asked for 122."),
        ({"prompt": "a fox --images 2"}, "An animation is one file."),
        ({"prompt": "a nude child"}, "is never painted"),
        ({"model": "emoji"}, "The model emoji cannot paint films from words."),
        ({"model": "picture"}, "The model picture cannot paint films from words. It can paint films that begin with a"),
    ],
)
async def test_what_cannot_be_filmed_is_refused_in_one_sentence(
    workshop: Workshop, options: dict[str, Any], words: str
) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "film", **({"prompt": "a fox"} | options))
    assert refused.response.ephemeral
    assert words in refused.response.content
    assert await workshop.jobs() == []


async def test_a_model_for_videos_paints_no_pictures_and_no_animations(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for command in ("imagine", "animate"):
        refused = await ada.slash(workshop.channel, command, prompt="a fox", model="words")
        assert "The model words cannot" in refused.response.content
        assert "It can paint films from words. These can: emoji." in refused.response.content


async def test_terms_and_the_limit_of_pixels_hold_for_films(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await said(moderator, workshop, "terms add", terms="zeppelin")
    refused = await ada.slash(workshop.channel, "film", prompt="a zeppelin")
    assert refused.response.ephemeral
    await ruled(workshop, moderator, animation=10 * SIDE * SIDE)
    await ada.slash(workshop.channel, "film", prompt="a fox")
    (job,) = await workshop.ended()
    assert job.request.frames == 9
    await ruled(workshop, moderator, animation=8 * SIDE * SIDE)
    refused = await ada.slash(workshop.channel, "film", prompt="a fox")
    assert "and 9 of 32×32 have 9,216" in refused.response.content


class TestWithoutOne:
    """The built-in model alone."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"models": config.models[:1]})

    async def test_it_says_that_no_model_here_can(self, workshop: Workshop) -> None:
        refused = await workshop.member("ada").slash(workshop.channel, "film", prompt="a fox")
        assert "cannot paint films from words." in refused.response.content
        assert "No other model here can." in refused.response.content
