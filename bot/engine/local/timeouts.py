"""How long the engine process may take for each of its stages before it counts as hung."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the engine may take for a stage, for its start and for its stop, in seconds."""

    start: float = 1800.0
    """From its start to being ready: importing torch, and loading or even fetching the first model."""
    take: float = 30.0
    """From an order to the first work on it where nothing else is done."""
    decode: float = 60.0
    """To decode the pictures of a request."""
    fetch: float = 1800.0
    """To download and hash a model."""
    load: float = 120.0
    """To load a model, and what its bytes take at 50 MB/s."""
    prompt: float = 60.0
    """To encode a prompt, or to begin a picture; ten times the longest so far where that is more."""
    cold: float = 300.0
    """The same while its model has not painted since it was loaded."""
    first_step: float = 600.0
    """For a first step of a model of which no time is known."""
    warm: float = 60.0
    """For the first step of an order whose model has painted, or ten times the time that is known of it."""
    step: float = 30.0
    """For another step, or ten times the usual one or thrice the order's slowest where that is more."""
    finish: float = 300.0
    """To enlarge and encode one picture."""
    compile: float = 1800.0
    """For torch's compiler; and for a step, if it may run during one."""
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

    def pause_before_start(self, failures: int) -> float:
        """Seconds to wait after `failures` failed starts in a row."""
        return 0.0 if failures < 2 else min(self.restart * 2.0 ** min(failures - 2, 60), 60.0)

    def pause_before_reload(self, tries: int) -> float:
        """Seconds until a broken model is tried again, after `tries` further tries have failed."""
        return min(self.reload * 2.0 ** min(tries, 60), max(self.reload, 1800.0))
