"""The controls under a result: by anybody, at any time later, each press a request of the person who presses."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import discord
import pytest

from bot.config import Config, LimitsConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.jobs import Job, JobId, Operation, PictureRef
from bot.requests import edits
from cogs._buttons import CustomId
from cogs._controls import MORE
from tests.conftest import Workshop

RED = flat_image(1, 64, 48).png
BLUE = flat_image(2, 64, 48).png


@pytest.fixture
def config(tmp_path: Any) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


def labels(message: discord.Message) -> list[list[str]]:
    """The labels of a message's controls, row by row."""
    return [[str(child.label) for child in row.children] for row in message.components]  # type: ignore[union-attr]


async def painted(workshop: Workshop, name: str = "ada", **options: Any) -> tuple[Job, discord.Message]:
    """A result of a new member, and its message."""
    before = len(await workshop.jobs())
    await workshop.member(name).slash(workshop.channel, "imagine", **{"prompt": "a cat", "seed": 7} | options)
    job = (await workshop.ended(before + 1))[-1]
    return job, workshop.message(job.destination.message_id)


async def forged(workshop: Workshop, *custom_ids: str, channel: Any = None) -> discord.Message:
    """A message of the bot with buttons that it never made, as only a modified client could press them."""
    view = discord.ui.View(timeout=None)
    for custom_id in custom_ids:
        view.add_item(discord.ui.Button(label="Forged", custom_id=custom_id))
    with workshop.env.time_context():
        message = await workshop.env.bot.get_channel((channel or workshop.channel).id).send("a message", view=view)
    view.stop()
    return message


async def test_one_picture_has_every_control_and_several_have_two_rows(workshop: Workshop) -> None:
    _, one = await painted(workshop)
    assert labels(one) == [
        ["Vary (subtle)", "Vary (strong)", "Remix", "Upscale", "🔁"],
        ["Edit region", "Zoom out 1.5×", "Zoom out 2×", MORE],
        ["⬅️", "➡️", "⬆️", "⬇️", "❤️"],
    ]
    _, four = await painted(workshop, "grace", images=4)
    assert labels(four) == [["U1", "U2", "U3", "U4", "🔁"], ["V1", "V2", "V3", "V4", MORE]]


PRESSES = [
    ("Vary (subtle)", {"operation": Operation.IMAGE2IMAGE, "strength": edits.SUBTLE}),
    ("Vary (strong)", {"operation": Operation.IMAGE2IMAGE, "strength": edits.STRONG}),
    ("Upscale", {"operation": Operation.UPSCALE, "seed": 7}),
    ("Zoom out 1.5×", {"operation": Operation.OUTPAINT, "margins": (0.25, 0.25, 0.25, 0.25)}),
    ("Zoom out 2×", {"operation": Operation.OUTPAINT, "margins": (0.5, 0.5, 0.5, 0.5)}),
    ("⬅️", {"operation": Operation.OUTPAINT, "margins": (0.5, 0.0, 0.0, 0.0)}),
    ("➡️", {"operation": Operation.OUTPAINT, "margins": (0.0, 0.0, 0.5, 0.0)}),
    ("⬆️", {"operation": Operation.OUTPAINT, "margins": (0.0, 0.5, 0.0, 0.0)}),
    ("⬇️", {"operation": Operation.OUTPAINT, "margins": (0.0, 0.0, 0.0, 0.5)}),
]


@pytest.mark.parametrize("after_restart", [False, True])
async def test_each_control_is_a_request_of_the_person_who_presses(workshop: Workshop, after_restart: bool) -> None:
    job, message = await painted(workshop, negative_prompt="dogs", steps=9)
    (picture,) = await workshop.app.queue.pictures(job.id)
    if after_restart:
        await workshop.restart()
    grace = workshop.member("grace")
    for number, (label, wanted) in enumerate(PRESSES, start=2):
        pressed = await grace.click(message, label=label)
        assert not pressed.ephemeral, label
        made = (await workshop.ended(number))[-1]
        assert made.requester == workshop.requester(grace)
        assert made.destination.message_id == pressed.response.id
        request = made.request
        assert {name: getattr(request, name) for name in wanted} == wanted, label
        assert (request.prompt, request.negative_prompt, request.image) == ("a cat", "dogs", picture.sha256)
        assert await workshop.app.lineage.sources(made.id) == (picture.ref,)
        assert workshop.message(pressed.response.id).components, "what was made can be changed again"


