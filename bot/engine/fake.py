"""An engine without weights that paints flat colours, for tests of the code around the engine."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from bot.engine import Event, Finished, Order, Pace, Preview, Progress, Started
from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.errors import PaintFailed
from bot.jobs import Image, JobId


class FakeEngine:
    """Paints every order in a colour of its seed. Tests can make it wait, raise, or take a given time."""

    def __init__(self, *, seconds: float = 0.0, slots: int = 1) -> None:
        self.name = "fake"
        self.device = "no device"
        self.is_up = True
        self.warm: Collection[str] = ()
        """Models that count as loaded; set by tests."""
        self.slots = slots
        self.seconds = seconds
        self.preview = b""
        """A JPEG that is sent after the first step of every order; empty for none."""
        self.timings = Timings()
        """Timings that tests can fill."""
        self.advice = ""
        """What the host can do; set by tests."""
        self.pace: Pace | None = None
        """Set by tests that want orders to run beside each other."""
        self.learned = asyncio.Event()
        self.step_histogram = StepHistogram()
        """Steps that tests can count."""
        self.steps_done: dict[JobId, int] = {}
        self.orders: list[Order] = []
        """Every order that was submitted, in order."""
        self.raises: list[Exception] = []
        """Errors: each of the next orders raises one of them before its first step."""
        self.open = asyncio.Event()
        """Clear it to hold every order before its first step."""
        self.open.set()
        self.held = 0
        """How many orders wait for `open` now."""
        self.nsfw: float | None = None
        """How explicit its pictures are; None if they are not checked."""
        self.missing: set[str] = set()
        """Models that it does not have; set by tests."""
        self._troubles: dict[str, str] = {}
        self._cancelled: set[JobId] = set()

    @property
    def lanes(self) -> Sequence[FakeEngine]:
        """Itself: it is one lane."""
        return (self,)

    def has(self, model: str) -> bool:
        """Whether it paints with a model; it does with all but those that a test names."""
        return model not in self.missing

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that cannot be used now; set by tests."""
        return self._troubles

    def trouble(self, model: str, words: str) -> None:
        """Make a model unusable."""
        self._troubles[model] = words

    async def ready(self) -> None:
        """Ready from the start."""

    async def run(self) -> None:
        """Wait: there is nothing to keep working."""
        await asyncio.Event().wait()

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint an order that brings the pictures it names; PaintFailed without them."""
        self.orders.append(order)
        if {hashlib.sha256(data).hexdigest() for data in order.uploads.values()} != set(order.request.uploads):
            raise PaintFailed("The order does not bring the pictures it names.")
        async with aclosing(self._paint(order)) as events:
            async for event in events:
                yield event

    async def _paint(self, order: Order) -> AsyncGenerator[Event, None]:
        yield Started()
        self.held += 1
        try:
            await self.open.wait()
        finally:
            self.held -= 1
        if self.raises:
            raise self.raises.pop(0)
        steps = order.request.steps
        for step in range(1, steps + 1):
            await asyncio.sleep(self.seconds / steps)
            if order.job_id in self._cancelled:
                return
            self.steps_done[order.job_id] = step
            yield Progress(step, steps)
            if step == 1 and self.preview:
                yield Preview(self.preview)
        if order.limits.blocks(self.nsfw):
            raise PaintFailed("The picture is too explicit.")
        size = order.request.width, order.request.height
        images = tuple(replace(flat_image(seed, *size), nsfw=self.nsfw) for seed in order.request.seeds)
        yield Finished(images, hashlib.sha256(b"fake").hexdigest())

    def cancel(self, job_id: JobId) -> None:
        """Stop an order at its next step."""
        self._cancelled.add(job_id)


def flat_image(seed: int, width: int, height: int) -> Image:
    """A PNG of one colour, chosen by the seed."""
    colour = hashlib.sha256(str(seed).encode()).digest()[:3]
    rows = (b"\0" + colour * width) * height

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return Image(png, seed, width, height, hashlib.sha256(png).hexdigest())
