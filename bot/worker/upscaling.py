"""The network that enlarges a model's pictures four times and keeps their edges clean. In the engine process only.

A model brings it as the folder `upscaler/` beside its other parts; diffusers does not look there, because its
model_index.json does not name it. The shape is ESPCN's, <https://arxiv.org/abs/1609.05158>: every convolution works at
the small size, the last one makes 16 pixels of each, and their sum with a plain bilinear enlargement is the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from bot.engine.model_files.folder import UPSCALER, damaged_upscaler
from bot.jobs import UPSCALE_FACTOR

FACTOR = UPSCALE_FACTOR
"""How many times wider and higher the network makes a picture."""

FOLDER = UPSCALER
"""Its folder in a model's folder."""

Piece = tuple[int, int, np.ndarray[Any, Any]]
"""A part of an enlarged picture: where its left and its upper edge are, in pixels, and its pixels from 0 to 1."""

_ROWS = 128
"""Rows of pixels in one forward, so that the memory depends only on the width of a picture."""


class Upscaler(nn.Module):
    """A network of 3 × 3 convolutions: one in, `layers` with `channels` channels each, one out."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.config = {"channels": channels, "layers": layers}
        body: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(layers):
            body += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        last = nn.Conv2d(channels, 3 * FACTOR**2, 3, padding=1)
        # An untrained network is the bilinear enlargement.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.body = nn.Sequential(*body, last, nn.PixelShuffle(FACTOR))
        self.reach = layers + 2
        """How many pixels away a pixel can affect the result."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, h, w) around [0, 1], enlarged: (n, 3, 4h, 4w); not clipped."""
        plain = functional.interpolate(pictures, scale_factor=FACTOR, mode="bilinear", align_corners=False)
        detail: Tensor = self.body(pictures - 0.5)
        return plain + detail

    def enlarge(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A picture (h, w, 3) of floats in [0, 1], enlarged: float32 (4h, 4w, 3) in [0, 1].

        Always on the CPU and in float32, so that it may run beside the thread that owns the device, and the same
        picture gives the same bytes on every run.
        """
        return np.concatenate(list(self.strips(pixels)))

    def strips(self, pixels: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
        """The same from top to bottom, as strips of at most 512 rows."""
        height = pixels.shape[0]
        for top in range(0, height, _ROWS):
            bottom = min(top + _ROWS, height)
            start, end = max(top - self.reach, 0), min(bottom + self.reach, height)
            rows = torch.from_numpy(np.ascontiguousarray(pixels[start:end], np.float32)).permute(2, 0, 1)[None]
            # Not around the loop: the caller's code runs between two strips.
            with torch.inference_mode():
                strip = self(rows)[0, :, FACTOR * (top - start) : FACTOR * (bottom - start)]
                made = strip.clamp(0, 1).permute(1, 2, 0)
            yield made.numpy()

    def pieces(self, pixels: np.ndarray[Any, Any]) -> Iterator[Piece]:
        """The same strips with their places."""
        top = 0
        for strip in self.strips(pixels):
            yield 0, top, strip
            top += strip.shape[0]


def save(network: Upscaler, folder: Path) -> None:
    """Write config.json and model.safetensors (float16) into a folder, making it if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(network.config, indent=2) + "\n", encoding="utf-8")
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in network.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors")


def load(model: Path) -> Upscaler | None:
    """The upscaler in a model's folder; None if it has none. Raises UnusableFiles if it is damaged."""
    folder = model / FOLDER
    if not folder.is_dir():
        return None
    try:
        network = Upscaler(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except Exception as error:
        # json, torch and safetensors share no exception class, and every error means that the folder is damaged.
        raise damaged_upscaler(type(error).__name__) from error
    return network.float().eval().requires_grad_(False)
