"""The engine process from the bot's side: the real one with real weights, and children that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from PIL import Image as Picture

from bot.config import EMBEDDED_MODEL, Config, EngineConfig, ModelConfig
from bot.engine import Event, Finished, Order, Progress, Started, local
from bot.engine.local import LocalEngine, Timeouts
from bot.engine.local.supervisor import KEEPS_DYING
from bot.engine.wire import SetupFrame, Stage, SubmitFrame, encode
from bot.errors import EngineDied, PaintFailed
from bot.findings import engines
from bot.jobs import GenerationRequest, JobId, Operation, UserId
from bot.queue.lane_states import lane_states
from bot.requests.uploads import MOST_BYTES
from bot.secrets import SECRETS
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder, make_tiny_single_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX signals")

ROOT = Path(__file__).parents[3]
LONG_SECONDS = 60.0
"""More than anything here takes on a busy machine."""

APPLE = GenerationRequest(
    prompt="a red apple on a blue background",
    model="emoji",
    width=64,
    height=64,
    num_inference_steps=5,
    guidance_scale=3.0,
    seed=7,
)

_numbers = count(1)


def order(request: GenerationRequest = APPLE, *, attempt: int = 1) -> Order:
    """An order for a job that nobody had before."""
    return Order(JobId(next(_numbers)), attempt, request, UserId(1))


def order_from(request: GenerationRequest, image: bytes) -> Order:
    """An order that starts from an encoded picture."""
    sha256 = hashlib.sha256(image).hexdigest()
    return replace(order(replace(request, operation=Operation.IMAGE2IMAGE, image=sha256)), uploads={sha256: image})


def encoded(picture: Picture.Image) -> bytes:
    """A PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@asynccontextmanager
async def running(engine: LocalEngine) -> AsyncIterator[asyncio.Task[None]]:
    """Run an engine beside the body."""
    task = asyncio.create_task(engine.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def paint(engine: LocalEngine, order: Order) -> list[Event]:
    """Every event of an order."""
    async with asyncio.timeout(LONG_SECONDS), aclosing(engine.submit(order)) as events:
        return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event to wait for."""
    async with asyncio.timeout(LONG_SECONDS):
        while not condition():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie nobody has buried yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pixels(event: Event) -> str:
    """The sha256 of the first picture's decoded pixels."""
    assert isinstance(event, Finished)
    return hashlib.sha256(Picture.open(io.BytesIO(event.images[0].png)).convert("RGB").tobytes()).hexdigest()


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


STAGES = ("take", "decode", "fetch", "load", "prompt", "cold", "first_step", "warm", "step", "finish")
"""The timeouts of stages."""
QUICK = Timeouts(**dict.fromkeys(STAGES, 0.3), stop=0.2, term=0.3, restart=0.05)
PATIENT = replace(QUICK, **dict.fromkeys(STAGES, LONG_SECONDS))


class Child:
    """A child that misbehaves as `mode` says; a change counts from its next start on."""

    def __init__(self, home: Path) -> None:
        self._file = home / "mode"

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("misbehaving_child.py")), str(self._file)]

    def will(self, mode: str) -> None:
        self._file.write_text(mode)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """A child that misbehaves."""
    return Child(tmp_path)


@pytest.fixture
def starts(caplog: pytest.LogCaptureFixture) -> Callable[[], list[float]]:
    """When each child was started."""
    caplog.set_level(logging.INFO, "bot.engine.local")
    return lambda: [record.created for record in caplog.records if record.message.endswith("started")]


def engine_of(child: Child, timeouts: Timeouts = QUICK) -> LocalEngine:
    """An engine with a misbehaving child."""
    return LocalEngine(Config(), command=child.command, timeouts=timeouts)


