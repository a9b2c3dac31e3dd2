"""How long the engine process may be silent before it counts as dead."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from bot.engine.wire import LoadingFrame, OrderFrame, ProgressFrame, StartedFrame


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits for the engine process, in seconds."""

    start: float = 1800.0
    """From its start to being ready: importing torch, and loading or even fetching the first model."""
    first_step: float = 1800.0
    """From an order to its first step: loading or even fetching another model."""
    warm: float = 120.0
    """From an order to its first step where its model has painted and nothing was loaded since."""
    step: float = 30.0
    """Between two steps; the limit is longer if ten usual steps or three times the order's slowest step are longer."""
    stop: float = 3.0
    """From asking it to stop to SIGTERM."""
    term: float = 5.0
    """From SIGTERM to SIGKILL."""
    restart: float = 1.0
    """The pause before the next start after two failed starts in a row; it doubles each time, to a minute."""
    reload: float = 60.0
    """The pause before a model that could not be loaded is tried again; it doubles each time, to half an hour."""
    file_check: float = 5.0
    """Between two checks whether the files of such a model have changed; after a change it is tried at once."""

    def before_start(self, failures: int) -> float:
        """Seconds to wait after `failures` failed starts in a row."""
        return 0.0 if failures < 2 else min(self.restart * 2.0 ** min(failures - 2, 60), 60.0)

    def before_reload(self, tries: int) -> float:
        """Seconds until a broken model is tried again, after `tries` further tries have failed."""
        return min(self.reload * 2.0 ** min(tries, 60), max(self.reload, 1800.0))


class StepTimes:
    """What is known of one engine process: which models are warm (have painted), and its usual step time."""

    def __init__(self, timeouts: Timeouts, *, compiling: bool) -> None:
        """Make it for a new process; one that is `compiling` may need long before any step."""
        self.timeouts = timeouts
        self._compiling = compiling
        self._warm: set[str] = set()
        self._steps: deque[float] = deque(maxlen=100)

    def forget_warm(self) -> None:
        """Treat no model as warm any more, because another one is being loaded or the process is new."""
        self._warm.clear()

    def before_first_step(self, model: str) -> float:
        """How long an order may take to its first step."""
        warm = model in self._warm and not self._compiling
        return self.timeouts.warm if warm else self.timeouts.first_step

    def stepped(self, model: str, seconds: float, *, is_first: bool) -> None:
        """Record the seconds of a step; the first step of an order does not count for the usual step."""
        self._warm.add(model)
        if not is_first:
            self._steps.append(seconds)

    @property
    def usual(self) -> float:
        """How long a step usually takes; 0 while that is unknown."""
        return statistics.median(self._steps) if self._steps else 0.0


class SilenceLimit:
    """For how many seconds the process may say nothing about one order: `allowed`."""

    def __init__(self, model: str, times: StepTimes, now: float) -> None:
        """Begin when the order is sent."""
        self._model = model
        self._times = times
        self._stepped_at = now
        self._slowest = 0.0
        self.allowed = times.before_first_step(model)

    def heard(self, frame: OrderFrame | LoadingFrame, now: float) -> None:
        """Update `allowed` after a frame about the order, or about all orders."""
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
