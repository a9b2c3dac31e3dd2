"""How long the engine process may be silent, before it is taken for dead."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from bot.engine.wire import LoadingFrame, OrderFrame, ProgressFrame, StartedFrame


@dataclass(frozen=True, slots=True)
class Timeouts:
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
    reload: float = 60.0
    """Before a model that could not be loaded is tried again; doubles up to half an hour."""
    file_check: float = 5.0
    """Between two looks whether its files have changed, for then it is tried at once."""

    def before_start(self, failures: int) -> float:
        """Seconds to wait after so many failed starts in a row."""
        return 0.0 if failures < 2 else min(self.restart * 2.0 ** min(failures - 2, 60), 60.0)

    def before_reload(self, tries: int) -> float:
        """Seconds until what could not be loaded is tried again, after so many tries in vain."""
        return min(self.reload * 2.0 ** min(tries, 60), max(self.reload, 1800.0))


class StepTimes:
    """What one engine process has shown: which models are warm, and how long its steps usually take."""

    def __init__(self, timeouts: Timeouts, *, compiling: bool) -> None:
        """Make it; a process that is `compiling` may take its time between any two steps."""
        self.timeouts = timeouts
        self._compiling = compiling
        self._warm: set[str] = set()
        self._steps: deque[float] = deque(maxlen=100)

    def forget_warm(self) -> None:
        """No model is warm any more: another is being loaded, or the process is a new one."""
        self._warm.clear()

    def before_first_step(self, model: str) -> float:
        """How long an order may take to its first step."""
        warm = model in self._warm and not self._compiling
        return self.timeouts.warm if warm else self.timeouts.first_step

    def stepped(self, model: str, seconds: float, *, is_first: bool) -> None:
        """An order of a model took a step; the first one is not a usual one."""
        self._warm.add(model)
        if not is_first:
            self._steps.append(seconds)

    @property
    def usual(self) -> float:
        """How long a step usually takes; 0 while that is unknown."""
        return statistics.median(self._steps) if self._steps else 0.0


class SilenceLimit:
    """How long one order may be silent at the moment: `allowed` seconds."""

    def __init__(self, model: str, times: StepTimes, now: float) -> None:
        """Begin when the order is sent."""
        self._model = model
        self._times = times
        self._stepped_at = now
        self._slowest = 0.0
        self.allowed = times.before_first_step(model)

    def heard(self, frame: OrderFrame | LoadingFrame, now: float) -> None:
        """Take note of what the engine said about the order, or about all of them."""
        match frame:
            case StartedFrame() | LoadingFrame():
                # While a model is loaded, all orders wait for it.
                self.allowed, self._stepped_at = self._times.before_first_step(self._model), now
            case ProgressFrame():
                seconds, self._stepped_at = now - self._stepped_at, now
                self._times.stepped(self._model, seconds, is_first=frame.step <= 1)
                # A large model on a CPU takes minutes for each step, and its first one says so.
                self._slowest = max(self._slowest, seconds)
                timeouts = self._times.timeouts
                slow = min(3 * self._slowest, timeouts.first_step)
                self.allowed = max(timeouts.step, 10 * self._times.usual, slow)
            case _:
                pass