@pytest.mark.parametrize(
    ("mode", "timeouts", "words", "exit_code"),
    [
        ("hang", QUICK, "silent for 0 s", -signal.SIGTERM),
        ("hang-after-step", replace(PATIENT, step=0.3), "silent for 0 s", -signal.SIGTERM),
        ("ignore-sigterm", QUICK, "silent for 0 s", -signal.SIGKILL),
        ("exit-on-order", QUICK, "stopped while painting", 3),
        ("garbage", QUICK, "stopped while painting", 0),
        ("flood", QUICK, "stopped while painting", None),
        ("nonsense", QUICK, "stopped while painting", 0),
    ],
)
async def test_order_dies_with_its_child_and_the_next_one_is_painted(
    child: Child,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    timeouts: Timeouts,
    words: str,
    exit_code: int | None,
) -> None:
    engine = engine_of(child, timeouts)
    child.will(mode)
    async with running(engine):
        await engine.ready()
        pid = engine.pid
        assert pid is not None
        child.will("well")
        with pytest.raises(EngineDied, match=words):
            await paint(engine, order())
        assert isinstance((await paint(engine, order()))[-1], Finished), "at once, without a pause"
        assert gone(pid)
        assert engine.troubles == {}
    (ended,) = [record for record in caplog.records if "ended (exit code" in record.message]
    assert exit_code is None or f"exit code {exit_code})" in ended.message


async def test_child_that_never_becomes_ready_for_an_order_is_waited_for(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        painting = asyncio.create_task(paint(engine, order()))
        await until(lambda: engine.pid is not None)
        await asyncio.sleep(2 * QUICK.first_step)
        assert not painting.done(), "its timeout begins when the child takes the order"
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        assert isinstance((await painting)[-1], Finished)


async def test_child_that_exits_at_once_is_started_less_and_less_often(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child)
    child.will("exit")
    async with running(engine):
        await until(lambda: len(starts()) >= 5)
        assert engine.troubles == {"": "The engine does not start. The host can find the reason in its log."}
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.troubles == {}
    gaps = [later - earlier for earlier, later in pairwise(starts()[:5])]
    assert all(gap >= pause for gap, pause in zip(gaps, (0, 0.05, 0.1, 0.2), strict=True)), gaps


@pytest.mark.parametrize("mode", ["exit-on-order", "ready-exit"])
async def test_child_that_dies_again_and_again_opens_the_breaker_and_closes_it_by_itself(
    child: Child, mode: str
) -> None:
    engine = engine_of(child)
    child.will(mode)
    troubled = []

    async with running(engine):
        for _ in range(3):
            if mode == "exit-on-order":
                assert engine.troubles == {}, "two deaths may be one request's"
                with pytest.raises(EngineDied):
                    await paint(engine, order())
        await until(lambda: engine.troubles)
        troubled.append(engine.troubles[""])
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished), "without a restart of the bot"
        assert engine.troubles == {}
    assert troubled == [KEEPS_DYING]


async def test_child_that_says_why_it_leaves_is_quoted_and_blames_no_order(child: Child) -> None:
    engine = engine_of(child)
    child.will("leave")
    async with running(engine):
        with pytest.raises(EngineDied, match=r"^The host is gone\.$") as died:
            await paint(engine, order())
        assert not died.value.is_blamed
        assert engine.troubles == {"": "The host is gone."}
        child.will("well")
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert engine.troubles == {}


