"""Offers from a real database and a real search index: of what the person may find, and of nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import LimitsConfig
from bot.jobs import UserId
from bot.policy.limits import SERVER
from bot.policy.words import parse_terms
from bot.requests.improver import Improver
from bot.requests.options import Options
from bot.search.visibility import Scope as Where
from bot.search.visibility import Seer
from bot.storage.examples import Examples
from tests.bot.search.conftest import Library, open_library
from tests.bot.storage.conftest import CHANNEL, GUILD, a_request

READER = Seer(1, GUILD, Where.PUBLIC, readable=frozenset({CHANNEL}))


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    async with open_library(tmp_path) as library:
        yield library


async def liked(library: Library, prompt: str, people: int = 12, **changes: object) -> None:
    """So many people ask for something in words of their own, and so many others like each result."""
    for number in range(people):
        own = prompt.replace(",", f" number {number},", 1)
        (job_id,) = await library.paint(own, user=1000 + number, seed=number, **changes)
        job = await library.store.queue.get(job_id)
        assert job is not None
        for rater in range(people):
            await library.store.ratings.add(job.destination.message_id, UserId(2000 + rater), "👍")


async def offered(library: Library, prompt: str, seer: Seer = READER) -> list[str]:
    improver = Improver(library.search, Examples(library.store.database), library.store.policy(LimitsConfig()))
    offer = await improver.offer(seer, Options(prompt), a_request(prompt=prompt), ())
    return [addition.text for addition in offer.additions]


async def test_words_that_many_people_use_and_like_are_offered(library: Library) -> None:
    assert await offered(library, "a fox") == []
    await liked(library, "a fox, golden hour")
    await liked(library, "a fox, my secret name", people=9)
    assert await offered(library, "a fox in the snow") == ["golden hour"]
    assert await offered(library, "a fox, golden hour") == []


async def test_a_phrase_is_judged_by_all_results_that_have_it(library: Library) -> None:
    await liked(library, "a fox, golden hour")
    for number in range(12):
        (job_id,) = await library.paint("a ship, golden hour", user=1000 + number, seed=100 + number)
        job = await library.store.queue.get(job_id)
        assert job is not None
        for rater in range(12):
            await library.store.ratings.add(job.destination.message_id, UserId(2000 + rater), "👎")
    assert await offered(library, "a fox") == [], "half of what people say about it is bad"


async def test_results_that_the_person_may_not_find_have_no_effect(library: Library) -> None:
    await liked(library, "a fox, golden hour", channel=701)
    await liked(library, "a fox, soft light", guild=901)
    assert await offered(library, "a fox") == []
    both = Seer(1, GUILD, Where.PUBLIC, readable=frozenset({CHANNEL, 701}))
    assert await offered(library, "a fox", both) == ["golden hour"]


async def test_words_that_may_not_be_painted_any_more_are_not_offered(library: Library) -> None:
    await liked(library, "a fox, golden hour")
    await library.store.rule(GUILD, SERVER, **parse_terms("golden hour"))
    assert await offered(library, "a fox") == []


async def test_settings_that_are_liked_better_are_offered(library: Library) -> None:
    await liked(library, "a fox", num_inference_steps=40)
    for number in range(12):
        (job_id,) = await library.paint("a fox", user=1000 + number, seed=100 + number)
        job = await library.store.queue.get(job_id)
        assert job is not None
        for rater in range(12):
            await library.store.ratings.add(job.destination.message_id, UserId(2000 + rater), "👎")
    assert await offered(library, "a fox") == ["--steps 40"]
