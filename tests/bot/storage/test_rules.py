"""The limits that moderators set."""

from __future__ import annotations

from pathlib import Path

from bot.jobs import GuildId, Rule
from tests.bot.storage.conftest import ADA, GRACE, GUILD, Store, open_store

MODERATOR = GRACE
ELSEWHERE = GuildId(901)


async def test_nothing_is_set_at_first(store: Store) -> None:
    assert await store.rules.of(GUILD, ADA) == []
    assert await store.rules.all() == {}


async def test_rules_of_the_server_and_of_the_person_bear_on_a_person_and_no_others(store: Store) -> None:
    await store.rules.set(GUILD, None, {"pace": 5}, MODERATOR)
    await store.rules.set(GUILD, ADA, {"quota": 7}, MODERATOR)
    await store.rules.set(GUILD, GRACE, {"quota": 8}, MODERATOR)
    await store.rules.set(ELSEWHERE, ADA, {"quota": 9}, MODERATOR)
    assert set(await store.rules.of(GUILD, ADA)) == {Rule(None, "pace", 5), Rule(ADA, "quota", 7)}
    assert await store.rules.of(GUILD) == [Rule(None, "pace", 5)]
    assert {guild: set(rules) for guild, rules in (await store.rules.all()).items()} == {
        GUILD: {Rule(None, "pace", 5), Rule(ADA, "quota", 7), Rule(GRACE, "quota", 8)},
        ELSEWHERE: {Rule(ADA, "quota", 9)},
    }


async def test_setting_again_replaces_what_is_named_and_says_who_did_it(store: Store) -> None:
    await store.rules.set(GUILD, ADA, {"pace": 5, "depth": 2}, MODERATOR)
    store.clock.forward(60)
    await store.rules.set(GUILD, ADA, {"pace": 6}, ADA)
    assert set(await store.rules.of(GUILD, ADA)) == {Rule(ADA, "pace", 6), Rule(ADA, "depth", 2)}
    rows = await store.database.fetch_all("SELECT name, set_by, set_at FROM limits ORDER BY name")
    assert [tuple(row) for row in rows] == [
        ("depth", MODERATOR, "2026-05-01T12:00:00.000000+00:00"),
        ("pace", ADA, "2026-05-01T12:01:00.000000+00:00"),
    ]


async def test_clearing_a_person_or_the_server_leaves_the_other(store: Store) -> None:
    await store.rules.set(GUILD, None, {"pace": 5, "depth": 1}, MODERATOR)
    await store.rules.set(GUILD, ADA, {"pace": 6}, MODERATOR)
    assert await store.rules.clear(GUILD, ADA) is True
    assert await store.rules.clear(GUILD, ADA) is False
    assert set(await store.rules.of(GUILD, ADA)) == {Rule(None, "pace", 5), Rule(None, "depth", 1)}
    await store.rules.set(GUILD, ADA, {"pace": 6}, MODERATOR)
    assert await store.rules.clear(GUILD, None) is True
    assert await store.rules.of(GUILD, ADA) == [Rule(ADA, "pace", 6)]


async def test_rules_survive_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.rules.set(GUILD, ADA, {"pace": 6}, MODERATOR)
    async with open_store(tmp_path) as store:
        assert await store.rules.of(GUILD, ADA) == [Rule(ADA, "pace", 6)]
