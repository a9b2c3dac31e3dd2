"""/blend mixes two to four pictures, and /describe says what is missing."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bot.config import Config, LimitsConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.jobs import BLEND_PROMPT, JobStatus, Operation, UserId
from bot.requests.options import BLENDED
from bot.requests.resolve import UNGUIDED
from bot.requests.starting import STRENGTH
from tests.bot.requests.test_uploads import encoded, png_header
from tests.conftest import Workshop

PICTURES = [flat_image(number, 64, 32 + 16 * number).png for number in range(4)]
NAMES = [hashlib.sha256(data).hexdigest() for data in PICTURES]


def sent(count: int) -> dict[str, Any]:
    """The first few pictures as the command's options."""
    return {name: (f"{name}.png", data) for name, data in zip(BLENDED[:count], PICTURES, strict=False)}


def kept(workshop: Workshop) -> set[str]:
    return {path.name for path in (workshop.app.config.data / "pictures").glob("*/*")}


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_the_pictures_reach_the_engine_in_order(workshop: Workshop, engine: FakeEngine, count: int) -> None:
    asked = await workshop.member("ada").slash(
        workshop.channel, "blend", **sent(count), prompt="a cat --seed 7", strength=0.4, model="emoji"
    )
    (job,) = await workshop.ended()
    request = job.request
    assert job.status is JobStatus.DELIVERED
    assert job.destination.message_id == asked.response.id
    assert (request.operation, request.prompt, request.seed, request.strength) == (Operation.BLEND, "a cat", 7, 0.4)
    assert (request.image, list(request.blended)) == (NAMES[0], NAMES[1:count])
    assert request.width > request.height, "the shape is that of the first"
    assert engine.orders[0].request == request
    assert engine.orders[0].uploads == dict(zip(NAMES[:count], PICTURES, strict=False))
    assert set(NAMES[:count]) <= kept(workshop)
    assert "a blend of images at strength 0.4" in workshop.message(job.destination.message_id).content


async def test_a_gap_between_the_pictures_is_closed(workshop: Workshop) -> None:
    pictures = sent(4)
    del pictures["image3"]
    await workshop.member("ada").slash(workshop.channel, "blend", **pictures)
    (job,) = await workshop.ended()
    assert (job.request.image, job.request.blended) == (NAMES[0], (NAMES[1], NAMES[3]))


@pytest.mark.parametrize(("prompt", "guidance"), [({}, UNGUIDED), ({"prompt": "--seed 7 --guidance 5"}, 5.0)])
async def test_without_words_the_pictures_decide(workshop: Workshop, prompt: dict[str, str], guidance: float) -> None:
    await workshop.member("ada").slash(workshop.channel, "blend", **sent(2), **prompt)
    (job,) = await workshop.ended()
    request = job.request
    assert (request.prompt, request.guidance_scale, request.strength) == (BLEND_PROMPT, guidance, STRENGTH)


async def test_it_is_painted_again_and_varied_after_a_restart(workshop: Workshop, engine: FakeEngine) -> None:
    await workshop.member("ada").slash(workshop.channel, "blend", **sent(3), prompt="a cat --seed 7")
    (job,) = await workshop.ended()
    await workshop.restart()
    grace, message = workshop.member("grace"), workshop.message(job.destination.message_id)
    await grace.click(message, label="🔁")
    again = (await workshop.ended(2))[-1]
    assert again.requester == workshop.requester(grace)
    assert again.request.seed != 7
    fields = {name: getattr(job.request, name) for name in job.request.__slots__ if name != "seed"}
    assert {name: getattr(again.request, name) for name in fields} == fields
    assert engine.orders[-1].uploads == dict(zip(NAMES[:3], PICTURES, strict=False))
    await grace.slash(workshop.channel, "reproduce", id=job.id)
    assert (await workshop.ended(3))[-1].request == job.request
    await grace.click(message, label="Vary (subtle)")
    varied = (await workshop.ended(4))[-1].request
    (picture,) = await workshop.app.queue.pictures(job.id)
    assert (varied.operation, varied.image, varied.blended) == (Operation.IMAGE2IMAGE, picture.sha256, ())


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("image1", ("a.txt", b"words"), "The first image is not a picture"),
        ("image2", ("b.gif", encoded("GIF", (32, 32))), "The second image is not a picture"),
        ("image3", ("c.png", b""), "The third image is an empty file"),
        ("image4", ("d.png", b"words"), "The fourth image is not a picture"),
        ("image2", ("b.png", png_header(50_000, 50_000)), "The second image has 50,000×50,000 pixels"),
        ("image3", ("c.png", png_header(500, 100)), "The third image has 500×100 pixels, and shapes go only"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    workshop: Workshop, name: str, file: tuple[str, bytes], words: str
) -> None:
    options = sent(4) | {name: file}
    refused = await workshop.member("ada").slash(workshop.channel, "blend", **options, prompt="a cat")
    told = refused.followups[-1] if refused.followups else refused.response
    assert told.ephemeral
    assert words in told.content
    assert "a cat" in told.content
    assert (workshop.channel.history(), await workshop.jobs(), kept(workshop)) == ([], [], set())


