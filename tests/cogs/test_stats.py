"""/stats adds up what happened."""

from __future__ import annotations

from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed
from bot.feedback import DISLIKE, LIKE
from tests.conftest import Workshop


async def test_usage_and_ratings_of_the_server(workshop: Workshop, engine: FakeEngine) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    first = await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2, steps=10)
    second = await grace.slash(workshop.channel, "imagine", prompt="a dog", steps=10)
    await workshop.ended(2)
    engine.raises.append(PaintFailed("no"))
    await ada.slash(workshop.channel, "imagine", prompt="a cow")
    await workshop.ended(3)
    for actor, result, emoji in ((ada, second, LIKE), (grace, first, LIKE), (ada, first, DISLIKE), (ada, first, "🔥")):
        await actor.react(workshop.message(result.response.id), emoji)
    shown = await grace.slash(workshop.channel, "stats")

    text = shown.response.content
    assert "3 pictures for 2 people, 2 of 3 requests delivered" in text
    assert "1 failed, 0 cancelled, 0 open" in text
    assert "0.5 megapixel-steps" in text
    assert "`emoji`: 2 results, 👍 2, 👎 1, 1 other reactions" in text


async def test_a_server_that_painted_nothing(workshop: Workshop) -> None:
    shown = await workshop.member("ada").slash(workshop.channel, "stats", days=3)
    assert shown.response.content == "Nobody asked for a picture here in the last 3 days."
