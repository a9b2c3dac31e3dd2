"""Lanes on other hosts, by a Ray cluster on this machine: the real engine process behind a real actor."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import psutil
import pytest

from bot.app import open_app
from bot.config import EMBEDDED_MODEL, Config, EngineConfig, ModelConfig, RayConfig
from bot.engine import Event, Finished, Order, Progress
from bot.engine.cluster import bridge_environ, engines
from bot.engine.local import LocalEngine
from bot.engine.local.devices import Place
from bot.errors import EngineDied
from bot.findings import CheckStatus, hosts
from bot.jobs import GenerationRequest, JobId, JobStatus, Surface, UserId
from tests.bot.engine.ray_cluster import Cluster, cluster, free_port
from tests.bot.queue.house import ADA, GRACE, House, Recorder

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")

LONG_SECONDS = 100.0
"""More than anything here takes on a busy machine."""

APPLE = GenerationRequest(
    prompt="a red apple on a blue background",
    model="emoji",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=3.0,
    seed=7,
)

HOST = socket.gethostname()
LIGHT = (sys.executable, str(Path(__file__).parents[2] / "faults" / "light_engine.py"))
_numbers = count(1)


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """A cluster of one host."""
    with cluster() as made:
        yield made


@pytest.fixture
def token(head: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token of the cluster, where the bot reads it."""
    monkeypatch.setenv("ATELIER_RAY_TOKEN", head.token)
    return head.token


def config_for(address: str, folder: Path, *models: ModelConfig, lanes: int = 1) -> Config:
    """A configuration with lanes on other hosts."""
    ray = RayConfig(lanes=lanes, address=address, folder=str(folder / "there"))
    return Config(models=models or (EMBEDDED_MODEL,), engine=EngineConfig(ray=ray))


def order(request: GenerationRequest = APPLE) -> Order:
    """An order for a job that nobody had before."""
    return Order(JobId(next(_numbers)), 1, request, UserId(1))


async def nothing(_: str) -> str:
    """No timings are known."""
    return ""


@asynccontextmanager
async def running(engine: LocalEngine) -> AsyncIterator[LocalEngine]:
    """Run an engine beside the body."""
    task = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(LONG_SECONDS):
            yield engine
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def painted(engine: LocalEngine, wanted: Order) -> list[Event]:
    """Every event of an order."""
    return [event async for event in engine.submit(wanted)]


async def trouble(engine: LocalEngine) -> str:
    """Why no order can be painted, once that is known."""
    while "" not in engine.troubles:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0.05)
    return engine.troubles[""]


def bridged(config: Config, change: str) -> LocalEngine:
    """An engine with a bridge of which a line of code changes something."""
    code = f"import bot.engine.cluster.bridge as bridge; {change}; bridge.main()"
    command = (sys.executable, "-c", code, "ray 0", *LIGHT, tempfile.gettempdir())
    return LocalEngine(config, place=Place("ray 0"), command=command, environ=bridge_environ())


async def test_the_real_engine_process_paints_in_an_actor_and_a_cancel_ends_its_steps(
    head: Cluster, token: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = config_for(head.address, tmp_path)
    (engine,) = await engines(config, tmp_path / "provenance", nothing)
    async with running(engine):
        await engine.ready()
        events = await painted(engine, order())
        assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]
        assert isinstance(events[-1], Finished)
        (image,) = events[-1].images
        assert image.png.startswith(b"\x89PNG")
        # It was labelled there with the secrets of the bot, which stay on no disk of the other host.
        assert image.mark is not None
        assert image.delivered != image.png
        assert {path.name for path in (tmp_path / "provenance").iterdir()} >= {"mark.key", "private_key.pem"}
        assert not [path for path in (tmp_path / "there").rglob("*") if path.suffix in (".key", ".pem")]
        # The process tells its steps when it has nothing to do.
        while sum(engine.step_histogram.rows.counts) < 4:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.05)

        long = order(replace(APPLE, num_inference_steps=150))
        seen = 0
        async for event in engine.submit(long):
            if isinstance(event, Progress):
                seen = event.step
                engine.cancel(long.job_id)
        await painted(engine, order())
        while sum(engine.step_histogram.rows.counts) < 4 + seen + 4:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        # The news of a step, and the cancel, take a while over two processes: some steps were under way.
        assert sum(engine.step_histogram.rows.counts) < 4 + seen + 4 + 75, "the cancelled order went on"
        assert engine.device.endswith(f" on {HOST}")
    assert token not in caplog.text + capfd.readouterr().err


