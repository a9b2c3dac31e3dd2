"""With encrypt_pictures nothing on the disk shows a picture or a word, and people notice nothing of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.app import provenance_of
from bot.config import Config, LimitsConfig
from bot.engine.fake import FakeEngine
from tests.cogs.test_blend import PICTURES
from tests.cogs.test_reactions import gallery
from tests.cogs.test_verify import LabellingEngine, verified
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    limits = LimitsConfig(pace=10**4, depth=10**4, quota=10**6)
    return Config(data=tmp_path / "data", encrypt_pictures=True, limits=limits)


@pytest.fixture
def engine(config: Config) -> FakeEngine:
    return LabellingEngine(provenance_of(config.data))


def told_by_the_disk(data: Path, *hidden: bytes) -> list[str]:
    """What the names and the bytes of the files in the data folder tell."""
    files = [path for path in data.rglob("*") if path.is_file()]
    found = [path.name for path in files for each in hidden if each in path.read_bytes()]
    return found + [path.name for path in files for each in hidden if hashlib.sha256(each).hexdigest() in path.name]


async def test_a_request_with_a_picture_its_variation_copy_and_deletion(workshop: Workshop, config: Config) -> None:
    ada, bob = workshop.member("ada"), workshop.member("bob")
    best = await gallery(workshop, threshold=1)
    options = {"image": ("mine.png", PICTURES[0]), "strength": 0.5}
    await ada.slash(workshop.channel, "imagine", prompt="a secret xylophone", **options)
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    with workshop.env.time_context():
        delivered = await message.attachments[0].read()
    hidden = (b"\x89PNG", b"xylophone", PICTURES[0], delivered)
    assert told_by_the_disk(config.data, *hidden) == []
    assert "every byte is the same" in await verified(ada, workshop.channel, delivered)
    await workshop.restart()
    await bob.react(message, "⭐")
    (copy,) = await workshop.seen(best.history)
    with workshop.env.time_context():
        assert await copy.attachments[0].read() == delivered
    assert (await ada.slash(workshop.channel, "show", id=job.id)).response.attachments
    await pressed(ada, workshop, message, f"a2:again:{job.id}:1")
    again = (await workshop.ended(2))[-1]
    assert again.request.uploads == job.request.uploads, "a picture on the disk is what the second one starts from"
    assert told_by_the_disk(config.data, *hidden) == []
    for each in (job, again):
        await ada.react(workshop.message(each.destination.message_id), "❌")
    left = config.data / "pictures"
    await workshop.seen(lambda: len([path for path in left.glob("*/*") if path.is_file()]) == 1)
    await workshop.seen(lambda: best.history() == [])


async def pressed(person: simcord.MemberActor, workshop: Workshop, message: Any, custom_id: str) -> Any:
    """Press a button under a message."""
    shown = workshop.env.backend.get_message(message.channel.id, message.id)
    shown.components = [{"type": 1, "components": [{"type": 2, "style": 2, "label": "x", "custom_id": custom_id}]}]
    return await person.click(message, custom_id=custom_id)