def test_pause_before_a_start_doubles_up_to_a_minute() -> None:
    timeouts = Timeouts(restart=1.0)
    assert [timeouts.pause_before_start(failures) for failures in range(10)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert timeouts.pause_before_start(100_000) == 60, "also after ten weeks"


async def test_a_model_that_cannot_be_loaded_is_tried_again_less_and_less_often_until_it_can(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(QUICK, reload=0.2, file_check=0.01))
    child.will("trouble")
    async with running(engine):
        await until(lambda: len(starts()) >= 4)
        assert engine.troubles == {"emoji": "It is broken."}, "a child that says so is no failed start"
        child.will("well")
        await until(lambda: engine.troubles == {})
        assert isinstance((await paint(engine, order()))[-1], Finished), "without a restart of the bot"
    gaps = [later - earlier for earlier, later in pairwise(starts()[:4])]
    assert all(gap >= pause for gap, pause in zip(gaps, (0.2, 0.4, 0.8), strict=True)), gaps


async def test_a_model_that_is_put_right_is_tried_at_once(
    child: Child, starts: Callable[[], list[float]], tmp_path: Path
) -> None:
    weights = tmp_path / "broken" / "unet" / "weights"
    weights.parent.mkdir(parents=True)
    config = Config(models=(ModelConfig(name="emoji", source=str(tmp_path / "broken")),))
    timeouts = replace(QUICK, reload=LONG_SECONDS, file_check=0.05)
    engine = LocalEngine(config, command=child.command, timeouts=timeouts)
    child.will("trouble")
    async with running(engine):
        await until(lambda: engine.troubles)
        await asyncio.sleep(5 * timeouts.file_check)
        assert len(starts()) == 1, "nothing has changed"
        child.will("well")
        weights.write_bytes(b"whole")
        await until(lambda: engine.troubles == {})
    assert len(starts()) == 2


async def test_nobody_who_paints_with_another_model_is_interrupted_for_it(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(PATIENT, reload=0.01, file_check=0.01))
    child.will("trouble")
    async with running(engine), aclosing(engine.submit(order())) as events:
        await anext(events)
        begun = len(starts())
        await asyncio.sleep(0.2)
        assert len(starts()) == begun


def test_pause_before_a_broken_model_is_tried_again_doubles_up_to_half_an_hour() -> None:
    pauses = [Timeouts().pause_before_reload(tries) for tries in (0, 1, 2, 4, 5, 100_000)]
    assert pauses == [60, 120, 240, 960, 1800, 1800]


async def test_the_host_is_told_of_a_child_that_starts_for_long(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(child, PATIENT)
    child.will("silent")
    async with running(engine):
        await until(lambda: engine.pid is not None)
        assert not engine.advice
        later = time.monotonic() + 4 * 60
        with monkeypatch.context() as patched:
            patched.setattr(local, "_now", lambda: later)
            (finding,) = engines(lane_states(engine, (), {}))
        assert finding.remedy.startswith("It has been starting for 4 minutes. The log of the bot says what it does")
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await engine.ready()
        assert not engine.advice


async def test_one_failed_start_is_no_trouble(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        await until(lambda: engine.pid is not None)
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await engine.ready()
        assert engine.troubles == {}


async def test_result_of_an_earlier_attempt_is_ignored(child: Child) -> None:
    engine = engine_of(child)
    child.will("late")
    async with running(engine):
        events = await paint(engine, order(attempt=2))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert [image.png for image in finished.images] == [b"picture"]


async def test_the_pictures_of_an_order_reach_the_child(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT))
    child.will("echo")
    # As much as one request may bring, and far more than a pipe holds.
    pictures = [bytes([number]) * MOST_BYTES for number in range(3)]
    names = [hashlib.sha256(data).hexdigest() for data in pictures]
    request = replace(
        APPLE,
        operation=Operation.INPAINT,
        image=names[0],
        mask_image=names[1],
        control_image=names[2],
        controlnet="canny",
    )
    async with running(engine):
        events = await paint(engine, replace(order(request), uploads=dict(zip(names, pictures, strict=True))))
        assert isinstance(events[-1], Finished)
        assert events[-1].images[0].png == b"".join(pictures)
        assert isinstance((await paint(engine, order()))[-1], Finished), "one without pictures follows"


async def test_an_engine_that_does_not_take_an_order_is_not_waited_for_as_one_that_loads(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, take=0.3))
    child.will("hang-later")
    async with running(engine):
        assert isinstance((await paint(engine, order()))[-1], Finished)
        child.will("well")
        with pytest.raises(EngineDied, match="silent for 0 s"):
            await paint(engine, order())
        assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_who_waits_for_another_model_to_be_loaded_is_given_the_time(child: Child) -> None:
    engine = engine_of(child, replace(QUICK, load=LONG_SECONDS, take=0.3))
    child.will("load-later")
    async with running(engine):
        assert isinstance((await paint(engine, order()))[-1], Finished)
        assert isinstance((await paint(engine, order()))[-1], Finished), "though it took twice as long as that"


BESIDE = replace(APPLE, prompt="a bystander")
TROUBLE = replace(APPLE, prompt="trouble", model="another")

IN_STAGE = {
    "decode": replace(PATIENT, decode=0.3),
    "fetch": replace(PATIENT, fetch=0.3),
    "load": replace(PATIENT, load=0.3),
    "encode": replace(PATIENT, prompt=0.3, cold=0.3),
    "start": replace(PATIENT, prompt=0.3, cold=0.3),
    "step": replace(PATIENT, first_step=0.3),
    "finish": replace(PATIENT, finish=0.3),
}
"""The timeouts of an engine that is impatient with one stage."""


async def end_of(engine: LocalEngine, order: Order) -> EngineDied | Event:
    """How an order ends: with its last event, or the engine's end."""
    try:
        return (await paint(engine, order))[-1]
    except EngineDied as error:
        return error


@pytest.mark.parametrize("stage", IN_STAGE)
@pytest.mark.parametrize("ending", ["hang", "die"])
async def test_only_the_order_in_the_stage_that_stalls_is_blamed(child: Child, stage: str, ending: str) -> None:
    engine = engine_of(child, IN_STAGE[stage])
    child.will(f"{ending}-{stage}")
    async with running(engine):
        bystanders = [asyncio.create_task(end_of(engine, order(BESIDE))) for _ in range(2)]
        await until(lambda: len(engine.steps_done) == 2)
        started_at = time.monotonic()
        culprit = await end_of(engine, order(TROUBLE))
        child.will("well")
        ends = await asyncio.gather(*bystanders)
        assert time.monotonic() - started_at < 10, "the others go on"
        assert isinstance(culprit, EngineDied)
        assert culprit.is_blamed
        assert all(isinstance(end, EngineDied) and not end.is_blamed for end in ends), ends
        if ending == "hang":
            assert f"silent for 0 s while {Stage[stage.upper()]}" in str(culprit)
        assert isinstance(await end_of(engine, order(BESIDE)), Finished)


async def test_a_stalled_order_that_was_cancelled_holds_up_no_other_and_blames_no_other(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, prompt=0.5, cold=0.5))
    child.will("hang-encode")
    async with running(engine):
        bystander = asyncio.create_task(end_of(engine, order(BESIDE)))
        await until(lambda: len(engine.steps_done) == 1)
        trouble = order(TROUBLE)
        culprit = asyncio.create_task(paint(engine, trouble))
        await asyncio.sleep(0.1)
        engine.cancel(trouble.job_id)
        assert await culprit == []
        end = await bystander
        assert isinstance(end, EngineDied)
        assert not end.is_blamed


