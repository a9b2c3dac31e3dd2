"""Runs one forward: in smaller parts or in tiles if memory is short, and in single precision if half overflows.

State advances only after a forward has succeeded, so a forward may be repeated.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch

from bot.engine import memory
from bot.engine.timing import DECODE
from bot.errors import PaintFailed
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.row_policy import RowPolicy
from bot.worker.rows import Parked, are_numbers, forward, rebuild

log = logging.getLogger(__name__)

_CAUTIOUS_FORWARDS = 500
"""After so many forwards a full one is tried again, because memory may have become free."""


class Forwards:
    """Runs forwards, and remembers for which modules and shapes memory was too short."""

    def __init__(self, policy: RowPolicy, row_cap: int, *, tiling: bool) -> None:
        """Without `tiling` no picture is decoded in tiles: tiles are blended, so the pixels would be others."""
        self._policy = policy
        self._row_cap = row_cap
        self._tiling = tiling
        self._caps: dict[Hashable, tuple[int, int]] = {}
        self._count = 0

    def cap(self, parked: Parked) -> int:
        """How many rows memory allows in one forward of such calls."""
        cap, until = self._caps.get(parked.key, (self._row_cap, 0))
        return cap if self._count < until else self._row_cap

    def run(self, group: list[Parked]) -> list[Any]:
        """Run one forward for calls that fit together; returns the output of each.

        A picture that overflows in half precision is decoded again in single.
        """
        outputs = self._run(group)
        if _may_overflow(group[0]) and not are_numbers(outputs):
            log.warning("a picture overflowed in half precision; it is decoded again in single")
            outputs = self._run([_in_single_precision(group[0])])
        return outputs

    def _run(self, group: list[Parked]) -> list[Any]:
        """Each call's output. If memory runs out, try again in parts half as large, or a picture in tiles."""
        head, rows = group[0], sum(parked.rows for parked in group)
        self._count += 1
        tileable = head.single and self._tiling and getattr(head.module, "use_tiling", None) is False
        tiled = tileable and _is_short(head)
        while True:
            cap = min(self.cap(head), rows)
            try:
                with torch.inference_mode(), _in_tiles(head) if tiled else nullcontext():
                    return forward(group, cap, self._policy.apply_loras, self._policy.run)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The frames of the traceback keep the forward's tensors in memory.
                traceback.clear_frames(error.__traceback__)
            _empty_caches()
            if tileable and not tiled:
                tiled = True
                continue
            if cap == 1 or head.single:
                raise PaintFailed("This size is too large for this machine's memory: try a smaller one.")
            log.warning("out of memory in a forward of %d rows; %d from now on", cap, cap // 2)
            self._caps[head.key] = (cap // 2, self._count + _CAUTIOUS_FORWARDS)


def own_failure(error: Exception) -> Exception:
    """The error that ends one call, without the tensors; raises the error again if it concerns all calls."""
    if is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)
        _empty_caches()
        return PaintFailed(
            "This does not fit into this machine's memory: try a smaller size, or fewer pictures or frames."
        )
    if is_device_lost(error):
        raise error
    traceback.clear_frames(error.__traceback__)
    return error


def _may_overflow(parked: Parked) -> bool:
    """Whether a call decodes a picture in float16, whose range is too small for many VAEs."""
    return parked.part == DECODE and parked.module.dtype is torch.float16


def _in_single_precision(parked: Parked) -> Parked:
    """The same call on a copy of its module, because shared modules are not cast. It is rare, so no copy is kept."""
    # Where a shared module is while it is not needed is not where its copy computes.
    module = deepcopy(parked.module).to(parked.device, torch.float32)
    leaves = [
        leaf.float() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf for leaf in parked.leaves
    ]
    return Parked(module, "decode", rebuild(parked.tree, leaves), part=parked.part, single=parked.single)


def _is_short(parked: Parked) -> bool:
    """Whether the free memory of a GPU would not hold the whole picture that a VAE encodes or decodes."""
    free = free_bytes(parked.device)
    if free is None:
        return False
    config = parked.module.config
    scale = 2 ** (len(config.get("block_out_channels") or (0,)) - 1) if parked.part == DECODE else 1
    pixels = math.prod(parked.sample.shape[-2:]) * scale**2
    return memory.DECODE * pixels * parked.sample.element_size() / 2 > free


def free_bytes(device: torch.device) -> int | None:
    """Bytes of a GPU's memory that torch can still give out; None where nothing says so."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


@contextmanager
def _in_tiles(parked: Parked) -> Iterator[None]:
    """Let a VAE take a picture tile by tile, which needs little memory.

    The tiles are those of the VAE, or of half the picture's side where its own tiles are as large as the picture, as
    those of SDXL's VAE at 1024 pixels are.
    """
    vae: Any = parked.module
    own = {name: getattr(vae, name) for name in _TILES if hasattr(vae, name)}
    vae.enable_tiling()
    if len(own) == len(_TILES):
        pixels, latents = (own[name] for name in _TILES)
        side = max(parked.sample.shape[-2:]) * (pixels // latents if parked.part == DECODE else 1)
        halves = math.ceil(math.log2(max(pixels / max(side / 2, 1), 1)))
        vae.tile_sample_min_size = max(pixels >> halves, pixels // latents)
        vae.tile_latent_min_size = max(latents >> halves, 1)
    try:
        yield
    finally:
        vae.disable_tiling()
        for name, value in own.items():
            setattr(vae, name, value)


_TILES = ("tile_sample_min_size", "tile_latent_min_size")
"""A VAE's attributes with the side of a tile, in pixels and in latents."""


def _empty_caches() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
