"""The page of metrics, scraped over a socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot import metrics
from bot.engine.fake import FakeEngine
from bot.errors import Rejected, StorageError
from bot.jobs import JobStatus
from bot.metrics import serving
from tests.conftest import PATIENCE_SECONDS, Workshop

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def fetched(address: str, path: str = "/metrics") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def scraped(address: str) -> Page:
    """Every sample of the page, by its name and labels, as Prometheus reads it."""
    status, text, _ = await fetched(address)
    assert status == 200, text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynccontextmanager
async def served(workshop: Workshop, address: str, latency: float = 0.125) -> AsyncIterator[None]:
    """The page of a workshop, answering."""
    async with serving(workshop.app, address, lambda: latency, lambda: 7):
        await _answering(address)
        yield


async def test_the_line_the_ends_and_the_steps_are_there(workshop: Workshop, engine: FakeEngine, address: str) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await ada.slash(workshop.channel, "imagine", prompt="before anybody watched")
    await workshop.ended(1)
    async with served(workshop, address):
        assert (await scraped(address))["atelier_jobs_total", (("outcome", "delivered"),)] == 0
        for number in range(2):
            await ada.slash(workshop.channel, "imagine", prompt="a secret cat", images=3)
            await workshop.ended(2 + number)
        engine.open.clear()
        for prompt in ("painted", "cancelled", "waiting"):
            await ada.slash(workshop.channel, "imagine", prompt=prompt)
        await workshop.reached((await workshop.jobs())[3].id, JobStatus.RUNNING)
        await workshop.app.dispatcher.cancel((await workshop.jobs())[4].id)
        await moderator.slash(workshop.channel, "mod block", member=ada)
        await ada.slash(workshop.channel, "imagine", prompt="refused")
        for rows, seconds in ((2, 0.02), (8, 0.2), (300, 40.0)):
            engine.step_histogram.count(rows, seconds)
        engine.trouble("emoji", "gone")
        page = await scraped(address)
        status, text, content_type = await fetched(address)
        assert (await fetched(address, "/"))[0] == 404

    def value(name: str, **labels: str) -> float:
        return page[f"atelier_{name}", tuple(sorted(labels.items()))]

    assert [value(name) for name in ("queue_depth", "jobs_running", "engine_slots", "models_unusable")] == [1, 1, 1, 1]
    assert 0 < value("queue_oldest_seconds") < 60
    assert value("gateway_latency_seconds") == 0.125
    outcomes = {end: value("jobs_total", outcome=end) for end in ("delivered", "failed", "cancelled")}
    assert outcomes == {"delivered": 2, "failed": 0, "cancelled": 1}
    assert value("pictures_total") == 6
    assert value("refusals_total", rule="block") == 1
    (row,) = await workshop.app.database.fetch_all("SELECT sum(used_seconds) AS used FROM jobs WHERE id > 1")
    assert value("gpu_seconds_total") == pytest.approx(row["used"])
    rows = [value("batch_rows_bucket", le=bound) for bound in ("1.0", "2.0", "4.0", "8.0", "128.0", "+Inf")]
    assert rows == [0, 1, 1, 2, 2, 3]
    assert (value("batch_rows_count"), value("batch_rows_sum")) == (3, 310)
    assert (value("step_seconds_count"), value("step_seconds_sum")) == (3, pytest.approx(40.22))
    assert value("step_seconds_bucket", le="0.025") == 1
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "secret" not in text
    assert str(ada.id) not in text
    assert str(workshop.guild.id) not in text

    documented = Path("docs/operations.md").read_text(encoding="utf-8")
    names = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in page if name.startswith("atelier_")}
    assert [name for name in names if f"`{name}" not in documented] == []

    # The dashboard asks for what is there, and shows all of it.
    board = json.loads(Path("docs/grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = {name for expression in asked for name in re.findall(r"\b(?:atelier|process)_\w+", expression)}
    assert used - {name for name, _ in page} == set()
    assert names == {re.sub("_(bucket|sum|count)$", "", name) for name in used if name.startswith("atelier_")}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


async def test_what_is_undone_is_not_counted(workshop: Workshop, address: str) -> None:
    ada = workshop.member("ada")
    async with served(workshop, address, latency=float("nan")):
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
        (job,) = await workshop.ended(1)

        async def undone(connection) -> None:
            await connection.execute("UPDATE jobs SET status = 'failed' WHERE id = ?", (job.id,))
            raise Rejected("no", rule="depth")

        with pytest.raises(Rejected):
            await workshop.app.database.write(undone)
        page = await scraped(address)
    ends = {labels[0][1]: count for (name, labels), count in page.items() if name == "atelier_jobs_total"}
    assert ends == {"delivered": 1, "failed": 0, "cancelled": 0}
    assert not [name for name, _ in page if "latency" in name], "the gateway has not been heard of"


async def test_a_taken_port_is_told_once_in_words_and_served_as_soon_as_it_is_free(
    workshop: Workshop, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "AGAIN_SECONDS", 0.01)
    host, port = address.split(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        async with serving(workshop.app, address, lambda: 0.0, lambda: 0):

            def said() -> list[str]:
                return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

            (words,) = await workshop.seen(said)
            assert f"The metrics cannot be served on {address} (" in words
            assert "address already in use" in words.lower()
            await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
            assert len(await workshop.ended(1)) == 1, "and meanwhile everybody is served"
            await asyncio.sleep(0.1)
            assert said() == [words], "it was tried again, and said once"
            taken.close()
            await _answering(address)
            assert (await scraped(address))["atelier_engine_slots", ()] == 1
    assert not await _answers(address), "and it ends with the bot"


async def _answering(address: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await _answers(address):  # noqa: ASYNC110 - a socket tells nobody that it listens
            await asyncio.sleep(0.01)


async def _answers(address: str) -> bool:
    try:
        return (await fetched(address))[0] == 200
    except aiohttp.ClientConnectorError:
        return False


async def test_a_storage_that_refuses_is_told_to_whoever_scrapes(
    workshop: Workshop, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object) -> None:
        raise StorageError("The storage does not work.")

    async with served(workshop, address):
        with monkeypatch.context() as broken:
            broken.setattr(workshop.app.database, "fetch_one", refuses)
            assert (await fetched(address))[:2] == (503, "The storage does not work.\n")
        assert (await fetched(address))[0] == 200
