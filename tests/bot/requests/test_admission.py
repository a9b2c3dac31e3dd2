"""The gate: a request comes in, a job or a reasoned refusal comes out."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.app import open_app
from bot.config import EMBEDDED_MODEL, BillConfig, Config, LimitsConfig, ModelConfig
from bot.engine.catalog import Catalog
from bot.engine.fake import FakeEngine, flat_image
from bot.engine.timing import STEP
from bot.errors import Rejected, StorageError, UserError
from bot.jobs import (
    Destination,
    GuildId,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Requester,
    RoleId,
    Scope,
    Surface,
    Upload,
    to_text,
)
from bot.policy.limits import BLOCKED, PAUSED, SERVER
from bot.policy.policy import Allowance, Policy
from bot.queue.engine_forecast import seconds_of
from bot.queue.line import Line
from bot.requests.admission import Admission, Admitted
from bot.requests.options import Options
from bot.requests.resolve import usual_request
from bot.requests.shapes import aspect_size
from bot.requests.vocabulary import Vocabulary
from tests.bot.storage.conftest import (
    ADA,
    CHANNEL,
    GRACE,
    GUILD,
    NOON,
    HandClock,
    Store,
    ids,
    open_store,
    pictures,
)

OTHER = ModelConfig(name="other", source="org/other")
ME = Requester(ADA, GUILD)
KNOWS = Vocabulary(frozenset({"cat"}), frozenset({"a"}), frozenset(), {"puma": ("cat",)})


@dataclass
class Gate:
    """Admission on a real database, with the clock in our hand and the engine's part played by us."""

    store: Store
    policy: Policy
    line: Line
    admission: Admission
    engine: FakeEngine

    async def ask(
        self,
        prompt: str = "a cat",
        *,
        who: Requester = ME,
        interaction_id: int | None = None,
        acknowledged: bool = True,
        images: int | None = None,
        model: str | None = None,
        image: Upload | None = None,
    ) -> Admitted | None:
        options = Options(prompt, images=images, model=model, image=image)
        quote = await self.admission.quote(who, options, Destination(CHANNEL))
        admitted = await self.admission.admit(quote, interaction_id=interaction_id)
        if admitted is not None and acknowledged:
            await self.store.queue.place_message(admitted.job.id, MessageId(5000 + admitted.job.id))
        return admitted

    async def refused(self, **request: object) -> Rejected:
        before = [job.job_id for job in await self.store.waiting()]
        with pytest.raises(Rejected) as refusal:
            await self.ask(**request)  # type: ignore[arg-type]
        assert [job.job_id for job in await self.store.waiting()] == before, "a refused request leaves no job"
        return refusal.value

    async def allowance(self) -> Allowance:
        return await self.policy.allowance(await self.policy.ruling(ME, (CHANNEL,)))

    async def paint(self, *, seconds: float = 0.0) -> Job:
        """Paint the next request, starting at its turn."""
        turn = await self.line.next()
        assert turn is not None
        self.store.clock.now = max(self.store.clock(), turn.starts_at)
        job = await self.store.queue.claim(turn.job_id)
        assert job is not None
        self.store.clock.forward(seconds)
        assert await self.store.queue.render(job, pictures(job.request), None)
        return await self.store.now(job)

    async def start_whoever_may(self) -> None:
        """Claim every job whose turn has come, as the dispatcher would."""
        while (turn := await self.line.next()) is not None and turn.starts_at <= self.store.clock():
            assert await self.store.queue.claim(turn.job_id) is not None


def gate_of(store: Store, **limits: int) -> Gate:
    engine = FakeEngine()
    usual = usual_request(EMBEDDED_MODEL).work
    policy = store.policy(LimitsConfig(**limits), lambda: seconds_of(usual, engine.timings))
    line = Line(store.changes, policy, engine, store.clock)
    return Gate(
        store,
        policy,
        line,
        Admission(
            store.queue,
            store.pictures,
            policy,
            store.refusals,
            line,
            engine,
            (EMBEDDED_MODEL, OTHER),
            Catalog((EMBEDDED_MODEL, OTHER)),
            {EMBEDDED_MODEL.name: KNOWS},
            BillConfig(),
            store.clock,
        ),
        engine,
    )