async def test_again_is_the_same_request_with_another_seed(workshop: Workshop) -> None:
    job, message = await painted(workshop, images=2, negative_prompt="dogs", aspect="3:2", steps=9)
    grace = workshop.member("grace")
    await grace.click(message, label="🔁")
    made = (await workshop.ended(2))[-1]
    assert made.request.seed != 7
    fields = {name: getattr(job.request, name) for name in job.request.__slots__ if name != "seed"}
    assert {name: getattr(made.request, name) for name in fields} == fields
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id),), "the words are of somebody else"
    menu = (await grace.click(message, label=MORE)).response
    family = await grace.click(menu, label="Where does this come from?")
    (file,) = family.followups[-1].attachments
    assert f"{made.id}: from words from {job.id}" in file.description


async def test_again_names_the_words_of_a_result_and_the_picture_that_it_starts_from(workshop: Workshop) -> None:
    job, message = await painted(workshop)
    grace = workshop.member("grace")
    varied = (await grace.click(message, label="Vary (subtle)")).response
    second = (await workshop.ended(2))[-1]
    third_message = (await grace.click(workshop.message(varied.id), label="🔁")).response
    third = (await workshop.ended(3))[-1]
    assert await workshop.app.lineage.sources(third.id) == (PictureRef(job.id, 1), PictureRef(second.id))
    await grace.click(workshop.message(third_message.id), label="🔁")
    fourth = (await workshop.ended(4))[-1]
    assert await workshop.app.lineage.sources(fourth.id) == (PictureRef(job.id, 1), PictureRef(third.id))


async def test_one_of_several_is_varied_and_singled_out(workshop: Workshop) -> None:
    job, message = await painted(workshop, images=3)
    pictures = await workshop.app.queue.pictures(job.id)
    grace = workshop.member("grace")
    await grace.click(message, label="V3")
    made = (await workshop.ended(2))[-1]
    assert made.request.image == pictures[2].sha256
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id, 3),)

    single = (await grace.click(message, label="U2")).followups[-1]
    assert single.ephemeral, "the channel keeps one message for one request"
    assert [file.filename for file in single.attachments] == [f"atelier-{job.id}-2.png"]
    assert "seed `8`" in single.content
    await grace.click(single, label="Vary (subtle)")
    assert (await workshop.ended(3))[-1].request.image == pictures[1].sha256


async def test_a_remix_asks_for_the_words_and_starts_from_the_picture(workshop: Workshop) -> None:
    job, message = await painted(workshop, negative_prompt="dogs")
    grace = workshop.member("grace")
    shown = await grace.click(message, label="Remix")
    values = {field["component"]["custom_id"]: field["component"] for field in shown.modal["components"]}
    assert values["prompt"]["value"] == "a cat"
    assert values["negative"]["value"] == "dogs"
    assert values["seed"]["value"] == "7"
    # discord.py forgets open forms at a restart; the bot does not.
    await workshop.restart()
    await grace.submit_modal(shown, {"prompt": "a dog --steps 5", "negative": "", "strength": "0,5", "seed": ""})
    made = (await workshop.ended(2))[-1].request
    assert (made.prompt, made.negative_prompt, made.strength, made.num_inference_steps) == ("a dog", "", 0.5, 5)
    assert made.seed != 7
    (picture,) = await workshop.app.queue.pictures(job.id)
    assert made.image == picture.sha256


