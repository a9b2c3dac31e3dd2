"""/verify and *Info*: whether this Atelier made a picture, for people who may know which one, and for others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import PIL.Image
import pytest

from bot.app import provenance_of
from bot.config import Config, EngineConfig
from bot.engine import Event, Finished, Order
from bot.engine.fake import FakeEngine
from bot.jobs import Image, Job, MessageId, UserId
from bot.storage.cases import By
from bot.worker.labels import Labels, Maker
from bot.worker.manifest import own_signing
from bot.worker.printing import encode, encoded
from cogs.verify import MANIFEST_ONLY, NOT_FOUND, TOO_SMALL
from tests.bot.worker.test_manifest import cloned
from tests.bot.worker.test_marking import cut, scene
from tests.conftest import Workshop


class LabellingEngine(FakeEngine):
    """Paints drawn pictures, with the labels that the real engine gives them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        async for event in super().submit(order):
            yield Finished(tuple(map(self._painted, event.images)), "hash") if isinstance(event, Finished) else event

    def _painted(self, image: Image) -> Image:
        labels = Labels(EngineConfig(), self._folder)
        picture = scene(image.seed % 1000)
        marked, number = labels.marked(picture) or (picture, 0)
        request = self.orders[-1].request
        copy = labels.signed(encoded(marked, "words"), request, image.seed, Maker(request.model, model_hash="hash"))
        sha256 = hashlib.sha256(copy).hexdigest()
        return replace(encode(picture, image.seed), delivered=copy, delivered_sha256=sha256, mark=number)


@pytest.fixture
def engine(config: Config) -> FakeEngine:
    return LabellingEngine(provenance_of(config.data))


async def painted(workshop: Workshop, actor: Any, channel: Any = None) -> tuple[Job, bytes]:
    """A job of an actor, and its file as people get it."""
    count = len(await workshop.jobs()) + 1
    await actor.slash(channel or workshop.channel, "imagine", prompt="a secret xylophone --seed 7")
    job = (await workshop.ended(count))[-1]
    (image,) = await workshop.app.queue.images(job.id)
    return job, image.png


def saved(data: bytes, kind: str = "JPEG", change: Any = lambda picture: picture) -> bytes:
    with PIL.Image.open(io.BytesIO(data)) as picture:
        buffer = io.BytesIO()
        change(picture.convert("RGB")).save(buffer, kind, quality=80)
    return buffer.getvalue()


async def verified(actor: Any, channel: Any, data: bytes, name: str = "some.png") -> str:
    answer = await actor.slash(channel, "verify", picture=(name, data))
    assert answer.ephemeral
    return "".join(each.content for each in (answer.response, *answer.followups) if each is not None)


async def test_the_file_itself_is_certain_and_its_manifest_is_read(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    job, data = await painted(workshop, ada)
    said = await verified(ada, workshop.channel, data)
    assert "This Atelier made this picture" in said
    assert f"Picture 1 of request {job.id}" in said
    assert "model `emoji`" in said
    assert "every byte is the same" in said
    assert "valid, signed by this Atelier" in said
    assert "a model made the picture" in said
    assert "the model is emoji" in said
    assert str(ada.id) not in said


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("JPEG", lambda picture: picture, ""),
        ("WEBP", lambda picture: picture, ""),
        ("PNG", lambda picture: picture.resize((256, 256)), ""),
        ("JPEG", cut, "It was cut out of a larger picture"),
    ],
)
async def test_a_copy_is_known_by_its_mark(workshop: Workshop, kind: str, change: Any, words: str) -> None:
    ada = workshop.member("ada")
    job, data = await painted(workshop, ada)
    said = await verified(ada, workshop.channel, saved(data, kind, change))
    assert f"Picture 1 of request {job.id}" in said
    assert "invisible mark" in said
    assert words in said
    assert "edited" not in said
    assert "Manifest: none" in said


