"""The bot's side of the engine process: spawn it, speak with it, watch it, replace it.

An order belongs to the process it was sent to. When that process exits or falls silent every open order raises
EngineDied, and whoever submitted it decides about another attempt.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from bot.config import SECRETS, Config
from bot.engine import Event, Finished, Order, Preview, Progress, Started
from bot.engine.catalog import traces_of
from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.engine.wire import BadFrame, Frame, read_frame_async, submit_frame
from bot.errors import EngineDied, PaintFailed
from bot.jobs import Image, JobId

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "bot.worker")

STEADY_SECONDS = 60.0
"""A child that lived so long, or brought any order to its end, was no failure."""

_DOES_NOT_START = "The engine does not start; whoever hosts it finds the reason in its log."
_KEEPS_DYING = (
    "The engine keeps dying; it is started again after a pause. Whoever hosts it finds the reason in its log."
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the engine may be silent or take to leave, in seconds."""

    start: float = 1800.0
    """From its start to being ready: importing torch, and loading or even fetching the first model."""
    first_step: float = 1800.0
    """From an order to its first step: loading or even fetching another model."""
    warm: float = 120.0
    """From an order to its first step where its model has painted and nothing was loaded since."""
    step: float = 30.0
    """Between steps, or ten times the usual step or thrice the order's slowest where that is more."""
    stop: float = 3.0
    """From asking it to stop to SIGTERM."""
    term: float = 5.0
    """From SIGTERM to SIGKILL."""
    restart: float = 1.0
    """Before the next start when two in a row failed; doubles up to a minute."""
    mend: float = 60.0
    """Before a model that could not be loaded is tried again; doubles up to half an hour."""
    look: float = 5.0
    """Between two looks whether its files have changed, for then it is tried at once."""

    def before_start(self, failures: int) -> float:
        """Seconds to wait after so many failed starts in a row."""
        return 0.0 if failures < 2 else min(self.restart * 2.0 ** min(failures - 2, 60), 60.0)

    def before_mending(self, tries: int) -> float:
        """Seconds until what could not be loaded is tried again, after so many tries in vain."""
        return min(self.mend * 2.0 ** min(tries, 60), max(self.mend, 1800.0))


@dataclass(slots=True)
class _Open:
    """An order in the child's hands, and its frames on their way to whoever submitted it."""

    order: Order
    sent: bool = False
    frames: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)