async def test_a_remix_may_bring_a_picture_of_its_own(workshop: Workshop) -> None:
    job, message = await painted(workshop)
    grace = workshop.member("grace")
    shown = await grace.click(message, label="Remix")
    await grace.submit_modal(shown, {"prompt": "a dog", "image": ("mine.png", RED)})
    made = (await workshop.ended(2))[-1]
    assert made.request.operation is Operation.IMAGE2IMAGE
    (picture,) = await workshop.app.queue.pictures(job.id)
    assert made.request.image not in ("", picture.sha256)
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id),), "only its words come from the result"
    assert made.destination.message_id != job.destination.message_id
    assert workshop.message(job.destination.message_id).content == message.content, "the result stays as it was"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": "a dog", "strength": "much"}, "Strength is a number"),
        ({"prompt": "a dog", "strength": "nan"}, "Strength is a number"),
        ({"prompt": "a dog", "seed": "x7"}, "Seed is a whole number"),
        ({"prompt": "a dog", "seed": "99999999999"}, "Seeds go from 0"),
        ({"prompt": "a dog", "image": ("words.txt", b"no picture")}, "PNG, JPEG or WebP"),
        ({"prompt": "a dog --model none"}, "model"),
    ],
)
async def test_a_remix_that_cannot_be_read_gives_the_prompt_back(
    workshop: Workshop, values: dict[str, Any], words: str
) -> None:
    _, message = await painted(workshop)
    grace = workshop.member("grace")
    answered = await grace.submit_modal(await grace.click(message, label="Remix"), values)
    said = answered.response or answered.followups[-1]
    assert words in said.content
    assert "a dog" in said.content
    assert said.ephemeral
    assert len(await workshop.jobs()) == 1

    # Nothing that was typed is lost: the form opens again, with all of it.
    again = await grace.click(said, label="Open the form again")
    fields = {field["component"]["custom_id"]: field["component"] for field in again.modal["components"]}
    assert {name: fields[name]["value"] for name in values if name != "image"} == {
        name: value for name, value in values.items() if name != "image"
    }
    await grace.submit_modal(again, {"prompt": "a dog", "strength": "75%", "seed": ""})
    made = (await workshop.ended(2))[-1].request
    assert (made.prompt, made.strength) == ("a dog", 0.75)


async def test_a_form_that_was_refused_before_a_restart_says_so(workshop: Workshop) -> None:
    _, message = await painted(workshop)
    grace = workshop.member("grace")
    refused = await grace.submit_modal(await grace.click(message, label="Remix"), {"prompt": "a dog", "seed": "x"})
    await workshop.restart()
    again = await grace.click(refused.response, label="Open the form again")
    assert again.modal is None
    assert "Atelier was restarted" in again.response.content


async def test_each_refused_form_opens_with_its_own_text_and_none_is_kept_after_a_success(workshop: Workshop) -> None:
    _, message = await painted(workshop)
    grace = workshop.member("grace")
    form = await grace.click(message, label="Remix")
    said = []
    for prompt in ("a dog", "a cow"):
        said.append((await grace.submit_modal(form, {"prompt": prompt, "seed": "x"})).response)
        form = await grace.click(said[-1], label="Open the form again")
    older = await grace.click(said[0], label="Open the form again")
    assert older.modal["components"][0]["component"]["value"] == "a dog"

    await grace.click(said[1], label="Open the form again")
    await grace.submit_modal(form, {"prompt": "a cow", "seed": ""})
    forms = workshop.env.bot.get_cog("Forms")
    assert not forms._shown
    assert not forms._refused._open
    assert "already answered" in (await grace.click(said[0], label="Open the form again")).response.content


async def test_a_form_that_is_sent_again_after_it_came_too_late_is_still_known(workshop: Workshop) -> None:
    _, message = await painted(workshop)
    grace = workshop.member("grace")
    form = await grace.click(message, label="Remix")
    workshop.env.inject_error("POST", "/interactions/*", status=404, code=10062)
    await grace.submit_modal(form, {"prompt": "a dog", "seed": ""})
    form._interaction.modal_consumed = False  # Discord keeps a form open that had no response.
    refused = await grace.submit_modal(form, {"prompt": "a dog", "seed": "x"})
    assert (await grace.click(refused.response, label="Open the form again")).modal
    assert len(await workshop.jobs()) == 1


async def test_a_region_is_chosen_in_a_menu_over_a_grid(workshop: Workshop) -> None:
    job, message = await painted(workshop)
    grace = workshop.member("grace")
    grid = (await grace.click(message, label="Edit region")).followups[-1]
    assert grid.ephemeral
    assert grid.attachments[0].filename.endswith("grid.png")
    shown = await grace.select(grid, ["5", "0"])
    assert shown.modal["title"] == "Paint again: A1, B2"
    await workshop.restart()
    await grace.submit_modal(shown, {"prompt": "a hat"})
    made = (await workshop.ended(2))[-1]
    assert (made.request.operation, made.request.region, made.request.prompt) == (Operation.INPAINT, (0, 5), "a hat")
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id, 1),)


async def test_two_presses_are_two_requests(workshop: Workshop) -> None:
    _, message = await painted(workshop)
    grace = workshop.member("grace")
    for _ in range(2):
        await grace.click(message, label="🔁")
    first, second = (await workshop.ended(3))[1:]
    assert first.request.seed != second.request.seed


