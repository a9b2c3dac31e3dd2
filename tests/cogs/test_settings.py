"""/settings as one person and another, here and elsewhere, before and after a restart, and what follows from it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.config import Config, DiscordConfig
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus, UserId
from tests.cogs.test_limits import confirmed
from tests.conftest import Workshop


async def test_defaults_hold_from_the_next_request_on_for_one_person_also_after_a_restart(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    saved = await ada.slash(workshop.channel, "settings", images=2, aspect=" 3:2 ")
    assert saved.ephemeral
    assert "- pictures of a request: **`2`**" in saved.response.content
    assert "- shape: **`3:2`**" in saved.response.content
    assert "- model: not set, so `emoji` here" in saved.response.content
    await workshop.restart()
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await ada.slash(workshop.channel, "imagine", prompt="a cat --images 1", aspect="1:1")
    await grace.slash(workshop.channel, "imagine", prompt="a cat")
    jobs = await workshop.ended(3)
    made = [(job.request.num_images_per_prompt, job.request.width, job.request.height) for job in jobs]
    assert made == [(2, 160, 104), (1, 128, 128), (1, 128, 128)]

    shown = await grace.slash(workshop.channel, "settings")
    assert "pictures of a request: not set, so 1" in shown.response.content
    cleared = await ada.slash(workshop.channel, "settings", clear="everything")
    assert "shape: not set" in cleared.response.content


async def test_they_are_the_same_on_every_server_and_in_direct_messages(workshop: Workshop) -> None:
    other, there = workshop.elsewhere()
    await other.slash(there, "settings", images=3)
    by_message = await other.user.slash("settings", model="EMOJI")
    assert "pictures of a request: **`3`**" in by_message.response.content
    assert "model: **`emoji`**" in by_message.response.content


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"aspect": "wide"}, "“wide” is neither a shape like 16:9 nor a size like 128x128."),
        ({"model": "emojy"}, "There is no model “emojy”. Did you mean emoji?"),
        ({"images": 2, "clear": "images"}, "You set images and clear it in one command. Do one of the two."),
        ({"images": 2, "clear": "everything"}, "You set images and clear it in one command."),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_is_kept(
    workshop: Workshop, given: dict[str, Any], words: str
) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "settings", **given)
    assert refused.ephemeral
    assert refused.response.content.startswith(words)
    assert await workshop.app.database.fetch_all("SELECT * FROM preferences") == []


async def test_a_default_model_that_is_no_longer_allowed_is_left_out_with_a_note(
    config: Config, engine: FakeEngine
) -> None:
    models = (config.models[0], config.models[0].model_copy(update={"name": "second"}))
    workshop = Workshop(config.model_copy(update={"models": models}), engine)
    await workshop.open()
    try:
        ada, mod = workshop.member("ada"), workshop.member("mod", moderator=True)
        await ada.slash(workshop.channel, "settings", model="second")
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        await confirmed(mod, await mod.slash(workshop.channel, "limits set", models="emoji"))
        asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
        shown = await ada.slash(workshop.channel, "settings")
        jobs = await workshop.ended(2)
    finally:
        await workshop.close()
    assert [job.request.model for job in jobs] == ["second", "emoji"]
    assert {job.status for job in jobs} == {JobStatus.DELIVERED}
    (note,) = asked.followups
    assert note.content == "About your request: your default model second cannot be used here now."
    assert "model: **`second` (cannot be used here now)**" in shown.response.content


async def test_results_are_hidden_for_who_wants_that(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "settings", spoiler=True)
    for person in (ada, grace):
        await person.slash(workshop.channel, "imagine", prompt="a cat")
    hers, others = (workshop.message(job.destination.message_id or 0) for job in await workshop.ended(2))
    assert [file.is_spoiler() for file in (*hers.attachments, *others.attachments)] == [True, False]
    assert hers.attachments[0].description == "a cat"


class TestPings:
    """A host who pings after a second."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"discord": DiscordConfig(ping_after_seconds=1)})

    async def test_who_wants_no_ping_gets_none(self, workshop: Workshop, engine: FakeEngine) -> None:
        ada, grace = workshop.member("ada"), workshop.member("grace")
        await ada.slash(workshop.channel, "settings", ping=False)
        engine.open.clear()
        for person in (ada, grace):
            await person.slash(workshop.channel, "imagine", prompt="a cat")
        await workshop.app.database.execute("UPDATE jobs SET asked_at = '2020-01-01T00:00:00.000000Z'")
        engine.open.set()
        await workshop.ended(2)

        def pinged() -> set[int]:
            pings = [message for message in workshop.channel.history() if "is ready" in message.content]
            return {user.id for message in pings for user in message.mentions}

        await workshop.seen(lambda: grace.id in pinged())
        assert ada.id not in pinged()


async def test_they_are_shown_exported_and_deleted_as_personal_data(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "settings", images=2, aspect="3:2", send_to_me=True)
    assert "Your `/settings`" in (await ada.slash(workshop.channel, "privacy show")).response.content
    exported = await ada.slash(workshop.channel, "privacy export")
    (message,) = exported.followups or [exported.response]
    (row,) = json.loads(await message.attachments[0].read())["settings"]
    assert (row["user_id"], row["images"], row["aspect"], row["send_to_me"]) == (ada.id, 2, "3:2", 1)
    asked = await ada.slash(workshop.channel, "privacy delete")
    assert "your `/settings`" in asked.response.content
    await ada.click(asked.response, label="Delete my data")
    assert (await workshop.app.preferences.of(UserId(ada.id))).images is None


async def test_models_and_shapes_are_offered(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    models = await ada.autocomplete(workshop.channel, "settings", "model", "emo")
    shapes = await ada.autocomplete(workshop.channel, "settings", "aspect", "16")
    assert [choice["value"] for choice in models] == ["emoji"]
    assert [choice["value"] for choice in shapes] == ["16:9"]
