"""The bot's side of the engine process: orders go through the pipe, and their events come back.

An order belongs to the process it was sent to. When that process ends or hangs, every open order raises EngineDied, and
the caller that submitted it decides about another attempt.

`supervisor.py` owns the process, `orders.py` one order's frames, `timeouts.py` says how long a silence may be, and
`reload_backoff.py` when a broken model is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import assert_never

from bot.config import Config
from bot.engine import Event, Finished, Order, Preview, Progress, Started
from bot.engine.local.orders import OrderStream
from bot.engine.local.reload_backoff import ReloadBackoff
from bot.engine.local.supervisor import Supervisor
from bot.engine.local.timeouts import SilenceLimit, StepTimes, Timeouts
from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    LoadingFrame,
    OrderFrame,
    PreviewFrame,
    ProgressFrame,
    ReadyFrame,
    SetupFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    TimingsFrame,
)
from bot.errors import EngineDied, PaintFailed
from bot.jobs import JobId

__all__ = ["COMMAND", "LocalEngine", "Timeouts"]

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "bot.worker")


class LocalEngine:
    """Paints in one child process at a time; `run` is the task that owns it."""

    def __init__(
        self, config: Config, *, command: Sequence[str] = COMMAND, timeouts: Timeouts | None = None, known: str = ""
    ) -> None:
        """Make an engine that starts with the timings in `known`, which `Timings.dump` wrote."""
        timeouts = timeouts or Timeouts()
        self._config = config
        self._supervisor = Supervisor(command, self, ReloadBackoff(config.models, timeouts), timeouts)
        self._times = StepTimes(timeouts, compiling=config.engine.compile)
        self._open: dict[JobId, OrderStream] = {}
        self._timings = Timings(row_cap=config.engine.rows)
        self._timings.load(known)
        self.step_histogram = StepHistogram()
        """The denoising steps of all processes together."""
        self.steps_done: dict[JobId, int] = {}
        """The denoising steps that are done of each order in the engine."""
        self.learned = asyncio.Event()
        """Set when the timings have changed; the task that stores them clears it."""

    @property
    def name(self) -> str:
        """The name of the local lane."""
        return "local"

    @property
    def lanes(self) -> Sequence[LocalEngine]:
        """Itself: one process is one lane."""
        return (self,)

    @property
    def slots(self) -> int:
        """How many orders the engine paints at the same time; they share its batches."""
        return self._config.engine.slots

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that cannot be used now, each with the reason in words; "" concerns all of them."""
        return self._supervisor.troubles

    @property
    def timings(self) -> Timings:
        """How long a forward takes, as the process measured it."""
        return self._timings

    @property
    def pid(self) -> int | None:
        """The child's process id, or None between two of them."""
        return self._supervisor.pid

    def holds(self, job_id: JobId) -> bool:
        """Whether an order for this job is open."""
        return job_id in self._open

    async def ready(self) -> None:
        """Wait until the child can take orders."""
        await self._supervisor.ready()

    async def run(self) -> None:
        """Keep a child running until cancelled, then stop it."""
        await self._supervisor.run()

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint, yielding events and Finished last; a cancelled order ends without it.

        Raises EngineDied when the process ends or falls silent, PaintFailed when it cannot paint this.
        """
        stream = self._open[order.job_id] = OrderStream(order)
        try:
            await self._supervisor.ready()
            if stream.is_cancelled:
                return
            stream.is_sent = True
            self._supervisor.send(SubmitFrame(order.job_id, order.attempt, order.owner, order.request, order.uploads))
            silence = SilenceLimit(order.request.model, self._times, _now())
            while (frame := await self._next(stream, silence.allowed)) is not None:
                silence.heard(frame, _now())
                match frame:
                    case StartedFrame():
                        yield Started()
                    case LoadingFrame():
                        pass
                    case ProgressFrame():
                        self.steps_done[order.job_id] = frame.step
                        yield Progress(frame.step, frame.of)
                    case PreviewFrame():
                        yield Preview(frame.jpeg)
                    case FinishedFrame():
                        yield Finished(frame.images, frame.model_hash)
                        return
                    case FailedFrame():
                        raise PaintFailed(frame.reason)
                    case _:
                        assert_never(frame)
        finally:
            self._open.pop(order.job_id, None)
            self.steps_done.pop(order.job_id, None)

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step; its stream of events ends at once."""
        stream = self._open.get(job_id)
        if stream is not None:
            if stream.is_sent:
                self._supervisor.send(CancelFrame(job_id, stream.order.attempt))
            stream.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether any order is open."""
        return bool(self._open)

    def setup(self) -> SetupFrame:
        """Tell a new process the configuration and what was learned so far."""
        self._times.forget_warm()
        return SetupFrame(
            models=[model.model_dump() for model in self._config.models],
            engine=self._config.engine.model_dump(),
            timings=self._timings.dump(),
            log_level=self._config.log_level,
        )

    def hear(self, frame: Frame) -> None:
        """Handle a frame of the process."""
        match frame:
            case ReadyFrame():
                pass  # the supervisor has seen it
            case LoadingFrame():
                self._times.forget_warm()
                for stream in self._sent():
                    stream.put(frame)
            case TimingsFrame():
                self._timings = Timings(row_cap=self._config.engine.rows)
                self._timings.load(frame.timings)
                self.step_histogram.add(frame.steps)
                self.learned.set()
            case StartedFrame() | ProgressFrame() | PreviewFrame() | FinishedFrame() | FailedFrame():
                order = self._open.get(frame.job_id)
                if order is not None and order.order.attempt == frame.attempt:
                    order.put(frame)
            case SetupFrame() | SubmitFrame() | CancelFrame() | StopFrame():
                raise ValueError(f"a {type(frame).__name__} goes only to the engine process")
            case _:
                assert_never(frame)

    def lose(self) -> None:
        """Fail every order that was sent to the process, because it has ended."""
        for stream in self._sent():
            stream.lose()

    def _sent(self) -> list[OrderStream]:
        """The orders that were sent to a process."""
        return [stream for stream in self._open.values() if stream.is_sent]

    async def _next(self, stream: OrderStream, allowed: float) -> OrderFrame | LoadingFrame | None:
        try:
            return await stream.next(allowed)
        except TimeoutError:
            log.warning("the engine has been silent for %.0f s; killing it", allowed)
            await self._supervisor.kill()
            raise EngineDied(f"The engine was silent for {allowed:.0f} s.") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
