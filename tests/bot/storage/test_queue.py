"""The life of a job as rows: every move is a compare-and-set, and a restart loses nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import aiosqlite
import pytest

from bot.errors import Rejected, StorageError
from bot.jobs import Destination, Job, JobId, JobStatus, MessageId, Queued, Requester, Start, Surface, UserId, Work
from bot.storage.cases import By
from bot.storage.queue_changes import QueueChanges
from bot.storage.reports import Period, Reports
from tests.bot.storage.conftest import (
    ADA,
    CHANNEL,
    GRACE,
    GUILD,
    MODERATOR,
    NOON,
    Store,
    a_request,
    ids,
    let_in,
    open_store,
    pictures,
)


async def test_a_job_comes_back_as_it_was_asked(store: Store) -> None:
    request = a_request(
        prompt="Ein Häuschen 👩‍🚀 'quoted'; --",
        negative_prompt="text",
        sampler="euler a",
        seed=2**32 - 1,
        num_images_per_prompt=4,
        guidance_scale=7.25,
    )
    who = Requester(UserId(2**63 - 1), GUILD)
    asked = await store.queue.enqueue(who, Destination(CHANNEL), request, interaction_id=5, admit=let_in)
    assert asked is not None
    assert asked == await store.queue.get(asked.id)
    assert (asked.requester, asked.request, asked.asked_at) == (who, request, NOON)
    assert (asked.status, asked.attempt, asked.destination) == (JobStatus.QUEUED, 0, Destination(CHANNEL, None))


async def test_pictures_that_were_painted_before_wait_for_their_message_and_nobody_paints_them(store: Store) -> None:
    job = await store.asked(acknowledged=False)
    painted = pictures(job.request)
    assert await store.queue.adopt(job, painted)
    assert await store.queue.claim(job.id) is None
    assert await store.queue.unposted() == []
    await store.queue.place_message(job.id, MessageId(77))
    assert ids(await store.queue.unposted()) == [job.id]
    assert [image.png for image in await store.queue.images(job.id)] == [image.png for image in painted]
    assert await store.queue.adopt(job, painted) is False


async def test_no_such_job_is_none(store: Store) -> None:
    assert await store.queue.get(JobId(12345)) is None
    assert await store.queue.claim(JobId(12345)) is None
    assert await store.queue.cancel(JobId(12345)) is False


async def test_a_refused_request_leaves_no_row(store: Store) -> None:
    async def refuse(_: aiosqlite.Connection) -> None:
        raise Rejected("No.", rule="test")

    with pytest.raises(Rejected):
        await store.queue.enqueue(
            Requester(ADA, GUILD), Destination(CHANNEL), a_request(), interaction_id=5, admit=refuse
        )
    assert await store.waiting() == []
    assert (await store.asked(interaction_id=5)).status is JobStatus.QUEUED, "a refusal does not use up the interaction"


async def test_the_same_interaction_makes_one_job_even_at_the_same_time(store: Store) -> None:
    twice = [
        store.queue.enqueue(Requester(ADA, GUILD), Destination(CHANNEL), a_request(), interaction_id=5, admit=let_in)
        for _ in range(5)
    ]
    made = [job for job in await asyncio.gather(*twice) if job is not None]
    assert len(made) == 1
    assert ids(await store.waiting()) == ids(made)


async def test_jobs_without_an_interaction_are_never_taken_for_repeats(store: Store) -> None:
    assert (await store.asked()).id != (await store.asked()).id


async def test_what_waits_says_since_when_and_who_was_acknowledged(store: Store) -> None:
    await store.asked(ADA)
    store.clock.forward(10)
    await store.asked(GRACE, acknowledged=False, num_images_per_prompt=3)
    assert [(job.user_id, job.asked_at, job.images, job.acknowledged, job.again) for job in await store.waiting()] == [
        (ADA, NOON, 1, True, False),
        (GRACE, NOON + timedelta(seconds=10), 3, False, False),
    ]


async def test_a_job_is_claimed_once_and_only_after_its_message_is_known(store: Store) -> None:
    job = await store.asked(acknowledged=False)
    assert await store.queue.claim(job.id) is None
    await store.queue.place_message(job.id, MessageId(77))
    store.clock.forward(3)
    claims = await asyncio.gather(*(store.queue.claim(job.id) for _ in range(5)))
    (claimed,) = [claim for claim in claims if claim is not None]
    assert (claimed.status, claimed.attempt, claimed.destination.message_id) == (JobStatus.RUNNING, 1, 77)
    assert claimed.started_at == NOON + timedelta(seconds=3)


async def test_a_withdrawn_job_is_as_if_never_asked_but_a_started_one_stays(store: Store) -> None:
    queued, running = await store.asked(), await store.running()
    await store.queue.withdraw(queued.id)
    await store.queue.withdraw(running.id)
    assert await store.queue.get(queued.id) is None
    assert await store.now(running) == running


async def test_a_painted_job_waits_in_the_outbox_until_it_is_posted(store: Store) -> None:
    job = await store.running(num_images_per_prompt=3)
    images = pictures(job.request)
    store.clock.forward(9)
    assert await store.queue.render(job, images, "weights")
    rendered = await store.now(job)
    assert (rendered.status, rendered.painted_at) == (JobStatus.RENDERED, NOON + timedelta(seconds=9))
    assert await store.queue.unposted() == [rendered]
    assert await store.queue.images(job.id) == images
    (row,) = await store.database.fetch_all("SELECT model_hash FROM jobs")
    assert row["model_hash"] == "weights"

    await store.queue.posted(rendered, MessageId(78))
    delivered = await store.now(job)
    assert (delivered.status, delivered.destination.message_id) == (JobStatus.DELIVERED, 78)
    assert delivered.posted_at == store.clock()
    assert await store.queue.unposted() == []


async def test_posting_where_it_was_promised_keeps_the_message(store: Store) -> None:
    job = await store.rendered()
    await store.queue.posted(job, None)
    assert (await store.now(job)).destination == job.destination


async def test_what_cannot_be_delivered_ends_with_its_reason_and_keeps_its_pictures(store: Store) -> None:
    rendered, failed, cancelled = await store.rendered(), await store.failed(), await store.cancelled()
    for job in (rendered, failed, cancelled):
        await store.queue.give_up(job, "The channel is gone.")
    assert [
        ((await store.now(job)).status, (await store.now(job)).reason) for job in (rendered, failed, cancelled)
    ] == [
        (JobStatus.FAILED, "The channel is gone."),
        (JobStatus.FAILED, "Out of memory."),
        (JobStatus.CANCELLED, "The channel is gone."),
    ]
    assert await store.queue.unposted() == []
    assert len(await store.queue.images(rendered.id)) == 1


async def in_state(store: Store, state: str) -> Job:
    made = {
        "queued": store.asked,
        "running": store.running,
        "rendered": store.rendered,
        "delivered": store.delivered,
        "failed": store.failed,
        "cancelled": store.cancelled,
    }
    return await made[state]()


@pytest.mark.parametrize(
    ("state", "moves"),
    [
        ("queued", {"claim", "cancel"}),
        ("running", {"cancel", "requeue", "fail", "render"}),
        ("rendered", set()),
        ("delivered", set()),
        ("failed", set()),
        ("cancelled", set()),
    ],
)
@pytest.mark.parametrize("move", ["claim", "cancel", "requeue", "fail", "render"])
async def test_a_move_from_any_other_state_changes_nothing_and_says_so(
    store: Store, state: str, moves: set[str], move: str
) -> None:
    job = await in_state(store, state)
    moved = {
        "claim": lambda: store.queue.claim(job.id),
        "cancel": lambda: store.queue.cancel(job.id),
        "requeue": lambda: store.queue.requeue(job),
        "fail": lambda: store.queue.fail(job, "late"),
        "render": lambda: store.queue.render(job, pictures(a_request(seed=99)), None),
    }[move]
    files = store.files()
    assert bool(await moved()) is (move in moves)
    if move not in moves:
        assert await store.now(job) == job
        assert store.files() == files


async def test_cancelling_a_running_job_beats_the_pictures_that_come_after(store: Store) -> None:
    job = await store.running()
    assert await store.queue.cancel(job.id)
    assert not await store.queue.render(job, pictures(job.request), "weights")
    assert (await store.now(job)).status is JobStatus.CANCELLED
    assert store.files() == []
    assert not await store.queue.fail(job, "late")
    assert (await store.now(job)).reason is None


async def test_a_late_attempt_changes_nothing_while_the_next_one_paints(store: Store) -> None:
    late = await store.running()
    assert await store.queue.requeue(late)
    again = await store.queue.claim(late.id)
    assert again is not None
    assert again.attempt == 2
    assert not await store.queue.render(late, pictures(late.request), "weights")
    assert not await store.queue.fail(late, "late")
    assert not await store.queue.requeue(late)
    assert await store.now(late) == again
    assert store.files() == []


async def test_a_late_attempt_does_not_take_away_the_same_pictures_of_the_next_one(store: Store) -> None:
    late = await store.running(num_images_per_prompt=2)
    await store.queue.requeue(late)
    again = await store.queue.claim(late.id)
    assert again is not None
    images = pictures(late.request)
    assert await store.queue.render(again, images, "weights")
    assert not await store.queue.render(late, images, "weights"), "the same seeds paint the same bytes"
    assert await store.queue.images(late.id) == images
    assert sorted(Path(path).name for path in store.files()) == sorted(await store.names(late))


async def test_pictures_the_disk_refuses_leave_the_job_as_it_was(store: Store) -> None:
    job = await store.running()
    (store.folder / "pictures").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="could not be kept"):
        await store.queue.render(job, pictures(job.request), "weights")
    assert await store.now(job) == job


async def test_a_job_whose_attempt_was_cut_short_waits_again_with_its_turn_counted_once(store: Store) -> None:
    asked = await store.asked(seconds=4.0)
    job = await store.queue.claim(asked.id, 7.0, 6.0)
    assert job is not None
    assert await store.queue.requeue(job)
    (waiting,) = await store.waiting()
    assert (waiting.job_id, waiting.again) == (job.id, True)
    assert await store.queue.claim(job.id, 99.0, 98.0) is not None
    assert await store.starts() == [Start(job.id, ADA, NOON, 1, 4.0, 7.0, 6.0, settled=False, guild_id=GUILD)]


async def test_starts_are_of_the_last_hour_in_order_and_a_failure_is_a_turn_without_images(store: Store) -> None:
    first = await store.running(ADA, seconds=1.0)
    store.clock.forward(1)
    second = await store.delivered(GRACE, num_images_per_prompt=3)
    third = await store.failed(ADA)
    await store.cancelled(ADA)
    later = [(second.id, GRACE, NOON + timedelta(seconds=1), 3), (third.id, ADA, NOON + timedelta(seconds=1), 0)]
    starts = [(start.job_id, start.user_id, start.at, start.images) for start in await store.starts()]
    assert starts == [(first.id, ADA, NOON, 1), *later]
    assert [start.settled for start in await store.starts()] == [False, True, True]
    store.clock.now = NOON + timedelta(hours=1)
    assert [(start.job_id, start.user_id, start.at, start.images) for start in await store.starts()] == later


async def test_whoever_waits_says_how_much_work_that_is(store: Store) -> None:
    asked = [await store.asked(num_images_per_prompt=2), await store.asked(sampler="heun", guidance_scale=1.0)]
    shape = ("emoji", 128, 128)
    assert [job.work for job in await store.waiting()] == [Work(shape, 4, 20, 2), Work(shape, 1, 39, 1)]
    assert [job.request.work for job in asked] == [Work(shape, 4, 20, 2), Work(shape, 1, 39, 1)]


async def test_open_jobs_of_a_person_are_theirs_in_this_server_and_not_ended(store: Store) -> None:
    running = await store.running()
    queued = await store.asked()
    await store.asked(GRACE)
    await store.asked(ADA, guild=901)
    await store.delivered()
    await store.cancelled()
    assert ids(await store.queue.of_person(Requester(ADA, GUILD))) == [running.id, queued.id]
    assert ids(await store.queue.running()) == [running.id]


async def test_one_surface_never_sees_the_jobs_of_another(store: Store) -> None:
    await store.asked()
    await store.running()
    await store.rendered()
    await store.failed()
    other = store.queue_of(Surface.SANDBOX)
    seen = (
        await other.running(),
        await other.unposted(),
        await other.of_person(Requester(ADA, GUILD)),
    )
    assert seen == ([], [], [])
    everything = [row["id"] for row in await store.database.fetch_all("SELECT id FROM jobs")]
    touched = await QueueChanges(store.database, Surface.SANDBOX, store.clock).look(everything)
    assert (touched.waiting, touched.starts, touched.running) == ((), (), {})
    await other.recover()
    assert [
        len(await store.waiting()),
        len(await store.queue.running()),
        len(await store.queue.unposted()),
    ] == [1, 1, 2], "recovering one surface leaves the others alone"


STATES = ("queued", "unacknowledged", "running", "rendered", "delivered", "failed", "cancelled")


@pytest.mark.parametrize(
    ("surface", "after", "unposted"),
    [
        (
            Surface.DISCORD,
            {
                "queued": ("queued", None),
                "unacknowledged": ("queued", None),
                "running": ("queued", None),
                "rendered": ("rendered", None),
                "delivered": ("delivered", None),
                "failed": ("failed", "Out of memory."),
                "cancelled": ("cancelled", None),
            },
            {"rendered", "failed", "cancelled"},
        ),
        *(
            (
                surface,
                {
                    "queued": ("cancelled", "Atelier was stopped before this ended."),
                    "unacknowledged": ("cancelled", "Atelier was stopped before this ended."),
                    "running": ("cancelled", "Atelier was stopped before this ended."),
                    "rendered": ("failed", "Atelier was stopped before this ended."),
                    "delivered": ("delivered", None),
                    "failed": ("failed", "Out of memory."),
                    "cancelled": ("cancelled", "Atelier was stopped before this ended."),
                },
                set(),
            )
            for surface in (Surface.SANDBOX, Surface.TERMINAL)
        ),
    ],
    ids=["discord", "sandbox", "terminal"],
)
async def test_a_stop_loses_nothing_that_somebody_still_waits_for(
    tmp_path: Path, surface: Surface, after: dict[str, tuple[str, str | None]], unposted: set[str]
) -> None:
    jobs: dict[str, Job] = {}
    async with open_store(tmp_path, surface=surface) as store:
        for state in STATES:
            jobs[state] = (
                await store.asked(acknowledged=False) if state == "unacknowledged" else await in_state(store, state)
            )
    async with open_store(tmp_path, surface=surface) as store:
        for _ in range(2):
            await store.queue.recover()
            found = {state: await store.queue.get(job.id) for state, job in jobs.items()}
            assert {state: (job.status.value, job.reason) for state, job in found.items() if job is not None} == after
            outbox = ids(await store.queue.unposted())
            assert {state for state, job in jobs.items() if job.id in outbox} == unposted
        again = [job.job_id for job in await store.waiting() if job.again]
        assert again == ([jobs["running"].id] if surface is Surface.DISCORD else [])


async def test_what_nobody_noted_a_message_for_is_found_and_settled(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        noted, asked = await store.asked(), await store.asked(acknowledged=False)
        cancelled, running = await store.asked(acknowledged=False), await in_state(store, "running")
        await store.queue.cancel(cancelled.id)
        assert await store.queue.unacknowledged(asked.asked_at) == [], "only those of earlier runs"
        later = store.clock() + timedelta(seconds=1)
        assert ids(await store.queue.unacknowledged(later)) == [asked.id, cancelled.id]
        await store.queue.place_message(asked.id, MessageId(77))
        for job in (cancelled, running):
            await store.queue.withdraw(job.id)
        assert await store.queue.unacknowledged(later) == []
        assert await store.queue.get(cancelled.id) is None
        assert await store.queue.get(running.id) is not None
        assert await store.queue.get(noted.id) is not None
        assert await store.queue.shown_by(MessageId(77)) == [asked.id]
        assert await store.queue.shown_by(MessageId(78)) == []
        posts = await store.database.fetch_all("SELECT id FROM posts")
        assert len(posts) == len(await store.database.fetch_all("SELECT 1 FROM jobs")), "a post goes with its last job"


async def test_a_repost_is_known_to_have_begun_before(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        job = await in_state(store, "rendered")
        began = store.clock()
        assert await store.queue.repost(job) is None
        store.clock.now += timedelta(minutes=5)
        assert await store.queue.repost(job) == began


async def test_a_message_shows_all_the_jobs_of_its_post(store: Store) -> None:
    first, second, other = await store.delivered(), await store.delivered(seed=8), await store.delivered(GRACE)
    (post,) = await store.database.fetch_all("SELECT post_id FROM jobs WHERE id = ?", (first.id,))
    await store.database.execute("UPDATE jobs SET post_id = ? WHERE id = ?", (post["post_id"], second.id))
    message_id = (await store.now(second)).destination.message_id
    assert message_id is not None
    assert await store.queue.shown_by(message_id) == [first.id, second.id]

    assert await store.ratings.add(message_id, UserId(9), "👍")
    rated = await store.database.fetch_all("SELECT jobs.id FROM jobs JOIN ratings USING (post_id) ORDER BY jobs.id")
    assert [row["id"] for row in rated] == [first.id, second.id], "the reaction is for both"

    _, jobs, _ = await store.removals.remove(By(GUILD, MODERATOR), message_id)
    assert ids(jobs) == ids(await store.removals.owed()) == [first.id, second.id]
    assert not await store.queue.has_images(second.id)
    assert await store.queue.has_images(other.id)
    assert len(store.files()) == 1


async def test_what_was_promised_is_kept_and_what_is_said_since_is_beside_it(store: Store) -> None:
    first, second, third = [await store.asked(user) for user in (ADA, GRACE, UserId(3))]
    for job, seconds in ((first, 10), (second, 10), (third, 100)):
        at = NOON + timedelta(seconds=seconds)
        await store.queue.promise(job.id, at, Queued(2, at))
    await store.queue.state(second.id, Queued(1, None))
    assert [job.said for job in await store.waiting()] == [
        Queued(2, NOON + timedelta(seconds=10)),
        Queued(1, None),
        Queued(2, NOON + timedelta(seconds=100)),
    ]
    for seconds, job in ((15, first), (10, second), (5, third)):
        store.clock.forward(seconds)
        assert await store.queue.claim(job.id) is not None
    # 10 s told and 15 waited; 10 and 25, whatever was said meanwhile; 100 and 30.
    report = await Reports(store.folder / "atelier.db", None, store.clock).report(GUILD, Period.DAY)
    assert (report.promises.told, report.promises.kept) == (3, 1)
    await store.queue.state(first.id, Queued(9, None))
    rows = await store.database.fetch_all("SELECT stated_place FROM jobs ORDER BY id")
    assert [row["stated_place"] for row in rows] == [2, 1, 2], "nothing is said of a wait that is over"


async def test_a_result_that_is_removed_while_it_is_posted_is_noted_again(store: Store) -> None:
    job = await store.rendered()
    assert job.destination.message_id is not None
    await store.removals.remove(By(GUILD, MODERATOR), job.destination.message_id)
    await store.removals.noted(job)
    await store.queue.posted(job, None)
    assert ids(await store.removals.owed()) == [job.id], "the post may have shown the pictures again"
    assert await store.queue.images(job.id) == ()
    await store.removals.noted(job)
    assert await store.removals.owed() == []
