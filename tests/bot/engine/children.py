"""Orders for an engine, what it answers, and a child that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import psutil
from PIL import Image as Picture

from bot.config import Config
from bot.engine import Event, Finished, Order
from bot.engine.local import LocalEngine, Timeouts
from bot.jobs import GenerationRequest, JobId, Operation, UserId

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


def engine_of(child: Child, timeouts: Timeouts = QUICK) -> LocalEngine:
    """An engine with a misbehaving child."""
    return LocalEngine(Config(), command=child.command, timeouts=timeouts)
