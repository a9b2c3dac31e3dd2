"""What is learned about presets: sums of ten people and more, of results that were chosen by lot alone."""

from __future__ import annotations

from typing import Any

from bot.jobs import Job, UserId
from bot.storage.presets import GROUP, RECEIVED, WINDOW, Arm, PresetRatings, Received
from bot.storage.reports import CHOSEN, ChosenPresets, Period, Reports
from tests.bot.storage.conftest import ADA, GUILD, Store


async def chosen(store: Store, source: str, style: str = "", version: int = 0, **changes: Any) -> Job:
    """A result whose settings were chosen."""
    job = await store.delivered(ADA, style=style, style_version=version, **changes)
    await store.database.execute(
        "UPDATE jobs SET value_sources = json_object('style', ?) WHERE id = ?", (source, job.id)
    )
    return job


async def rated(store: Store, job: Job, people: int, likes: int) -> None:
    assert job.destination.message_id is not None
    for number in range(people):
        emoji = "👍" if number < likes else "👎"
        assert await store.ratings.add(job.destination.message_id, UserId(3000 + number), emoji)


async def test_only_results_chosen_by_lot_and_ten_people_count(store: Store) -> None:
    crisp, usual = await chosen(store, "learned", "crisp", 2), await chosen(store, "control")
    also, typed = await chosen(store, "learned"), await chosen(store, "flag", "crisp", 2)
    few = await chosen(store, "learned", "soft", 1)
    elsewhere = await chosen(store, "learned", "crisp", 2, guild=901)
    await rated(store, crisp, 12, 9)
    await rated(store, usual, 10, 5)
    await rated(store, also, 10, 10)
    await rated(store, few, GROUP - 1, GROUP - 1)
    for other in (typed, elsewhere):
        await rated(store, other, 12, 0)
    received = await PresetRatings(store.database, store.clock).of(GUILD)
    # Of the usual settings, five people like both results and five like one of both: each counts once.
    assert received == {("emoji", Arm("crisp", 2)): Received(9.0, 3.0), ("emoji", Arm()): Received(7.5, 2.5)}
    assert received["emoji", Arm()].people == 10


async def test_old_ratings_do_not_count_and_sums_are_kept_for_minutes(store: Store) -> None:
    ratings = PresetRatings(store.database, store.clock)
    job = await chosen(store, "learned", "crisp", 2)
    assert await ratings.of(GUILD) == {}
    await rated(store, job, 10, 10)
    assert await ratings.of(GUILD) == {}, "it was read a moment ago"
    store.clock.forward(301)
    assert list(await ratings.of(GUILD)) == [("emoji", Arm("crisp", 2))]
    store.clock.forward(WINDOW.total_seconds())
    assert await ratings.of(GUILD) == {}


async def test_the_report_says_how_both_ways_are_liked(store: Store) -> None:
    crisp, usual = await chosen(store, "learned", "crisp", 2), await chosen(store, "control")
    await rated(store, crisp, 12, 9)
    await rated(store, usual, GROUP - 1, 5)
    report = await Reports(store.folder / "atelier.db", None, store.clock).report(GUILD, Period.DAY)
    assert report.chosen == (ChosenPresets("control", 1, 9, None), ChosenPresets("learned", 1, 12, 0.75))


async def test_neither_query_reads_other_servers(store: Store) -> None:
    assert "jobs_by_guild" in await store.plan(RECEIVED, (GUILD, ""))
    values = {"servers": "[900]", "since": "", "until": "a"}
    rows = await store.database.fetch_all(f"EXPLAIN QUERY PLAN {CHOSEN}", values)  # type: ignore[arg-type]
    assert "jobs_by_guild" in str([row["detail"] for row in rows])
