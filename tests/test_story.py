"""One request from start to end, with the real engine process, a real SQLite file and the real discord.py."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from bot.delivery.feedback import DISLIKE, LIKE
from bot.jobs import JobStatus
from bot.queue import dispatcher
from tests.conftest import Workshop


async def test_asked_queued_painted_posted_rated_restarted_rated_again(
    real_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SHORT_SECONDS", 0.0)
    workshop = real_workshop
    ada = workshop.member("ada")
    grace = workshop.member("grace")

    # Ada asks, and is answered at once with a real message.
    asked = await ada.slash(workshop.channel, "imagine", prompt="a red apple on a blue background", seed=7, steps=60)
    assert asked.response is not None
    assert not asked.ephemeral
    assert "Queued: place 1" in asked.response.content
    assert [button["label"] for button in asked.response.components[0]["components"]] == ["Cancel"]
    message_id = asked.response.id

    # The same message shows the progress, then the picture.
    (job,) = await workshop.ended()
    edits = workshop.edits(message_id)
    assert any("🖌️ Painting" in edit and "%" in edit for edit in edits)
    assert "seed `7`" in edits[-1]
    result = workshop.message(message_id)
    assert "Cancel" not in str(result.components)
    assert result.attachments[0].description == "a red apple on a blue background"
    picture = Image.open(io.BytesIO(await result.attachments[0].read())).convert("RGB")
    red, _, blue = picture.resize((1, 1), box=(0, 0, 24, 24)).getpixel((0, 0))
    assert blue > red, "the corner is background, and the background is blue"

    # The request is a row: person, channel, prompt, time, weights and cost.
    assert job.status is JobStatus.DELIVERED
    assert (job.requester, job.destination.message_id) == (workshop.requester(ada), message_id)
    assert job.asked_at <= job.started_at <= job.painted_at <= job.posted_at
    row = await workshop.app.database.fetch_one("SELECT model_hash, cost FROM jobs")
    assert len(row["model_hash"]) == 64
    assert row["cost"] == 128 * 128 * 60 / 1e6

    # The bot adds both thumbs; Grace uses one.
    def offered() -> set[str]:
        return {str(reaction.emoji) for reaction in workshop.message(message_id).reactions}

    await workshop.seen(lambda: offered() == {LIKE, DISLIKE})
    await grace.react(result, LIKE)
    assert await ratings(workshop) == [(grace.id, LIKE)]

    # After a restart, reactions under the old message can still be added and taken back.
    await workshop.restart()
    await ada.react(workshop.message(message_id), "🔥")
    assert await ratings(workshop) == sorted([(grace.id, LIKE), (ada.id, "🔥")])
    await grace.unreact(workshop.message(message_id), LIKE)
    assert await ratings(workshop) == [(ada.id, "🔥")]
    assert len(workshop.channel.history()) == 1


async def ratings(workshop: Workshop) -> list[tuple[int, str]]:
    """The emoji of each person."""
    rows = await workshop.app.database.fetch_all("SELECT user_id, emoji FROM ratings ORDER BY user_id, emoji")
    return [(row["user_id"], row["emoji"]) for row in rows]
