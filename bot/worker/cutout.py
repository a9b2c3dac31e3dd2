"""The thing in front of a plain background: which pixels belong to it. Imported in the engine process only.

The background is what has nearly the colour of the picture's edge and is connected with it: a white label on a thing in
front of white stays part of the thing. If the host has named a model for that
(`segmenting.py`), it finds the thing instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageChops, ImageDraw, ImageFilter

from bot.errors import PaintFailed
from bot.jobs import Kept
from bot.language import mark
from bot.worker.canvas import Canvas, within_limits

_EDGE = 40
"""The edge of a picture is this part of its shorter side."""
_TOLERANCE = (14, 48)
"""How far, in shades, a channel of the background may at least and at most be from the colour of the edge."""
_PLAIN = 0.75
"""Which share of the edge has its colour if the background is plain; the thing may reach the edge."""
_SIDE = 256
"""The longest side, in pixels, of the picture in which the connected background is looked for."""
_SHARES = (0.005, 0.95)
"""Which share of the picture the thing may have."""

NOT_PLAIN = mark(
    "The thing in this picture cannot be told from its background, because the background is not plain. Use a picture "
    "of it in front of one colour, or ask with {command imagine} and a mask."
)


Find = Callable[[PIL.Image.Image], PIL.Image.Image]
"""Finds the thing in a picture in RGB: 255 there, 0 in the background. Raises PaintFailed in words."""


def canvas(picture: PIL.Image.Image, kept: Kept, find: Find | None = None) -> Canvas:
    """A canvas on which the background is painted over and the thing in front is kept, or the other way round.

    `find` is the host's model for that. Without it, raises PaintFailed if the background is not plain.
    """
    picture = within_limits(picture)
    thing = (find or _thing)(picture)
    # The outermost pixels of a thing are mixed with its old background.
    reach = max(min(picture.size) // 100, 1)
    if kept is Kept.THING:
        over = ImageChops.invert(thing.filter(ImageFilter.MinFilter(2 * reach + 1)))
    else:
        over = thing.filter(ImageFilter.MaxFilter(2 * reach + 1))
    cover = over.filter(ImageFilter.BoxBlur(reach))
    return Canvas(picture, cover, cover.point(lambda shade: 255 if shade else 0))


def _thing(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Where the thing is: 255 there, 0 in the background, as large as the picture."""
    pixels = np.asarray(picture, "int16")
    edge = max(min(picture.size) // _EDGE, 1)
    border = np.concatenate([part.reshape(-1, 3) for part in _edges(pixels, edge)])
    distance = abs(border - np.median(border, 0)).max(1)
    low, high = _TOLERANCE
    tolerance = float(np.clip(2 * np.percentile(distance, 60), low, high))
    if (distance <= tolerance).mean() < _PLAIN:
        raise PaintFailed(NOT_PLAIN)
    near = PIL.Image.fromarray(np.where(abs(pixels - np.median(border, 0)).max(2) <= tolerance, 255, 0).astype("uint8"))
    background = ImageChops.multiply(near, _connected(near))
    thing = ImageChops.invert(background).filter(ImageFilter.MedianFilter(5))
    if not _SHARES[0] <= np.asarray(thing).mean() / 255 <= _SHARES[1]:
        raise PaintFailed(NOT_PLAIN)
    return thing


def _edges(pixels: np.ndarray[Any, Any], edge: int) -> tuple[np.ndarray[Any, Any], ...]:
    return pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:]


def _connected(near: PIL.Image.Image) -> PIL.Image.Image:
    """Roughly, and a little wider, what of the white pixels is connected with the picture's edge by white pixels."""
    scale = min(_SIDE / max(near.size), 1.0)
    size = max(round(near.width * scale), 1), max(round(near.height * scale), 1)
    small = near.resize(size, PIL.Image.Resampling.BOX).point(lambda shade: 255 if shade >= 128 else 0)
    # A white frame around it connects all of the edge.
    framed = PIL.Image.new("L", (size[0] + 2, size[1] + 2), 255)
    framed.paste(small, (1, 1))
    ImageDraw.floodfill(framed, (0, 0), 128)
    found = framed.crop((1, 1, size[0] + 1, size[1] + 1)).point(lambda shade: 255 if shade == 128 else 0)
    return found.filter(ImageFilter.MaxFilter(3)).resize(near.size, PIL.Image.Resampling.NEAREST)
