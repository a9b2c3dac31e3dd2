"""Sums over the jobs, against a table computed by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.jobs import GuildId, Requester, Surface
from bot.storage.usage import spent_by, waiting_of
from tests.bot.storage.conftest import ADA, GRACE, GUILD, NOON, Store, a_request

LONG_AGO = NOON - timedelta(days=1)


async def spent(store: Store) -> int:
    """Images Ada used, as the quota counts them."""
    used = await store.database.write(lambda connection: spent_by(connection, Requester(ADA, GUILD), LONG_AGO))
    return round(sum(seconds for _, seconds in used) / a_request().cost)


@pytest.mark.parametrize(
    ("state", "counted"),
    [("asked", 3), ("running", 3), ("rendered", 3), ("delivered", 3), ("failed", 0), ("cancelled", 0)],
)
async def test_failures_and_what_was_cancelled_before_it_started_cost_nothing(
    store: Store, state: str, counted: int
) -> None:
    await getattr(store, state)(num_images_per_prompt=3)
    assert await spent(store) == counted


async def test_cancelling_what_was_being_painted_costs_what_it_used(store: Store) -> None:
    job = await store.running(num_images_per_prompt=2)
    await store.queue.cancel(job.id, a_request().cost)
    assert await spent(store) == 1


async def test_a_result_that_could_not_be_delivered_costs_nothing(store: Store) -> None:
    await store.queue.give_up(await store.rendered(), "The channel is gone.")
    assert await spent(store) == 0


async def test_a_failure_nobody_saw_before_the_sandbox_closed_still_costs_nothing(store: Store) -> None:
    await store.failed()
    await store.database.fetch_all("UPDATE jobs SET surface = 'sandbox'")
    await store.queue_of(Surface.SANDBOX).recover()
    assert await spent(store) == 0


async def test_use_is_counted_per_person_and_server_and_ends_with_the_window(store: Store) -> None:
    ada = Requester(ADA, GUILD)
    await store.delivered(ADA, num_images_per_prompt=2)
    store.clock.forward(60)
    await store.asked(ADA)
    await store.asked(GRACE)
    await store.asked(ADA, guild=901)
    times = {
        since: await store.database.write(lambda c, at=NOON + timedelta(seconds=since): spent_by(c, ada, at))  # type: ignore[misc]
        for since in (-1, 0, 60)
    }
    later = NOON + timedelta(seconds=60)
    one = a_request().cost
    assert times == {-1: [(NOON, 2 * one), (later, one)], 0: [(later, one)], 60: []}


async def test_only_what_waits_counts_as_waiting(store: Store) -> None:
    for state in ("asked", "running", "rendered", "delivered", "failed", "cancelled"):
        await getattr(store, state)()
    await store.asked(acknowledged=False)
    await store.asked(GRACE)
    await store.asked(ADA, guild=901)
    counted = [
        await store.database.write(lambda c, who=who: waiting_of(c, who))  # type: ignore[misc]
        for who in (Requester(ADA, GUILD), Requester(GRACE, GUILD), Requester(ADA, GuildId(999)))
    ]
    assert counted == [2, 1, 0]