def a_picture_takes(seconds: float, gate: Gate) -> Gate:
    """Let the engine be known to take so long for every usual picture."""
    work = usual_request(EMBEDDED_MODEL).work
    for rows in (work.rows, 2 * work.rows):
        gate.engine.timings.record(work.shape, STEP, rows, seconds * rows / work.rows / work.forwards)
    return gate


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


async def test_an_accepted_request_is_a_row_with_a_place_and_a_time(store: Store) -> None:
    gate = gate_of(store)
    work = usual_request(EMBEDDED_MODEL).work
    gate.engine.timings.record(work.shape, STEP, work.rows, 6 / work.forwards)
    first = await gate.ask(who=Requester(GRACE, GUILD))
    admitted = await gate.ask("a cat --seed 7 --steps 999", interaction_id=5)
    assert first is not None
    assert admitted is not None
    job = await store.now(admitted.job)
    assert (job.status, job.requester, job.request.seed) == (JobStatus.QUEUED, ME, 7)
    assert admitted.notes == ("steps 999 became 150 (it goes from 1 to 150)",)
    assert (first.place, first.starts_at) == (1, store.clock())
    assert (admitted.place, admitted.starts_at) == (2, store.clock() + timedelta(seconds=6))


async def test_a_request_that_makes_no_sense_is_refused_and_uses_nothing_up(store: Store) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=1))
    with pytest.raises(UserError, match="There is no flag"):
        await gate.ask("a cat --stepz 1", interaction_id=5)
    assert await gate.ask(interaction_id=5) is not None


async def test_the_pictures_of_an_accepted_request_are_kept_before_its_row_names_them(store: Store) -> None:
    gate = gate_of(store)
    data = flat_image(7, 32, 16).png
    upload = Upload(data, 32, 16, hashlib.sha256(data).hexdigest())
    with pytest.raises(UserError, match="There is no flag"):
        await gate.ask("a cat --stepz 1", image=upload)
    assert store.files() == [], "what is refused is not kept"

    admitted = await gate.ask(image=upload)
    assert admitted is not None
    request = (await store.now(admitted.job)).request
    assert (request.image, request.strength) == (upload.sha256, 0.75)
    assert (request.width, request.height) == aspect_size("2:1", EMBEDDED_MODEL)
    assert await store.pictures.read(request.uploads) == {upload.sha256: data}


async def test_a_request_is_not_accepted_where_its_picture_cannot_be_kept(store: Store) -> None:
    gate = gate_of(store)
    (store.folder / "pictures").write_text("in the way")
    with pytest.raises(StorageError, match="could not be kept"):
        await gate.ask(image=Upload(b"picture", 16, 16, hashlib.sha256(b"picture").hexdigest()))
    assert await store.waiting() == []


async def test_the_same_interaction_twice_makes_one_job(store: Store) -> None:
    gate = gate_of(store, depth=1)
    first = await gate.ask(interaction_id=5)
    assert first is not None
    assert await gate.ask(interaction_id=5) is None, "and a repeat is no refusal, although the queue is full"
    assert ids(await store.waiting()) == [first.job.id]


async def test_a_full_queue_is_refused_until_the_oldest_request_starts(store: Store) -> None:
    gate = gate_of(store, depth=2, pace=1)
    await gate.ask()
    await gate.paint()
    await gate.ask()
    await gate.ask()
    refusal = await gate.refused()
    assert str(refusal) == "Your queue is full: 2 of 2 requests wait ({origin host})."
    assert (refusal.rule, refusal.retry_at) == ("depth", NOON + timedelta(seconds=60))

    store.clock.now = refusal.retry_at - timedelta(seconds=1)
    await gate.start_whoever_may()
    await gate.refused()
    store.clock.now = refusal.retry_at
    await gate.start_whoever_may()
    assert await gate.ask() is not None


async def test_a_full_queue_behind_others_says_when_its_first_turn_comes(store: Store) -> None:
    gate = gate_of(store, depth=1)
    a_picture_takes(10, gate)
    await gate.ask(who=Requester(GRACE, GUILD))
    await gate.ask()
    assert (await gate.refused()).retry_at == store.clock() + timedelta(seconds=10)


