"""What people think of results: reactions kept in step with what stands under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.delivery.feedback import DISLIKE, LIKE, Feedback, offered, plain
from bot.jobs import MessageId
from bot.storage.reactions import NUMBERS
from tests.bot.storage.conftest import ADA, GRACE, Store, open_store


@pytest.mark.parametrize(
    ("emoji", "counted_as"),
    [
        ("👍", "👍"),
        ("👍🏻", "👍"),
        ("👍🏿", "👍"),
        ("👎🏽", "👎"),
        ("❤️", "❤"),
        ("❤", "❤"),
        ("🏽", "🏽"),
        ("👩🏽‍🚀", "👩‍🚀"),
        ("<:apple:123>", "<:apple:123>"),
        ("🎉", "🎉"),
        ("3️⃣", "3⃣"),
    ],
)
def test_an_emoji_counts_without_skin_tone_and_variation(emoji: str, counted_as: str) -> None:
    assert plain(emoji) == counted_as


def test_what_is_offered_is_counted_as_it_is() -> None:
    assert offered(1) == (LIKE, DISLIKE) == ("👍", "👎")
    assert offered(2) == ("👍", "👎", "1️⃣", "2️⃣")
    assert [plain(emoji) for emoji in offered(4)] == [LIKE, DISLIKE, *NUMBERS]


async def result(store: Store) -> MessageId:
    message_id = (await store.delivered()).destination.message_id
    assert message_id is not None
    return message_id


async def standing(store: Store) -> list[tuple[int, str]]:
    rows = await store.database.fetch_all("SELECT user_id, emoji FROM ratings ORDER BY user_id, emoji")
    return [(row["user_id"], row["emoji"]) for row in rows]


async def test_a_reaction_counts_in_every_skin_tone_and_goes_when_taken_back(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        feedback, message = Feedback(store.ratings), await result(store)
        assert await feedback.added(message, ADA, "👍🏽") is True
        assert await feedback.added(message, ADA, "👍") is False
        assert await feedback.added(message, GRACE, "❤️") is True
        assert await standing(store) == [(ADA, "👍"), (GRACE, "❤")]
        await feedback.removed(message, ADA, "👍🏽")
        await feedback.removed(message, ADA, "👍🏽")
        await feedback.removed(message, ADA, "❤")
        assert await standing(store) == [(GRACE, "❤")]


@pytest.mark.parametrize(
    ("emoji", "left"), [(None, []), ("👍🏿", [(GRACE, "🎉")]), ("👎", [(ADA, "👍"), (GRACE, "🎉"), (GRACE, "👍")])]
)
async def test_a_moderator_clears_all_reactions_or_those_of_one_emoji(
    tmp_path: Path, emoji: str | None, left: list[tuple[int, str]]
) -> None:
    async with open_store(tmp_path) as store:
        feedback, message = Feedback(store.ratings), await result(store)
        for user, given in [(ADA, "👍"), (GRACE, "👍🏻"), (GRACE, "🎉")]:
            await feedback.added(message, user, given)
        await feedback.cleared(message, emoji)
        assert await standing(store) == left


async def test_a_message_that_is_no_result_is_no_rating(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await Feedback(store.ratings).added(MessageId(4242), ADA, "👍") is False
