"""/variants: one bill, one job for each variant, messages of four and a sheet with labels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import simcord

from bot.config import Config, DiscordConfig, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.jobs import Job, JobStatus, Kept, Operation
from bot.requests.variants import STEADY
from tests.bot.worker.test_cutout import picture
from tests.cogs.test_every_control import Stage
from tests.cogs.test_moderation import said
from tests.cogs.test_refusals import ruled
from tests.cogs.test_series import labels, posts
from tests.conftest import Workshop

LISTS = {"backgrounds": "blue, green", "colours": "yellow"}
THREE = ["background: blue", "background: green", "colour: yellow"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    limits = LimitsConfig(pace=10**4, quota=10**6, depth=2)
    return Config(data=tmp_path / "data", limits=limits, discord=DiscordConfig(posts_per_channel=50))


def last(answer: Any) -> Any:
    return answer.followups[-1] if answer.followups else answer.response


def png() -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    return buffer.getvalue()


async def painted(workshop: Workshop, ada: simcord.MemberActor) -> Job:
    """A result to make variants of."""
    await ada.slash(workshop.channel, "imagine", prompt="a red apple on a white background --seed 7 --steps 4")
    return (await workshop.ended())[0]


async def asked(workshop: Workshop, who: simcord.MemberActor, **options: Any) -> Any:
    return await who.slash(workshop.channel, "variants", **(LISTS | options))


async def test_a_result_becomes_a_series_with_one_bill(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    source = await painted(workshop, ada)
    bill = await asked(workshop, ada, id=str(source.id))
    assert bill.response.ephemeral
    assert "3 pictures, about " in bill.response.content
    assert "-# 2. background: green" in bill.response.content
    assert "brace" not in bill.response.content
    assert labels(bill.response) == ["Paint all", "Cancel"]
    await ada.click(bill.response, label="Paint all")
    jobs = (await workshop.ended(4))[1:]
    requests = [job.request for job in jobs]
    assert [job.label for job in jobs] == THREE
    assert [request.prompt for request in requests] == [
        "a red apple on a blue background",
        "a red apple on a green background",
        "a yellow apple",
    ]
    assert [(request.operation, request.kept) for request in requests] == [
        (Operation.INPAINT, Kept.THING),
        (Operation.INPAINT, Kept.THING),
        (Operation.INPAINT, Kept.BACKGROUND),
    ]
    assert len({request.seed for request in requests}) == 1
    assert {request.num_inference_steps for request in requests} == {4}, "as the result was painted"
    (kept,) = await workshop.app.queue.pictures(source.id)
    assert {request.image for request in requests} == {kept.sha256}
    for job in jobs:
        assert [(ref.job_id, ref.number) for ref in await workshop.app.lineage.sources(job.id)] == [(source.id, 1)]
    message = posts(workshop)[1]
    assert message.content.startswith("**a red apple** — <@")
    assert [each.description.partition(": a ")[0] for each in message.attachments] == [
        f"{number}. {label}" for number, label in zip((1, 2, 3), THREE, strict=True)
    ]
    assert labels(message) == ["1", "2", "3", "Sheet"]


async def test_the_number_of_a_picture_names_one_of_several(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red apple", images=2)
    (source,) = await workshop.ended()
    bill = await asked(workshop, ada, id=f"{source.id}/2")
    await ada.click(bill.response, label="Paint all")
    for job in (await workshop.ended(4))[1:]:
        assert [(ref.job_id, ref.number) for ref in await workshop.app.lineage.sources(job.id)] == [(source.id, 2)]
    wrong = last(await asked(workshop, ada, id="apple"))
    assert "such as `123`, or `123/2` for its second picture" in wrong.content


async def test_an_upload_becomes_variants_too(workshop: Workshop, engine: FakeEngine) -> None:
    ada = workshop.member("ada")
    bill = await asked(workshop, ada, picture=("shoe.png", png()), thing="a red shoe", look="--steps 3", angles="side")
    await ada.click(bill.response, label="Paint all")
    jobs = await workshop.ended(4)
    assert [job.label for job in jobs] == [*THREE, "angle: side"]
    assert {job.request.num_inference_steps for job in jobs} == {3}
    assert jobs[3].request.prompt == "a red shoe, side view"
    assert (jobs[3].request.operation, jobs[3].request.kept) == (Operation.IMAGE2IMAGE, None)
    assert {order.uploads[order.request.image] for order in engine.orders} == {png()}
    assert len(posts(workshop)[0].attachments) == 4


async def test_choices_are_refused_and_wildcards_are_drawn_once(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    entries = ", ".join(f"thing {number}" for number in range(50))
    await said(moderator, workshop, "wildcards add", name="thing", words=entries)
    await said(moderator, workshop, "wildcards add", name="place", words="beach")
    source = await painted(workshop, ada)
    for wrong in ({"thing": "a {red, green} apple"}, {"colours": "{red, green}"}, {"look": "{soft, hard} light"}):
        refused = last(await asked(workshop, ada, id=str(source.id), **wrong))
        assert "only one picture is possible here, and these words have choices for 2" in refused.content, wrong
    bill = await asked(workshop, ada, id=str(source.id), thing="a __thing__", backgrounds="blue, __place__")
    await ada.click(bill.response, label="Paint all")
    prompts = [job.request.prompt for job in (await workshop.ended(4))[1:]]
    drawn = prompts[0].removesuffix(" on a blue background")
    assert drawn.startswith("a thing ")
    assert prompts[1] == f"{drawn} on a beach background"
    assert prompts[2] == f"a yellow {drawn.removeprefix('a ')}"


class TestOtherModels:
    """A model that is not the one in the box gets words that keep size and light the same."""

    @pytest.fixture
    def config(self, config: Config, tmp_path: Path) -> Config:
        models = [ModelConfig(name="emoji", source="embedded"), ModelConfig(name="hub", source="owner/name")]
        return config.model_copy(update={"models": models})

    async def test_the_look_is_steady_unless_the_person_says_another(self, workshop: Workshop) -> None:
        ada = workshop.member("ada")
        for look in ({}, {"look": "at night"}, {"look": ""}):
            bill = await ada.slash(
                workshop.channel,
                "variants",
                picture=("a.png", png()),
                thing="a cup",
                colours="red",
                model="hub",
                **look,
            )
            await ada.click(bill.response, label="Paint all")
        jobs = await workshop.ended(3)
        assert [job.request.prompt for job in jobs][:2] == [f"a red cup, {STEADY}", "a red cup, at night"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Attach a picture, or give the number of a request"),
        ({"id": "99"}, "There is no such result on this server."),
        ({"picture": ("a.png", png())}, "Say what the picture shows"),
        ({"picture": ("a.txt", b"words"), "thing": "a cup"}, "is not a picture"),
        ({"picture": ("a.png", png()), "thing": "a cup", "backgrounds": "x" * 101}, "An entry of backgrounds has 101"),
        ({"picture": ("a.png", png()), "thing": "a cup", "backgrounds": ",", "colours": " "}, "Say what varies"),
        ({"picture": ("a.png", png()), "thing": "a nude child"}, "is never painted"),
        ({"picture": ("a.png", png()), "thing": "a child", "colours": "nude"}, "is never painted"),
        (
            {"picture": ("a.png", png()), "thing": "a cup", "colours": ",".join(map(str, range(99)))},
            "These are 101 variants, and at most 16 are possible at once",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_in_one_sentence(
    workshop: Workshop, options: dict[str, Any], words: str
) -> None:
    refused = await asked(workshop, workshop.member("ada"), **options)
    assert last(refused).ephemeral
    assert words in last(refused).content
    assert await workshop.jobs() == []


async def test_the_bill_of_one_variant_speaks_of_one_picture(workshop: Workshop) -> None:
    bill = await asked(
        workshop, workshop.member("ada"), picture=("a.png", png()), thing="a cup", backgrounds=",", colours="red, Red"
    )
    assert last(bill).content.startswith("1 picture, about ")
    assert "Paint it?\n-# 1. colour: red" in last(bill).content


async def test_all_words_pass_the_terms_of_the_server(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await said(moderator, workshop, "terms add", terms="zeppelin")
    for options, typed in (
        (
            {"thing": "a zeppelin", "look": "at night"},
            "a zeppelin\n\nBackgrounds: blue, green\n\nColours: yellow\n\nWords and flags for all of them: at night",
        ),
        ({"thing": "a cup", "backgrounds": "zeppelin"}, "a cup\n\nBackgrounds: zeppelin\n\nColours: yellow"),
    ):
        refused = await asked(workshop, ada, picture=("a.png", png()), **options)
        assert last(refused).ephemeral
        assert f"```\n{typed}\n```" in last(refused).content
    assert await workshop.jobs() == []


async def test_the_limit_of_what_is_asked_at_once_holds_here_too(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await ruled(workshop, moderator, permutations=2)
    refused = await asked(workshop, ada, picture=("a.png", png()), thing="a cup")
    assert "These are 3 variants, and at most 2 are possible at once (the rule for this server)" in (
        last(refused).content
    )


async def test_no_entry_of_the_menu_denies_a_result_with_several_pictures(workshop: Workshop) -> None:
    ada = workshop.member("ada", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="a red apple --images 2 --steps 4")
    (source,) = await workshop.ended()
    message = workshop.message(source.destination.message_id)
    shown = last(await ada.click(message, label="More"))
    for under in (shown, message):
        for label in [each for each in labels(under) if each != "Delete"]:
            pressed = await ada.click(under, label=label)
            said = [each.content or "" for each in (pressed.response, *pressed.followups) if each is not None]
            assert not any("no such result" in words for words in said), label


@pytest.mark.parametrize("action", ["Paint variants", "Animate"])
async def test_of_a_result_with_several_pictures_the_menu_asks_which_one(workshop: Workshop, action: str) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red apple --images 2 --steps 4")
    (source,) = await workshop.ended()
    shown = await ada.click(workshop.message(source.destination.message_id), label="More")
    which = last(await ada.click(last(shown), label=action))
    assert (which.ephemeral, which.content, labels(which)) == (True, "Which picture?", ["1", "2"])
    form = await ada.click(which, label="2")
    filled = {"thing": "a red apple", "backgrounds": "blue"} if action == "Paint variants" else {"frames": "8"}
    bill = await ada.submit_modal(form, filled)
    if action == "Paint variants":
        await ada.click(last(bill), label="Paint all")
    job = (await workshop.ended(2))[1]
    assert [(ref.job_id, ref.number) for ref in await workshop.app.lineage.sources(job.id)] == [(source.id, 2)]


@pytest.mark.parametrize("after_restart", [False, True])
@pytest.mark.parametrize("who", ["ada", "stranger", "moderator"])
async def test_anybody_makes_variants_by_the_button_and_gets_the_sheet(
    workshop: Workshop, who: str, after_restart: bool
) -> None:
    ada = workshop.member("ada")
    source = await painted(workshop, ada)
    if after_restart:
        await workshop.restart()
    actor = ada if who == "ada" else workshop.member(who, moderator=who == "moderator")
    shown = await Stage(workshop, ada, source).press(actor, "more")
    form = await actor.click(last(shown), label="Paint variants")
    bill = await actor.submit_modal(form, {"thing": "a red apple", "backgrounds": "blue, green", "colours": ""})
    await actor.click(last(bill), label="Paint all")
    jobs = (await workshop.ended(3))[1:]
    assert {job.requester for job in jobs} == {workshop.requester(actor)}
    if after_restart:
        await workshop.restart()
    message = posts(workshop)[1]
    sheet = last(await workshop.member("eve").click(message, label="Sheet"))
    (file,) = sheet.attachments
    assert file.description == "1. background: blue 2. background: green"
    with workshop.env.time_context():
        drawn = PIL.Image.open(io.BytesIO(await file.read()))
    assert drawn.width > 600
    assert "trainedAlgorithmicMedia" in drawn.info["XML:com.adobe.xmp"]


async def test_the_requester_and_a_moderator_cancel_the_rest_and_a_stranger_does_not(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada, moderator, eve = workshop.member("ada"), workshop.member("mo", moderator=True), workshop.member("eve")
    for canceller in (ada, moderator):
        engine.open.clear()
        bill = await asked(workshop, ada, picture=("a.png", png()), thing="a cup")
        await ada.click(bill.response, label="Paint all")
        message = posts(workshop)[-1]
        assert (
            "Only the person who asked for it" in (await eve.click(message, label="Cancel the rest")).response.content
        )
        await canceller.click(message, label="Cancel the rest")
    jobs = await workshop.ended(6)
    assert {job.status for job in jobs} == {JobStatus.CANCELLED}


async def test_a_deleted_picture_makes_no_variants(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    source = await painted(workshop, ada)
    await Stage(workshop, ada, source).press(ada, "delete")
    assert "was deleted" in last(await asked(workshop, ada, id=str(source.id))).content
