"""Finished pictures: enlarged, and laid over a canvas. They use the CPU alone. In the engine process only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import PIL.Image

from bot.worker.canvas import Canvas
from bot.worker.upscaling import FACTOR, Piece, Upscaler


def enlarged(pixels: np.ndarray[Any, Any], factor: int, upscaler: Upscaler | None) -> PIL.Image.Image:
    """A picture of an (h, w, 3) array of floats from 0 to 1, enlarged by a factor.

    The model's upscaler has one fixed factor; for another factor, or without an upscaler, the picture is resized.
    """
    height, width = pixels.shape[:2]
    if factor > 1 and upscaler is not None:
        pixels = upscaler.enlarge(pixels)
    return _picture(pixels).resize((factor * width, factor * height), PIL.Image.Resampling.LANCZOS)


class Enlarger(Protocol):
    """A network that enlarges a picture piece by piece."""

    def pieces(self, pixels: np.ndarray[Any, Any]) -> Iterator[Piece]:
        """The parts of a picture (h, w, 3) from 0 to 1, enlarged."""
        ...


def enlarging(picture: PIL.Image.Image, upscaler: Enlarger) -> Iterator[PIL.Image.Image | None]:
    """A picture in RGB, enlarged by an upscaler: yields None after each piece of the work, and the result last."""
    pixels = np.asarray(picture, np.float32) / 255
    large = PIL.Image.new("RGB", (FACTOR * picture.width, FACTOR * picture.height))
    for left, top, piece in upscaler.pieces(pixels):
        large.paste(_picture(piece), (left, top))
        yield None
    yield large


def laid_over(canvas: Canvas, pixels: np.ndarray[Any, Any], upscaler: Upscaler | None) -> PIL.Image.Image:
    """The same picture over a canvas. The upscaler enlarges it until it covers the canvas, so that it is as sharp."""
    while upscaler is not None and pixels.shape[1] < canvas.size[0]:
        pixels = upscaler.enlarge(pixels)
    return canvas.finished(_picture(pixels))


def _picture(pixels: np.ndarray[Any, Any]) -> PIL.Image.Image:
    return PIL.Image.fromarray((pixels * 255).round().astype("uint8"))
