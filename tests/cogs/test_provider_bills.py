"""What providers cost and paint, wherever it is shown: panels, series, comparisons, results."""

# ruff: noqa: F811 - fixtures of another module
from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.config import Config
from bot.jobs import JobStatus
from tests.cogs import test_storyboards as boards
from tests.cogs.test_providers import beside, config, limits, server, spent, workshop  # noqa: F401 - fixtures
from tests.cogs.test_series import labels
from tests.cogs.test_verify import verified
from tests.conftest import Workshop
from tests.provider_server import COST, KEY, ProviderServer, png, says

STORY = {"panels": "a fox\nan owl", "look": "--model two"}


@pytest.fixture
def bill() -> dict[str, Any]:
    """Each picture of the model `two` must be confirmed: it costs more than five cents."""
    return {"money": 5}


def pictures(*colours: str) -> list[dict[str, str]]:
    return [{"b64_json": base64.b64encode(png(colour)).decode()} for colour in colours]


async def test_a_dear_panel_is_confirmed_before_it_is_painted_again(
    workshop: Workshop,
    server: ProviderServer,
) -> None:
    ada = workshop.member("ada")
    await boards.accepted(workshop, ada, **STORY)
    await workshop.ended(2)
    for label in ("Paint again", "Vary"):
        count = len(server.asked)
        asked = await ada.click((await boards.panel(workshop, ada, 2)).response, label=label)
        assert "1 picture, about $0.0" in asked.response.content
        assert "of your budget here is left, of $1.00 in 24 hours. Paint it?" in asked.response.content
        assert len(server.asked) == count
        said = await ada.click(asked.response, label="Paint it")
        assert "the panel changes in the storyboard" in boards.last(said).content
        await workshop.ended(count + 1)
        assert len(server.asked) == count + 1
    form = await ada.click((await boards.panel(workshop, ada, 2)).response, label="Edit words")
    asked = await ada.submit_modal(form, {"prompt": "a heron"})
    assert "Paint it?" in asked.response.content
    declined = await ada.click(asked.response, label="Cancel")
    assert "a heron" in boards.last(declined).content
    assert await spent(workshop, ada) == (4 * COST,) * 3


async def test_lines_of_a_series_have_their_prices_and_what_a_cancellation_cost(
    workshop: Workshop,
    server: ProviderServer,
) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a {red, blue} cat", model="two")
    await ada.click(asked.response, label="Paint all")
    jobs = await workshop.ended(2)
    (message,) = workshop.channel.history()
    assert [line for line in message.content.splitlines() if line[0].isdigit()] == [
        f"1. red · `/show id:{jobs[0].id}` · cost $0.03028",
        f"2. blue · `/show id:{jobs[1].id}` · cost $0.03028",
    ]
    server.open.clear()
    asked = await ada.slash(workshop.channel, "imagine", prompt="a {green, grey} cat", model="two")
    await ada.click(asked.response, label="Paint all")
    await workshop.seen(lambda: len(server.asked) == 4)
    message = workshop.channel.history()[-1]
    await ada.click(message, label="Cancel the rest")
    await workshop.ended(4)
    content = workshop.message(message.id).content
    assert "1. green · 🚫 cancelled; far had been asked already: cost about $0.056, an estimate" in content


async def test_fewer_pictures_than_were_asked_for_are_told(
    workshop: Workshop,
    server: ProviderServer,
) -> None:
    server.script = [says(*pictures("red", "teal", "blue")), says(*pictures("red"))]
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", model="free", images=4)
    (job,) = await workshop.ended()
    content = workshop.message(job.destination.message_id or 0).content
    assert "far painted 3 of 4 pictures" in content
    asked = await ada.slash(workshop.channel, "imagine", prompt="a {red, blue} cat --images 2", model="free")
    await ada.click(asked.response, label="Paint all")
    await workshop.ended(3)
    assert "far painted 1 of 2 pictures" in workshop.channel.history()[-1].content


async def test_what_a_provider_lacks_is_neither_shown_nor_offered(
    workshop: Workshop,
    server: ProviderServer,
) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat", model="two", images=2)
    await ada.click(asked.response, label="Paint it")
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id or 0)
    single = await ada.click(message, label="U2")
    shown = boards.last(single)
    assert "model `two` · painted by far" in shown.content
    assert [label for label in labels(shown) if label.startswith("Vary")] == ["Vary"]
    more = await ada.click(message, label="More")
    assert "Picture 1: 1024×1024" in more.response.content
    assert "cost $0.03028" in more.response.content
    copied = await ada.click(more.response, label="Prompt to copy")
    assert "a cat --size 1024x1024 --model two" in boards.last(copied).content
    form = await ada.click(shown, label="Remix")
    for answer in (shown, more.response, boards.last(copied), message):
        assert "seed" not in answer.content
    names = [part["component"]["custom_id"] for part in form.modal["components"]]
    assert names == ["prompt", "image"]
    told = await ada.slash(workshop.channel, "imagine", prompt="a dog", model="free")
    free = (await workshop.ended(2))[1]
    more = await ada.click(told.response, label="More")
    copied = await ada.click(more.response, label="Prompt to copy")
    assert f"--seed {free.request.seed}" in boards.last(copied).content, "this server takes seeds"
    changing = await ada.context_menu(workshop.channel, "Change this picture", told.response)
    assert [label for label in labels(boards.last(changing)) if label.startswith("Vary")] == ["Vary"]


async def test_verify_names_who_painted(workshop: Workshop, server: ProviderServer) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", model="free")
    (job,) = await workshop.ended()
    (image,) = await workshop.app.queue.images(job.id)
    assert "model `free` · painted by far" in await verified(ada, workshop.channel, image.png)


class TestBesideThisMachine:
    @pytest.fixture
    async def workshop(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workshop]:
        monkeypatch.setenv("ATELIER_KEY_FAR", KEY)
        async with beside(config) as workshop:
            yield workshop

    @pytest.mark.parametrize(("first", "second"), [("--model emoji", "--model two"), ("--model two", "--model emoji")])
    async def test_the_bill_of_a_comparison_names_both_costs_and_who_takes_the_money(
        self,
        workshop: Workshop,
        server: ProviderServer,
        first: str,
        second: str,
    ) -> None:
        ada = workshop.member("ada")
        asked = await ada.slash(workshop.channel, "compare", prompt="a cat", first=first, second=second)
        words = asked.response.content
        assert words.startswith("2 pictures, about ")
        assert " of painting time, and in money about $0.056. This is an estimate: far says afterwards" in words
        assert words.count("Paint it?") == 1
        await ada.click(asked.response, label="Paint it")
        jobs = await workshop.ended(2)
        assert {job.status for job in jobs} == {JobStatus.DELIVERED}
        assert len(server.asked) == 1

    async def test_the_bill_of_a_series_asks_once(self, workshop: Workshop, server: ProviderServer) -> None:
        ada = workshop.member("ada")
        asked = await ada.slash(workshop.channel, "imagine", prompt="a cat --model {emoji, two}")
        words = asked.response.content
        assert words.startswith("2 pictures, about ")
        assert " of painting time, and in money about $0.056. This is an estimate: far says afterwards" in words
        assert words.count("Paint them?") == 1
