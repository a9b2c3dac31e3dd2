"""Reports, against tables computed by hand from rows of a real file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Rejected, StorageError
from bot.jobs import GuildId, Job, Queued, Requester, UserId, to_text
from bot.storage import reports
from bot.storage.database import open_database
from bot.storage.refusals import Refusals
from bot.storage.reports import (
    FIGURES,
    GROUP,
    LIKED,
    MODELS,
    PROMISES,
    REFUSALS,
    SERVERS,
    USE_OF_SERVERS,
    Figures,
    Liked,
    ModelReport,
    Period,
    Promises,
    Reception,
    Report,
    Reports,
    Span,
    Use,
)
from tests.bot.storage.conftest import ADA, GRACE, GUILD, NOON, Store

ELSEWHERE = GuildId(901)


def reports_of(store: Store) -> Reports:
    return Reports(store.folder / "atelier.db", None, store.clock)


async def refused(store: Store, rule: str, user: int = ADA, guild: GuildId = GUILD) -> None:
    await store.refusals.add(Requester(UserId(user), guild), Rejected("no", rule=rule))


@pytest.mark.parametrize(
    ("period", "now", "since", "until", "steps"),
    [
        (Period.DAY, "2026-05-01 12:30:01", "2026-04-30 13:00", "2026-05-01 13:00", 24),
        (Period.DAY, "2026-05-01 12:00", "2026-04-30 13:00", "2026-05-01 13:00", 24),
        (Period.WEEK, "2026-05-01 12:30", "2026-04-25 00:00", "2026-05-02 00:00", 7),
        (Period.MONTH, "2026-03-01 00:00", "2026-01-31 00:00", "2026-03-02 00:00", 30),
        (Period.QUARTER, "2026-05-01 23:59", "2026-01-31 00:00", "2026-05-02 00:00", 13),
        (Period.YEAR, "2026-05-01 23:59", "2025-05-03 00:00", "2026-05-02 00:00", 52),
    ],
)
def test_a_span_ends_with_the_step_of_now(period: Period, now: str, since: str, until: str, steps: int) -> None:
    span = Span.of(period, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (span.since, span.until) == tuple(datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (since, until))
    assert (span.count, len(span.starts), span.starts[0]) == (steps, steps, span.since)


async def test_nothing_happened(store: Store) -> None:
    for guild_id in (GUILD, None):
        report = await reports_of(store).report(guild_id, Period.WEEK)
        assert report.total == Figures()
        assert report.steps == (Figures(),) * 7
        assert (report.models, report.promises, report.refused) == ((), Promises(0, 0, None), {})
        assert report.servers == (None if guild_id else ())


async def test_what_became_of_requests_hour_by_hour(store: Store) -> None:
    #                                                               noon: asked, pictures, GPU s, start, wait
    for user, images, used, start, paint in ((ADA, 2, 3.0, 1, 4), (ADA, 1, 2.5, 2, 5), (GRACE, 4, 9.0, 9, 20)):
        job = await store.asked(user, num_images_per_prompt=images)
        store.clock.forward(start)
        claimed = await store.queue.claim(job.id)
        assert claimed is not None
        store.clock.forward(paint)
        assert await store.queue.render(claimed, (), "hash", used)
        await store.queue.posted(await store.now(job), None)
        store.clock.now = NOON
    await store.queue.fail(await store.running(UserId(3)), "Out of memory.", 1.5)  # started at once, used something
    store.clock.forward(3600)
    await store.cancelled(UserId(4))
    await store.asked(UserId(4))
    await store.delivered(ADA, guild=ELSEWHERE, seconds=100)
    report = await reports_of(store).report(GUILD, Period.DAY)

    noon = Figures(
        asked=4,
        people=3,
        delivered=3,
        failed=1,
        pictures=7,
        gpu_seconds=pytest.approx(16.0),
        start_median=pytest.approx(1, abs=0.001),
        start_p95=pytest.approx(9, abs=0.001),
        wait_median=pytest.approx(7, abs=0.001),
        wait_p95=pytest.approx(29, abs=0.001),
    )
    one = Figures(asked=2, people=1, cancelled=1)
    assert (noon.open, one.open) == (0, 1)
    assert report.steps == (*(Figures(),) * 22, noon, one)
    assert report.total.asked == 6
    assert (report.total.people, report.total.pictures, report.total.open) == (4, 7, 1)
    assert report.total.wait_median == pytest.approx(7, abs=0.001)


async def test_a_request_belongs_to_the_step_in_which_it_was_asked_for(store: Store) -> None:
    edges = [
        NOON - timedelta(hours=23),
        NOON - timedelta(microseconds=1),
        NOON,
        NOON + timedelta(seconds=3599.999999),
        NOON - timedelta(hours=23, microseconds=1),  # before the span
        NOON + timedelta(hours=1),  # after it: a clock was set back
    ]
    for at in edges:
        store.clock.now = at
        await store.asked()
        await refused(store, "depth")
    store.clock.now = NOON + timedelta(minutes=5)
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert [number for number, step in enumerate(report.steps) for _ in range(step.asked)] == [0, 22, 23, 23]
    assert [number for number, step in enumerate(report.refusals) for _ in range(step.get("depth", 0))] == [
        0,
        22,
        23,
        23,
    ]


@pytest.mark.parametrize(("count", "median", "p95"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (21, 11, 20)])
async def test_a_percentile_is_a_wait_that_somebody_had(store: Store, count: int, median: int, p95: int) -> None:
    for seconds in reversed(range(1, count + 1)):
        await store.delivered(seconds=seconds)
        store.clock.now = NOON
    total = (await reports_of(store).report(GUILD, Period.DAY)).total
    assert (total.wait_median, total.wait_p95) == (pytest.approx(median, abs=0.001), pytest.approx(p95, abs=0.001))


async def test_stated_start_times_by_how_wrong_they_were(store: Store) -> None:
    #                    told, came true
    for told, waited in ((10, 10), (14.9, 10), (15.1, 10), (0.5, 2.4), (30, 2), (4, None)):
        job = await store.asked()
        at = NOON + timedelta(seconds=told)
        await store.queue.promise(job.id, at, Queued(1, at))
        if waited is not None:
            store.clock.forward(waited)
            await store.queue.claim(job.id)
            store.clock.now = NOON
    await store.running()  # nothing was stated
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert report.promises == Promises(told=5, kept=3, error_median=pytest.approx(4.9, abs=0.001))


async def test_a_second_attempt_says_nothing_about_what_was_foreseen(store: Store) -> None:
    job = await store.asked()
    await store.queue.promise(job.id, NOON, Queued(1, None))
    await store.queue.claim(job.id)
    await store.queue.recover()
    store.clock.forward(60)
    await store.queue.claim(job.id)
    assert (await reports_of(store).report(GUILD, Period.DAY)).promises == Promises(0, 0, None)


async def test_models_are_told_of_and_what_people_like_of_ten_and_more(store: Store) -> None:
    jobs = [await store.delivered(model="emoji") for _ in range(2)]
    few = await store.delivered(model="sd15")
    await store.failed(model="sd15")
    await store.delivered(model="elsewhere", guild=ELSEWHERE)
    for number in range(GROUP):
        message = jobs[number % 2].destination.message_id
        assert message is not None
        await store.ratings.add(message, UserId(number), "👍" if number else "👎")
        await store.ratings.add(message, UserId(number), "🎉")
        if number:
            # Many reactions of nine people are still nine people.
            assert few.destination.message_id is not None
            await store.ratings.add(few.destination.message_id, UserId(number), "👍")
            await store.ratings.add(few.destination.message_id, UserId(number), "🎉")
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert report.models == (
        ModelReport("emoji", 2, Reception(up=9, down=1, others=10)),
        ModelReport("sd15", 1, None),
    )


async def test_a_person_who_likes_pictures_of_a_result_likes_it_once_and_no_command_is_an_opinion(store: Store) -> None:
    job = await store.delivered(model="emoji", num_images_per_prompt=3)
    message = job.destination.message_id
    assert message is not None
    for number in range(GROUP):
        # The result has no fourth picture.
        for emoji in ("👍", "1⃣", "3⃣", "✉", "❌") if number else ("4⃣", "❤"):
            await store.ratings.add(message, UserId(number), emoji)
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert report.models == (ModelReport("emoji", 1, Reception(up=GROUP - 1, down=0, others=2)),)
    await store.ratings.remove(message, UserId(0))
    await store.ratings.add(message, UserId(0), "✉")
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert report.models == (ModelReport("emoji", 1, None),), "nine people said what they think"


async def test_a_post_of_several_requests_counts_once_for_each_model_and_a_number_names_none_of_them(
    store: Store,
) -> None:
    first, *others = [await store.delivered(model=model) for model in ("emoji", "emoji", "sd15")]
    for job in others:
        await store.database.execute(
            "UPDATE jobs SET post_id = (SELECT post_id FROM jobs WHERE id = ?) WHERE id = ?", (first.id, job.id)
        )
    for number in range(GROUP):
        await store.ratings.add(first.destination.message_id, UserId(number), "👍" if number else "1⃣")
    report = await reports_of(store).report(GUILD, Period.DAY)
    received = Reception(up=GROUP - 1, down=0, others=1)
    assert report.models == (ModelReport("emoji", 2, received), ModelReport("sd15", 1, received))
    assert report.liked == (), "nine people like it"


async def test_a_person_counts_once_for_a_model_a_style_and_a_sampler_and_fewer_than_ten_are_not_told(
    store: Store,
) -> None:
    made = [await store.delivered(ADA, style="ink", style_version=1, sampler="euler") for _ in range(3)]
    made.append(await store.delivered(ADA, style="oil", style_version=1, sampler="ddim"))
    posts = [job.destination.message_id for job in made]
    for number in range(GROUP):
        await store.ratings.add(posts[0], UserId(number), "⭐" if number else "👎")
    # The one who dislikes also rates the most; one who likes and dislikes says nothing; nine are too few.
    await store.ratings.add(posts[1], UserId(0), "👎")
    await store.ratings.add(posts[2], UserId(0), "👎")
    await store.ratings.add(posts[1], UserId(1), "👍")
    await store.ratings.add(posts[1], UserId(1), "👎")
    for number in range(GROUP - 1):
        await store.ratings.add(posts[3], UserId(number), "👍")
    report = await reports_of(store).report(GUILD, Period.DAY)
    by_all = (0.25 + 9) / 10
    assert report.liked == (
        Liked("model", "emoji", 10, pytest.approx(by_all)),
        Liked("sampler", "euler", 10, pytest.approx(0.9)),
        Liked("style", "ink", 10, pytest.approx(0.9)),
    )


async def test_refusals_by_rule(store: Store) -> None:
    for rule in ("depth", "quota", "quota", "block"):
        await refused(store, rule)
    await refused(store, "pause", guild=ELSEWHERE)
    report = await reports_of(store).report(GUILD, Period.WEEK)
    assert list(report.refused.items()) == [("quota", 2), ("block", 1), ("depth", 1)]
    assert report.refusals[-1] == report.refused
    assert not any(report.refusals[:-1])


async def test_all_servers_together_and_each_by_what_it_used(store: Store) -> None:
    for guild, used in ((GUILD, 2.0), (ELSEWHERE, 5.0), (ELSEWHERE, 1.0)):
        job = await store.running(guild=guild, num_images_per_prompt=2)
        await store.queue.render(job, (), "hash", used)
        await store.queue.posted(await store.now(job), None)
    await refused(store, "pause", guild=GuildId(902))
    report = await reports_of(store).report(None, Period.MONTH)
    assert (report.total.asked, report.total.pictures, report.total.gpu_seconds) == (3, 6, 8.0)
    assert report.servers == (Use(ELSEWHERE, 4, 6.0), Use(GUILD, 2, 2.0))
    assert report.refused == {"pause": 1}


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (FIGURES, "jobs USING INDEX jobs_by_guild (guild_id=? AND asked_at>? AND asked_at<?)"),
        (PROMISES, "jobs USING INDEX jobs_by_guild (guild_id=? AND asked_at>? AND asked_at<?)"),
        (MODELS, "jobs USING INDEX jobs_by_guild (guild_id=? AND asked_at>? AND asked_at<?)"),
        (LIKED, "ratings USING COVERING INDEX ratings_by_post (post_id=?)"),
        (MODELS, "ratings USING COVERING INDEX ratings_by_post (post_id=?)"),
        (USE_OF_SERVERS, "jobs USING INDEX jobs_by_guild (guild_id=? AND asked_at>? AND asked_at<?)"),
        (REFUSALS, "refusals USING INDEX refusals_by_guild (guild_id=? AND at>? AND at<?)"),
        (SERVERS, "jobs USING COVERING INDEX jobs_by_guild (guild_id>?)"),
        (SERVERS, "refusals USING COVERING INDEX refusals_by_guild (guild_id>?)"),
    ],
)
async def test_no_query_reads_what_it_is_not_about(store: Store, sql: str, index: str) -> None:
    values = {"servers": "[1]", "since": to_text(NOON), "until": to_text(NOON), "step": 3600}
    rows = await store.database.fetch_all(f"EXPLAIN QUERY PLAN {sql}", values if ":since" in sql else ())
    plan = [row["detail"] for row in rows]
    assert any(f"SEARCH {index}" in step for step in plan), plan
    assert not [step for step in plan if step in ("SCAN jobs", "SCAN refusals", "SCAN ratings")]


async def test_a_report_does_not_wait_for_the_writer_nor_the_writer_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.delivered()
    read, loop = reports._report, asyncio.get_running_loop()
    asked: list[Job] = []

    def slow(connection: Any, *arguments: Any, **words: Any) -> Report:
        connection.execute("SELECT count(*) FROM jobs").fetchone()
        # In the middle of the report somebody asks for a picture.
        asked.append(asyncio.run_coroutine_threadsafe(store.asked(), loop).result(10))
        return read(connection, *arguments, **words)

    monkeypatch.setattr(reports, "_report", slow)
    report = await reports_of(store).report(GUILD, Period.DAY)
    assert len(asked) == 1
    assert report.total.asked == 1, "it reads one snapshot"


async def test_an_encrypted_file_is_read_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    async with open_database(path, "a key") as database:
        refusals = Refusals(database, lambda: NOON)
        await refusals.add(Requester(ADA, GUILD), Rejected("no", rule="pause"))
        report = await Reports(path, "a key", lambda: NOON).report(GUILD, Period.DAY)
        assert report.refused == {"pause": 1}
        with pytest.raises(StorageError):
            await Reports(path, "another", lambda: NOON).report(GUILD, Period.DAY)


async def test_a_file_that_is_gone_is_told_in_words(store: Store) -> None:
    with pytest.raises(StorageError, match="The database cannot be opened"):
        await Reports(store.folder / "none.db", None, store.clock).report(GUILD, Period.DAY)


async def test_a_clock_set_back_makes_no_negative_wait(store: Store) -> None:
    for back in (0, 3600):
        job = await store.asked(ADA)
        store.clock.forward(10 - back)
        claimed = await store.queue.claim(job.id)
        assert claimed is not None
        await store.queue.promise(job.id, store.clock(), Queued(1, store.clock()))
        store.clock.forward(5)
        assert await store.queue.render(claimed, (), "hash", 1.0)
        await store.queue.posted(await store.now(job), None)
        store.clock.now = NOON
    total = (await reports_of(store).report(GUILD, Period.DAY)).total
    assert (total.asked, total.delivered) == (2, 2)
    assert (total.start_median, total.start_p95) == (pytest.approx(10, abs=0.01), pytest.approx(10, abs=0.01))
    assert (total.wait_median, total.wait_p95) == (pytest.approx(15, abs=0.01), pytest.approx(15, abs=0.01))
