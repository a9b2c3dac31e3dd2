"""The engine process from the bot's side: the real one with real weights."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import pairwise

import psutil
import pytest
import pytest_asyncio
from PIL import Image as Picture

from bot.config import EMBEDDED_MODEL, Config, EngineConfig, ModelConfig
from bot.engine import Finished, Progress, Started
from bot.engine.local import LocalEngine, Timeouts
from bot.engine.wire import SetupFrame, SubmitFrame, encode
from bot.errors import EngineDied, PaintFailed
from bot.jobs import JobId, UserId
from bot.secrets import SECRETS
from tests.bot.engine.children import (
    APPLE,
    LONG_SECONDS,
    ROOT,
    encoded,
    gone,
    order,
    order_from,
    paint,
    pixels,
    running,
    until,
)
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder, make_tiny_single_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, ...]:
    """The embedded model, one that somebody brought as a folder and as a file, and a damaged one."""
    home = tmp_path_factory.mktemp("models")
    folder = make_tiny_folder(home / "tiny")
    file = make_tiny_single_file(folder, home / "tiny.safetensors")
    damaged = make_tiny_folder(home / "damaged")
    (damaged / "text_encoder" / "model.safetensors").write_bytes(b"not what it was")
    return (
        EMBEDDED_MODEL,
        ModelConfig(name="folder", source=str(folder)),
        ModelConfig(name="file", source=str(file), config=str(folder)),
        ModelConfig(name="damaged", source=str(damaged)),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(models: tuple[ModelConfig, ...]) -> AsyncIterator[LocalEngine]:
    """A running engine whose parent knows the bot's token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCORD_TOKEN", "the bot's token")
        patch.setenv("DISCORD_TOKEN_FILE", "/run/secrets/token")
        patch.setenv("ATELIER_DATABASE_KEY", "the database's key")
        patch.setenv("ATELIER_TEST", "something else")
        engine = LocalEngine(Config(models=models, engine=EngineConfig(device="cpu", threads=1)))
        async with running(engine):
            yield engine


