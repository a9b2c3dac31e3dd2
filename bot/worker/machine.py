"""The machine that models are painted on: its device, its dtype, its threads and its memory.

Imported in the engine process only.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import torch

from bot.config import EngineConfig
from bot.errors import PaintFailed

_MOST_ENCODERS = 4
"""The most threads that encode PNGs: zlib releases the interpreter's lock, but copying pixels does not."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device of this machine, its dtype, and how many threads and bytes of memory models may use."""

    device: str
    dtype: torch.dtype
    threads: int
    budget: int
    """Bytes that models may take together."""
    cores: int
    """CPU cores of this machine, or its part of them."""

    @classmethod
    def choose(cls, settings: EngineConfig, name: str = "", sharing: int = 1) -> Machine:
        """The best device of this machine, with the dtype for it, unless the settings name others.

        `name` is what the host calls the device, where that says more than its kind. `sharing` engine processes divide
        the cores and the memory among them. Raises PaintFailed if the settings name a device that is not there.
        """
        has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        device = next(name for name, there in has.items() if there) if settings.device == "auto" else settings.device
        if not has[device]:
            if name:
                raise PaintFailed(
                    "engine.devices names {device}, but torch finds no such device on this machine.", device=name
                )
            raise PaintFailed(
                "engine.device is '{device}', but torch finds no such device on this machine.", device=device
            )
        if settings.dtype != "auto":
            dtype: torch.dtype = getattr(torch, settings.dtype)
        elif device == "cuda":
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        else:
            dtype = torch.float16 if device == "mps" else torch.float32
        # On two cores a second thread makes a picture tens of seconds slower as soon as another program runs.
        cores = max((os.cpu_count() or 1) // sharing, 1)
        threads = settings.threads or (1 if cores <= 2 else cores // 2)
        return cls(device, dtype, threads, int(settings.memory * 2**30) or _budget(device, sharing), cores)

    @property
    def encoders(self) -> int:
        """How many threads encode pictures beside those that paint."""
        return max(1, min(_MOST_ENCODERS, self.cores - self.threads))

    @property
    def name(self) -> str:
        """The machine in words; timings of another machine are ignored."""
        kind = torch.cuda.get_device_name() if self.device == "cuda" else f"{self.threads} thread(s)"
        return f"{self.device} ({kind}), {self.dtype}"


def free_memory() -> None:
    """Give back to the device what no model holds any more."""
    # Pipelines and their views refer to each other.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _budget(device: str, sharing: int) -> int:
    """Bytes for models if the settings name none: the rest is for painting, and on a CPU also for other programs."""
    if device == "cuda":
        return int(0.7 * torch.cuda.mem_get_info()[0])
    if device == "mps":
        return int(0.7 * torch.mps.recommended_max_memory())
    memory = int(psutil.virtual_memory().total)
    # A container may have less than its machine: https://docs.kernel.org/admin-guide/cgroup-v2.html
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    return memory // 2 // sharing
