"""Reactions at Discord's edge; the story test covers the restart."""

from __future__ import annotations

from typing import Any

from bot.delivery.feedback import LIKE
from bot.jobs import MessageId, UserId
from tests.conftest import Workshop


async def rows(workshop: Workshop) -> list[tuple[int, str]]:
    """Who gave which emoji."""
    found = await workshop.app.database.fetch_all("SELECT user_id, emoji FROM ratings ORDER BY user_id, emoji")
    return [(row["user_id"], row["emoji"]) for row in found]


async def test_the_thumbs_the_bot_offers_are_no_ratings(workshop: Workshop) -> None:
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    await workshop.seen(lambda: len(workshop.message(asked.response.id).reactions) == 2)
    assert await rows(workshop) == []


async def test_a_skin_tone_changes_nothing_about_a_rating(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    message = workshop.message(asked.response.id)
    await ada.react(message, "👍🏽")
    assert await rows(workshop) == [(ada.id, LIKE)]
    await ada.unreact(message, "👍🏽")
    assert await rows(workshop) == []


async def test_a_repeated_event_counts_once(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    await ada.react(workshop.message(asked.response.id), LIKE)
    event: dict[str, Any] = {
        "user_id": str(ada.id),
        "channel_id": str(workshop.channel.id),
        "message_id": str(asked.response.id),
        "guild_id": str(workshop.guild.id),
        "emoji": {"id": None, "name": LIKE},
        "type": 0,
        "burst": False,
    }
    workshop.env.backend.emit("MESSAGE_REACTION_ADD", event)
    await workshop.env.settle()
    assert await rows(workshop) == [(ada.id, LIKE)]


async def test_reactions_under_other_messages_are_left_alone(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    message = await ada.send(workshop.channel, "hello")
    await ada.react(message, LIKE)
    assert await rows(workshop) == []


async def test_a_moderators_clear_removes_the_ratings(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    message = workshop.message(asked.response.id)
    await ada.react(message, LIKE)
    await grace.react(message, "🔥")
    workshop.env.backend.clear_reaction(workshop.channel.id, message.id, "🔥")
    await workshop.env.settle()
    assert await rows(workshop) == [(ada.id, LIKE)]
    workshop.env.backend.clear_reactions(workshop.channel.id, message.id)
    await workshop.env.settle()
    assert await rows(workshop) == []


async def test_reactions_that_changed_while_the_bot_was_away_are_read_after_the_start(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    await ada.react(workshop.message(asked.response.id), LIKE)
    # The rows as they are when Ada's event never came, and Grace took hers back while the bot was away.
    await workshop.app.database.execute("DELETE FROM ratings")
    await workshop.app.feedback.added(MessageId(asked.response.id), UserId(grace.id), "🔥")
    await workshop.restart()

    async def are_read() -> bool:
        return await rows(workshop) == [(ada.id, LIKE)]

    await workshop.until(are_read)