async def test_a_press_obeys_the_limits_of_the_person_who_presses(workshop: Workshop) -> None:
    _, message = await painted(workshop)
    grace, moderator = workshop.member("grace"), workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    await moderator.slash(workshop.channel, "mod block", member=grace)
    for label in ("🔁", "Vary (subtle)", "Zoom out 2×"):
        refused = await grace.click(message, label=label)
        assert refused.ephemeral
        assert "block" in refused.response.content
        assert "a cat" in refused.response.content, "the prompt is handed back"
    assert len(await workshop.jobs()) == 1


async def test_nothing_can_be_made_of_a_deleted_result(workshop: Workshop) -> None:
    job, message = await painted(workshop)
    moderator = workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    grid = (await moderator.click(message, label="Edit region")).followups[-1]
    form = await moderator.click(message, label="Remix")
    await moderator.slash(workshop.channel, "mod delete", message=str(job.destination.message_id))
    assert not workshop.message(job.destination.message_id).components
    for answered in (
        await moderator.click(await forged(workshop, f"a2:varysubtle:{job.id}:1"), label="Forged"),
        await moderator.select(grid, ["5"]),
        await moderator.submit_modal(form, {"prompt": "a dog"}),
    ):
        assert "was deleted" in answered.response.content
    assert len(await workshop.jobs()) == 1


async def test_what_was_made_of_a_result_does_not_keep_its_file(workshop: Workshop, engine: FakeEngine) -> None:
    job, message = await painted(workshop)
    (picture,) = await workshop.app.queue.pictures(job.id)
    grace, moderator = workshop.member("grace"), workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    await grace.click(message, label="Vary (subtle)")
    varied = (await workshop.ended(2))[-1]
    engine.open.clear()
    await grace.click(message, label="Vary (strong)")
    await moderator.slash(workshop.channel, "mod delete", message=str(job.destination.message_id))
    stored = {path.name for path in (workshop.app.config.data / "pictures").glob("*/*")}
    assert picture.sha256 not in stored, "a deleted picture is gone, whatever was made of it"
    # What was painted from it stays, but cannot be painted again.
    again = await grace.click(workshop.message(varied.destination.message_id), label="🔁")
    assert "was deleted" in again.response.content
    engine.open.set()


async def test_forged_custom_ids_change_nothing(workshop: Workshop) -> None:
    job, _ = await painted(workshop)
    stranger, there = workshop.elsewhere()
    actions = [
        *(f"a2:{name}:{job.id}:1" for name in workshop.env.bot.buttons),
        *(f"a2:{name}:{job.id}:{number}" for name in ("vary", "single", "region") for number in (0, 2, 9999)),
    ]
    message = await forged(workshop, "a2:none:1:1", channel=there)
    (row,) = workshop.env.backend.get_message(there.id, message.id).components
    for custom_id in actions:
        row["components"][0]["custom_id"] = custom_id
        answered = await stranger.click(message, custom_id=custom_id)
        assert answered.acknowledged, custom_id
        assert answered.response is None or answered.response.ephemeral, custom_id
    assert [each.id for each in await workshop.jobs()] == [job.id]
    assert len(await workshop.app.queue.pictures(job.id)) == 1


def test_what_only_looks_like_a_custom_id_is_none() -> None:
    chance = random.Random(7)
    for _ in range(1000):
        real = list(str(CustomId("varysubtle", PictureRef(JobId(chance.randrange(10**6)), chance.randrange(5)))))
        real[chance.randrange(len(real))] = chance.choice("-_%'é A\n:")
        text = "".join(real)
        known = CustomId.parse(text)
        assert known is None or CustomId.parse(str(known)) == known, text


# ---- menus of a message ----------------------------------------------------------------------------------------------


async def test_the_menus_of_our_results_do_what_the_buttons_do(workshop: Workshop) -> None:
    job, message = await painted(workshop)
    grace = workshop.member("grace")
    await grace.context_menu(workshop.channel, "Upscale", message)
    assert (await workshop.ended(2))[-1].request.operation is Operation.UPSCALE
    changing = (await grace.context_menu(workshop.channel, "Change this picture", message)).response
    assert len(changing.attachments) == 1
    shown = [each.get("label") for row in changing.components for each in row["components"]]
    assert {"Vary (subtle)", "Edit region", "Animate", "Paint variants", MORE} <= set(shown)
    asked = await grace.click(changing, label="Paint variants")
    assert asked.modal["title"] == "Variants"
    shown = await grace.context_menu(workshop.channel, "Use this picture", message)
    assert shown.modal["title"] == "Remix"
    info = (await grace.context_menu(workshop.channel, "Info", message)).response
    assert f"Request {job.id}" in info.content


