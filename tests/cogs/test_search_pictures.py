"""/search with an image, *Similar pictures*, and /dedup: what is found, for whom, and what is refused."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncGenerator
from typing import Any

import discord
import PIL.Image
import pytest

from bot.engine import Event, Finished, Order
from bot.engine.fake import FakeEngine
from bot.worker.nsfw import UPLOAD_BLOCKED
from bot.worker.printing import encode
from cogs import dedup
from cogs._gallery import OVER
from tests.bot.worker.test_likeness import scene
from tests.conftest import Workshop


class DrawingEngine(FakeEngine):
    """Paints a scene of its own for each seed below 100, and of one seed above."""

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        async for event in super().submit(order):
            if isinstance(event, Finished):
                images = [encode(scene(min(image.seed, 100)), image.seed) for image in event.images]
                yield Finished(tuple(images), "hash")
            else:
                yield event


@pytest.fixture
def engine() -> FakeEngine:
    return DrawingEngine()


async def painted(workshop: Workshop, actor: Any, *prompts: str, channel: Any = None) -> None:
    """Results that have been looked at."""
    before = len([job for job in await workshop.jobs() if job.posted_at])
    for count, prompt in enumerate(prompts, start=1):
        await actor.slash(channel or workshop.channel, "imagine", prompt=prompt)
        await workshop.ended(before + count)
    await workshop.app.search.finish(looks=True)


def copy_of(seed: int) -> tuple[str, bytes]:
    """A small JPEG of a scene."""
    buffer = io.BytesIO()
    scene(seed).resize((128, 128)).save(buffer, "JPEG", quality=80)
    return "some.jpg", buffer.getvalue()


def said(answer: Any) -> str:
    return "\n".join(str(each.content) for each in (*answer.followups, answer.response) if each is not None)


async def test_an_image_finds_results_that_look_like_it(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await painted(workshop, ada, "a castle --seed 1", "a kitten --seed 2", "a teapot --seed 3")
    found = (await grace.slash(workshop.channel, "search", image=copy_of(2))).response
    assert found.ephemeral
    assert found.content.splitlines()[1].startswith("**1.** a kitten")
    assert "nearly the same picture" in found.content
    both = said(await grace.slash(workshop.channel, "search", query="teapot", image=copy_of(2)))
    assert "has “teapot”" in both
    assert "nearly the same picture" in both
    none = said(await grace.slash(workshop.channel, "search", query="model:none", image=copy_of(2)))
    assert "No result that you may see" in none
    files = [path for path in (workshop.app.config.data / "pictures").rglob("*") if path.is_file()]
    assert copy_of(2)[1] not in [path.read_bytes() for path in files], "what is sent is not kept"


async def test_looks_like_this_leaves_the_result_itself_out_and_obeys_channels(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    closed = discord.PermissionOverwrite(view_channel=False)
    opened = discord.PermissionOverwrite(view_channel=True, send_messages=True)
    overwrites = {workshop.guild.default_role: closed, ada: opened, workshop.guild.me: opened}
    secret = workshop.guild.create_text_channel("secret", overwrites=overwrites)
    await painted(workshop, ada, "a castle --seed 200", "a tower --seed 201")
    await painted(workshop, ada, "a dungeon --seed 202", channel=secret)
    first = (await workshop.jobs())[0]
    for person, knows in ((ada, True), (grace, False)):
        menu = (await person.click(workshop.message(first.destination.message_id), label="More")).response
        found = (await person.click(menu, label="Similar pictures")).response
        assert "a tower" in found.content
        assert "a castle" not in found.content
        assert ("a dungeon" in found.content) is knows


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("notes.txt", b"no picture", "not a picture that Atelier can read"),
        ("some.png", b"\x89PNG\r\n\x1a\nrubbish", "damaged"),
        ("some.png", b"", "empty file"),
        ("some.jpg", copy_of(1)[1][:700], "damaged"),
    ],
)
async def test_an_image_is_checked_as_every_upload(workshop: Workshop, name: str, data: bytes, words: str) -> None:
    answer = await workshop.member("ada").slash(workshop.channel, "search", image=(name, data))
    assert words in said(answer)


async def test_an_image_that_is_too_explicit_for_the_channel_is_refused(workshop: Workshop) -> None:
    mo = workshop.member("mo", moderator=True)
    dark = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), (224, 172, 140)).save(dark, "PNG")
    await mo.slash(workshop.channel, "mod pictures", block=1, spoiler=1)
    answer = await mo.slash(workshop.channel, "search", image=("some.png", dark.getvalue()))
    assert UPLOAD_BLOCKED.split(".")[0] in said(answer)


async def test_moderators_see_groups_of_duplicates_in_pages_with_links(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    assert said(await mo.slash(workshop.channel, "dedup")) == dedup.NONE
    same = ("a castle --seed 1", "a fort --seed 1", "a keep --seed 1")
    await painted(workshop, ada, *same, "a kitten --seed 2", "a cat --seed 2", "a teapot --seed 3")
    # An extension is loaded as a module of its own.
    monkeypatch.setattr(sys.modules["cogs.dedup"], "PAGE", 1)
    first = (await mo.slash(workshop.channel, "dedup")).response
    assert first.ephemeral
    assert "**2 groups of pictures that are the same** with 3 unneeded copies, page 1 of 2" in first.content
    jobs = await workshop.jobs()
    assert all(f"/{job.destination.message_id}" in first.content for job in jobs[:3])
    assert "“a castle”" in first.content
    assert first.attachments[0].filename == "found.png"
    await workshop.app.removals.remove_own(jobs[3].requester, jobs[3].id)
    second = (await mo.click(first, label="More ▶")).response
    assert "of which at most one is left" in second.content
    workshop.env.bot.get_cog("Dedup")._answers.clear()
    assert OVER in said(await mo.click(second, label="◀ Back"))