async def test_a_model_that_hangs_while_it_is_loaded_takes_the_engine_down_twice_and_not_for_each_request(
    child: Child, starts: Callable[[], list[float]]
) -> None:
    engine = engine_of(child, replace(PATIENT, load=0.2, reload=0.5))
    child.will("hang-load")
    async with running(engine):
        for _ in range(2):
            assert isinstance(await end_of(engine, order(TROUBLE)), EngineDied)
        assert "hung or stopped 2 times while it loaded the model another" in engine.troubles["another"]
        for _ in range(3):
            with pytest.raises(PaintFailed, match=r"left alone for a while\. Choose another model"):
                await paint(engine, order(TROUBLE))
        assert len(starts()) <= 3
        child.will("well")
        await until(lambda: not engine.troubles)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: len(starts()) > 3)
        assert isinstance(await end_of(engine, order(TROUBLE)), Finished), "after a while it may try again"


async def test_a_result_that_is_slowly_stored_is_no_stall(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, take=0.2))
    child.will("well")
    async with running(engine):
        async with aclosing(engine.submit(order())) as events:
            async for event in events:
                if isinstance(event, Finished):
                    await asyncio.sleep(0.6)
        assert isinstance(await end_of(engine, order()), Finished)
        assert engine.troubles == {}


async def test_slow_model_teaches_its_pace_with_its_first_step(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT, step=0.1))
    child.will("slow")
    async with running(engine):
        events = await paint(engine, order())
    assert events[:-1] == [Started(), Progress(1, 2), Progress(2, 2)]


