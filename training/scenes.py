"""Painted backgrounds: sky, sea, forest and the like, drawn with a few gradients, discs and hills."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from training.sources import SIZE

Canvas = np.ndarray[Any, Any]
Colour = tuple[float, float, float]


@functools.cache
def _grid(size: int) -> tuple[Canvas, Canvas]:
    """Return how far down and how far right each pixel lies, in [0, 1], two [size, size], alike at every size."""
    down, right = ((np.mgrid[0:size, 0:size] + 0.5) * SIZE / size - 0.5) / (SIZE - 1)
    return down, right


def _mask(inside: Canvas) -> Canvas:
    """Return the mask [size, size] of where a signed distance is positive; its edge is 1.5 pixels wide."""
    return np.clip(inside * len(inside) / 1.5 + 0.5, 0, 1)


def _over(canvas: Canvas, mask: Canvas, colour: Colour | Canvas) -> Canvas:
    mask = mask[..., None]
    return canvas * (1 - mask) + np.asarray(colour) * mask


def _sky(size: int, top: Colour, bottom: Colour) -> Canvas:
    down, _ = _grid(size)
    return np.asarray(top) * (1 - down[..., None]) + np.asarray(bottom) * down[..., None]


def _disc(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> Canvas:
    down, right = _grid(len(canvas))
    return _over(canvas, _mask(radius - np.hypot(right - x, down - y)), colour)


def _ground(canvas: Canvas, horizon: float, colour: Colour, swell: float, phase: float) -> Canvas:
    down, right = _grid(len(canvas))
    line = horizon + swell * np.sin(right * 2 * np.pi + phase)
    shade = 1 - 0.25 * np.clip(down - horizon, 0, 1)[..., None]
    return _over(canvas, _mask(down - line), np.asarray(colour) * shade)


def _dots(canvas: Canvas, random: np.random.RandomState, count: int, radius: float, colour: Colour) -> Canvas:
    for _ in range(count):
        canvas = _disc(canvas, random.rand(), random.rand() * 0.95, radius * (0.6 + 0.8 * random.rand()), colour)
    return canvas


def _cloud(canvas: Canvas, x: float, y: float, size: float) -> Canvas:
    for dx, dy, radius in ((-0.09, 0, 0.06), (0, -0.03, 0.08), (0.09, 0, 0.06), (0, 0.02, 0.07)):
        canvas = _disc(canvas, x + dx * size, y + dy * size, radius * size, (1, 1, 1))
    return canvas


def _peak(canvas: Canvas, x: float, base: float, height: float, slope: float, colour: Colour) -> Canvas:
    down, right = _grid(len(canvas))
    inside = (down - (base - height)) * slope - abs(right - x)
    return _over(canvas, _mask(inside) * _mask(base - down), colour)


def _grass(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _cloud(_sky(size, (0.45, 0.75, 0.98), (0.80, 0.93, 1)), r.rand(), 0.12 + 0.12 * r.rand(), 1)
    return _ground(canvas, 0.68, (0.42, 0.74, 0.28), 0.02, 6.3 * r.rand())


def _night(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _dots(_sky(size, (0.03, 0.04, 0.16), (0.12, 0.15, 0.38)), r, 16, 0.009, (1, 1, 0.9))
    canvas = _disc(canvas, 0.84, 0.15, 0.07, (0.98, 0.95, 0.78))
    return _ground(canvas, 0.82, (0.06, 0.09, 0.16), 0.02, 6.3 * r.rand())


def _sunset(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _disc(
        _sky(size, (0.42, 0.25, 0.58), (1.0, 0.62, 0.25)), 0.3 + 0.4 * r.rand(), 0.62, 0.15, (1.0, 0.88, 0.45)
    )
    return _ground(canvas, 0.70, (0.28, 0.16, 0.36), 0.01, 6.3 * r.rand())


def _space(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _dots(_sky(size, (0.02, 0.01, 0.06), (0.08, 0.03, 0.16)), r, 24, 0.009, (1, 1, 0.9))
    tint = ((0.98, 0.55, 0.12), (0.55, 0.28, 0.80), (0.12, 0.62, 0.62))[r.randint(3)]
    return _disc(canvas, 0.13, 0.16, 0.07, tint)


def _beach(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _disc(_sky(size, (0.45, 0.78, 0.98), (0.85, 0.95, 1)), 0.85, 0.13, 0.07, (1, 0.92, 0.5))
    canvas = _ground(canvas, 0.5, (0.12, 0.60, 0.80), 0, 0)
    return _ground(canvas, 0.70, (0.96, 0.86, 0.62), 0.02, 6.3 * r.rand())


def _snow(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _ground(_sky(size, (0.62, 0.76, 0.92), (0.86, 0.92, 0.98)), 0.68, (0.97, 0.98, 1), 0.025, 6.3 * r.rand())
    return _dots(canvas, r, 20, 0.014, (1, 1, 1))


def _underwater(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _dots(_sky(size, (0.25, 0.72, 0.92), (0.02, 0.22, 0.50)), r, 7, 0.022, (0.75, 0.93, 1))
    return _ground(canvas, 0.88, (0.85, 0.76, 0.52), 0.02, 6.3 * r.rand())


def _desert(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _disc(_sky(size, (0.98, 0.85, 0.60), (1, 0.95, 0.80)), 0.15, 0.15, 0.08, (1, 0.95, 0.6))
    canvas = _ground(canvas, 0.62, (0.92, 0.72, 0.42), 0.04, 6.3 * r.rand())
    return _ground(canvas, 0.78, (0.86, 0.62, 0.32), 0.03, 6.3 * r.rand())


def _forest(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.55, 0.78, 0.70), (0.75, 0.88, 0.70))
    for tree in range(7):
        green = (0.10 + 0.06 * r.rand(), 0.36 + 0.12 * r.rand(), 0.20)
        canvas = _peak(canvas, (tree + 0.4 * r.rand()) / 6.4, 0.73, 0.45 + 0.2 * r.rand(), 0.28, green)
    return _ground(canvas, 0.72, (0.24, 0.44, 0.18), 0.01, 6.3 * r.rand())


def _city(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.60, 0.75, 0.92), (0.90, 0.90, 0.92))
    down, right = _grid(size)
    for house in range(7):
        height, tone = 0.25 + 0.35 * r.rand(), 0.35 + 0.3 * r.rand()
        mask = (right > house / 7) & (right < (house + 0.86) / 7) & (down > 0.75 - height)
        canvas = _over(canvas, mask.astype(float), (tone, tone * 1.02, tone * 1.12))
    return _ground(canvas, 0.75, (0.38, 0.38, 0.42), 0, 0)


def _mountains(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.50, 0.75, 0.96), (0.85, 0.93, 1))
    for x, height in ((0.15 + 0.1 * r.rand(), 0.45), (0.85 - 0.1 * r.rand(), 0.5), (0.5, 0.38)):
        canvas = _peak(canvas, x, 0.73, height, 0.75, (0.45, 0.47, 0.55))
        canvas = _peak(canvas, x, 0.73 - 0.68 * height, 0.32 * height, 0.75, (0.97, 0.97, 1.0))
    return _ground(canvas, 0.72, (0.40, 0.62, 0.32), 0.015, 6.3 * r.rand())


def _air(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.30, 0.62, 0.95), (0.75, 0.90, 1))
    for _ in range(3):
        canvas = _cloud(canvas, r.rand(), r.rand(), 0.8 + 0.7 * r.rand())
    return canvas


#: Each scene by the words that ask for it.
SCENES: dict[str, Callable[[np.random.RandomState, int], Canvas]] = {
    "on grass": _grass,
    "at night": _night,
    "at sunset": _sunset,
    "in space": _space,
    "on a beach": _beach,
    "in the snow": _snow,
    "underwater": _underwater,
    "in the desert": _desert,
    "in a forest": _forest,
    "in a city": _city,
    "in the mountains": _mountains,
    "in the sky": _air,
}
#: Scenes without a ground to stand on.
FLOATING = {"in space", "underwater", "in the sky"}


def paint(variants: int, seed: int = 0, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Return `variants` paintings of each scene: float32 [scenes * variants, 3, size, size] in [0, 1].

    The same seed gives the same paintings at every size.
    """
    random = np.random.RandomState(seed)
    paintings = np.empty((len(SCENES) * variants, 3, size, size), np.float32)
    for index, scene in enumerate(scene for scene in SCENES.values() for _ in range(variants)):
        paintings[index] = scene(random, size).clip(0, 1).transpose(2, 0, 1)
    return paintings
