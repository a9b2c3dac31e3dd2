"""The rules that moderators made, and the cases that changed them."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import UserError
from bot.jobs import GuildId, RuleValue, Scope, Subject, UserId
from bot.storage.cases import By
from bot.storage.database import open_database, schema_scripts
from tests.bot.storage.conftest import ADA, GRACE, GUILD, MODERATOR, Store, open_store

ELSEWHERE = GuildId(901)
SERVER: Subject = (Scope.SERVER, 0)
PERSON: Subject = (Scope.PERSON, ADA)
HERE = By(GUILD, MODERATOR)
SNOWFLAKE = 1234567890123456789


async def test_nothing_is_set_at_first(store: Store) -> None:
    assert await store.rules.book(GUILD) == {}
    assert await store.rules.books() == {}


async def test_rules_are_kept_by_server_and_subject(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    await store.rule(GUILD, PERSON, quota=7, models=("emoji", "sd15"))
    await store.rule(ELSEWHERE, PERSON, channels=(SNOWFLAKE,), models=None)
    assert await store.rules.book(GUILD) == {SERVER: {"pace": 5}, PERSON: {"quota": 7, "models": ("emoji", "sd15")}}
    assert await store.rules.book(ELSEWHERE) == {PERSON: {"channels": (SNOWFLAKE,), "models": None}}


async def test_a_case_says_who_when_what_and_is_numbered_per_server(store: Store) -> None:
    first = await store.rule(GUILD, PERSON, pace=5, depth=2)
    store.clock.forward(60)
    why = By(GUILD, GRACE, "a flood")
    second = await store.cases.change(why, "limits set", PERSON, {"pace": 6, "depth": 2})
    elsewhere = await store.rule(ELSEWHERE, SERVER, pace=1)
    assert first is not None
    assert second is not None
    assert elsewhere is not None
    assert (first.number, first.before, first.after) == (1, {}, {"pace": 5, "depth": 2})
    assert (second.number, second.by, second.at, second.reason) == (2, GRACE, store.clock(), "a flood")
    assert (second.before, second.after) == ({"pace": 5, "depth": 2}, {"pace": 6, "depth": 2})
    assert elsewhere.number == 1
    assert [case.number for case in await store.cases.latest(GUILD, 9)] == [2, 1]
    assert [case.number for case in await store.cases.latest(GUILD, 9, before=2)] == [1]
    assert await store.cases.latest(GUILD, 9, subject=SERVER) == []
    assert (await store.cases.get(GUILD, 2)) == second


async def test_what_is_so_already_is_no_case(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    assert await store.rule(GUILD, SERVER, pace=5) is None
    assert await store.no_rule(GUILD, SERVER, "depth") is None
    assert len(await store.cases.latest(GUILD, 9)) == 1


async def test_clearing_leaves_other_names_and_other_subjects(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5, depth=1)
    await store.rule(GUILD, PERSON, pace=6)
    await store.no_rule(GUILD, SERVER, "pace")
    assert await store.rules.book(GUILD) == {SERVER: {"depth": 1}, PERSON: {"pace": 6}}


async def test_an_undo_is_a_case_and_can_be_undone(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    await store.rule(GUILD, SERVER, pace=9, models=())
    undone = await store.cases.undo(HERE, 2)
    assert await store.rules.book(GUILD) == {SERVER: {"pace": 5}}
    assert (undone.number, undone.action, undone.undoes) == (3, "undo", 2)
    await store.cases.undo(HERE, 3)
    assert await store.rules.book(GUILD) == {SERVER: {"pace": 9, "models": ()}}


async def test_an_undo_does_not_undo_what_came_later(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    await store.rule(GUILD, SERVER, depth=3)
    await store.rule(GUILD, SERVER, pace=6)
    with pytest.raises(UserError, match="Case 1 cannot be undone: what it changed has been changed since by case 3"):
        await store.cases.undo(HERE, 1)
    await store.cases.undo(HERE, 2)
    assert await store.rules.book(GUILD) == {SERVER: {"pace": 6}}
    assert len(await store.cases.latest(GUILD, 9)) == 4


async def test_one_case_is_undone_once_however_many_ask(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    ended = await asyncio.gather(*(store.cases.undo(HERE, 1) for _ in range(10)), return_exceptions=True)
    assert sum(not isinstance(end, UserError) for end in ended) == 1
    assert sorted(case.number for case in await store.cases.latest(GUILD, 99)) == [1, 2]


async def test_a_moderator_of_another_server_finds_no_such_case(store: Store) -> None:
    await store.rule(GUILD, SERVER, pace=5)
    with pytest.raises(UserError, match="There is no case 1 on this server"):
        await store.cases.undo(By(ELSEWHERE, UserId(5)), 1)
    with pytest.raises(UserError, match="There is no case 1 on this server"):
        await store.cases.get(ELSEWHERE, 1)


async def test_rules_and_cases_survive_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.rule(GUILD, PERSON, pace=6)
        case = await store.rule(GUILD, SERVER, channels=(SNOWFLAKE,))
    async with open_store(tmp_path) as store:
        assert await store.rules.book(GUILD) == {PERSON: {"pace": 6}, SERVER: {"channels": (SNOWFLAKE,)}}
        assert await store.cases.get(GUILD, 2) == case
        await store.cases.undo(HERE, 2)
        assert await store.rules.book(GUILD) == {PERSON: {"pace": 6}}


_VALUES: st.SearchStrategy[RuleValue] = st.integers(1, 3) | st.just(("emoji",)) | st.none()
_STEPS = st.lists(
    st.tuples(st.sampled_from([SERVER, PERSON]), st.dictionaries(st.sampled_from(["pace", "models"]), _VALUES))
    | st.integers(1, 12),
    max_size=12,
)


def test_undone_backwards_nothing_is_left_of_any_history(tmp_path: Path) -> None:
    async def live(store: Store, guild: GuildId, steps: list[tuple[Subject, dict[str, RuleValue]] | int]) -> None:
        by = By(guild, MODERATOR)
        for step in steps:
            if isinstance(step, int):
                before = await store.rules.book(guild)
                try:
                    case = await store.cases.undo(by, step)
                except UserError:
                    assert await store.rules.book(guild) == before
                else:
                    undone = await store.cases.get(guild, step)
                    assert (case.before, case.after) == (undone.after, undone.before)
            else:
                await store.cases.change(by, "limits set", *step)
        for case in await store.cases.latest(guild, 99):
            await store.cases.undo(by, case.number)
        assert await store.rules.book(guild) == {}
        numbers = [case.number for case in await store.cases.latest(guild, 99)]
        assert numbers == list(range(len(numbers), 0, -1))

    guilds = iter(range(1000, 10**6))
    with asyncio.Runner() as runner:
        opened = open_store(tmp_path)
        store = runner.run(opened.__aenter__())

        @settings(deadline=None, max_examples=500, derandomize=True)
        @given(_STEPS)
        def histories(steps: list[tuple[Subject, dict[str, RuleValue]] | int]) -> None:
            runner.run(live(store, GuildId(next(guilds)), steps))

        try:
            histories()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def test_limits_of_an_older_schema_become_rules_and_images_become_seconds(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    (number,) = [n for n, script in enumerate(schema_scripts()) if "CREATE TABLE rules" in script]
    with sqlite3.connect(path) as connection:
        connection.executescript("\n".join(schema_scripts()[:number]) + f"PRAGMA user_version = {number};")
        connection.executemany(
            "INSERT INTO limits VALUES (900, ?, ?, ?, 99, '')", [(0, "quota", 200), (0, "pace", 7), (1, "depth", 3)]
        )
    connection.close()
    async with open_database(path):
        pass
    async with open_store(tmp_path) as store:
        assert await store.rules.book(GUILD) == {SERVER: {"quota": 600, "pace": 7}, PERSON: {"depth": 3}}
