"""Tries an accelerated forward against the plain one on the same inputs, and remembers the verdict in a file.

The decisions are in `bot/engine/calibration.py`. A trial is written down before it begins, so that a trial in which
the process dies is known to the next process. Imported in the engine process only.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from bot.engine.calibration import FILE, Calibration, Comparison, Subject, judge
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.library_errors import told
from bot.worker.rows import tensors

log = logging.getLogger(__name__)

TOLERANCES = {torch.float64: 1e-9, torch.float32: 5e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far a row may be from the plain forward's, relative to its norm, by the dtype of the output.

Two right forwards differ by rounding alone, because sums are taken in another order. A number is rounded by 2⁻⁹ in
bfloat16, by 2⁻¹² in float16 and in TF32, which is how a GPU multiplies float32 here, and some hundred layers add up a
few of these. What is wrong (a stale buffer, another person's row, a broken kernel) is apart by about 1.
"""
REPEATS = 3
"""The shortest of so many runs is the time, because other programs can only make a run longer."""
LONG_SECONDS = 1.0
"""After so long no further run is timed."""

Clock = Callable[[], float]


class Prover:
    """Decides with `Calibration` what may be used; on the thread that owns the device."""

    def __init__(
        self, calibration: Calibration | None = None, path: Path | None = None, *, clock: Clock = time.perf_counter
    ) -> None:
        """Keep the verdicts in the file `path`; without one they last as long as the process."""
        self.calibration = calibration or Calibration()
        self._path = path
        self._clock = clock

    @classmethod
    def reading(cls, path: Path | None, machine: Mapping[str, str]) -> Prover:
        """One with the verdicts in a file. A file that cannot be used is logged, and everything is tried again."""
        text = ""
        try:
            text = path.read_text(encoding="utf-8") if path is not None else ""
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read (%s): everything in it is tried again", FILE, told(error))
        calibration, trouble = Calibration.read(text, machine)
        if trouble:
            log.warning("%s", trouble)
        return cls(calibration, path)

    def refusal(self, subject: Subject, thing: str) -> str:
        """Why a thing is off for a model, in words; empty if it is trusted or was never tried."""
        return self.calibration.entry(subject, thing).refusal

    def is_trusted(self, subject: Subject, thing: str) -> bool:
        """Whether a thing was shown to be right and fast for a model."""
        return self.calibration.entry(subject, thing).is_trusted

    def prove(self, subject: Subject, thing: str, compare: Callable[[], Comparison | None]) -> bool:
        """Try a thing; returns whether it may be used.

        `compare` raises if the thing fails, and returns None if its inputs showed nothing. Raises an error of memory,
        which says nothing about the thing, and one of the device, which is noted first.
        """
        if self.refusal(subject, thing):
            return False
        self.calibration.begin(subject, thing)
        self._write()
        try:
            found = compare()
        except Exception as error:
            if is_out_of_memory(error):
                self.calibration.abandon(subject, thing)
                self._write()
                raise
            self.refuse(subject, thing, f"it failed: {told(error)}")
            if is_device_lost(error):
                raise
            traceback.clear_frames(error.__traceback__)
            return False
        if found is None:
            self.calibration.abandon(subject, thing)
            self._write()
            return False
        is_right, words = judge(found)
        if not is_right:
            self.refuse(subject, thing, words)
            return False
        if not self.is_known(subject, thing):
            log.info("%s for model %s: used from now on, %s", thing, subject.model, words)
        self.calibration.settle(subject, thing, is_right=True, words=words)
        self._write()
        return True

    def is_known(self, subject: Subject, thing: str) -> bool:
        """Whether there was a verdict before."""
        return self.calibration.entry(subject, thing).is_right is not None

    def refuse(self, subject: Subject, thing: str, words: str) -> None:
        """Turn a thing off for a model on this machine, and say so."""
        log.warning("%s for model %s: off on this machine, %s", thing, subject.model, words)
        self.calibration.settle(subject, thing, is_right=False, words=words)
        self._write()

    def excuse(self) -> None:
        """The process is about to be ended from outside, so that is not the fault of what is being tried."""
        for entry in list(self.calibration):
            if entry.tries:
                self.calibration.abandon(Subject(entry.model, entry.key), entry.thing)
                self._write()

    def measure(self, function: Callable[[], Any]) -> tuple[Any, float]:
        """A function's output, and the shortest seconds of a few runs after a first one, which sets things up."""
        output, best = function(), math.inf
        synchronise()
        began = self._clock()
        for _ in range(REPEATS):
            started = self._clock()
            output = function()
            synchronise()
            best = min(best, self._clock() - started)
            if self._clock() - began > LONG_SECONDS:
                break
        return output, best

    def _write(self) -> None:
        """Write the file, as a whole or not at all; the engine paints on without it."""
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(self.calibration.dump())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s): what was tried is forgotten at the end", FILE, error.strerror)
            self._path = None


def apart(plain: Any, fast: Any) -> tuple[float, float] | None:
    """How far the worst row of an output is from the plain one, relative to its norm, and how far it may be.

    None if the plain output has no numbers to compare, or some that are not finite.
    """
    pairs = list(zip(_numbers(plain), _numbers(fast), strict=False))
    if not pairs or not all(one.isfinite().all() for one, _ in pairs):
        return None
    tolerance = max(TOLERANCES.get(tensor.dtype, 0.0) for pair in pairs for tensor in pair)
    if [one.shape for one, _ in pairs] != [other.shape for _, other in pairs] or len(pairs) != len(_numbers(fast)):
        return math.inf, tolerance
    errors = []
    for one, other in pairs:
        rows, others = (
            tensor.detach().double().reshape(tensor.shape[0] if tensor.ndim else 1, -1) for tensor in (one, other)
        )
        norms = rows.norm(dim=1).clamp_min(1e-6 * math.sqrt(rows.shape[1]))
        errors.append(float(((others - rows).norm(dim=1) / norms).max()))
    return (math.nan if any(map(math.isnan, errors)) else max(errors)), tolerance


def synchronise() -> None:
    """Wait until the device has done everything, so that a time is that of the work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def machine_facts() -> dict[str, str]:
    """What a verdict depends on, beside the model: the device and the versions that decide which kernels run."""
    facts = {"device": "cpu", "torch": torch.__version__, "diffusers": diffusers.__version__}
    if torch.cuda.is_available():
        facts |= {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda or str(torch.version.hip)}
        facts["driver"] = _driver()
    elif torch.backends.mps.is_available():
        facts["device"] = "Apple GPU"
    return facts


def _driver() -> str:
    """The driver's version, or elsewhere than on Linux that of the CUDA it brings."""
    place = Path("/proc/driver/nvidia/version")
    if place.is_file() and (found := re.search(r"\d+\.[\d.]+", place.read_text(encoding="utf-8", errors="replace"))):
        return found[0]
    return str(torch._C._cuda_getDriverVersion())  # type: ignore[attr-defined,unused-ignore]


def _numbers(output: Any) -> list[torch.Tensor]:
    """The floats of an output, also those in objects such as the distribution that a VAE encodes to."""

    def inside(leaf: Any) -> Iterable[Any]:
        return vars(leaf).values() if hasattr(leaf, "__dict__") else ()

    found = [leaf for leaf in tensors(output) if leaf.is_floating_point()]
    return found or [
        part
        for leaf in tensors(output, of=object)
        for part in inside(leaf)
        if isinstance(part, torch.Tensor) and part.is_floating_point()
    ]
