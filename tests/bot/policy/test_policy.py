"""What the rules and the host's defaults say about one person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import LimitsConfig
from bot.jobs import GuildId, Requester, Scope
from bot.policy.limits import HOST, SERVER, Origin
from tests.bot.storage.conftest import ADA, GRACE, GUILD, Store, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


async def test_limits_of_a_person_with_who_decided_them(store: Store) -> None:
    policy = store.policy(LimitsConfig(pace=6, depth=5, quota=200))
    await store.rule(GUILD, SERVER, pace=3, depth=4)
    await store.rule(GUILD, (Scope.PERSON, ADA), depth=9)
    limits = await policy.limits(Requester(ADA, GUILD))
    assert [(limit.value, limit.origin) for limit in (limits.pace, limits.depth, limits.quota)] == [
        (3, Origin(*SERVER)),
        (9, Origin(Scope.PERSON, ADA)),
        (200, HOST),
    ]
    assert (await policy.limits(Requester(GRACE, GUILD))).depth.value == 4
    assert (await policy.limits(Requester(ADA, GuildId(901)))).depth.value == 5
