"""What requests to providers cost: the sums of a day for a person, a server and the host, whatever became of a job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.jobs import GuildId, JobStatus, Requester
from bot.money import Micros
from bot.storage.spending import OF_HOST, OF_PERSON, OF_SERVER, Spending
from tests.bot.storage.conftest import ADA, GRACE, GUILD, NOON, Store

HELD, BILLED = 50_000, 30_000
SINCE = NOON - timedelta(hours=24)


async def a_job(store: Store, **changes: Any) -> None:
    """A delivered job of Ada's that was held, sent and billed, with other values in its row."""
    job = await store.delivered(ADA)
    values = {"held_micros": HELD, "billed_micros": BILLED, "sent_at": "2026", "asked_at": NOON.isoformat()} | changes
    names = ", ".join(f"{name} = ?" for name in values)
    await store.database.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), job.id))


async def sums(store: Store, who: Requester = Requester(ADA, GUILD)) -> tuple[int, int, int]:  # noqa: B008
    spent = await Spending(store.database).spent(who, SINCE, SINCE)
    person, server, host = (sum(micros for _, micros in each) for each in (spent.person, spent.server, spent.host))
    return person, server, host


@pytest.mark.parametrize(
    ("changes", "person", "host"),
    [
        ({}, BILLED, BILLED),
        ({"billed_micros": None}, HELD, HELD),
        ({"status": JobStatus.QUEUED, "billed_micros": None, "sent_at": None}, HELD, HELD),
        ({"status": JobStatus.QUEUED, "billed_micros": 0}, HELD, HELD),
        ({"status": JobStatus.RUNNING, "billed_micros": 0}, HELD, HELD),
        ({"status": JobStatus.RUNNING, "billed_micros": 2 * HELD}, 2 * HELD, 2 * HELD),
        ({"status": JobStatus.FAILED}, 0, BILLED),
        ({"status": JobStatus.FAILED, "billed_micros": None}, 0, HELD),
        ({"status": JobStatus.FAILED, "billed_micros": 0}, 0, 0),
        ({"status": JobStatus.FAILED, "billed_micros": None, "sent_at": None}, 0, 0),
        ({"status": JobStatus.CANCELLED, "billed_micros": None}, HELD, HELD),
        ({"status": JobStatus.CANCELLED, "billed_micros": None, "sent_at": None}, 0, 0),
        ({"status": JobStatus.CANCELLED, "billed_micros": None, "pardoned": 1}, 0, HELD),
        ({"held_micros": 0, "billed_micros": 0}, 0, 0),
    ],
)
async def test_a_person_pays_for_what_they_get_and_the_host_for_what_was_billed(
    store: Store, changes: dict[str, Any], person: int, host: int
) -> None:
    await a_job(store, **changes)
    assert await sums(store) == (person, host, host)


async def test_others_and_other_servers_count_apart(store: Store) -> None:
    await a_job(store)
    await a_job(store, user_id=GRACE)
    await a_job(store, guild_id=901)
    assert await sums(store) == (BILLED, 2 * BILLED, 3 * BILLED)
    assert await sums(store, Requester(GRACE, GuildId(901))) == (0, BILLED, 3 * BILLED)


async def test_a_day_is_over_after_a_day(store: Store) -> None:
    await a_job(store, asked_at=(SINCE - timedelta(seconds=1)).isoformat())
    assert await sums(store) == (0, 0, 0)


async def test_what_was_sent_is_never_queued_again_unless_nothing_was_billed(store: Store) -> None:
    sent, unsent, free, unbilled = [await store.running(ADA) for _ in range(4)]
    for job, held in ((sent, HELD), (unsent, HELD), (free, 0), (unbilled, HELD)):
        await store.database.execute("UPDATE jobs SET held_micros = ? WHERE id = ?", (held, job.id))
        if job is not unsent:
            assert await store.queue.note_sent(job)
    await store.queue.note_billed(unbilled, Micros(0))
    await store.queue.recover()
    states = [(await store.queue.get(job.id)).status for job in (sent, unsent, free, unbilled)]  # type: ignore[union-attr]
    assert states == [JobStatus.FAILED, JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.QUEUED]


async def test_a_cancelled_job_is_not_sent(store: Store) -> None:
    job = await store.running(ADA)
    await store.queue.cancel(job.id)
    assert not await store.queue.note_sent(job)


@pytest.mark.parametrize(("sql", "parameters"), [(OF_PERSON, (ADA, GUILD)), (OF_SERVER, (GUILD,)), (OF_HOST, ())])
async def test_the_sums_of_a_day_read_only_what_cost_money(store: Store, sql: str, parameters: tuple[int, ...]) -> None:
    rows = await store.database.fetch_all(f"EXPLAIN QUERY PLAN {sql}", ("2026", 10**9, *parameters))
    (detail,) = [row["detail"] for row in rows]
    assert "jobs_that_cost (asked_at>?)" in detail