async def test_a_queue_that_is_longer_than_a_new_limit_says_when_enough_of_it_has_started(store: Store) -> None:
    gate = a_picture_takes(10, gate_of(store, depth=6, pace=100))
    for _ in range(6):
        await gate.ask()
    await store.rule(GUILD, SERVER, depth=3)
    assert (await gate.refused()).retry_at == store.clock() + timedelta(seconds=30)


async def test_who_fills_a_queue_at_once_hears_when_a_place_frees_as_well(store: Store) -> None:
    gate = gate_of(store, depth=2)
    answers = await asyncio.gather(*(gate.ask() for _ in range(6)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Rejected)]
    assert [refusal.rule for refusal in refusals] == ["depth"] * 4
    assert all(refusal.retry_at is not None for refusal in refusals)


async def test_a_full_queue_is_not_emptied_by_a_turn_on_another_server(store: Store) -> None:
    gate = gate_of(store, depth=1)
    elsewhere = Requester(ADA, GuildId(901))
    a_picture_takes(10, gate)
    await gate.ask(who=elsewhere)
    store.clock.forward(1)
    await gate.ask()
    refusal = await gate.refused()
    assert refusal.retry_at == store.clock() + timedelta(seconds=10), "the other server's is painted first"
    await gate.paint(seconds=10)
    assert refusal.retry_at == store.clock()
    await gate.start_whoever_may()
    assert await gate.ask() is not None


async def test_depth_counts_one_person_on_one_server_and_only_what_waits(store: Store) -> None:
    gate = gate_of(store, depth=1)
    await gate.ask()
    await gate.refused()
    assert await gate.ask(who=Requester(GRACE, GUILD)) is not None
    assert await gate.ask(who=Requester(ADA, GuildId(901))) is not None
    await gate.paint()
    assert await gate.ask() is not None


async def test_a_job_nobody_was_told_of_yet_counts_too(store: Store) -> None:
    gate = gate_of(store, depth=1)
    await gate.ask(acknowledged=False)
    assert (await gate.refused()).rule == "depth"


async def test_the_quota_is_refused_until_enough_of_it_comes_back(store: Store) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=6, depth=9))
    for images in (2, 1, 3):
        await gate.ask(images=images)
        store.clock.forward(3600)
    refusal = await gate.refused(images=3)
    assert str(refusal) == (
        "Not enough of your quota is left: this takes about 3 s of painting time, and 0 s of 6 s in 24 hours is left "
        "({origin host})."
    )
    assert (refusal.rule, refusal.retry_at) == ("quota", NOON + timedelta(hours=25)), "the 2 and the 1 come back"
    assert (await gate.refused(images=1)).retry_at == NOON + timedelta(hours=24)

    store.clock.now = refusal.retry_at - timedelta(seconds=1)
    await gate.refused(images=3)
    store.clock.now = refusal.retry_at
    assert await gate.ask(images=3) is not None


async def test_a_clock_that_is_set_back_a_day_and_put_right_again_gives_nobody_more(store: Store) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=3, depth=9))
    assert await gate.ask(images=3) is not None
    for days in (-1, 1):
        store.clock.forward(days * 24 * 3600)
        assert (await gate.refused(images=1)).rule == "quota"


@pytest.mark.parametrize(("quota", "images", "fits"), [(3, 3, True), (3, 4, False), (1, 1, True)])
async def test_the_quota_may_be_used_to_the_last_image(store: Store, quota: int, images: int, fits: bool) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=quota))
    if fits:
        assert await gate.ask(images=images) is not None
    else:
        refusal = await gate.refused(images=images)
        assert str(refusal) == (
            "This takes about 4 s of painting time, more than your quota of 3 s in 24 hours ({origin host}): "
            "ask for fewer or smaller pictures, or for fewer steps."
        )
        assert refusal.retry_at is None, "it will never work"


@pytest.mark.parametrize("ending", ["failed", "cancelled before the start", "cancelled while painting", "delivered"])
async def test_failures_and_what_was_cancelled_before_its_start_give_quota_back(store: Store, ending: str) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=2))
    admitted = await gate.ask(images=2)
    assert admitted is not None
    if ending != "cancelled before the start":
        running = await store.queue.claim(admitted.job.id)
        assert running is not None
        if ending == "failed":
            await store.queue.fail(running, "Out of memory.")
        elif ending == "delivered":
            await store.queue.render(running, pictures(running.request), None)
    if ending.startswith("cancelled"):
        # What it used until then counts, and that was next to nothing.
        await store.queue.cancel(admitted.job.id, 0.0)

    if ending in ("failed", "cancelled before the start", "cancelled while painting"):
        assert await gate.ask(images=2) is not None
    else:
        assert (await gate.refused(images=1)).rule == "quota"


