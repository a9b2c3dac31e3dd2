"""Keeps one engine process running: starts it, reads what it says, and replaces it when it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from bot.engine.framing import BadFrame
from bot.engine.local.environ import worker_environ
from bot.engine.local.reload_backoff import ReloadBackoff
from bot.engine.local.timeouts import Timeouts
from bot.engine.wire import (
    FailedFrame,
    FinishedFrame,
    Frame,
    LeavingFrame,
    ReadyFrame,
    SetupFrame,
    StopFrame,
    ToWorker,
    encode,
    read_frame_async,
)
from bot.language.reasons import Reason

log = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
"""A child that lived longer than this, or finished any order, does not count as a failure."""

_DOES_NOT_START = Reason("The engine does not start. The host can find the reason in its log.")
KEEPS_DYING = Reason(
    "The engine keeps dying, so it is started again after a pause. The host can find the reason in its log."
)


class Owner(Protocol):
    """The object that uses the process: it configures a new process and gets its frames."""

    @property
    def is_busy(self) -> bool:
        """Whether it has orders."""
        ...

    def setup(self) -> SetupFrame:
        """The first frame for a new process."""
        ...

    def hear(self, frame: Frame) -> None:
        """Handle a frame of the process. Raises LookupError, TypeError or ValueError when it makes no sense."""
        ...

    async def stalled(self) -> str:
        """Wait until the process takes too long for something; returns what, in words."""
        ...

    def lose(self) -> None:
        """Handle the end of the process: all its orders are lost."""
        ...


class Supervisor:
    """One child process at a time; `run` is the task that owns it."""

    def __init__(
        self,
        command: Sequence[str],
        owner: Owner,
        reload_backoff: ReloadBackoff,
        timeouts: Timeouts,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run `command` with the bot's environment without its secrets, and `environment` over it."""
        self._command = command
        self._environment = environment or {}
        self._owner = owner
        self._reload_backoff = reload_backoff
        self._timeouts = timeouts
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._did_well = False
        self._last_words = ""
        """Why the last child said that it ends."""
        self.troubles: Mapping[str, str] = {}
        """Models that cannot be used now, each with the reason in words; "" concerns all of them."""
        self.starting_since: float | None = None
        """When the child was started that is not ready yet, by the monotonic clock."""

    @property
    def pid(self) -> int | None:
        """The child's process id, or None between two of them."""
        return None if self._process is None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the child can take orders."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Wait until the child can take orders."""
        # Check again after the wait: the child may have ended before this task is resumed.
        while not self._ready.is_set():
            await self._ready.wait()

    async def run(self) -> None:
        """Keep a child running until cancelled, then stop it."""
        failures = 0
        while True:
            started_at, self._did_well = asyncio.get_running_loop().time(), False
            served = await self._serve_once()
            lived = asyncio.get_running_loop().time() - started_at
            steady = served and (self._did_well or lived >= STEADY_SECONDS)
            failures = 0 if steady else failures + 1
            # One request may kill two children that were ready; a child that never becomes ready counts at once.
            counted = failures - 1 if served else failures
            if counted > 1:
                self.troubles = {"": self._last_words or (KEEPS_DYING if served else _DOES_NOT_START)}
                await asyncio.sleep(self._timeouts.pause_before_start(counted))

    def send(self, frame: ToWorker) -> None:
        """Send a frame to the child; without a child it is dropped."""
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(encode(frame))

    async def _serve_once(self) -> bool:
        """Run one child to its end; returns whether it became ready."""
        try:
            process = await self._spawn()
        except OSError:
            log.exception("the engine process cannot be started")
            return False
        beside = [
            asyncio.create_task(self._reload(), name="reload broken models"),
            asyncio.create_task(self._end_stall(process), name="end a hung engine"),
        ]
        try:
            served = await self._listen(process)
        finally:
            # Start stopping the child before the first await: a second cancel must not leave it running.
            for task in beside:
                task.cancel()
            try:
                await self._retire(process)
            finally:
                failures = await asyncio.gather(*beside, return_exceptions=True)
        for task, failure in zip(beside, failures, strict=True):
            if isinstance(failure, Exception):
                log.error("a bug ended the task %s", task.get_name(), exc_info=failure)
        log.warning("the engine process ended (exit code %s); starting another", process.returncode)
        return served

    async def _reload(self) -> None:
        """If a child could not load a model, replace it later, so that the host need not restart the bot.

        A child that paints is not replaced.
        """
        await self._ready.wait()
        if not self.troubles:
            self._reload_backoff.reset()
            return
        await self._reload_backoff.wait(self.troubles, lambda: self._owner.is_busy)
        log.info("the engine process is replaced, to load broken models again")
        self._did_well = True
        self._ready.clear()
        self.send(StopFrame())

    async def _end_stall(self, process: asyncio.subprocess.Process) -> None:
        """End a child that hangs; `run` starts another."""
        try:
            words = await self._owner.stalled()
        except Exception:
            # A child that is not watched could hang for ever.
            log.exception("a bug ended the watch over the engine")
            words = "The engine is not watched any more."
        log.warning("%s Killing it.", words)
        self._ready.clear()
        await self._kill(process)

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._last_words = ""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=worker_environ(self._environment),
        )
        self.starting_since = time.monotonic()
        log.info("engine process %d started", process.pid)
        self.send(self._owner.setup())
        return process

    async def _listen(self, process: asyncio.subprocess.Process) -> bool:
        """Pass the child's frames to the owner until it ends; returns whether it became ready."""
        assert process.stdout is not None  # noqa: S101 - opened as a pipe
        served = False
        overdue = asyncio.get_running_loop().call_later(self._timeouts.start, self._give_up_starting, process)
        try:
            while (frame := await read_frame_async(process.stdout)) is not None:
                match frame:
                    case ReadyFrame():
                        self.troubles = frame.troubles
                        for name, words in self.troubles.items():
                            log.error("model %s: %s", name or "(all)", words)
                        log.info("engine ready on %s", frame.device)
                        served, self.starting_since = True, None
                        overdue.cancel()
                        self._ready.set()
                    case FinishedFrame() | FailedFrame():
                        self._did_well = True
                    case LeavingFrame():
                        log.error("the engine process ends: %s", frame.reason)
                        self._last_words = frame.reason
                        self.troubles = {"": frame.reason}
                self._owner.hear(frame)
        except (BadFrame, LookupError, TypeError, ValueError):
            log.exception("the engine sent a frame that makes no sense; killing it")
        finally:
            overdue.cancel()
        return served

    def _give_up_starting(self, process: asyncio.subprocess.Process) -> None:
        log.error("the engine was not ready after %.0f s; killing it", self._timeouts.start)
        with suppress(ProcessLookupError):
            process.kill()

    async def _retire(self, process: asyncio.subprocess.Process) -> None:
        """Stop the child, and tell the owner that it has ended."""
        assert process.stdin is not None  # noqa: S101 - opened as pipes
        assert process.stdout is not None  # noqa: S101
        self._ready.clear()
        self.send(StopFrame())
        process.stdin.close()
        try:
            async with asyncio.TaskGroup() as beside:
                last_words = beside.create_task(_discard(process.stdout), name="discard the engine's last words")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._timeouts.stop):
                        await process.wait()
                await self._kill(process)
                last_words.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            self._process = self.starting_since = None
            self._owner.lose()

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, then SIGKILL if it stays."""
        for signal_it in (process.terminate, process.kill):
            if process.returncode is not None:
                return
            with suppress(ProcessLookupError, TimeoutError):
                signal_it()
                async with asyncio.timeout(self._timeouts.term):
                    await process.wait()


async def _discard(stream: asyncio.StreamReader) -> None:
    """Read to the end, because a process whose pipe is full cannot end."""
    while await stream.read(2**16):
        pass
