"""Nobody finds what `may_see` denies, and everybody finds what it allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.jobs import Requester
from bot.search.index import Index
from bot.search.queries import Query, like
from bot.search.visibility import Facts, Scope, Seer, may_see
from tests.bot.storage.conftest import ADA, GRACE, GUILD, Store, open_store

GUILDS, CHANNELS, PEOPLE = (GUILD, 901), (701, 702, 703), (ADA, GRACE)

channels = st.frozensets(st.sampled_from(CHANNELS))
seers = st.builds(
    Seer,
    st.sampled_from((*PEOPLE, 55)),
    st.sampled_from((*GUILDS, 999)),
    st.sampled_from(list(Scope)),
    channels,
    channels,
    channels,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
EVERYTHING = Seer(ADA, GUILD, Scope.ALL, is_host=True, here_is_adult=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, dict[int, Facts]]]:
    """Results of two people, in two servers and three channels, in all states; the index is behind for some."""
    import asyncio

    folder = tmp_path_factory.mktemp("world")
    index, facts = asyncio.run(_made(folder))
    yield index, facts
    index.close()


async def _made(folder: Path) -> tuple[Index, dict[int, Facts]]:
    facts: dict[int, Facts] = {}
    async with open_store(folder) as store:
        for guild in GUILDS:
            for channel in CHANNELS:
                for user in PEOPLE:
                    place = {"guild": guild, "channel": channel, "prompt": "a fox"}
                    done = await store.delivered(user, **place)
                    painted = await store.rendered(user, **place)
                    gone = await store.delivered(user, **place)
                    removed_later = await store.delivered(user, **place)
                    waits = await store.asked(user, **place)
                    await store.removals.remove_own(Requester(user, guild), gone.id)
                    for job in (done, painted, gone, removed_later, waits):
                        has_pictures = bool(await store.queue.pictures(job.id)) and job is not removed_later
                        facts[job.id] = Facts.of(await store.now(job), has_pictures=has_pictures, is_replaced=False)
        index = Index(folder / "search.db", folder / "atelier.db", None, "discord")
        index.update(facts)
        await _remove_later(store, facts)
    return index, facts


async def _remove_later(store: Store, facts: dict[int, Facts]) -> None:
    for job_id, fact in facts.items():
        if not fact.is_there and await store.queue.pictures(job_id):
            await store.removals.remove_own(Requester(fact.user_id, fact.guild_id), job_id)


@given(seers)
@settings(max_examples=400, deadline=None)
def test_no_search_returns_what_may_see_denies_and_none_keeps_back_what_it_allows(
    world: tuple[Index, dict[int, Facts]], seer: Seer
) -> None:
    index, facts = world
    allowed = {job_id for job_id, fact in facts.items() if may_see(fact, seer)}
    # The index alone makes the same decision, but for what was deleted since.
    behind = {job_id for job_id, fact in facts.items() if may_see(replace(fact, is_there=True), seer)}
    for query in (Query(), like("a fox"), like("fo"), like("ox")):
        mask = index.entries.allowed(query, seer)
        for ids in (
            index.entries.newest(mask, len(facts)),
            index.by_words(query.terms, query, mask),
            index.by_words(query.terms, query, mask, every=True),
            index.by_related_words([list(query.terms)] if query.terms else [], query, mask),
            index.by_parts(query.terms, query, mask),
        ):
            assert set(ids) <= behind
            assert set(index.matching(ids, query, seer)) <= allowed
        assert set(index.matching(list(facts), query, seer)) <= allowed
    everything = [int(name) for name in np.flatnonzero(index.entries.allowed(Query(), seer))]
    assert allowed <= set(everything) <= behind
    assert set(index.matching(everything, Query(), seer)) == allowed


def test_the_world_has_everything_that_is_decided(world: tuple[Index, dict[int, Facts]]) -> None:
    index, facts = world
    assert {(fact.is_posted, fact.is_there) for fact in facts.values()} >= {(True, True), (False, True), (True, False)}
    assert len(index.matching(list(facts), Query(), EVERYTHING)) == 12


def test_scopes_are_for_those_who_may_use_them() -> None:
    fact = Facts(GUILD, 701, GRACE, is_posted=True)
    reads = Seer(ADA, GUILD, readable=frozenset({701}))
    assert may_see(fact, reads)
    assert not may_see(fact, replace(reads, scope=Scope.SERVER))
    assert may_see(fact, replace(reads, scope=Scope.SERVER, is_moderator=True))
    assert not may_see(fact, replace(reads, scope=Scope.SERVER, is_moderator=True, readable=frozenset()))
    assert not may_see(fact, replace(reads, scope=Scope.ALL, is_moderator=True))
    assert may_see(fact, replace(reads, scope=Scope.ALL, is_host=True))
    assert not may_see(fact, replace(reads, guild_id=901))
    assert not may_see(fact, replace(reads, adult=frozenset({701})))
    assert not may_see(fact, replace(reads, scope=Scope.ALL, is_host=True, adult=frozenset({701})))
    assert may_see(fact, replace(reads, adult=frozenset({701}), here_is_adult=True))
    assert not may_see(replace(fact, is_there=False), replace(reads, scope=Scope.ALL, is_host=True))