async def test_a_moderators_rule_holds_from_the_next_request_and_survives_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        gate = gate_of(store)
        await gate.ask()
        await store.rule(GUILD, SERVER, depth=1)
        assert str(await gate.refused()) == "Your queue is full: 1 of 1 requests wait ({origin server})."
    async with open_store(tmp_path) as store:
        gate = gate_of(store)
        assert (await gate.refused()).rule == "depth"
        await store.rule(GUILD, (Scope.PERSON, ADA), depth=2)
        await gate.ask()
        assert str(await gate.refused()) == "Your queue is full: 2 of 2 requests wait ({origin person:1})."
        await store.no_rule(GUILD, (Scope.PERSON, ADA), "depth")
        await store.no_rule(GUILD, SERVER, "depth")
        assert await gate.ask() is not None


@pytest.mark.parametrize(
    ("limits", "accepted"), [({"depth": 5}, 5), ({"depth": 50, "quota": 7}, 7), ({"depth": 3, "quota": 2}, 2)]
)
async def test_twenty_requests_at_once_never_exceed_depth_or_quota(
    store: Store, limits: dict[str, int], accepted: int
) -> None:
    gate = a_picture_takes(1, gate_of(store, **limits))
    ended = await asyncio.gather(*(gate.ask(interaction_id=n) for n in range(20)), return_exceptions=True)
    jobs = [end for end in ended if isinstance(end, Admitted)]
    assert [type(end) for end in ended if not isinstance(end, Admitted)] == [Rejected] * (20 - accepted)
    assert sorted(job.job.id for job in jobs) == sorted(ids(await store.waiting()))
    assert len(jobs) == accepted


async def test_an_interaction_repeated_at_once_makes_one_job(store: Store) -> None:
    gate = gate_of(store)
    made = [job for job in await asyncio.gather(*(gate.ask(interaction_id=5) for _ in range(20))) if job is not None]
    assert [admitted.job.id for admitted in made] == ids(await store.waiting())
    assert len(made) == 1


async def test_a_model_that_no_lane_has_is_refused(store: Store) -> None:
    gate = gate_of(store)
    gate.engine.missing = {EMBEDDED_MODEL.name}
    with pytest.raises(Rejected, match=f"No engine has the model {EMBEDDED_MODEL.name}"):
        await gate.ask()
    assert await store.waiting() == []


@pytest.mark.parametrize(
    ("troubled", "asked", "refused"),
    [("", "emoji", True), ("", "other", True), ("other", "other", True), ("other", "emoji", False)],
)
async def test_an_engine_in_trouble_refuses_what_it_cannot_paint(
    store: Store, troubled: str, asked: str, refused: bool
) -> None:
    gate = gate_of(store)
    gate.engine.trouble(troubled, "the GPU is gone.")
    if refused:
        refusal = await gate.refused(model=asked)
        assert (str(refusal), refusal.rule) == ("Painting is unavailable: the GPU is gone.", "engine")
        assert refusal.retry_at is None
    else:
        assert await gate.ask(model=asked) is not None


