"""The network of the host that enlarges pictures of models without their own. In the engine process only.

spandrel finds out by the tensors' names which architecture a file is of, such as ESRGAN, and builds it. Its network
runs on the engine's device, on the loop's thread, in tiles between the steps of other requests.

A tile is enlarged together with `OVERLAP` pixels of its surroundings on each side, which are then cut off. Networks of
the ESRGAN family look hundreds of pixels far in theory, but what is farther away than that hardly changes a pixel: with
23 blocks, as ESRGAN has, and random weights, a pixel differs by less than a hundredth of one of 255 shades from the
same pixel of a picture of noise that is enlarged as a whole.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from bot.engine.model_files.host_upscaler import (
    NOT_INSTALLED,
    OTHER,
    Enlargement,
    bare,
    check_enlargement,
    check_upscaler,
)
from bot.errors import PaintFailed, UnusableFiles
from bot.jobs import UPSCALE_FACTOR
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.library_errors import told
from bot.worker.upscaling import Piece

log = logging.getLogger(__name__)

TILE = 128
"""Pixels on each side of a tile, before it is enlarged; so the memory does not depend on the picture's size."""
OVERLAP = 32
"""Pixels of a tile's surroundings on each side that are enlarged with it and cut off."""


class HostUpscaler:
    """A network in memory, and its file."""

    def __init__(self, descriptor: Any, name: str, digest: str, device: str) -> None:
        """Take spandrel's descriptor, the file's name without its ending, and its sha256."""
        self._network = descriptor.to(device, torch.float32).eval()
        self._device = device
        self.name = name
        self.digest = digest

    def pieces(self, pixels: np.ndarray[Any, Any]) -> Iterator[Piece]:
        """A picture (h, w, 3) of floats in [0, 1], enlarged, tile by tile, in float32.

        Raises PaintFailed where memory runs out or the network's result is no number.
        """
        height, width = pixels.shape[:2]
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                bottom, right = min(top + TILE, height), min(left + TILE, width)
                start_y, start_x = max(top - OVERLAP, 0), max(left - OVERLAP, 0)
                around = pixels[start_y : bottom + OVERLAP, start_x : right + OVERLAP]
                y, x = UPSCALE_FACTOR * (top - start_y), UPSCALE_FACTOR * (left - start_x)
                large = self._enlarged(around)
                large = large[y : y + UPSCALE_FACTOR * (bottom - top), x : x + UPSCALE_FACTOR * (right - left)]
                yield UPSCALE_FACTOR * left, UPSCALE_FACTOR * top, large

    def _enlarged(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        tile = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]
        try:
            # In single precision on every device: networks that people train overflow in half precision.
            large: np.ndarray[Any, Any] = self._network(tile.to(self._device))[0].permute(1, 2, 0).cpu().numpy()
        except Exception as error:
            if is_device_lost(error):
                raise
            if is_out_of_memory(error):
                raise PaintFailed(
                    "There is too little memory to enlarge the picture: try again when less is painted."
                ) from error
            log.exception("the host's upscaler %s failed", self.name)
            raise PaintFailed(
                "The host's upscaler {name} failed: {error}", name=self.name, error=told(error)
            ) from error
        if not np.isfinite(large).all():
            raise PaintFailed(
                "The host's upscaler {name} made something that is no picture: its file is damaged.", name=self.name
            )
        return large


def load(path: Path, device: str) -> HostUpscaler:
    """The network in a file, on a device. Raises UnusableFiles, with the remedy, for one that cannot be used.

    Call it on the thread that owns the device.
    """
    check_upscaler(path)
    spandrel = _spandrel()
    try:
        tensors = {bare(name): tensor for name, tensor in load_file(path).items()}
        descriptor = spandrel.ModelLoader().load_from_state_dict(tensors)
    except spandrel.UnsupportedModelError as error:
        raise UnusableFiles(f"spandrel knows no architecture that {path.name} could be of.", OTHER) from error
    except Exception as error:
        # safetensors, torch and every architecture of spandrel have their own errors; all mean that the file is wrong.
        log.exception("the host's upscaler cannot be loaded")
        raise UnusableFiles(
            f"{path.name} is damaged, or of a kind that spandrel does not know ({type(error).__name__}).",
            "Download the file again; the log has the details.",
        ) from error
    architecture = descriptor.architecture.name
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.purpose == "FaceSR":
        raise UnusableFiles(f"{path.name} is made for a special purpose ({architecture}).", OTHER)
    check_enlargement(path.name, Enlargement(descriptor.scale, descriptor.input_channels, descriptor.output_channels))
    if descriptor.tiling is not spandrel.ModelTiling.SUPPORTED:
        raise UnusableFiles(
            f"{path.name} needs to see a picture as a whole ({architecture}), and pictures are enlarged in tiles.",
            OTHER,
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return HostUpscaler(descriptor, path.stem, digest, device)


def _spandrel() -> Any:
    """The module. It takes seconds to import, and most hosts have no upscaler of their own."""
    try:
        with _torchvision():
            import spandrel
    except Exception as error:
        # Its many architectures import torchvision and einops, which may be missing or made for another torch.
        log.exception("spandrel cannot be imported")
        raise UnusableFiles(
            f"spandrel, the library that reads it, does not work here ({told(error)}).", NOT_INSTALLED
        ) from error
    return spandrel


@contextmanager
def _torchvision() -> Iterator[None]:
    """In the body torchvision can be imported, also beside a torch without CUDA; otherwise it stays hidden.

    The compiled operators of its usual wheel need CUDA's libraries. Where they are missing, its import fails, because
    it describes operators that do not exist. Networks that enlarge pictures use none of them, so these are declared.
    """
    if "spandrel" in sys.modules:
        yield
        return
    hidden = sys.modules.pop("torchvision", None)
    try:
        try:
            import torchvision
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for name in ("nms", "qnms"):
                schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                operators.define(schema)  # type: ignore[no-untyped-call]
            # torch forgets the operators together with the library.
            _LIBRARIES.append(operators)
            import torchvision  # noqa: F401
        yield
    finally:
        sys.modules["torchvision"] = hidden  # type: ignore[assignment]


_LIBRARIES: list[torch.library.Library] = []