class TestRealChild:
    """One process with torch, shared by the tests of this class."""

    pytestmark = pytest.mark.asyncio(loop_scope="module")

    async def test_paints_and_reports_every_step(self, engine: LocalEngine) -> None:
        events = await paint(engine, order())
        assert events[:-1] == [Started(), *(Progress(step, 5) for step in range(1, 6))]
        finished = events[-1]
        assert isinstance(finished, Finished)
        (image,) = finished.images
        assert Picture.open(io.BytesIO(image.png)).size == (image.width, image.height) == (256, 256)
        assert (image.seed, image.sha256) == (7, hashlib.sha256(image.png).hexdigest())
        assert len(finished.model_hash) == 64
        assert engine.troubles == {}

    async def test_says_what_it_paints_on_and_which_models_are_loaded(self, engine: LocalEngine) -> None:
        await paint(engine, order())
        assert engine.is_up
        assert engine.device.startswith("cpu (1 thread(s))")
        assert "emoji" in engine.warm

    async def test_several_images_come_in_the_order_of_their_seeds(self, engine: LocalEngine) -> None:
        finished = (await paint(engine, order(replace(APPLE, num_images_per_prompt=3))))[-1]
        assert isinstance(finished, Finished)
        assert [image.seed for image in finished.images] == [7, 8, 9]
        for image in finished.images:
            assert image.sha256 == hashlib.sha256(image.png).hexdigest(), "bodies are cut where they belong"

    async def test_starts_from_the_picture_an_order_brings(self, engine: LocalEngine) -> None:
        picture = Picture.new("RGB", (96, 96), "red")
        picture.paste("blue", (48, 0, 96, 96))
        request = replace(APPLE, prompt="a red apple", width=128, height=128, num_inference_steps=10, strength=0.2)
        events = await paint(engine, order_from(request, encoded(picture)))
        assert [event.step for event in events if isinstance(event, Progress)] == [1, 2], "a fifth of the steps"
        finished = events[-1]
        assert isinstance(finished, Finished)
        painted = Picture.open(io.BytesIO(finished.images[0].png)).convert("RGB")
        width, height = painted.size
        left, right = (
            painted.resize((1, 1), Picture.Resampling.BOX, box).getpixel((0, 0))
            for box in ((0, 0, width // 2, height), (width // 2, 0, width, height))
        )
        assert left[0] - left[2] > 40, "red, as it came"
        assert right[2] - right[0] > 40, "blue, which nobody asked for in words"

    async def test_damaged_picture_fails_in_words_and_the_child_lives(self, engine: LocalEngine) -> None:
        whole = encoded(Picture.effect_noise((96, 96), 50))
        with pytest.raises(PaintFailed, match="The picture is damaged"):
            await paint(engine, order_from(replace(APPLE, strength=0.5), whole[: len(whole) // 2]))
        assert isinstance((await paint(engine, order()))[-1], Finished)

    async def test_what_it_learns_of_its_speed_is_told(self, engine: LocalEngine) -> None:
        await paint(engine, order(replace(APPLE, num_inference_steps=20)))
        async with asyncio.timeout(LONG_SECONDS):
            while engine.timings.rest_seconds(APPLE.work) == 0:
                await engine.learned.wait()
                engine.learned.clear()
        assert 0 < engine.timings.forward_seconds(APPLE.work.shape, 2) < 0.5
        assert engine.steps_done == {}, "nobody is in it"
        steps = engine.step_histogram.rows
        assert sum(steps.counts) == sum(engine.step_histogram.seconds.counts) >= 20
        assert steps.sum >= 2 * 20, "with guidance a picture has two rows"
        # The next one starts with what this one knew.
        assert LocalEngine(Config(), known=engine.timings.dump()).timings.dump() == engine.timings.dump()

    async def test_token_stays_with_the_bot(self, engine: LocalEngine) -> None:
        await engine.ready()
        assert engine.pid is not None
        environ = psutil.Process(engine.pid).environ()
        assert environ["ATELIER_TEST"] == "something else", "the rest is passed on"
        assert not set(SECRETS) & environ.keys()
        assert not {"the bot's token", "the database's key"} & set(environ.values())

    async def test_model_somebody_brought_paints_alike_from_folder_and_file(self, engine: LocalEngine) -> None:
        request = replace(APPLE, width=SIZE, height=SIZE)
        painted = {}
        for model in ("emoji", "folder", "file"):
            painted[model] = pixels((await paint(engine, order(replace(request, model=model))))[-1])
        assert painted["folder"] == painted["file"] != painted["emoji"]

    async def test_damaged_model_fails_in_words_and_the_child_lives(self, engine: LocalEngine) -> None:
        pid = engine.pid
        with pytest.raises(PaintFailed, match="The model damaged cannot be loaded: "):
            await paint(engine, order(replace(APPLE, model="damaged")))
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.pid == pid

    async def test_cancelled_order_ends_at_once_and_leaves_the_engine_within_a_step(self, engine: LocalEngine) -> None:
        long = order(replace(APPLE, width=256, height=256, num_inference_steps=150))
        stepped_at: list[float] = []
        async with aclosing(engine.submit(long)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    stepped_at.append(time.monotonic())
                    if event.step == 5:
                        engine.cancel(long.job_id)
                assert not isinstance(event, Finished)
        usual = statistics.median(later - earlier for earlier, later in pairwise(stepped_at))
        assert len(stepped_at) < 10
        # What is left of the cancelled one would take 145 steps.
        assert isinstance((await paint(engine, order(replace(APPLE, num_inference_steps=1))))[-1], Finished)
        assert time.monotonic() - stepped_at[-1] < 75 * usual

    async def test_cancelled_order_is_forgotten_by_the_child(self, engine: LocalEngine) -> None:
        first = order()
        async with aclosing(engine.submit(first)) as events:
            await anext(events)
            engine.cancel(first.job_id)
            assert all(not isinstance(event, Finished) for event in [event async for event in events])
        # Another attempt at the same job is not cancelled by what was said about the first.
        assert isinstance((await paint(engine, replace(first, attempt=2)))[-1], Finished)

    async def test_unknown_job_is_not_cancelled(self, engine: LocalEngine) -> None:
        engine.cancel(JobId(10**9))
        assert isinstance((await paint(engine, order()))[-1], Finished)

    async def test_child_killed_while_painting_is_replaced(self, engine: LocalEngine) -> None:
        await engine.ready()
        pid = engine.pid
        assert pid is not None
        with pytest.raises(EngineDied, match="stopped while painting"):  # noqa: PT012 - the stream raises
            async with aclosing(engine.submit(order(replace(APPLE, num_inference_steps=150)))) as events:
                async for event in events:
                    if isinstance(event, Progress):
                        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.pid != pid

    async def test_closing_while_it_paints_takes_the_child_along(self) -> None:
        engine = LocalEngine(Config(engine=EngineConfig(device="cpu", threads=1)))
        long = order(replace(APPLE, width=256, height=256, num_inference_steps=150))
        async with running(engine), aclosing(engine.submit(long)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    break
            pid = engine.pid
            started_at = time.monotonic()
        assert pid is not None
        assert gone(pid)
        assert time.monotonic() - started_at < Timeouts().stop, "it left by itself when its input ended"


def test_bot_process_has_no_torch_no_ray_and_no_client_of_providers() -> None:
    names = [f"cogs.{file.stem}" for file in (ROOT / "cogs").glob("*.py") if file.stem != "__init__"]
    assert len(names) > 5
    modules = ["bot.app", "bot.client", "bot.__main__", "bot.sandbox", "bot.terminal", "bot.doctor", *names]
    heavy = ("torch", "diffusers", "transformers", "numpy", "PIL", "ray", "openai", "httpx2")
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


PARENT = """
import asyncio, sys
from bot.config import Config
from bot.engine import Order, Progress
from bot.engine.local import LocalEngine
from bot.jobs import GenerationRequest

async def main():
    engine = LocalEngine(Config(engine={"device": "cpu", "threads": 1}))
    running = asyncio.create_task(engine.run())
    while engine.pid is None:
        await asyncio.sleep(0.01)
    print(engine.pid, flush=True)
    request = GenerationRequest("an apple", "emoji", 512, 512, 150, 3.0, 7)
    async for event in engine.submit(Order(1, 1, request, 1)):
        if isinstance(event, Progress):
            print("painting", flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def parent() -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs a real engine and says its child's process id, and "painting" at each step."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def told(process: asyncio.subprocess.Process) -> str:
    """The next line a process says."""
    assert process.stdout is not None
    async with asyncio.timeout(LONG_SECONDS):
        return (await process.stdout.readline()).decode().strip()


async def test_child_importing_torch_ends_when_the_bot_is_killed(parent: asyncio.subprocess.Process) -> None:
    child = int(await told(parent))
    await until(lambda: any("libtorch" in loaded.path for loaded in psutil.Process(child).memory_maps()))
    parent.kill()
    await until(lambda: gone(child))


async def test_busy_child_ends_when_the_bot_is_killed(parent: asyncio.subprocess.Process) -> None:
    child = int(await told(parent))
    assert await told(parent) == "painting"
    parent.kill()
    await until(lambda: gone(child))


async def child_reading(*chunks: bytes, close: bool) -> int:
    """The exit code of a real engine process that reads this after its setup."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.worker",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    config = Config(engine=EngineConfig(device="cpu", threads=1))
    setup = SetupFrame([model.model_dump() for model in config.models], config.engine.model_dump(), "", "info")
    process.stdin.write(b"".join([encode(setup), *chunks]))
    try:
        if close:
            process.stdin.close()
        async with asyncio.timeout(LONG_SECONDS):
            assert await process.stdout.read() == b"", "it leaves without a word"
            return await process.wait()
    finally:
        process.stdin.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


SUBMIT = encode(SubmitFrame(JobId(1), 1, UserId(1), APPLE, {}))


async def test_child_ends_when_the_bot_dies_half_way_through_a_frame() -> None:
    assert await child_reading(SUBMIT[:20], close=True) == 0


async def test_child_ends_when_its_input_is_garbage() -> None:
    assert await child_reading(struct.pack(">II", 2, 0) + b"[]", close=False) == 1