async def test_the_assembled_house_admits_by_the_hosts_limits(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", limits=LimitsConfig(depth=1))
    clock = HandClock()
    async with open_app(config, Surface.DISCORD, engine=FakeEngine(), clock=clock) as app:
        quote = await app.admission.quote(ME, Options("a cat"), Destination(CHANNEL))
        admitted = await app.admission.admit(quote)
        assert admitted is not None
        assert admitted.job.asked_at == NOON
        with pytest.raises(Rejected, match="1 of 1 requests wait"):
            await app.admission.admit(quote)


async def test_a_word_the_model_does_not_know_is_named_and_painted_all_the_same(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        gate = gate_of(store)
        admitted = await gate.ask("a puma")
        assert admitted is not None
        assert admitted.notes == ("This small model can't draw “puma”. Try: cat.",)
        elsewhere = await gate.ask("a puma", model="other")
        assert elsewhere is not None
        assert elsewhere.notes == ()


@pytest.mark.parametrize(
    ("subject", "rule", "asked", "words", "name"),
    [
        (SERVER, {BLOCKED: None}, {}, None, None),
        ((Scope.PERSON, 2), {BLOCKED: None}, {}, None, None),
        ((Scope.PERSON, 1), {BLOCKED: None}, {}, "A moderator blocked you on this server", "block"),
        (SERVER, {PAUSED: True}, {}, "A moderator paused painting for this server.", "pause"),
        ((Scope.CHANNEL, 700), {PAUSED: True}, {}, "A moderator paused painting for {subject channel:700}.", "pause"),
        ((Scope.CHANNEL, 701), {PAUSED: True}, {}, None, None),
        (
            SERVER,
            {"channels": (701,)},
            {},
            "You cannot ask for pictures in this channel ({origin server})",
            "channels",
        ),
        (SERVER, {"channels": ()}, {}, "You cannot ask for pictures in any channel", "channels"),
        (SERVER, {"channels": (700,)}, {}, None, None),
        (SERVER, {"models": ()}, {}, "No model is allowed here ({origin server}).", "models"),
        (SERVER, {"models": ("gone",)}, {}, "No model is allowed here", "models"),
        (SERVER, {"models": ("other",)}, {"model": "emoji"}, "Choose from: other.", "models"),
        (SERVER, {"pixels": 64}, {}, "the model emoji cannot paint such small ones", "pixels"),
    ],
)
async def test_a_moderators_rule_refuses_with_its_name_and_origin_and_is_noted(
    store: Store, subject: tuple[Scope, int], rule: dict, asked: dict, words: str | None, name: str | None
) -> None:
    gate = gate_of(store)
    await store.rule(GUILD, subject, **rule)
    if words is None:
        assert await gate.ask(**asked) is not None
        return
    refusal = await gate.refused(**asked)
    assert words in str(refusal)
    (noted,) = await store.refusals.of_person(ME, 9)
    assert (noted.rule, noted.origin, noted.at) == (name, refusal.origin, NOON)
    assert await store.refusals.of_person(Requester(ADA, GuildId(901)), 9) == []


async def test_what_has_a_smaller_meaning_is_made_smaller_with_the_rule_that_says_so(store: Store) -> None:
    gate = gate_of(store)
    await store.rule(GUILD, (Scope.ROLE, 50), steps=10, images=1, pixels=64 * 64, models=("emoji",))
    who = Requester(ADA, GUILD, (RoleId(50),))
    admitted = await gate.ask("a cat", who=who, images=3)
    assert admitted is not None
    request = admitted.job.request
    made = (request.num_inference_steps, request.num_images_per_prompt, request.width, request.height)
    assert made == (10, 1, 64, 64)
    assert admitted.notes == (
        "size 128×128 became 64×64 (up to 4,096 pixels: {origin role:50}); "
        f"steps: 10 instead of {EMBEDDED_MODEL.steps} ({{origin role:50}}); "
        "you asked for 3 pictures and get 1, the most here ({origin role:50})",
    )
    assert (await store.now(admitted.job)).requester.roles == (50,)


async def test_the_first_model_that_is_allowed_is_the_default(store: Store) -> None:
    gate = gate_of(store)
    await store.rule(GUILD, SERVER, models=("other",))
    admitted = await gate.ask()
    assert admitted is not None
    assert admitted.job.request.model == "other"
    assert "model became other ({origin server})" in admitted.notes


async def test_a_block_with_an_end_says_when_and_ends_then(store: Store) -> None:
    gate = gate_of(store)
    until = NOON + timedelta(hours=1)
    await store.rule(GUILD, (Scope.PERSON, ADA), blocked=to_text(until))
    assert (await gate.refused()).retry_at == until
    store.clock.now = until
    assert await gate.ask() is not None


async def test_a_quota_that_was_reset_counts_from_then_on(store: Store) -> None:
    gate = a_picture_takes(1, gate_of(store, quota=2))
    await gate.ask(images=2)
    store.clock.forward(60)
    assert (await gate.refused()).rule == "quota"
    await store.rule(GUILD, (Scope.PERSON, ADA), quota_from=to_text(store.clock()))
    store.clock.forward(1)
    await gate.ask(images=2)
    assert (await gate.refused()).rule == "quota"


async def test_a_refusal_forgets_whom_it_met_after_a_month(store: Store) -> None:
    gate = gate_of(store, depth=1)
    await gate.ask()
    await gate.refused()
    store.clock.forward(31 * 86400)
    await gate.refused(who=ME)
    rows = await store.database.fetch_all("SELECT user_id, rule, asked, allowed FROM refusals ORDER BY id")
    assert [tuple(row) for row in rows] == [(0, "depth", 2.0, 1.0), (ADA, "depth", 2.0, 1.0)]


async def test_what_was_held_becomes_what_was_used(store: Store) -> None:
    gate = gate_of(store, quota=40)
    a_picture_takes(10, gate)
    admitted = await gate.ask(images=1)
    assert admitted is not None
    assert (await gate.allowance()).used == pytest.approx(10)
    running = await store.queue.claim(admitted.job.id)
    assert running is not None
    await store.queue.render(running, pictures(running.request), None, 4.0)
    allowance = await gate.allowance()
    assert (allowance.used, allowance.left) == pytest.approx((4, 36))
    assert allowance.fits_at(36) is None, "it does now"
    assert allowance.fits_at(37) == NOON + timedelta(hours=24)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "claim", "render", "fail", "cancel", "requeue", "post", "give up", "day"]),
        st.integers(0, 5),
        st.integers(1, 4),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_never_exceeds_the_quota_and_refunds_once(
    tmp_path_factory: pytest.TempPathFactory, steps: Any
) -> None:
    """Any history, with every move tried twice, beside a ledger kept by hand."""
    asyncio.run(_keep_books(tmp_path_factory.mktemp("books"), steps))