async def test_a_picture_that_was_drawn_over_is_said_to_be_edited(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    _, data = await painted(workshop, ada)

    def drawn_over(picture: PIL.Image.Image) -> PIL.Image.Image:
        picture.paste("white", (0, 0, 512, 150))
        picture.paste("black", (0, 400, 300, 512))
        return picture

    said = await verified(ada, workshop.channel, saved(data, "PNG", drawn_over))
    assert "It looks different from what was painted" in said


async def test_info_of_a_strangers_message_knows_a_copy_too(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    job, data = await painted(workshop, ada)
    sent = await grace.send(workshop.channel, "look", attachments=[("copy.jpg", saved(data))])
    info = await ada.context_menu(workshop.channel, "Info", sent)
    assert f"Picture 1 of request {job.id}" in info.response.content


async def test_what_a_result_comes_from_is_said(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    job, data = await painted(workshop, ada)
    await ada.slash(workshop.channel, "imagine", prompt="again --seed 9", image=("mine.png", data))
    made = (await workshop.ended(2))[-1]
    (image,) = await workshop.app.queue.images(made.id)
    said = await verified(ada, workshop.channel, saved(image.png))
    assert f"Picture 1 of request {made.id}" in said
    assert f"Made from picture 1 of request {job.id}." in said


async def test_others_read_only_that_it_was_made_here(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    closed = discord.PermissionOverwrite(view_channel=False)
    opened = discord.PermissionOverwrite(view_channel=True, send_messages=True)
    overwrites = {workshop.guild.default_role: closed, ada: opened, workshop.guild.me: opened}
    secret = workshop.guild.create_text_channel("secret", overwrites=overwrites)
    job, data = await painted(workshop, ada, secret)
    stranger, elsewhere = workshop.elsewhere()
    for file in (data, saved(data)):
        assert f"request {job.id}" in await verified(ada, workshop.channel, file)
        for actor, channel in ((grace, workshop.channel), (stranger, elsewhere)):
            said = await verified(actor, channel, file)
            assert "This Atelier made this picture" in said
            for told in (f"request {job.id}", "xylophone", f"/{secret.id}/"):
                assert told not in said


async def test_of_a_deleted_result_only_its_origin_is_said(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    job, data = await painted(workshop, ada)
    by = By(workshop.guild.id, UserId(1))
    await workshop.app.removals.remove(by, MessageId(job.destination.message_id))
    said = await verified(ada, workshop.channel, saved(data))
    assert "This Atelier made this picture" in said
    assert f"request {job.id}" not in said
    await workshop.app.forgetting.forget(UserId(ada.id))
    said = await verified(ada, workshop.channel, saved(data))
    assert "This Atelier made this picture" in said
    assert "I cannot say any more which result it was" in said


async def test_a_stranger_s_picture_and_manifest_are_said_to_be_a_stranger_s(
    workshop: Workshop, tmp_path: Path
) -> None:
    ada = workshop.member("ada")
    await painted(workshop, ada)
    said = await verified(ada, workshop.channel, saved(encode(scene(55), 1).png))
    assert NOT_FOUND in said
    signed = own_signing(tmp_path / "theirs").sign(encode(scene(55), 1).png, "**@everyone** `x`", {})
    said = await verified(ada, workshop.channel, signed)
    assert NOT_FOUND in said
    assert "I do not know this certificate, so anybody may have made it" in said
    assert "@everyone" not in said.replace("@\u200beveryone", "")
    broken = signed.replace(b"Atelier installation", b"Somebody else's key!")
    assert "Manifest: not valid" in await verified(ada, workshop.channel, broken)


async def test_of_a_video_and_a_gif_only_the_manifest_is_read(workshop: Workshop, tmp_path: Path) -> None:
    ada = workshop.member("ada")
    await painted(workshop, ada)
    own = own_signing(workshop.app.signing.folder)
    gif = saved(encode(scene(55), 1).png, "GIF")
    ours = await verified(ada, workshop.channel, own.sign(gif, "emoji", {}, "image/gif"), "a.gif")
    assert "This Atelier made this file" in ours
    assert "the model is emoji" in ours
    assert MANIFEST_ONLY in await verified(ada, workshop.channel, gif, "a.gif")
    theirs = own_signing(tmp_path / "theirs").sign(gif, "emoji", {}, "image/gif")
    said = await verified(ada, workshop.channel, theirs, "a.gif")
    assert MANIFEST_ONLY in said
    assert "I do not know this certificate" in said
    copied = cloned(workshop.app.signing.folder, tmp_path / "copied", with_its_root=False)
    said = await verified(ada, workshop.channel, copied.sign(gif, "emoji", {}, "image/gif"), "a.gif")
    assert MANIFEST_ONLY in said
    assert "signed by this Atelier" not in said
    broken = await verified(ada, workshop.channel, b"\0\0\0\x18ftypisom", "a.mp4")
    assert MANIFEST_ONLY in broken
    assert "Manifest: not valid" in broken or "Manifest: none" in broken


def bomb() -> bytes:
    """A PNG whose header says 50,000 × 50,000 pixels."""
    data = bytearray(encode(PIL.Image.new("RGB", (64, 64)), 1).png)
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no picture at all", "not a picture that Atelier can read"),
        (bomb(), "megapixels"),
        (encode(PIL.Image.new("RGB", (200, 200)), 1).png[:150], "damaged"),
        (encode(PIL.Image.new("RGB", (1, 1)), 1).png, TOO_SMALL),
        (encode(PIL.Image.new("RGB", (3, 900)), 1).png, TOO_SMALL),
    ],
)
async def test_what_cannot_be_looked_at_gets_one_sentence(workshop: Workshop, data: bytes, words: str) -> None:
    assert words in await verified(workshop.member("ada"), workshop.channel, data)


async def test_before_anything_was_marked_nothing_is_found(workshop: Workshop) -> None:
    said = await verified(workshop.member("ada"), workshop.channel, encode(scene(3), 1).png)
    assert NOT_FOUND in said
    assert "Manifest: none" in said


async def test_with_the_real_engine_a_result_is_known_painted_again_to_the_pixel_and_continued_without_a_mark(
    real_workshop: Workshop,
) -> None:
    workshop = real_workshop
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a fox --seed 7 --steps 4")
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    data = await message.attachments[0].read()
    assert f"Picture 1 of request {job.id}" in await verified(ada, workshop.channel, saved(data))
    assert "signed by this Atelier" in await verified(ada, workshop.channel, data)
    (row,) = await workshop.app.database.fetch_all("SELECT nsfw FROM images")
    assert 0 <= row["nsfw"] < 0.4
    await ada.slash(workshop.channel, "reproduce", id=job.id)
    again = (await workshop.ended(2))[-1]
    assert "every pixel is equal" in workshop.message(again.destination.message_id).content
    await ada.click(message, label="Zoom out 1.5×")
    wide = (await workshop.ended(3))[-1]
    (old,) = await workshop.app.queue.read_painted(await workshop.app.queue.pictures(job.id))
    (new,) = await workshop.app.queue.read_painted(await workshop.app.queue.pictures(wide.id))
    with PIL.Image.open(io.BytesIO(old.png)) as small, PIL.Image.open(io.BytesIO(new.png)) as large:
        left, top = (large.width - small.width) // 2, (large.height - small.height) // 2
        seam = small.width // 4
        inner = (seam, seam, small.width - seam, small.height - seam)
        moved = (left + inner[0], top + inner[1], left + inner[2], top + inner[3])
        assert large.crop(moved).tobytes() == small.crop(inner).tobytes()
