"""The bot's side of the engine process: orders go through the pipe, and their events come back.

An order belongs to the process it was sent to. When that process exits, or one of its stages takes too long, every open
order raises EngineDied, and the caller that submitted it decides about another attempt. Only the orders that the
process was working on are blamed.

`supervisor.py` owns the process, `orders.py` one order's frames, `stages.py` follows what the process does,
`timeouts.py` says how long that may take, and `reload_backoff.py` when a broken model is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import assert_never

from bot.config import Config
from bot.engine import Event, Finished, Order, Preview, Progress, Started
from bot.engine.local.devices import Place
from bot.engine.local.orders import OrderStream
from bot.engine.local.reload_backoff import HungLoads, ReloadBackoff
from bot.engine.local.stages import StageWatch, Stall
from bot.engine.local.supervisor import Supervisor
from bot.engine.local.timeouts import Timeouts
from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    LeavingFrame,
    LoadedFrame,
    ObservedFrame,
    OrderFrame,
    PreviewFrame,
    ProgressFrame,
    ReadyFrame,
    SetupFrame,
    Stage,
    StageFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    TimingsFrame,
)
from bot.errors import PaintFailed
from bot.jobs import JobId, Work

__all__ = ["COMMAND", "LocalEngine", "Timeouts"]

log = logging.getLogger(__name__)

_LONG_START_MINUTES = 3
"""After so long the host is told that the process still starts."""
ANYWHERE = Place()
COMMAND = (sys.executable, "-m", "bot.worker")


class LocalEngine:
    """Paints in one child process at a time; `run` is the task that owns it."""

    def __init__(
        self,
        config: Config,
        *,
        command: Sequence[str] = COMMAND,
        environ: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        known: str = "",
        calibration: Path | None = None,
        provenance: Path | None = None,
        known_files: Path | None = None,
        observe: bool = False,
        place: Place = ANYWHERE,
    ) -> None:
        """Make an engine that starts with the timings in `known`, which `Timings.dump` wrote.

        `command` starts the child, with `environ` in its environment. It remembers in the file `calibration` what makes
        models faster, and labels pictures with the secrets in the folder `provenance`. It loads only weights with the
        hashes in the file `known_files`, or new ones. With `observe` it says how each order ran. It paints at `place`,
        after which its lane is named.
        """
        self._timeouts = timeouts = timeouts or Timeouts()
        self._config, self._place = config, place
        self._calibration, self._provenance, self._observe = calibration, provenance, observe
        self._known_files = known_files
        self.observed: dict[str, ObservedFrame] = {}
        """How the last order with each model ran, if it is observed."""
        backoff = ReloadBackoff(config.models, timeouts, known_files)
        environ = {**place.environment(os.environ), **(environ or {})}
        self._supervisor = Supervisor(command, self, backoff, timeouts, environ)
        self._watch = StageWatch(timeouts, self._known_seconds, compiling=config.engine.compile)
        self._watched = asyncio.Event()
        """Set whenever the watch has changed."""
        self._stall: Stall | None = None
        self._last_words = ""
        """Why the process said that it ends."""
        self.device = ""
        """What the process paints on, in words; empty before it was ready for the first time."""
        self.warm: Collection[str] = ()
        """The models that are in the memory of the process."""
        self._hung_loads = HungLoads(timeouts)
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
        """The name of its lane."""
        return self._place.lane

    @property
    def lanes(self) -> Sequence[LocalEngine]:
        """Itself: one process is one lane."""
        return (self,)

    @property
    def slots(self) -> int:
        """How many orders the engine paints at the same time; they share its batches."""
        return self._config.engine.slots

    def has(self, model: str) -> bool:
        """Whether the model is in the configuration."""
        return any(model == known.name for known in self._config.models)

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that cannot be used now, each with the reason in words; "" concerns all of them."""
        return {**self._hung_loads.troubles(_now()), **self._supervisor.troubles}

    @property
    def advice(self) -> str:
        """What a host can do who waits for a process that takes long to start."""
        since = self._supervisor.starting_since
        minutes = 0 if since is None else int((_now() - since) / 60)
        if minutes < _LONG_START_MINUTES:
            return ""
        return (
            f"It has been starting for {minutes} minutes. The log of the bot says what it does, such as a download. "
            f"After {self._timeouts.start / 60:.0f} minutes it is started again."
        )

    @property
    def pace(self) -> None:
        """None: its orders share its time."""
        return None

    @property
    def timings(self) -> Timings:
        """How long a forward takes, as the process measured it."""
        return self._timings

    @property
    def pid(self) -> int | None:
        """The child's process id, or None between two of them."""
        return self._supervisor.pid

    @property
    def is_up(self) -> bool:
        """Whether the child can take orders."""
        return self._supervisor.is_ready

    async def ready(self) -> None:
        """Wait until the child can take orders."""
        await self._supervisor.ready()

    async def run(self) -> None:
        """Keep a child running until cancelled, then stop it."""
        await self._supervisor.run()

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint, yielding events and Finished last; a cancelled order ends without it.

        Raises EngineDied when the process ends or hangs, PaintFailed when it cannot paint this.
        """
        if words := self._hung_loads.troubles(_now()).get(order.request.model):
            raise PaintFailed(words)
        stream = self._open[order.job_id] = OrderStream(order)
        try:
            await self._supervisor.ready()
            if stream.is_cancelled:
                return
            stream.is_sent = True
            self._supervisor.send(
                SubmitFrame(order.job_id, order.attempt, order.owner, order.request, order.uploads, order.limits)
            )
            self._watch.sent((order.job_id, order.attempt), order.request, _now())
            self._watched.set()
            while (frame := await stream.next()) is not None:
                match frame:
                    case StartedFrame():
                        yield Started()
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
            self._watch.ended((order.job_id, order.attempt))
            self._watched.set()
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
        self._watch.restart()
        self._stall, self._last_words = None, ""
        return SetupFrame(
            models=[model.model_dump() for model in self._config.models],
            engine=self._place.settings(self._config.engine).model_dump(),
            device=self._place.device,
            sharing=self._place.sharing,
            timings=self._timings.dump(),
            log_level=self._config.log_level,
            calibration="" if self._calibration is None else str(self._calibration.resolve()),
            provenance="" if self._provenance is None else str(self._provenance.resolve()),
            known_files="" if self._known_files is None else str(self._known_files.resolve()),
            observe=self._observe,
        )

    def hear(self, frame: Frame) -> None:
        """Handle a frame of the process."""
        match frame:
            case ReadyFrame():
                self.device = frame.device
            case LeavingFrame():
                self._last_words = frame.reason
            case LoadedFrame():
                self.warm = frame.models
            case StageFrame():
                left = self._note(frame)
                if left is not None and left.stage is Stage.LOAD and left.model:
                    self._hung_loads.loaded(left.model)
            case ObservedFrame():
                self.observed[frame.model] = frame
            case TimingsFrame():
                self._timings = Timings(row_cap=self._config.engine.rows)
                self._timings.load(frame.timings)
                self.step_histogram.add(frame.steps)
                self.learned.set()
            case StartedFrame() | ProgressFrame() | PreviewFrame() | FinishedFrame() | FailedFrame():
                self._note(frame)
                order = self._open.get(frame.job_id)
                if order is not None and order.order.attempt == frame.attempt:
                    order.put(frame)
            case SetupFrame() | SubmitFrame() | CancelFrame() | StopFrame():
                raise ValueError(f"a {type(frame).__name__} goes only to the engine process")
            case _:
                assert_never(frame)

    async def stalled(self) -> str:
        """Wait until a stage of the process takes too long; returns what happened, in words."""
        while True:
            self._watched.clear()
            if (stall := self._watch.stall(_now())) is not None:
                self._stall = stall
                return stall.words
            due_at = self._watch.due_at
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else max(due_at - _now(), 0.0)):
                    await self._watched.wait()

    def lose(self) -> None:
        """Let every order know that its process is gone, and whether it is blamed for that."""
        stall, last_words = self._stall, self._last_words
        blamed = self._watch.suspects if stall is None else stall.blamed
        words = "The engine stopped while painting." if stall is None else stall.words
        if last_words:
            blamed, words = frozenset(), last_words
        for model in () if last_words else self._watch.loading:
            self._hung_loads.hung(model, _now())
        self.warm = ()
        for stream in self._sent():
            stream.lose(words, is_blamed=(stream.order.job_id, stream.order.attempt) in blamed)

    def _note(self, frame: StageFrame | OrderFrame) -> StageFrame | None:
        self._watched.set()
        return self._watch.heard(frame, _now())

    def _sent(self) -> list[OrderStream]:
        """The orders that were sent to a process."""
        return [stream for stream in self._open.values() if stream.is_sent]

    def _known_seconds(self, work: Work) -> float | None:
        step = self._timings.known_step(work.shape, work.rows)
        return None if step is None else max(step, self._timings.rest_seconds(work))


def _now() -> float:
    return time.monotonic()