async def _keep_books(folder: Path, steps: list[tuple[str, int, int]]) -> None:
    async with open_store(folder) as store:
        gate = gate_of(store, quota=80, depth=1000)
        a_picture_takes(10, gate)
        books: dict[int, tuple[datetime, float]] = {}
        for what, which, images in steps:
            if what == "day":
                store.clock.forward(images * 6 * 3600)
            if what == "ask":
                ended = await asyncio.gather(*(gate.ask(images=images) for _ in range(3)), return_exceptions=True)
                for end in ended:
                    assert isinstance(end, Admitted | Rejected)
                    if isinstance(end, Admitted):
                        row = await store.database.fetch_one(
                            "SELECT held_seconds FROM jobs WHERE id = ?", (end.job.id,)
                        )
                        assert row is not None
                        books[end.job.id] = (end.job.asked_at, row["held_seconds"])
            if not books:
                continue
            job = await store.queue.get(JobId(sorted(books)[which % len(books)]))
            assert job is not None
            for again in (False, True):
                charged: float | None = None
                if what == "claim":
                    await store.queue.claim(job.id)
                elif what == "render" and await store.queue.render(job, pictures(job.request), None, 3.0):
                    charged = 3.0
                elif what == "fail" and await store.queue.fail(job, "no", 2.0):
                    charged = 0.0
                elif what == "cancel" and await store.queue.cancel(job.id, 1.0):
                    charged = 1.0
                elif what == "requeue":
                    await store.queue.requeue(job)
                elif what == "post" and job.status is JobStatus.RENDERED:
                    await store.queue.posted(job, None)
                elif what == "give up" and job.status is JobStatus.RENDERED:
                    await store.queue.give_up(job, "gone")
                    charged = 0.0
                assert charged is None or not again or what == "give up", "no move is made twice"
                if charged is not None:
                    books[job.id] = (job.asked_at, charged)
            allowance = await gate.allowance()
            since = store.clock() - timedelta(hours=24)
            assert allowance.used == pytest.approx(sum(amount for at, amount in books.values() if at > since))
            assert allowance.used <= allowance.quota + 1e-6


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_accepted_is_never_refused_by_a_quota_that_did_not_change(store: Store, seed: int) -> None:
    """People ask to the brim, things take longer than thought, fail, are cut short and cancelled, and days pass."""
    gate, chance = a_picture_takes(5, gate_of(store, quota=23, depth=100, pace=10_000)), random.Random(seed)
    running: list[Job] = []
    judged = refused = 0
    for _ in range(400):
        match chance.choice(["ask", "ask", "ask", "start", "start", "end", "end", "wait"]):
            case "ask":
                try:
                    await gate.ask(images=chance.choice([1, 2]))
                except Rejected:
                    refused += 1
            case "start":
                turn = await gate.line.next()
                job = turn and await store.queue.claim(turn.job_id, turn.at, turn.clock)
                if job is not None:
                    assert await gate.policy.objection(job) is None
                    judged += 1
                    running.append(job)
            case "end" if running:
                job = running.pop(chance.randrange(len(running)))
                match chance.choice(["render", "render", "fail", "cancel", "requeue"]):
                    case "render":
                        await store.queue.render(job, pictures(job.request), None, chance.uniform(1, 12))
                    case "fail":
                        await store.queue.fail(job, "no")
                    case "cancel":
                        await store.queue.cancel(job.id, chance.uniform(0, 12))
                    case "requeue":
                        await store.queue.requeue(job)
            case "wait":
                store.clock.forward(chance.choice([60, 18 * 3600, -5 * 3600]))
    assert judged > 12
    assert refused > 5