async def test_the_menu_of_a_result_with_several_pictures_asks_which_one_moves_or_varies(workshop: Workshop) -> None:
    _, message = await painted(workshop, images=2)
    grace = workshop.member("grace")
    changing = (await grace.context_menu(workshop.channel, "Change this picture", message)).response
    assert len(changing.attachments) == 2
    for label in ("Animate", "Paint variants"):
        which = await grace.click(changing, label=label)
        assert which.response.content == "Which picture?"
    opened = await grace.click(which.response, label="2")
    assert opened.modal["title"] == "Variants"


async def test_the_menu_of_a_message_with_several_pictures_asks_which_one(workshop: Workshop) -> None:
    job, message = await painted(workshop, images=2)
    grace = workshop.member("grace")
    which = await grace.context_menu(workshop.channel, "Use this picture", message)
    assert which.response.content == "Which picture?"
    opened = await grace.click(which.response, label="2")
    await grace.submit_modal(opened, {"prompt": "a dog"})
    which = await grace.context_menu(workshop.channel, "Upscale", message)
    await grace.click(which.response, label="2")
    remixed, enlarged = (await workshop.ended(3))[1:]
    second = (await workshop.app.queue.pictures(job.id))[1].sha256
    assert [each.request.image for each in (remixed, enlarged)] == [second, second]


async def test_of_another_persons_message_with_several_pictures_one_is_chosen(workshop: Workshop) -> None:
    grace = workshop.member("grace")
    files = [("notes.txt", b"words"), ("a.png", RED), ("b.png", BLUE)]
    sent = await grace.send(workshop.channel, "look", attachments=files)
    which = await grace.context_menu(workshop.channel, "Use this picture", sent)
    assert which.response.content == "Which picture?"
    opened = await grace.click(which.response, label="2")
    assert opened.modal["title"] == "Use this picture"
    await grace.submit_modal(opened, {"prompt": "a dog", "strength": "0.5"})
    which = await grace.context_menu(workshop.channel, "Upscale", sent)
    await grace.click(which.response, label="2")
    used, enlarged = await workshop.ended(2)
    assert (used.request.operation, enlarged.request.operation) == (Operation.IMAGE2IMAGE, Operation.UPSCALE)
    assert used.request.image == enlarged.request.image == hashlib.sha256(BLUE).hexdigest()
    await grace.delete(sent)
    gone = await grace.click(which.response, label="1")
    assert "can't read that message" in gone.response.content


