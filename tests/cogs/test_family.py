"""What can be known about a result: its values, its files, where it comes from, and whether it is reproducible."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from typing import Any

import discord
import pytest
from PIL import Image

from bot.config import Config, LimitsConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.jobs import Job
from bot.requests.flags import with_flags
from bot.requests.options import Options
from cogs._controls import MORE
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


async def made(workshop: Workshop, count: int) -> tuple[Job, discord.Message]:
    """The last of `count` results, and its message."""
    job = (await workshop.ended(count))[-1]
    return job, workshop.message(job.destination.message_id)


async def test_info_shows_the_seed_of_each_picture(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a @everyone cat", images=4, seed=40)
    job, message = await made(workshop, 1)
    whole = (await workshop.member("grace").click(message, label=MORE)).response
    assert whole.ephemeral
    for number, seed in enumerate((40, 41, 42, 43), start=1):
        assert f"Picture {number}: seed `{seed}`" in whole.content
    assert "@everyone" not in whole.content
    single = (await ada.click(message, label="U3")).followups[-1]
    one = (await ada.click(single, label=MORE)).response
    assert "seed `42`" in one.content
    assert "seed `41`" not in one.content
    # What is shown is what paints it: the same seed alone gives the same picture.
    await ada.slash(workshop.channel, "imagine", prompt="a @everyone cat", seed=42)
    again, _ = await made(workshop, 2)
    pictures = await workshop.app.queue.pictures(job.id)
    assert [picture.sha256 for picture in await workshop.app.queue.pictures(again.id)] == [pictures[2].sha256]


async def test_info_says_where_each_value_comes_from(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "settings", aspect="3:2")
    await ada.slash(workshop.channel, "imagine", prompt="a cat --seed 7 --steps 5", images=2, steps=9)
    _, message = await made(workshop, 1)
    info = (await ada.click(message, label=MORE)).response.content
    assert "by flags: `steps`, `seed` · by options: `images` · by the requester's own settings: `aspect`" in info
    # The values of what a button makes are those of the result.
    await ada.click(message, label="🔁")
    _, again = await made(workshop, 2)
    assert "by flags" not in (await ada.click(again, label=MORE)).response.content


async def test_the_prompt_to_copy_asks_for_the_same_picture(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2, seed=40, negative_prompt="dogs", steps=9)
    job, message = await made(workshop, 1)
    single = (await ada.click(message, label="U2")).followups[-1]
    menu = (await ada.click(single, label=MORE)).response
    copied = (await ada.click(menu, label="Prompt to copy")).response.content
    typed = copied.split("```")[1].strip()
    options = with_flags(Options(typed))
    assert (options.prompt, options.negative_prompt, options.seed, options.steps) == ("a cat", "dogs", 41, 9)
    await ada.slash(workshop.channel, "imagine", prompt=typed)
    again, _ = await made(workshop, 2)
    first, second = await workshop.app.queue.pictures(job.id)
    assert [picture.sha256 for picture in await workshop.app.queue.pictures(again.id)] == [second.sha256]
    assert first.sha256 != second.sha256


async def test_the_original_file_is_the_one_that_was_painted(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    job, message = await made(workshop, 1)
    menu = (await ada.click(message, label=MORE)).response
    sent = (await ada.click(menu, label="Original file")).followups[-1]
    assert sent.ephemeral
    images = await workshop.app.queue.images(job.id)
    assert [await file.read() for file in sent.attachments] == [image.png for image in images]


async def test_a_spoiler_hides_the_pictures_and_shows_them_again(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    _, message = await made(workshop, 1)
    other = (await grace.click(message, label=MORE)).response
    assert "Spoiler on/off" not in str(other.components), "only the requester and moderators may"
    for hidden in (True, False):
        menu = (await ada.click(message, label=MORE)).response
        await ada.click(menu, label="Spoiler on/off")
        shown = workshop.message(message.id)
        assert [file.is_spoiler() for file in shown.attachments] == [hidden, hidden]
        assert shown.content == message.content
        assert shown.components, "the buttons stay"


async def test_the_requester_and_moderators_delete_a_result_and_it_says_so_to_all(workshop: Workshop) -> None:
    ada, grace, moderator = workshop.member("ada"), workshop.member("grace"), workshop.member("mod", moderator=True)
    for number, person in enumerate((ada, moderator), start=1):
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        job, message = await made(workshop, number)
        other = (await grace.click(message, label=MORE)).response
        assert "Delete" not in str(other.components)
        menu, second = [(await person.click(message, label=MORE)).response for _ in range(2)]
        await person.click(menu, label="Delete")
        await workshop.seen(lambda message=message: not workshop.message(message.id).attachments)
        assert await workshop.app.queue.pictures(job.id) == []
        assert not workshop.message(message.id).components
        words = "The person who asked" if person is ada else "moderator"
        assert words in workshop.message(message.id).content
        twice = await person.click(second, label="Delete")
        assert "was deleted" in twice.response.content


async def test_a_result_is_shown_again_by_its_number(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    job, message = await made(workshop, 1)
    shown = (await grace.slash(workshop.channel, "show", id=job.id)).response
    assert shown.ephemeral
    assert len(shown.attachments) == 2
    await grace.click(shown, label="V1")
    assert (await made(workshop, 2))[0].requester == workshop.requester(grace)
    assert "no such result" in (await grace.slash(workshop.channel, "show", id=99)).response.content
    stranger, there = workshop.elsewhere()
    assert "no such result" in (await stranger.slash(there, "show", id=job.id)).response.content
    assert message.attachments


async def test_a_result_of_a_hidden_channel_stays_hidden(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    hidden = workshop.guild.create_text_channel(
        "hidden",
        overwrites={
            workshop.guild.default_role: discord.PermissionOverwrite(view_channel=False),
            ada: discord.PermissionOverwrite(view_channel=True, send_messages=True),
        },
    )
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    job, _ = await made(workshop, 1)
    await workshop.app.database.execute("UPDATE posts SET channel_id = ?", (hidden.id,))
    for command in ("show", "reproduce"):
        assert "no such result" in (await grace.slash(workshop.channel, command, id=job.id)).response.content
    assert (await ada.slash(workshop.channel, "show", id=job.id)).response.attachments


async def test_a_family_tree_shows_both_directions(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    first, message = await made(workshop, 1)
    await grace.click(message, label="V2")
    second, varied = await made(workshop, 2)
    assert f"picture 2 of request {first.id}" in varied.content
    single = (await ada.click(varied, label="U1")).followups[-1]
    await ada.click(single, label="Zoom out 2×")
    third, zoomed = await made(workshop, 3)
    await grace.click(zoomed, label="Upscale")
    await made(workshop, 4)

    # Asked in the middle, it shows what came before and after.
    menu = (await ada.click(varied, label=MORE)).response
    drawn = (await ada.click(menu, label="Where does this come from?")).followups[-1]
    assert "4 requests" in drawn.content
    (file,) = drawn.attachments
    assert f"{third.id}: extended from {second.id}" in file.description
    tree = Image.open(io.BytesIO(await file.read()))
    assert tree.width > tree.height, "four generations stand side by side"

    alone = await made_alone(workshop, ada)
    assert "nothing was made of it" in alone


async def made_alone(workshop: Workshop, actor: Any) -> str:
    """What is said about the family of a result without one."""
    await actor.slash(workshop.channel, "imagine", prompt="a dog")
    _, message = await made(workshop, 5)
    menu = (await actor.click(message, label=MORE)).response
    answered = await actor.click(menu, label="Where does this come from?")
    content: str = answered.followups[-1].content
    return content


async def test_a_family_tree_with_a_deleted_result_shows_the_others(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await workshop.open_group("mod", moderator)
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    _, message = await made(workshop, 1)
    await ada.click(message, label="Vary (subtle)")
    _, varied = await made(workshop, 2)
    await moderator.slash(workshop.channel, "mod delete", message=str(message.id))
    menu = (await ada.click(varied, label=MORE)).response
    drawn = (await ada.click(menu, label="Where does this come from?")).followups[-1]
    assert "2 requests" in drawn.content


async def test_painting_a_result_again_says_whether_the_pixels_are_equal(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2, negative_prompt="dogs")
    first, message = await made(workshop, 1)
    await grace.slash(workshop.channel, "reproduce", id=first.id)
    second, again = await made(workshop, 2)
    assert second.request == first.request
    assert f"from request {first.id}: every pixel is equal" in again.content
    # A derived result is reproduced with what it came from.
    await grace.click(message, label="V1")
    third, _ = await made(workshop, 3)
    await ada.slash(workshop.channel, "reproduce", id=third.id)
    fourth, copy = await made(workshop, 4)
    assert fourth.request == third.request
    assert "every pixel is equal" in copy.content
    # Another text in the file is no other pixel; another picture is.
    (picture, *_) = await workshop.app.queue.images(first.id)
    text = b"tEXtparameters\0in other words"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    described = picture.png[:33] + chunk + picture.png[33:]
    other = flat_image(99, 8, 8).png
    for file, words in ((described, "every pixel is equal"), (other, "some pixels differ")):
        sha256 = hashlib.sha256(file).hexdigest()
        await store(workshop, sha256, file)
        await workshop.app.database.execute(
            "UPDATE images SET sha256 = ? WHERE job_id = ? AND number = 1", (sha256, first.id)
        )
        await grace.slash(workshop.channel, "reproduce", id=first.id)
        assert words in (await made(workshop, len(await workshop.jobs())))[1].content


async def store(workshop: Workshop, sha256: str, file: bytes) -> None:
    """Put a file into the folder of pictures."""
    path = workshop.app.config.data / "pictures" / sha256[:2] / sha256
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(file)


async def test_show_walks_from_a_result_to_what_it_comes_from_and_to_what_came_of_it(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    first, message = await made(workshop, 1)
    alone = await grace.slash(workshop.channel, "show", id=first.id)
    assert "a2:walk" not in str((*alone.followups, alone.response)[0].components)
    await ada.click(message, label="🔁")
    second, _ = await made(workshop, 2)
    await ada.slash(workshop.channel, "reproduce", id=second.id)
    third, _ = await made(workshop, 3)
    answer = await grace.slash(workshop.channel, "show", id=second.id)
    shown = (*answer.followups, answer.response)[0]
    walked = await grace.select(shown, values=[str(third.id)], custom_id=f"a2:walk:{second.id}:0")
    assert f"a2:walk:{third.id}:0" in str((*walked.followups, walked.response)[0].components)


async def test_what_is_from_an_age_restricted_channel_is_shown_and_made_again_only_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    red = workshop.guild.create_text_channel("red")
    # simcord does not model the label.
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.id == red.id)
    await ada.slash(red, "imagine", prompt="a marble statue")
    (job,) = await workshop.ended(1)
    for person, command in ((workshop.member("grace"), "show"), (ada, "reproduce")):
        refused = await person.slash(workshop.channel, command, id=job.id)
        assert "This result is from an age-restricted channel." in refused.response.content
    assert len(await workshop.jobs()) == 1
    assert (await ada.slash(red, "show", id=job.id)).response.attachments
    assert "Queued" in (await ada.slash(red, "reproduce", id=job.id)).response.content
    await workshop.ended(2)
