"""Sittings: requests less than 30 minutes apart."""

from __future__ import annotations

import pytest

from bot.jobs import Requester
from bot.storage.sittings import Sittings
from tests.bot.storage.conftest import ADA, GRACE, GUILD, Store


@pytest.mark.parametrize("order", [1, -1])
async def test_a_pause_of_half_an_hour_begins_a_new_sitting(store: Store, order: int) -> None:
    jobs = []
    for pause in (0, 60, 1799.5, 1800, 5, 86_400):
        store.clock.forward(pause)
        jobs.append((await store.asked(ADA)).id)
        await store.asked(GRACE)
        await store.asked(ADA, guild=901)
    sittings = Sittings(store.database, "discord")
    found = await sittings.of_person(Requester(ADA, GUILD))
    assert [list(each.job_ids) for each in found] == [jobs[:3], jobs[3:5], jobs[5:]]
    assert (found[0].ended_at - found[0].began_at).total_seconds() == 1859.5
    for one in found[::order]:
        for job_id in one.job_ids:
            assert await sittings.of_person(Requester(ADA, GUILD), job_id) == [one]
    assert await sittings.of_person(Requester(ADA, GUILD), 999) == []