async def test_a_quota_lowered_mid_queue_refuses_what_no_longer_fits_and_says_when_it_will(store: Store) -> None:
    gate = a_picture_takes(5, gate_of(store, quota=100, depth=100, pace=10_000))
    for _ in range(4):
        assert await gate.ask() is not None
        store.clock.forward(60)
    jobs = []
    while turn := await gate.line.next():
        job = await store.queue.claim(turn.job_id, turn.at, turn.clock)
        assert job is not None
        jobs.append(job)
        if len(jobs) == 1:
            assert await gate.policy.objection(job) is None
            await store.queue.render(job, pictures(job.request), None, 7.0)
            await store.rule(GUILD, SERVER, quota=11)
            continue
        refusal = await gate.policy.objection(job)
        if len(jobs) == 2:
            assert refusal is None, "ten of eleven: what was painted took longer than thought, but that refuses nothing"
            continue
        assert refusal is not None
        assert (refusal.rule, refusal.origin, refusal.allowed) == ("quota", "server", 11)
        assert "it takes about 5 s of painting time, and 1 s of your quota of 11 s in 24 hours is left" in str(refusal)
        assert refusal.retry_at == jobs[0].asked_at + timedelta(hours=24)
        await store.queue.fail(job, str(refusal))
    assert len(jobs) == 4
    await store.rule(GUILD, SERVER, quota=4)
    await gate.store.asked(ADA, seconds=5.0)
    turn = await gate.line.next()
    job = turn and await store.queue.claim(turn.job_id, turn.at, turn.clock)
    assert job is not None
    never = await gate.policy.objection(job)
    assert never is not None
    assert "it takes about 5 s of painting time, more than your quota of 4 s in 24 hours" in str(never)
    assert never.retry_at is None


async def test_a_quote_for_the_options_of_another_is_about_the_same_pictures(store: Store) -> None:
    gate = gate_of(store)
    first = await gate.admission.quote(ME, Options("a cat --steps 5", images=2), Destination(CHANNEL))
    again = await gate.admission.quote(ME, first.options, Destination(CHANNEL))
    admitted = await gate.admission.admit(again)
    assert admitted is not None
    assert first.request == again.request == (await store.now(admitted.job)).request
    assert (first.seconds, first.fits, first.is_big) == (again.seconds, True, False)


@pytest.mark.parametrize(("limits", "rule"), [({"depth": 1}, "depth"), ({"quota": 3}, "quota")])
async def test_a_quote_holds_nothing_and_what_it_no_longer_fits_into_refuses_it(
    store: Store, limits: dict[str, int], rule: str
) -> None:
    gate = a_picture_takes(2, gate_of(store, **limits))
    quotes = [await gate.admission.quote(ME, Options("a cat"), Destination(CHANNEL)) for _ in range(2)]
    assert [quote.fits for quote in quotes] == [True, True]
    assert await gate.admission.admit(quotes[0]) is not None
    with pytest.raises(Rejected) as refusal:
        await gate.admission.admit(quotes[1])
    assert refusal.value.rule == rule
    assert [noted.rule for noted in await store.refusals.of_person(ME, 9)] == [rule]
