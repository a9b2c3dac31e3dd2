"""Storyboards whose panels start from the picture of the first: they wait for it, keep following, or go on without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.config import Config, LimitsConfig
from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed
from bot.jobs import Job, JobId, JobStatus, Operation, PictureRef
from tests.cogs.test_storyboards import accepted, bill, board, last, panel
from tests.conftest import Workshop

ALONE = "-# Panel 1 has no picture, so the others are painted from their words alone."


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=10**4, quota=10**6, depth=2))


@pytest.fixture
def engine() -> FakeEngine:
    # With one place the others would have to wait for the first anyway.
    return FakeEngine(slots=4)


async def picture(workshop: Workshop, job: Job) -> str:
    return (await workshop.app.queue.pictures(job.id))[0].sha256


@pytest.mark.parametrize("after_restart", [False, True])
async def test_the_other_panels_wait_for_the_first_and_start_from_its_picture(
    workshop: Workshop, engine: FakeEngine, after_restart: bool
) -> None:
    ada = workshop.member("ada")
    engine.open.clear()
    asked = await bill(workshop, ada, strength="0.7")
    assert "start from the picture of panel 1, at strength 0.7, and wait for it." in asked.response.content
    await ada.click(asked.response, label="Paint all")
    await workshop.seen(lambda: engine.held)
    assert board(workshop).content.count("🕓 waits for panel 1") == 2
    if after_restart:
        await workshop.restart()
        await workshop.seen(lambda: engine.held)
    assert {order.request.prompt for order in engine.orders} == {"a fox wakes, ink"}
    engine.open.set()
    first, *others = await workshop.ended(3)
    assert {(job.request.image, job.request.operation) for job in others} == {
        (await picture(workshop, first), Operation.IMAGE2IMAGE)
    }
    assert [job.request.strength for job in others] == [0.7, 0.7]
    assert [job.request.seed - first.request.seed for job in others] == [1, 2]
    for job in others:
        assert await workshop.app.lineage.sources(job.id) == (PictureRef(first.id, 1),)
    message = await workshop.seen(lambda: board(workshop) if board(workshop).content.count("seed") == 3 else None)
    assert "-# The others start from the picture of panel 1, at strength 0.7." in message.content


async def test_the_others_go_on_alone_when_the_first_fails_and_when_it_is_cancelled(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada = workshop.member("ada")
    engine.raises = [PaintFailed("The picture is too explicit.")]
    await accepted(workshop, ada, strength="0.5")
    first, *others = await workshop.ended(3)
    assert first.status is JobStatus.FAILED
    for job in others:
        assert job.status is JobStatus.DELIVERED
        assert (job.request.operation, job.request.strength, job.request.image) == (Operation.TEXT2IMAGE, 1.0, "")
        assert await workshop.app.lineage.sources(job.id) == ()
    await workshop.seen(lambda: ALONE in board(workshop).content)
    engine.open.clear()
    await accepted_again(workshop, ada)
    fourth = (await workshop.jobs())[3]
    assert await workshop.app.dispatcher.cancel(fourth.id)
    engine.open.set()
    assert [job.status for job in (await workshop.ended(6))[4:]] == [JobStatus.DELIVERED] * 2


async def costs(workshop: Workshop) -> list[tuple[float, float]]:
    """What the panels of a storyboard cost: megapixel-steps, and the seconds that were held for them."""
    rows = await workshop.app.database.fetch_all("SELECT cost, held_seconds FROM jobs ORDER BY id")
    return [(row["cost"], row["held_seconds"]) for row in rows]


@pytest.mark.parametrize("ending", ["cancelled", "withdrawn"])
async def test_a_panel_that_is_painted_alone_costs_what_all_of_its_steps_cost(
    workshop: Workshop, engine: FakeEngine, ending: str
) -> None:
    ada = workshop.member("ada")
    engine.open.clear()
    await accepted(workshop, ada, strength="0.3")
    await workshop.seen(lambda: engine.held)
    (whole, held), *parts = await costs(workshop)
    for cost, seconds in parts:
        assert 0 < cost < 0.3 * whole
        assert 0 < seconds < 0.6 * held
    lead = (await workshop.jobs())[0]
    if ending == "cancelled":
        assert await workshop.app.dispatcher.cancel(lead.id)
    else:
        await workshop.app.database.execute("DELETE FROM jobs WHERE id = ?", (lead.id,))
    for cost, seconds in (await costs(workshop))[-2:]:
        assert cost == pytest.approx(whole)
        assert seconds == pytest.approx(held, rel=0.3)


async def accepted_again(workshop: Workshop, ada: Any) -> None:
    await ada.click((await bill(workshop, ada, strength="0.5")).response, label="Paint all")


async def test_a_first_panel_that_is_refused_leaves_the_lead_to_the_next(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "mod terms add", terms="wakes")
    asked = await bill(workshop, ada, strength="0,9")
    assert "start from the picture of panel 2, at strength 0.9" in asked.response.content
    await ada.click(asked.response, label="Paint all")
    second, third = await workshop.ended(2)
    assert third.request.image == await picture(workshop, second)
    message = next(each for each in workshop.channel.history() if "Storyboard" in each.content)
    assert "The others start from the picture of panel 2" in message.content
    form = await ada.click((await panel(workshop, ada, 1)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    first = (await workshop.ended(3))[2]
    assert first.request.image == await picture(workshop, second)
    assert first.request.seed == (second.request.seed - 1) % 2**32


async def test_a_panel_keeps_following_when_it_is_painted_again_reworded_and_varied(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada, strength="0.7")
    first = (await workshop.ended(3))[0]
    await ada.click((await panel(workshop, ada, 2)).response, label="Paint again")
    again = (await workshop.ended(4))[3]
    assert (again.request.image, again.request.strength) == (await picture(workshop, first), 0.7)
    assert PictureRef(first.id, 1) in await workshop.app.lineage.sources(again.id)
    await ada.click((await panel(workshop, ada, 2)).response, label="Vary")
    varied = (await workshop.ended(5))[4]
    assert varied.request.image == await picture(workshop, again)
    # The first panel is painted again; what is asked for meanwhile waits for the new picture.
    engine.open.clear()
    await ada.click((await panel(workshop, ada, 1)).response, label="Paint again")
    form = await ada.click((await panel(workshop, ada, 3)).response, label="Edit words")
    told = last(await ada.submit_modal(form, {"prompt": "a fox dreams"}))
    assert "the panel changes in the storyboard" in told.content
    assert "3. a fox dreams · 🕓 waits for panel 1" in board(workshop).content
    await workshop.restart()
    engine.open.set()
    lead, reworded = (await workshop.ended(7))[5:]
    assert reworded.request.image == await picture(workshop, lead) != await picture(workshop, first)
    assert reworded.request.seed == first.request.seed + 2
    assert reworded.request.prompt == "a fox dreams, ink"


async def test_without_a_picture_of_the_first_panel_another_one_is_painted_from_its_words(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada, strength="0.7")
    first = (await workshop.ended(3))[0]
    await workshop.app.removals.remove_own(first.requester, first.id)
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    reworded = (await workshop.ended(4))[3]
    assert (reworded.status, reworded.request.operation) == (JobStatus.DELIVERED, Operation.TEXT2IMAGE)
    message = await workshop.seen(lambda: board(workshop) if "a fox runs · seed" in board(workshop).content else None)
    assert "-# Panel 3 starts from the picture of panel 1, at strength 0.7." in message.content
    await ada.click((await panel(workshop, ada, 3)).response, label="Paint again")
    again = (await workshop.ended(5))[4]
    assert (again.status, again.request.operation, again.request.image) == (
        JobStatus.DELIVERED,
        Operation.TEXT2IMAGE,
        "",
    )
    assert (again.request.prompt, again.request.strength) == ("a fox sleeps, ink", 1.0)


async def test_the_storyboard_says_how_the_others_were_painted_whatever_became_of_the_first(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada = workshop.member("ada")
    engine.raises = [PaintFailed("The picture is too explicit.")]
    await accepted(workshop, ada, strength="0.5")
    await workshop.ended(3)
    await workshop.seen(lambda: ALONE in board(workshop).content)
    form = await ada.click((await panel(workshop, ada, 1)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    await workshop.ended(4)
    message = await workshop.seen(lambda: board(workshop) if "a fox runs · seed" in board(workshop).content else None)
    assert "-# Panel 1 had no picture when the others were painted" in message.content
    for number in (2, 3):
        await ada.click((await panel(workshop, ada, number)).response, label="Paint again")
        await workshop.ended(3 + number)
    engine.raises = [PaintFailed("The picture is too explicit.")]
    await ada.click((await panel(workshop, ada, 1)).response, label="Paint again")
    await workshop.ended(7)
    message = await workshop.seen(lambda: board(workshop) if "too explicit" in board(workshop).content else None)
    assert "-# The others start from the picture of panel 1, at strength 0.5." in message.content


@pytest.mark.parametrize("typed", ["2", "0.1", "nan", "keep", "-1", "0.99999", "1"])
async def test_a_strength_that_makes_no_sense_gets_one_sentence_and_the_panels_back(
    workshop: Workshop, typed: str
) -> None:
    answer = last(await bill(workshop, workshop.member("ada"), strength=typed))
    assert f"“{typed}” is no strength at which panels can follow the first one" in answer.content
    assert "a fox eats" in answer.content
    assert await workshop.jobs() == []


@pytest.mark.parametrize("by_command", [False, True])
async def test_cancelling_the_rest_paints_nothing(
    workshop: Workshop, engine: FakeEngine, by_command: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    engine.open.clear()
    await accepted(workshop, ada, strength="0.7")
    await workshop.seen(lambda: engine.held)
    cancel = workshop.app.dispatcher.cancel

    async def cancelled(job_id: JobId) -> bool:
        done = await cancel(job_id)
        free = "SELECT id FROM jobs WHERE status = 'queued' AND follows IS NULL"
        assert await workshop.app.database.fetch_all(free) == [], "nothing may start meanwhile"
        return done

    monkeypatch.setattr(workshop.app.dispatcher, "cancel", cancelled)
    if by_command:
        said = (await ada.slash(workshop.channel, "cancel", request="all")).response.content
        assert said.index("wakes") < said.index("eats"), "they are named in their order"
    else:
        await ada.click(board(workshop), label="Cancel the rest")
    engine.open.set()
    assert {job.status for job in await workshop.ended(3)} == {JobStatus.CANCELLED}
    assert len(engine.orders) <= 1