async def test_discord_asks_for_two_pictures_and_takes_two_more(workshop: Workshop) -> None:
    with workshop.env.time_context():
        (command,) = [each for each in await workshop.env.bot.tree.fetch_commands() if each.name == "blend"]
    options = {option.name: option.required for option in command.options}  # type: ignore[union-attr]
    assert [name for name, required in options.items() if required] == ["image1", "image2"]
    assert set(options) == {*BLENDED, "prompt", "strength", "model"}


class TestQuota:
    """A blend counts like every request."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"limits": LimitsConfig(quota=1)})

    async def test_a_second_one_is_over_the_quota(self, workshop: Workshop) -> None:
        ada = workshop.member("ada")
        await ada.slash(workshop.channel, "blend", **sent(2), prompt="a cat --strength 1 --guidance 3")
        await workshop.ended()
        refused = await ada.slash(workshop.channel, "blend", **sent(3), prompt="a dog --steps 50 --images 4")
        told = refused.followups[-1] if refused.followups else refused.response
        assert told.ephemeral
        assert "quota" in told.content
        assert len(await workshop.jobs()) == 1
        assert not set(NAMES[2:3]) & kept(workshop), "the picture of the refused one is not kept"


async def test_a_picture_that_is_gone_is_not_blended_again(workshop: Workshop) -> None:
    await workshop.member("ada").slash(workshop.channel, "blend", **sent(2), prompt="a cat")
    (job,) = await workshop.ended()
    (workshop.app.config.data / "pictures" / NAMES[1][:2] / NAMES[1]).unlink()
    refused = await workshop.member("grace").click(workshop.message(job.destination.message_id), label="🔁")
    assert refused.ephemeral
    assert "was deleted" in refused.response.content
    assert len(await workshop.jobs()) == 1


async def test_the_pictures_go_with_the_data_of_their_person(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "blend", **sent(4), prompt="a cat")
    await workshop.ended()
    assert set(NAMES) <= kept(workshop)
    export = await workshop.app.forgetting.export(UserId(ada.id))
    assert export["requests"][0]["request"]["blended"] == NAMES[1:]
    assert not [name for name in export["requests"][0] if name.startswith("blended")]
    await workshop.app.forgetting.forget(UserId(ada.id))
    assert await workshop.app.forgetting.finish()
    assert kept(workshop) == set()


async def test_another_server_neither_sees_nor_repeats_it(workshop: Workshop) -> None:
    await workshop.member("ada").slash(workshop.channel, "blend", **sent(2), prompt="a cat")
    (job,) = await workshop.ended()
    stranger, there = workshop.elsewhere()
    refused = await stranger.slash(there, "reproduce", id=job.id)
    assert refused.ephemeral
    await stranger.slash(there, "blend", **sent(2))
    theirs = (await workshop.ended(2))[-1]
    assert theirs.requester.guild_id != job.requester.guild_id
    assert theirs.request.blended == job.request.blended


async def test_describe_says_that_there_is_no_model_for_it(workshop: Workshop) -> None:
    told = await workshop.member("ada").slash(workshop.channel, "describe", image=("a.png", PICTURES[0]))
    assert told.ephemeral
    assert told.response.content.startswith("No model that describes pictures is set up here")
    assert await workshop.jobs() == []