async def test_the_death_of_the_engine_process_is_blamed_on_what_it_painted_and_that_of_its_actor_on_nothing(
    head: Cluster, token: str, tmp_path: Path
) -> None:
    held = replace(APPLE, prompt="held by nobody")
    (engine,) = await engines(config_for(head.address, tmp_path), None, nothing, painter=(*LIGHT, str(tmp_path)))
    async with running(engine):
        await engine.ready()
        for end_actor in (False, True):
            (actor,) = head.actors()
            painting = asyncio.create_task(painted(engine, order(held)))
            while not engine.steps_done:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.02)
            victim = actor if end_actor else actor.children()[0]
            orphans = actor.children()
            victim.kill()
            with pytest.raises(EngineDied) as died:
                await painting
            assert died.value.is_blamed is not end_actor
            assert psutil.wait_procs(orphans, timeout=20)[1] == [], "the engine process outlived its actor"
            await engine.ready()
        assert isinstance((await painted(engine, order()))[-1], Finished)


async def test_a_host_that_falls_silent_is_given_up_and_no_order_is_blamed(
    head: Cluster, token: str, tmp_path: Path
) -> None:
    held = replace(APPLE, prompt="held by nobody")
    engine = bridged(config_for(head.address, tmp_path), "bridge.SILENCE_SECONDS = 5.0")
    async with running(engine):
        await engine.ready()
        painting = asyncio.create_task(painted(engine, order(held)))
        while not engine.steps_done:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.02)
        (actor,) = head.actors()
        actor.suspend()
        try:
            with pytest.raises(EngineDied, match="was silent for 5 s") as died:
                await painting
            assert not died.value.is_blamed
        finally:
            with suppress(psutil.NoSuchProcess):
                actor.resume()


async def test_a_lane_says_what_is_wrong_with_a_host(head: Cluster, token: str, tmp_path: Path) -> None:
    config = config_for(head.address, tmp_path)
    async with running(bridged(config, "bridge.host.versions = lambda: {'torch': '2.99.0'}")) as engine:
        words = await trouble(engine)
    assert words.startswith(f"The host {HOST} has torch 2.")
    assert "and the bot has 2.99.0." in words

    lost = ModelConfig(name="lost", source=str(tmp_path / "gone" / "lost.safetensors"))
    config = config_for(head.address, tmp_path, lost)
    (engine,) = await engines(config, None, nothing)
    async with running(engine):
        words = await trouble(engine)
    assert words.startswith(f"The host {HOST} lacks files of the model lost: lost.safetensors.")
    assert str(tmp_path) not in words

    # The other models of the lane can be used.
    config = config_for(head.address, tmp_path, lost, EMBEDDED_MODEL)
    (engine,) = await engines(config, None, nothing)
    async with running(engine):
        await engine.ready()
        assert engine.troubles == {"lost": words}
        assert isinstance((await painted(engine, order()))[-1], Finished)