async def test_order_cancelled_before_the_child_is_ready_is_never_sent(child: Child) -> None:
    engine = engine_of(child)
    child.will("silent")
    async with running(engine):
        cancelled = order()
        painting = asyncio.create_task(paint(engine, cancelled))
        await until(lambda: engine.pid is not None)
        engine.cancel(cancelled.job_id)
        child.will("well")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        assert await painting == [], "not even Started"
        assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_order_is_not_given_to_a_child_that_left_as_soon_as_it_was_ready(child: Child) -> None:
    engine = engine_of(child, replace(PATIENT))
    child.will("ready-exit")
    async with running(engine):
        painting = asyncio.create_task(paint(engine, order()))
        await until(lambda: engine.pid is not None)
        # While the bot is busy with something else, the child says it is ready and leaves.
        child_left = psutil.Process(engine.pid)
        while not gone(child_left.pid):
            time.sleep(0.01)  # noqa: ASYNC251 - that is the point
        child.will("well")
        # Either it had the order and it is told so, or the next child gets it.
        async with asyncio.timeout(LONG_SECONDS / 2):
            try:
                assert isinstance((await painting)[-1], Finished)
            except EngineDied:
                assert isinstance((await paint(engine, order()))[-1], Finished)


async def test_closing_does_not_wait_for_a_child_that_ignores_everything(child: Child) -> None:
    engine = engine_of(child)
    child.will("ignore-sigterm")
    async with running(engine), aclosing(engine.submit(order())) as events:
        assert await anext(events) == Started()
        pid = engine.pid
        started_at = time.monotonic()
    assert pid is not None
    assert gone(pid)
    assert time.monotonic() - started_at < QUICK.stop + 2 * QUICK.term + 2


async def test_closing_in_a_hurry_kills_the_child(child: Child) -> None:
    engine = engine_of(child, replace(QUICK, stop=LONG_SECONDS))
    child.will("ignore-sigterm")
    async with running(engine) as task, aclosing(engine.submit(order())) as events:
        assert await anext(events) == Started()
        pid = engine.pid
        assert pid is not None
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not gone(pid), "it is still being asked to leave"
    await until(lambda: gone(pid))


async def test_no_file_descriptor_is_left_behind_by_children_that_die(child: Child) -> None:
    engine = engine_of(child)
    child.will("garbage")
    async with running(engine):
        counts = []
        for _ in range(6):
            with pytest.raises(EngineDied):
                await paint(engine, order())
            await engine.ready()
            counts.append(psutil.Process().num_fds())
    assert counts[-1] <= counts[1], counts


async def test_a_child_that_cannot_be_started_is_trouble_and_no_crash(tmp_path: Path) -> None:
    engine = LocalEngine(Config(data=tmp_path), command=[str(tmp_path / "missing")], timeouts=Timeouts(restart=0.01))
    running = asyncio.create_task(engine.run())
    await asyncio.wait([running], timeout=1)
    assert not running.done()
    assert "does not start" in engine.troubles[""]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_child_that_hangs_before_it_is_ready_is_replaced(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    timeouts = Timeouts(start=0.2, stop=0.1, term=0.1, restart=0.01)
    engine = LocalEngine(Config(data=tmp_path), command=command, timeouts=timeouts)
    running = asyncio.create_task(engine.run())
    await until(lambda: "" in engine.troubles)
    assert "does not start" in engine.troubles[""]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
