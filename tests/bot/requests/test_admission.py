"""The gate: a request comes in, a job or a reasoned refusal comes out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.app import open_app
from bot.config import EMBEDDED_MODEL, Config, LimitsConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.engine.timing import STEP
from bot.errors import Rejected, StorageError, UserError
from bot.jobs import (
    Destination,
    GuildId,
    JobStatus,
    Requester,
    RoleId,
    Scope,
    Surface,
    Upload,
    to_text,
)
from bot.policy.limits import BLOCKED, PAUSED, SERVER
from bot.requests.options import Options
from bot.requests.resolve import usual_request
from bot.requests.shapes import aspect_size
from tests.bot.requests.gates import ME, a_picture_takes, gate_of
from tests.bot.storage.conftest import ADA, CHANNEL, GRACE, GUILD, NOON, HandClock, Store, ids, open_store


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