class LocalEngine:
    """One child process at a time; `run` is the task that owns it."""

    def __init__(
        self, config: Config, *, command: Sequence[str] = COMMAND, patience: Patience | None = None, known: str = ""
    ) -> None:
        """Make an engine that starts with what `known` says of its timings, as `Timings.dump` wrote it."""
        self._config = config
        self._command = command
        self._patience = patience or Patience()
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._open: dict[JobId, _Open] = {}
        self._troubles: dict[str, str] = {}
        self._ended_orders = 0
        self._mendings = 0
        self._mending = False
        self._warm: set[str] = set()
        self._steps: deque[float] = deque(maxlen=100)
        self._timings = Timings(row_cap=config.engine.rows)
        self._timings.load(known)
        self.step_histogram = StepHistogram()
        """The steps of all its processes together."""
        self.steps_done: dict[JobId, int] = {}
        """How far the orders in the engine are."""
        self.learned = asyncio.Event()
        """Set whenever the timings have changed; whoever keeps them clears it."""

    @property
    def slots(self) -> int:
        """Orders in the engine at a time; they share its batches."""
        return self._config.engine.slots

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models that cannot be used now, each with the reason in words; "" concerns all of them."""
        return self._troubles

    @property
    def timings(self) -> Timings:
        """How long it takes, as its process measured."""
        return self._timings

    @property
    def pid(self) -> int | None:
        """The child's process id, or None between two of them."""
        return None if self._process is None else self._process.pid

    async def ready(self) -> None:
        """Wait until the child can take orders."""
        await self._ready.wait()

    async def run(self) -> None:
        """Keep a child running until cancelled, then stop it."""
        failures = 0
        while True:
            started_at, self._ended_orders, self._mending = asyncio.get_running_loop().time(), 0, False
            served = await self._serve_once()
            lived = asyncio.get_running_loop().time() - started_at
            steady = served and (self._ended_orders > 0 or lived >= STEADY_SECONDS or self._mending)
            failures = 0 if steady else failures + 1
            # Two deaths at work may be one poisonous request's; a child that is never ready has no such excuse.
            counted = failures - 1 if served else failures
            if counted > 1:
                self._troubles = {"": _KEEPS_DYING if served else _DOES_NOT_START}
                await asyncio.sleep(self._patience.before_start(counted))

    async def _serve_once(self) -> bool:
        """Run one child to its end; returns whether it became ready."""
        try:
            process = await self._spawn()
        except OSError:
            log.exception("the engine process cannot be started")
            return False
        self._warm.clear()
        mending = asyncio.create_task(self._mend(), name="mend models")
        try:
            served = await self._listen(process)
        finally:
            # Nothing is awaited before the child is on its way: whoever cancels twice is in a hurry.
            mending.cancel()
            try:
                await self._retire(process)
            finally:
                (failure,) = await asyncio.gather(mending, return_exceptions=True)
        if isinstance(failure, Exception):
            log.error("broken models are not tried again, because of a bug", exc_info=failure)
        log.warning("the engine process ended (exit code %s); starting another", process.returncode)
        return served

    async def _mend(self) -> None:
        """Let a child go that could not load what it should, once another may: nobody has to restart the bot.

        That is after a while, or when the model's files have changed and are written no more; not while it paints.
        """
        await self._ready.wait()
        if not self._troubles:
            self._mendings = 0
            return
        broken = [model for model in self._config.models if model.name in self._troubles]

        def look() -> list[frozenset[tuple[str, int, int]]]:
            return [traces_of(model) for model in broken]

        loop = asyncio.get_running_loop()
        due_at = loop.time() + self._patience.before_mending(self._mendings)
        before = last = await asyncio.to_thread(look)
        while True:
            await asyncio.sleep(self._patience.look)
            earlier, last = last, await asyncio.to_thread(look)
            if not self._open and (loop.time() >= due_at or before != last == earlier):
                break
        log.info("another engine tries what this one could not load")
        self._mendings += 1
        self._mending = True
        self._ready.clear()
        self._send(Frame("stop", {}))

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Paint, yielding events and Finished last; a cancelled order ends without it.

        Raises EngineDied when the process ends or falls silent, PaintFailed when it cannot paint this.
        """
        entry = self._open[order.job_id] = _Open(order)
        try:
            # Not once: the child may have gone again by the time this task is resumed.
            while not self._ready.is_set():
                await self._ready.wait()
            if not entry.frames.empty():
                return
            entry.sent = True
            self._send(
                submit_frame(
                    {
                        "job_id": order.job_id,
                        "attempt": order.attempt,
                        "owner": order.owner,
                        "request": asdict(order.request),
                    },
                    order.uploads,
                )
            )
            allowed = self._before_first_step(order)
            stepped_at = asyncio.get_running_loop().time()
            slowest = 0.0
            while True:
                frame = await self._next_frame(entry, allowed)
                if frame is None:
                    return
                if frame.kind in ("started", "loading"):
                    # While a model is loaded, everyone waits for it.
                    allowed, stepped_at = self._before_first_step(order), asyncio.get_running_loop().time()
                if frame.kind == "loading":
                    continue
                if frame.kind == "progress":
                    self._warm.add(order.request.model)
                    self.steps_done[order.job_id] = frame.fields["step"]
                    now = asyncio.get_running_loop().time()
                    if frame.fields["step"] > 1:
                        self._steps.append(now - stepped_at)
                    # A large model on a CPU takes minutes for each step, and its first one says so.
                    slowest = max(slowest, now - stepped_at)
                    stepped_at = now
                    usual = statistics.median(self._steps) if self._steps else 0.0
                    allowed = max(self._patience.step, 10 * usual, min(3 * slowest, self._patience.first_step))
                event = _event(frame)
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            self._open.pop(order.job_id, None)
            self.steps_done.pop(order.job_id, None)

    def cancel(self, job_id: JobId) -> None:
        """Stop working on a job at the next step; its stream of events ends at once."""
        entry = self._open.get(job_id)
        if entry is not None:
            if entry.sent:
                self._send(Frame("cancel", {"job_id": job_id, "attempt": entry.order.attempt}))
            entry.frames.put_nowait(None)

    def _before_first_step(self, order: Order) -> float:
        """How long an order may take to its first step; a compiler takes its time between any two."""
        warm = order.request.model in self._warm and not self._config.engine.compile
        return self._patience.warm if warm else self._patience.first_step

    async def _next_frame(self, entry: _Open, allowed: float) -> Frame | None:
        try:
            async with asyncio.timeout(allowed):
                return await entry.frames.get()
        except TimeoutError:
            log.warning("the engine has been silent for %.0f s; killing it", allowed)
            if self._process is not None:
                self._ready.clear()
                await self._kill(self._process)
            raise EngineDied(f"The engine was silent for {allowed:.0f} s.") from None

    async def _spawn(self) -> asyncio.subprocess.Process:
        # Without PASSIVE, idle OpenMP threads spin and starve the bot on a small machine: 40 s instead of 1.
        environ = {
            "OMP_WAIT_POLICY": "PASSIVE",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # Its advice on import comes before the studio can quieten it.
            "TRANSFORMERS_VERBOSITY": "error",
            **os.environ,
        }
        for secret in SECRETS:
            environ.pop(secret, None)
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environ,
        )
        log.info("engine process %d started", process.pid)
        self._send(
            Frame(
                "setup",
                {
                    "models": [model.model_dump() for model in self._config.models],
                    "engine": self._config.engine.model_dump(),
                    "timings": self._timings.dump(),
                    "log_level": self._config.log_level,
                },
            )
        )
        return process

    async def _listen(self, process: asyncio.subprocess.Process) -> bool:
        """Hand the child's frames to their orders until it ends; returns whether it became ready."""
        assert process.stdout is not None  # noqa: S101 - opened as a pipe
        served = False
        overdue = asyncio.get_running_loop().call_later(self._patience.start, self._give_up_starting, process)
        try:
            while (frame := await read_frame_async(process.stdout)) is not None:
                if frame.kind == "ready":
                    self._troubles = dict(frame.fields["troubles"])
                    for name, words in self._troubles.items():
                        log.error("model %s: %s", name or "(all)", words)
                    log.info("engine ready on %s", frame.fields["device"])
                    served = True
                    overdue.cancel()
                    self._ready.set()
                    continue
                if frame.kind == "loading":
                    self._warm.clear()
                    for waiting in self._open.values():
                        if waiting.sent:
                            waiting.frames.put_nowait(frame)
                    continue
                if frame.kind == "timings":
                    self._timings = Timings(row_cap=self._config.engine.rows)
                    self._timings.load(frame.body.decode())
                    if "steps" in frame.fields:
                        self.step_histogram.add(frame.fields["steps"])
                    self.learned.set()
                    continue
                self._ended_orders += frame.kind in ("finished", "failed")
                entry = self._open.get(JobId(frame.fields["job_id"]))
                if entry is not None and entry.order.attempt == frame.fields["attempt"]:
                    entry.frames.put_nowait(frame)
        except (BadFrame, LookupError, TypeError, ValueError):
            log.exception("the engine speaks garbage; killing it")
        finally:
            overdue.cancel()
        return served

    def _give_up_starting(self, process: asyncio.subprocess.Process) -> None:
        log.error("the engine was not ready after %.0f s; killing it", self._patience.start)
        with suppress(ProcessLookupError):
            process.kill()

    async def _retire(self, process: asyncio.subprocess.Process) -> None:
        """Make sure the child is gone, and let every order it had know."""
        assert process.stdin is not None  # noqa: S101 - opened as pipes
        assert process.stdout is not None  # noqa: S101
        self._ready.clear()
        self._send(Frame("stop", {}))
        process.stdin.close()
        try:
            async with asyncio.TaskGroup() as beside:
                last_words = beside.create_task(_discard(process.stdout), name="discard the engine's last words")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience.stop):
                        await process.wait()
                await self._kill(process)
                last_words.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            self._process = None
            for entry in self._open.values():
                if entry.sent:
                    entry.frames.put_nowait(Frame("died", {}))

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, then SIGKILL if it stays."""
        for signal_it in (process.terminate, process.kill):
            if process.returncode is not None:
                return
            with suppress(ProcessLookupError, TimeoutError):
                signal_it()
                async with asyncio.timeout(self._patience.term):
                    await process.wait()

    def _send(self, frame: Frame) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(frame.encode())


async def _discard(stream: asyncio.StreamReader) -> None:
    """Read to the end: a process whose pipe is full cannot leave."""
    while await stream.read(2**16):
        pass


def _event(frame: Frame) -> Event:
    """The event a frame stands for; raises what it reports."""
    fields: dict[str, Any] = frame.fields
    if frame.kind == "started":
        return Started()
    if frame.kind == "progress":
        return Progress(fields["step"], fields["of"])
    if frame.kind == "preview":
        return Preview(frame.body)
    if frame.kind == "finished":
        images, offset = [], 0
        for fact in fields["images"]:
            png = frame.body[offset : offset + fact["size"]]
            offset += fact["size"]
            images.append(Image(png, fact["seed"], fact["width"], fact["height"], fact["sha256"]))
        return Finished(tuple(images), fields["model_hash"])
    if frame.kind == "failed":
        raise PaintFailed(fields["reason"])
    raise EngineDied("The engine stopped while painting.")
