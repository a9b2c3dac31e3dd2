"""A picture of which a part is painted: some cells of a grid, or the area around it. Imported in the engine only.

The model paints the whole canvas, in its own size. What it painted is then enlarged to the canvas' size and laid over
it, so that each pixel outside of that part is as it was, except for a narrow seam.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import PIL.Image
from PIL import ImageChops, ImageFilter

from bot.errors import PaintFailed
from bot.jobs import GRID, MOST_SIDE, Margins

SEAM = 24
"""The seam is as wide as this part of the picture's shorter side."""
_LATENT = 8
"""Pixels of the model that share one latent: the part that is painted covers whole latents."""
_STREAKS = 12
"""The edges that are stretched into the new area are blurred by this part of the model's shorter side."""

_Box = tuple[int, int, int, int]
"""Left, upper, right and lower in pixels."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture in RGB, and where it is painted over."""

    picture: PIL.Image.Image
    """What is kept. An area that is to be painted holds its surroundings, so that a model has colours to begin with."""
    cover: PIL.Image.Image
    """In shades of grey, as large as the picture: 255 where it is painted over, 0 where it stays, the seam between."""
    mask: tuple[_Box, ...] | PIL.Image.Image
    """What of the picture is painted over at all, also where the seam blends it: boxes, or white in a picture."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, which are those of the result."""
        return self.picture.size

    def given(self, size: tuple[int, int]) -> tuple[PIL.Image.Image, PIL.Image.Image]:
        """The picture and its mask in the size that a model paints: in RGB, and white where it paints."""
        mask = PIL.Image.new("L", size)
        if isinstance(self.mask, PIL.Image.Image):
            latents = np.asarray(self.mask)
            for axis in (0, 1):
                count = size[1 - axis] // _LATENT
                latents = np.maximum.reduceat(latents, np.arange(count) * latents.shape[axis] // count, axis)
            mask = PIL.Image.fromarray(latents).resize(size, PIL.Image.Resampling.NEAREST)
            return self.picture.resize(size, PIL.Image.Resampling.LANCZOS), mask
        for left, upper, right, lower in self.mask:
            across, down = size[0] / self.size[0], size[1] / self.size[1]
            box = (
                math.floor(left * across / _LATENT) * _LATENT,
                math.floor(upper * down / _LATENT) * _LATENT,
                min(math.ceil(right * across / _LATENT) * _LATENT, size[0]),
                min(math.ceil(lower * down / _LATENT) * _LATENT, size[1]),
            )
            mask.paste(255, box)
        return self.picture.resize(size, PIL.Image.Resampling.LANCZOS), mask

    def finished(self, painted: PIL.Image.Image) -> PIL.Image.Image:
        """What a model painted, in any size, laid over the picture."""
        return PIL.Image.composite(painted.resize(self.size, PIL.Image.Resampling.LANCZOS), self.picture, self.cover)


def region(picture: PIL.Image.Image, cells: Sequence[int]) -> Canvas:
    """A canvas on which some cells of the grid are painted, row by row; 0 is the upper left one.

    The seam lies around them. Raises PaintFailed for a picture that is smaller than the grid.
    """
    picture = within_limits(picture)
    if not all(0 <= cell < GRID**2 for cell in cells):
        raise PaintFailed("The parts of a picture have numbers from 1 to {most}: choose them again.", most=GRID**2)
    width, height = picture.size
    columns, rows = ([round(side * line / GRID) for line in range(GRID + 1)] for side in (width, height))
    across, down = list(pairwise(columns)), list(pairwise(rows))
    boxes = tuple(
        (across[cell % GRID][0], down[cell // GRID][0], across[cell % GRID][1], down[cell // GRID][1])
        for cell in sorted(set(cells))
    )
    reach = _reach(picture)
    sure, wide = PIL.Image.new("L", picture.size), PIL.Image.new("L", picture.size)
    for left, upper, right, lower in boxes:
        sure.paste(255, (left, upper, right, lower))
        wide.paste(255, (left - reach, upper - reach, right + reach, lower + reach))
    mask = tuple(_grown(box, 2 * reach, picture.size) for box in boxes)
    return Canvas(picture, _blended(wide, sure, reach), mask)


def extended(picture: PIL.Image.Image, margins: Margins) -> Canvas:
    """A canvas that reaches beyond a picture: left, upper, right and lower, in parts of its width and height.

    The seam lies inside of the old picture, along the edges that are extended. Raises PaintFailed for a picture that is
    smaller than the grid, and if there is nothing to extend.
    """
    _check(picture)
    if not any(margin > 0 for margin in margins) or min(margins) < 0:
        raise PaintFailed("No side of the picture is to be extended: choose at least one.")
    left, upper, right, lower = margins
    longest = max(picture.width * (1 + left + right), picture.height * (1 + upper + lower))
    scale = min(MOST_SIDE / longest, 1.0)
    if scale < 1:
        size = tuple(max(round(side * scale), 1) for side in picture.size)
        picture = picture.resize(size, PIL.Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    (x, width), (y, height) = (
        (round(side * before), min(round(side * (1 + before + after)), MOST_SIDE))
        for side, before, after in ((picture.width, left, right), (picture.height, upper, lower))
    )
    old = (x, y, x + picture.width, y + picture.height)
    around = (x, y, width - old[2], height - old[3])
    reach = _reach(picture)
    sure, wide = PIL.Image.new("L", (width, height), 255), PIL.Image.new("L", (width, height), 255)
    sure.paste(0, old)
    inner = tuple(
        edge + (sign * reach if beyond else 0) for edge, sign, beyond in zip(old, (1, 1, -1, -1), around, strict=True)
    )
    if inner[0] < inner[2] and inner[1] < inner[3]:
        wide.paste(0, inner)  # type: ignore[arg-type]
    boxes = ((0, 0, x, height), (0, 0, width, y), (old[2], 0, width, height), (0, old[3], width, height))
    mask = tuple(_grown(box, 2 * reach, (width, height)) for box, beyond in zip(boxes, around, strict=True) if beyond)
    return Canvas(_surrounded(picture, around), _blended(wide, sure, reach), mask)


def within_limits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture of which a part is painted, scaled down if it is too large. Raises PaintFailed if it is too small."""
    _check(picture)
    return _within(picture, MOST_SIDE)


def _check(picture: PIL.Image.Image) -> None:
    if min(picture.size) < GRID:
        raise PaintFailed(
            "The picture has only {width}×{height} pixels: a part of it, or the area around it, can be painted from "
            "{least}×{least} pixels on.",
            width=picture.width,
            height=picture.height,
            least=GRID,
        )


def _grown(box: _Box, by: int, size: tuple[int, int]) -> _Box:
    """The box, larger by some pixels on each side, as far as the picture reaches."""
    return max(box[0] - by, 0), max(box[1] - by, 0), min(box[2] + by, size[0]), min(box[3] + by, size[1])


def _within(picture: PIL.Image.Image, most: int) -> PIL.Image.Image:
    """The picture, scaled down if its longest side has more pixels."""
    scale = most / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, PIL.Image.Resampling.LANCZOS)


def _reach(picture: PIL.Image.Image) -> int:
    """Half the width of a picture's seam in pixels."""
    return max(min(picture.size) // (2 * SEAM), 1)


def _blended(wide: PIL.Image.Image, sure: PIL.Image.Image, reach: int) -> PIL.Image.Image:
    """A cover that falls from 255 at the edge of `sure` to 0 at twice the reach; `wide` ends in the middle."""
    return ImageChops.lighter(wide.filter(ImageFilter.BoxBlur(reach)), sure)


def _surrounded(picture: PIL.Image.Image, around: _Box) -> PIL.Image.Image:
    """The picture with its edges stretched over the area around it, and blurred there."""
    left, upper, right, lower = around
    pixels = np.pad(np.asarray(picture), ((upper, lower), (left, right), (0, 0)), "edge")
    whole = PIL.Image.fromarray(pixels)
    whole = whole.filter(ImageFilter.GaussianBlur(min(whole.size) / _STREAKS))
    whole.paste(picture, (left, upper))
    return whole