async def test_the_menu_of_a_message_of_several_requests_asks_which_one(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a {red, green, blue, black, white, pink} fox")
    await ada.click(bill.response, label="Paint all")
    jobs = await workshop.ended(6)
    message = workshop.message(jobs[5].destination.message_id)
    for menu, title in (("Info", f"**Request {jobs[5].id}**"), ("Change this picture", "Picture 1 of **a pink fox**")):
        which = await ada.context_menu(workshop.channel, menu, message)
        assert which.response.content == "Which picture?"
        (row,) = which.response.components
        assert [each["label"] for each in row["components"]] == ["5", "6"], "as under the message"
        told = await ada.click(which.response, label="6")
        shown = (told.followups or [told.response])[-1]
        assert shown.content.startswith(title)
    labels = [each.get("label") for row in shown.components for each in row["components"]]
    assert {"Vary (subtle)", "Edit region", "Animate", "Paint variants", MORE} <= set(labels)


async def test_the_picture_of_any_message_can_be_used_and_enlarged(workshop: Workshop) -> None:
    grace = workshop.member("grace")
    sent = await grace.send(workshop.channel, "look", attachments=[("mine.png", RED)])
    shown = await grace.context_menu(workshop.channel, "Use this picture", sent)
    await workshop.restart()
    await grace.submit_modal(shown, {"prompt": "a dog --ar 1:1", "strength": "0.5"})
    (job,) = await workshop.ended(1)
    assert (job.request.operation, job.request.strength) == (Operation.IMAGE2IMAGE, 0.5)
    assert job.request.width == job.request.height
    await grace.context_menu(workshop.channel, "Upscale", sent)
    assert (await workshop.ended(2))[-1].request.operation is Operation.UPSCALE


async def test_a_message_that_is_gone_before_its_form_is_sent_is_said_in_words(workshop: Workshop) -> None:
    grace = workshop.member("grace")
    sent = await grace.send(workshop.channel, "look", attachments=[("mine.png", RED)])
    shown = await grace.context_menu(workshop.channel, "Use this picture", sent)
    await grace.delete(sent)
    answer = (await grace.submit_modal(shown, {"prompt": "a dog"})).response
    assert answer.ephemeral
    assert "can't read that message" in answer.content
    assert await workshop.jobs() == []


def test_the_ids_of_messages_fit_into_custom_ids() -> None:
    about = PictureRef(JobId(1_511_223_344_556_677_889))
    known = CustomId.parse(str(CustomId("use", about)))
    assert known is not None
    assert known.about == about
    assert CustomId.parse("a2:use:9999999999999999999:0") is None, "no such number fits into the database"


async def test_a_file_of_a_result_is_known_again_by_itself(workshop: Workshop) -> None:
    job, _ = await painted(workshop, images=2)
    images = await workshop.app.queue.images(job.id)
    grace = workshop.member("grace")
    sent = await grace.send(workshop.channel, "mine", attachments=[("mine.png", images[1].png)])
    info = (await grace.context_menu(workshop.channel, "Info", sent)).response
    assert f"Request {job.id}" in info.content
    assert "seed `8`" in info.content
    assert "seed `7`" not in info.content.split("\n-#")[0]
    other = await grace.send(workshop.channel, "mine", attachments=[("mine.png", RED)])
    assert "no sign" in (await grace.context_menu(workshop.channel, "Info", other)).response.content

    # Sent back with a request, it is the result, and goes when the result is deleted.
    await grace.slash(workshop.channel, "imagine", prompt="a dog", image=("back.png", images[1].png))
    made = (await workshop.ended(2))[-1]
    assert await workshop.app.lineage.sources(made.id) == (PictureRef(job.id, 2),)
    await workshop.app.removals.remove_own(job.requester, job.id)
    stored = {path.name for path in (workshop.app.config.data / "pictures").glob("*/*")}
    assert images[1].sha256 not in stored


async def test_a_picture_whose_file_is_gone_is_said_in_words(workshop: Workshop) -> None:
    _, message = await painted(workshop, images=2)
    for path in (workshop.app.config.data / "pictures").glob("*/*"):
        path.unlink()
    grace = workshop.member("grace")
    assert "was deleted" in (await grace.click(message, label="V1")).response.content
    assert "no longer kept" in (await grace.click(message, label="U1")).followups[-1].content
    assert len(await workshop.jobs()) == 1


async def test_a_press_where_the_bot_may_not_post_is_refused(workshop: Workshop) -> None:
    await painted(workshop)
    grace = workshop.member("grace")
    mute = discord.PermissionOverwrite(attach_files=False)
    quiet = workshop.guild.create_text_channel("quiet", overwrites={workshop.guild.me: mute})
    job = (await workshop.jobs())[0]
    refused = await grace.click(await forged(workshop, f"a2:again:{job.id}:0", channel=quiet), label="Forged")
    assert "Attach Files" in refused.response.content
    assert len(await workshop.jobs()) == 1


async def test_a_message_without_a_picture_is_refused(workshop: Workshop) -> None:
    grace = workshop.member("grace")
    sent = await grace.send(workshop.channel, "only words")
    for menu, words in (
        ("Use this picture", "no picture"),
        ("Upscale", "no picture"),
        ("Change this picture", "my own results"),
        ("Info", "shows no picture"),
    ):
        assert words in (await grace.context_menu(workshop.channel, menu, sent)).response.content
    assert await workshop.jobs() == []


async def test_a_picture_that_is_only_enlarged_brings_no_note_on_words(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a quixotry")
    assert "can't draw “quixotry”" in asked.followups[-1].content
    (job,) = await workshop.ended()
    enlarged = await ada.click(workshop.message(job.destination.message_id), label="Upscale")
    assert "can't draw" not in str([each.content for each in (enlarged.response, *enlarged.followups)])
