"""Reactions under results, one row each."""

from __future__ import annotations

import pytest

from bot.jobs import MessageId
from tests.bot.storage.conftest import ADA, GRACE, Store, pictures


async def rows(store: Store) -> list[tuple[int, str]]:
    found = await store.database.fetch_all("SELECT user_id, emoji FROM ratings ORDER BY user_id, emoji")
    return [(row["user_id"], row["emoji"]) for row in found]


async def message_of(store: Store) -> MessageId:
    message_id = (await store.delivered()).destination.message_id
    assert message_id is not None
    return message_id


async def test_a_reaction_counts_once_per_person_and_emoji(store: Store) -> None:
    message = await message_of(store)
    added = [
        await store.ratings.add(message, user, emoji)
        for user, emoji in [(ADA, "👍"), (ADA, "👍"), (ADA, "🎉"), (GRACE, "👍")]
    ]
    assert added == [True, False, True, True]
    assert await rows(store) == [(ADA, "🎉"), (ADA, "👍"), (GRACE, "👍")]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_what_became_no_result_collects_no_ratings(store: Store, state: str) -> None:
    job = await getattr(store, state)()
    assert await store.ratings.add(job.destination.message_id, ADA, "👍") is False
    assert await rows(store) == []


async def test_a_reaction_before_the_picture_counts_once_the_picture_is_there(store: Store) -> None:
    job = await store.running()
    assert job.destination.message_id is not None
    assert await store.ratings.add(job.destination.message_id, ADA, "👍")
    assert await store.queue.render(job, pictures(job.request), None)
    await store.queue.posted(await store.now(job), None)
    assert await rows(store) == [(ADA, "👍")]


async def test_ratings_become_those_that_stand_under_the_message(store: Store) -> None:
    message, other = await message_of(store), await message_of(store)
    for user, emoji in [(ADA, "👍"), (ADA, "🎉")]:
        await store.ratings.add(message, user, emoji)
    await store.ratings.add(other, ADA, "👎")
    await store.ratings.replace(message, {(ADA, "🎉"), (GRACE, "👍")})
    assert await rows(store) == [(ADA, "🎉"), (ADA, "👎"), (GRACE, "👍")]
    await store.ratings.replace(message, set())
    assert await rows(store) == [(ADA, "👎")]


async def test_a_message_that_is_no_result_collects_none(store: Store) -> None:
    await message_of(store)
    assert await store.ratings.add(MessageId(424242), ADA, "👍") is False
    assert await rows(store) == []


@pytest.mark.parametrize(
    ("what", "removed", "left"),
    [
        ({"user_id": ADA, "emoji": "👍"}, 1, [(ADA, "🎉"), (GRACE, "👍")]),
        ({"user_id": ADA, "emoji": "👎"}, 0, [(ADA, "🎉"), (ADA, "👍"), (GRACE, "👍")]),
        ({"emoji": "👍"}, 2, [(ADA, "🎉")]),
        ({"user_id": ADA}, 2, [(GRACE, "👍")]),
        ({}, 3, []),
    ],
    ids=["one taken back", "one never given", "one emoji cleared", "one person", "all cleared"],
)
async def test_removing_takes_what_is_named_and_no_more(
    store: Store, what: dict[str, object], removed: int, left: list[tuple[int, str]]
) -> None:
    message = await message_of(store)
    for user, emoji in [(ADA, "👍"), (ADA, "🎉"), (GRACE, "👍")]:
        await store.ratings.add(message, user, emoji)
    assert await store.ratings.remove(message, **what) == removed  # type: ignore[arg-type]
    assert await rows(store) == left


async def test_removing_under_one_result_leaves_the_others(store: Store) -> None:
    first, second = await message_of(store), await message_of(store)
    await store.ratings.add(first, ADA, "👍")
    await store.ratings.add(second, ADA, "👍")
    await store.ratings.remove(first)
    found = await store.database.fetch_all("SELECT message_id FROM ratings")
    assert [row["message_id"] for row in found] == [second]


async def test_a_reaction_taken_back_can_be_given_again(store: Store) -> None:
    message = await message_of(store)
    await store.ratings.add(message, ADA, "👍")
    await store.ratings.remove(message, user_id=ADA, emoji="👍")
    assert await store.ratings.add(message, ADA, "👍") is True
