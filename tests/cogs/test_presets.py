"""/presets: off by default, switched on live as a case, undone, and honest about what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simcord

from bot.config import Config, LimitsConfig
from bot.jobs import UserId, utcnow
from bot.requests import presets
from bot.storage.ratings import Ratings
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


async def told(workshop: Workshop, actor: simcord.MemberActor, **options: Any) -> str:
    return str((await actor.slash(workshop.channel, "presets", **options)).response.content)


async def painted(workshop: Workshop, actor: simcord.MemberActor, count: int, prompt: str = "a fox") -> list[str]:
    """The styles of new results."""
    before = len(await workshop.jobs())
    for _ in range(count):
        await actor.slash(workshop.channel, "imagine", prompt=prompt)
    return [job.request.style for job in (await workshop.ended(before + count))[-count:]]


async def test_ratings_choose_once_a_moderator_lets_them_and_no_longer_after_an_undo(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await mo.slash(workshop.channel, "style add", name="crisp", text="{prompt}", steps=9)
    assert await painted(workshop, ada, 3) == ["", "", ""]
    assert "Ratings choose no settings here" in await told(workshop, mo)
    monkeypatch.setattr(presets, "CONTROL", 0.0)
    monkeypatch.setattr(presets, "draw", lambda arms, _: max(arms, key=lambda arm: arm.style))
    said = await told(workshop, mo, styles="Crisp", reason="a try")
    assert "presets among which ratings choose `crisp`" in said
    assert "Ratings choose among `crisp` and the usual settings" in said
    assert await painted(workshop, ada, 1) == ["crisp"]
    job = (await workshop.jobs())[-1]
    assert (job.request.num_inference_steps, job.request.prompt) == (9, "a fox")
    assert await painted(workshop, ada, 1, "a fox --steps 5") == [""]
    info = (await ada.click(workshop.message(job.destination.message_id), label="More")).response.content
    assert "by what people here like: `style`" in info
    assert "No change" in await told(workshop, mo, styles="crisp")
    number = said.partition("Case ")[2].partition(":")[0]
    await mo.slash(workshop.channel, "mod undo", case=int(number))
    assert await painted(workshop, ada, 1) == [""]
    assert "No change" in await told(workshop, mo, styles="off")


@pytest.mark.parametrize("kind", ["compare", "choices", "storyboard"])
async def test_requests_that_are_to_differ_in_one_thing_are_left_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await mo.slash(workshop.channel, "style add", name="crisp", text="{prompt}", steps=9)
    await told(workshop, mo, styles="crisp")
    monkeypatch.setattr(presets, "CONTROL", 0.0)
    monkeypatch.setattr(presets, "draw", lambda arms, _: max(arms, key=lambda arm: arm.style))
    if kind == "compare":
        await ada.slash(workshop.channel, "compare", prompt="a fox", first="--ar 1:1", second="--ar 2:1")
    elif kind == "choices":
        asked = await ada.slash(workshop.channel, "imagine", prompt="a {red, green} fox")
        await ada.click(asked.response, label="Paint all")
    else:
        form = await ada.slash(workshop.channel, "storyboard")
        asked = await ada.submit_modal(form, {"title": "A day", "panels": "a fox\nan owl", "look": ""})
        await ada.click(asked.response, label="Paint all")
    jobs = await workshop.ended(2)
    assert [job.request.style for job in jobs] == ["", ""]
    assert len({(job.request.seed, job.request.num_inference_steps) for job in jobs}) == 1
    assert await painted(workshop, ada, 1) == ["crisp"], "the lot is on"


async def test_what_is_no_preset_is_refused_and_nothing_changes(workshop: Workshop) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await workshop.open_group("presets", ada)
    assert "Only members with Manage Server" in await told(workshop, ada, styles="off")
    await mo.slash(workshop.channel, "style add", name="inky", text="{prompt}, ink", steps=9)
    assert "has words, and ratings never change the words" in await told(workshop, mo, styles="inky")
    assert "There is no style" in await told(workshop, mo, styles="lost, inky")
    assert "Name one to 8 styles" in await told(workshop, mo, styles=" , ")
    assert "Ratings choose no settings here" in await told(workshop, mo)


async def test_stats_say_whether_it_helps(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, mo = workshop.member("ada"), workshop.member("mo", moderator=True)
    await mo.slash(workshop.channel, "style add", name="crisp", text="{prompt}", steps=9)
    await told(workshop, mo, styles="crisp")
    monkeypatch.setattr(presets, "draw", lambda arms, _: max(arms, key=lambda arm: arm.style))
    monkeypatch.setattr(presets, "CONTROL", 0.0)
    await painted(workshop, ada, 1)
    stats = str((await mo.slash(workshop.channel, "stats")).response.content)
    assert "Ratings chose the preset of 1 request; fewer than 10 people rated them" in stats
    monkeypatch.setattr(presets, "CONTROL", 1.0)
    await painted(workshop, ada, 1)
    learned, control = await workshop.jobs()
    assert (learned.request.style, control.request.style) == ("crisp", "")
    ratings = Ratings(workshop.app.database, utcnow)
    for number in range(40):
        for job, likes in ((learned, 36), (control, 14)):
            assert job.destination.message_id is not None
            await ratings.add(job.destination.message_id, UserId(4000 + number), "👍" if number < likes else "👎")
    stats = str((await mo.slash(workshop.channel, "stats")).response.content)
    assert "Liked where ratings chose the preset: 90% (77%–96%, 40 people)" in stats
    assert "with the usual settings by lot: 35% (22%–50%, 40 people). +55 points (+35 to +69): it helps" in stats
    workshop.app.preset_ratings._known.clear()
    assert "- `crisp` with `emoji`: 90% (77%–96%, 40 people)" in await told(workshop, mo)