async def test_a_second_lane_without_a_gpu_says_that_none_is_free(head: Cluster, token: str, tmp_path: Path) -> None:
    config = config_for(head.address, tmp_path, lanes=2)
    async with running(bridged(config, "pass")) as first:
        await first.ready()
        async with running(bridged(config, "bridge.PLACE_SECONDS = 3.0")) as second:
            assert await trouble(second) == (
                "No host of the Ray cluster has a free GPU for this lane: hosts: 1, GPUs: 1, lanes: 2. Add a host to "
                "the cluster, or lower engine.ray.lanes."
            )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("token", "refuses the token. ATELIER_RAY_TOKEN has to be the token that the head was started with."),
        ("address", "cannot be reached (Connection refused)."),
    ],
)
async def test_a_wrong_token_and_a_head_that_is_away_are_told(
    head: Cluster, wrong: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_RAY_TOKEN", "another" if wrong == "token" else head.token)
    address = f"127.0.0.1:{free_port()}" if wrong == "address" else head.address
    (engine,) = await engines(config_for(address, tmp_path), None, nothing)
    async with running(engine):
        assert words in await trouble(engine)
    (finding,) = await hosts(config_for(address, tmp_path))
    assert finding.status is CheckStatus.BAD
    assert words in finding.words


async def test_a_head_that_asks_for_no_token_is_refused_even_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_RAY_TOKEN", "0" * 64)
    with cluster(with_token=False) as made:
        (engine,) = await engines(config_for(made.address, tmp_path), None, nothing)
        async with running(engine):
            assert "asks for no token, so everybody who reaches it may run programs" in await trouble(engine)


def test_a_head_that_is_away_for_long_ends_its_lanes_in_words(head: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.engine.cluster import head as heads

    monkeypatch.setattr(heads, "_LOOK_SECONDS", 0.0)
    heads.Watch(head.address).look()
    away = heads.Watch(f"127.0.0.1:{free_port()}")
    away.look()
    monkeypatch.setattr(heads, "AWAY_SECONDS", 0.0)
    with pytest.raises(heads.Unusable, match=r"was away for 0 s, so its lanes end\.$"):
        away.look()


async def test_a_drained_lane_on_another_host_gets_nothing_new_and_comes_back(
    head: Cluster, token: str, tmp_path: Path
) -> None:
    config = config_for(head.address, tmp_path).model_copy(update={"data": tmp_path / "data"})
    (lane,) = await engines(config, None, nothing, painter=(*LIGHT, str(tmp_path)))
    async with running(lane), open_app(config, Surface.DISCORD, engine=lane) as app:
        house = House(app, lane, recorder := Recorder())  # type: ignore[arg-type]
        app.delivery.attach(recorder)
        await lane.ready()
        held = await house.ask(ADA, replace(APPLE, prompt="an apple held by go"))
        await house.reached(held, JobStatus.RUNNING)
        await app.lanes.drain("ray 0")
        waits = await house.ask(GRACE)
        (tmp_path / "go").touch()
        assert (await house.ended(held)).status is JobStatus.DELIVERED, "it finishes what it has"
        now = await app.queue.get(waits.id)
        assert now is not None
        assert (now.status, now.attempt, await app.line.next(lane)) == (JobStatus.QUEUED, 0, None)
        await app.lanes.bring_back("ray 0")
        assert (await house.ended(waits)).status is JobStatus.DELIVERED


async def test_the_doctor_asks_every_host(head: Cluster, token: str, tmp_path: Path) -> None:
    cluster_is, host_is = await hosts(config_for(head.address, tmp_path))
    assert (cluster_is.status, host_is.status) == (CheckStatus.GOOD, CheckStatus.GOOD)
    assert cluster_is.words == f"the head at {head.address} answers and asks for a token; lanes: 1, GPUs: 1"
    assert host_is.what.startswith(f"Host {HOST} (")
    assert host_is.words.startswith("GPUs: 1, Atelier ")
    assert ", torch 2." in host_is.words

    lost = ModelConfig(name="lost", source="models/lost.safetensors")
    cluster_is, host_is = await hosts(config_for(head.address, tmp_path, EMBEDDED_MODEL, lost, lanes=2))
    assert (cluster_is.status, host_is.status) == (CheckStatus.BAD, CheckStatus.BAD)
    assert cluster_is.words.endswith("lanes: 2, GPUs: 1")
    assert host_is.words == (
        f"The host {HOST} lacks files of the model lost: lost.safetensors. The host of the bot has to copy them there, "
        "to the same place as here."
    )


async def test_without_lanes_on_other_hosts_the_doctor_says_nothing_of_them() -> None:
    assert await hosts(Config()) == []


def test_the_bot_imports_neither_ray_nor_torch_for_its_lanes() -> None:
    code = (
        "import asyncio, os, sys; os.environ['ATELIER_RAY_TOKEN'] = 't'; from bot.config import *; "
        "from bot.engine import building; from pathlib import Path\n"
        "async def nothing(_): return ''\n"
        "async def main():\n"
        "    files = building.Files(Path('c'), Path('p'), Path('k'))\n"
        "    config = Config(engine=EngineConfig(devices='none', ray=RayConfig(lanes=2)))\n"
        "    print([lane.name for lane in (await building.build(config, files, nothing)).lanes])\n"
        "asyncio.run(main())\n"
        "print(sorted({'ray', 'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.split("\n")[:2] == ["['ray 0', 'ray 1']", "[]"]
