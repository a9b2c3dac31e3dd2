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


def _cloud(canvas: Canvas, x: float, y: float, size: float, colour: Colour = (1, 1, 1)) -> Canvas:
    for dx, dy, radius in ((-0.09, 0, 0.06), (0, -0.03, 0.08), (0.09, 0, 0.06), (0, 0.02, 0.07)):
        canvas = _disc(canvas, x + dx * size, y + dy * size, radius * size, colour)
    return canvas


def _streaks(canvas: Canvas, random: np.random.RandomState, count: int, colour: Colour = (0.82, 0.88, 0.95)) -> Canvas:
    down, right = _grid(len(canvas))
    falling = np.zeros(canvas.shape[:2])
    for _ in range(count):
        x, y, long = random.rand() * 1.1, random.rand(), 0.04 + 0.05 * random.rand()
        along = np.clip((down - y) / long, 0, 1)
        near = np.hypot(right - x + 0.3 * long * along, down - y - long * along)
        falling = np.maximum(falling, _mask(0.004 - near))
    return _over(canvas, 0.7 * falling, colour)


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


def _rain(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.36, 0.42, 0.52), (0.62, 0.67, 0.72))
    for _ in range(3):
        canvas = _cloud(canvas, r.rand(), 0.05 + 0.1 * r.rand(), 1.3, (0.50, 0.54, 0.60))
    canvas = _ground(canvas, 0.74, (0.30, 0.36, 0.38), 0.01, 6.3 * r.rand())
    return _streaks(canvas, r, 60)


def _road(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _cloud(_sky(size, (0.45, 0.75, 0.98), (0.85, 0.94, 1)), r.rand(), 0.1 + 0.15 * r.rand(), 1)
    canvas = _ground(canvas, 0.5, (0.50, 0.74, 0.34), 0.015, 6.3 * r.rand())
    down, right = _grid(size)
    bend = 0.5 + 0.06 * (r.rand() - 0.5)
    half = 0.04 + 0.75 * np.clip(down - 0.5, 0, 1)
    canvas = _over(canvas, _mask(half - abs(right - bend)) * _mask(down - 0.5), (0.34, 0.35, 0.38))
    dashes = (np.sin(34 * np.sqrt(np.clip(down - 0.49, 0.0, 1))) > 0).astype(float)
    return _over(canvas, _mask(0.12 * half - abs(right - bend)) * _mask(down - 0.5) * dashes, (0.98, 0.95, 0.85))


def _lake(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.48, 0.74, 0.96), (0.88, 0.95, 1))
    for x in (0.1 + 0.1 * r.rand(), 0.5 + 0.1 * r.rand(), 0.9 + 0.1 * r.rand()):
        canvas = _peak(canvas, x, 0.5, 0.2 + 0.15 * r.rand(), 0.95, (0.30, 0.50, 0.42))
    down, right = _grid(size)
    waves = 0.04 * np.sin(70 * down + 4 * np.sin(5 * right + 6.3 * r.rand()))[..., None]
    canvas = _over(canvas, _mask(down - 0.5), np.asarray((0.30, 0.60, 0.82)) + waves)
    return _ground(canvas, 0.84, (0.44, 0.68, 0.32), 0.03, 6.3 * r.rand())


def _flowers(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _ground(_sky(size, (0.52, 0.80, 0.99), (0.86, 0.95, 1)), 0.55, (0.42, 0.72, 0.30), 0.02, 6.3 * r.rand())
    for _ in range(34):
        x, y = r.rand(), 0.6 + 0.4 * r.rand()
        petals = ((0.95, 0.35, 0.50), (0.99, 0.80, 0.25), (0.70, 0.45, 0.90), (0.98, 0.98, 0.98))[r.randint(4)]
        canvas = _disc(canvas, x, y, 0.012 + 0.03 * (y - 0.55), petals)
        canvas = _disc(canvas, x, y, 0.004 + 0.01 * (y - 0.55), (0.95, 0.65, 0.15))
    return canvas


def _room(r: np.random.RandomState, size: int) -> Canvas:
    wall = ((0.96, 0.88, 0.76), (0.78, 0.88, 0.86), (0.94, 0.82, 0.82), (0.84, 0.84, 0.92))[r.randint(4)]
    canvas = _sky(size, wall, wall)
    down, right = _grid(size)
    x = 0.12 if r.rand() < 0.5 else 0.66
    frame = (abs(right - x - 0.11) < 0.13) & (abs(down - 0.24) < 0.16)
    glass = (abs(right - x - 0.11) < 0.11) & (abs(down - 0.24) < 0.14)
    bars = (abs(right - x - 0.11) < 0.008) | (abs(down - 0.24) < 0.008)
    canvas = _over(canvas, frame.astype(float), (0.99, 0.98, 0.96))
    canvas = _over(canvas, (glass & ~bars).astype(float), (0.60, 0.82, 0.97))
    canvas = _over(canvas, _mask(down - 0.70), (0.98, 0.96, 0.93))
    planks = 0.03 * np.sin(60 * (right - 0.5) / (down + 0.2))[..., None]
    return _over(canvas, _mask(down - 0.72), np.asarray((0.70, 0.50, 0.32)) + planks)


def _table(r: np.random.RandomState, size: int) -> Canvas:
    wall = ((0.92, 0.90, 0.86), (0.70, 0.80, 0.84), (0.86, 0.76, 0.70))[r.randint(3)]
    canvas = _sky(size, wall, tuple(0.93 * part for part in wall))
    down, right = _grid(size)
    grain = 0.025 * np.sin(40 * down + 3 * np.sin(7 * right + 6.3 * r.rand()))[..., None]
    canvas = _over(canvas, _mask(down - 0.66), np.asarray((0.66, 0.43, 0.25)) + grain)
    return _over(canvas, _mask(down - 0.94), (0.45, 0.28, 0.16))


def _moon(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _dots(_sky(size, (0.02, 0.02, 0.06), (0.05, 0.05, 0.12)), r, 22, 0.008, (1, 1, 0.95))
    canvas = _disc(canvas, 0.2 + 0.6 * r.rand(), 0.18, 0.09, (0.25, 0.50, 0.88))
    canvas = _ground(canvas, 0.64, (0.70, 0.70, 0.72), 0.02, 6.3 * r.rand())
    for _ in range(7):
        x, y, wide = r.rand(), 0.72 + 0.25 * r.rand(), 0.03 + 0.05 * r.rand()
        down, right = _grid(size)
        canvas = _over(canvas, _mask(wide - np.hypot(right - x, 2.2 * (down - y))), (0.56, 0.56, 0.59))
    return canvas


def _garden(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _ground(_sky(size, (0.55, 0.82, 0.98), (0.85, 0.95, 1)), 0.62, (0.46, 0.75, 0.33), 0.01, 6.3 * r.rand())
    for _ in range(9):
        x, green = r.rand(), 0.45 + 0.2 * r.rand()
        canvas = _disc(canvas, x, 0.6, 0.07 + 0.04 * r.rand(), (0.22, green, 0.24))
        for _ in range(3):
            spot = (x + 0.1 * (r.rand() - 0.5), 0.6 - 0.08 * r.rand())
            canvas = _disc(canvas, *spot, 0.014, ((0.95, 0.40, 0.55), (0.99, 0.85, 0.35))[r.randint(2)])
    return _ground(canvas, 0.66, (0.46, 0.75, 0.33), 0.01, 6.3 * r.rand())


def _cave(r: np.random.RandomState, size: int) -> Canvas:
    down, right = _grid(size)
    canvas = _sky(size, (0.13, 0.10, 0.10), (0.22, 0.17, 0.15))
    x = 0.35 + 0.3 * r.rand()
    canvas = _over(canvas, _mask(0.36 - np.hypot(right - x, 0.9 * (down - 0.5))), (0.42, 0.34, 0.28))
    canvas = _over(canvas, _mask(0.24 - np.hypot(right - x, 0.9 * (down - 0.5))), (0.62, 0.52, 0.42))
    for _ in range(6):
        canvas = _peak(canvas[::-1], r.rand(), 1.0, 0.1 + 0.2 * r.rand(), 0.18, (0.16, 0.12, 0.11))[::-1]
    return _ground(canvas, 0.78, (0.28, 0.22, 0.19), 0.02, 6.3 * r.rand())


def _storm(r: np.random.RandomState, size: int) -> Canvas:
    canvas = _sky(size, (0.12, 0.13, 0.22), (0.34, 0.36, 0.46))
    for _ in range(4):
        canvas = _cloud(canvas, r.rand(), 0.04 + 0.1 * r.rand(), 1.5, (0.26, 0.27, 0.34))
    down, right = _grid(size)
    x = 0.2 + 0.6 * r.rand()
    zigzag = x + 0.05 * np.sign(np.sin(24 * down)) * (0.6 - down) + 0.1 * (down - 0.15)
    canvas = _over(canvas, _mask(0.016 - abs(right - zigzag)) * _mask(down - 0.12) * _mask(0.66 - down), (1, 0.95, 0.6))
    canvas = _ground(canvas, 0.78, (0.12, 0.16, 0.20), 0.02, 6.3 * r.rand())
    return _streaks(canvas, r, 35)


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
    "in the rain": _rain,
    "on a road": _road,
    "by a lake": _lake,
    "in a field of flowers": _flowers,
    "in a room": _room,
    "on a table": _table,
    "on the moon": _moon,
    "in a garden": _garden,
    "in a cave": _cave,
    "in a storm": _storm,
}
#: Other words that ask for a scene.
ALSO: dict[str, tuple[str, ...]] = {
    "on grass": ("on the grass", "on a hill", "in a meadow", "in a field", "on a lawn", "in nature", "outside"),
    "at night": ("under the stars", "in the dark", "at midnight", "in the moonlight", "under a starry sky"),
    "at sunset": ("at sunrise", "at dusk", "at dawn", "with a sunset behind it", "in the evening"),
    "in space": ("in outer space", "in the galaxy", "among the stars", "in the universe"),
    "on a beach": ("on the beach", "at the beach", "by the sea", "by the ocean", "at the seaside", "on an island"),
    "in the snow": ("in snow", "in winter", "on snow", "on ice", "in a snowy landscape"),
    "underwater": ("under water", "under the sea", "in the ocean", "in the sea", "in water", "swimming"),
    "in the desert": ("in a desert", "on sand", "in the sand"),
    "in a forest": ("in the forest", "in the woods", "in a jungle", "in the jungle", "among trees"),
    "in a city": ("in the city", "on a street", "on the street", "in town", "in a village", "downtown"),
    "in the mountains": ("on a mountain", "in front of mountains", "with mountains behind it", "in a valley"),
    "in the sky": ("in the clouds", "in the air", "flying", "above the clouds", "flying in the sky"),
    "in the rain": ("in rain", "on a rainy day", "in the pouring rain"),
    "on a road": ("on the road", "on a path", "on a highway"),
    "by a lake": ("by the lake", "at a lake", "by a river", "by the river", "near a pond", "on a lake"),
    "in a field of flowers": ("in a flower field", "among flowers", "surrounded by flowers", "with flowers"),
    "in a room": ("in a house", "inside", "in the living room", "in a bedroom", "in a kitchen", "at home", "indoors"),
    "on a table": ("on the table", "on a desk", "on a wooden table", "in a cafe", "in a restaurant"),
    "on the moon": ("on mars", "on another planet", "on an alien planet"),
    "in a garden": ("in the garden", "in a park", "in the park", "in the yard"),
    "in a cave": ("in the cave", "in a dungeon", "in a mine"),
    "in a storm": ("in the storm", "in a thunderstorm", "with lightning"),
}
#: Captions of a scene with nothing in it.
ALONE: dict[str, tuple[str, ...]] = {
    "on grass": ("green hills", "meadow", "grass", "field", "landscape", "nature"),
    "at night": ("night", "night sky", "starry night", "stars"),
    "at sunset": ("sunset", "sunrise", "evening sky", "beautiful sunset"),
    "in space": ("space", "outer space", "galaxy", "universe"),
    "on a beach": ("beach", "sea", "ocean", "coast", "sandy beach"),
    "in the snow": ("snow", "winter", "snowy landscape", "winter landscape"),
    "underwater": ("underwater", "under the sea", "bottom of the sea"),
    "in the desert": ("desert", "sand dunes", "dunes"),
    "in a forest": ("forest", "woods", "jungle", "trees"),
    "in a city": ("city", "town", "street", "skyline", "village", "buildings"),
    "in the mountains": ("mountains", "mountain landscape", "snowy mountains", "valley"),
    "in the sky": ("sky", "clouds", "blue sky", "cloudy sky"),
    "in the rain": ("rain", "rainy day", "rainy weather"),
    "on a road": ("road", "path", "highway", "street in the country"),
    "by a lake": ("lake", "mountain lake", "river", "pond"),
    "in a field of flowers": ("field of flowers", "flowers", "flower meadow", "spring"),
    "in a room": ("room", "living room", "bedroom", "kitchen", "interior"),
    "on a table": ("table", "wooden table", "desk"),
    "on the moon": ("surface of the moon", "surface of mars", "moon landscape"),
    "in a garden": ("garden", "park", "backyard"),
    "in a cave": ("cave", "dungeon", "cavern"),
    "in a storm": ("storm", "thunderstorm", "lightning storm"),
}
#: Scenes without a ground to stand on.
FLOATING = {"in space", "underwater", "in the sky"}
#: Scenes that a mood can fall on.
OUTDOORS = (
    *("on grass", "on a beach", "in the desert", "in a forest", "in a city", "in the mountains", "on a road"),
    *("by a lake", "in a field of flowers", "in a garden"),
)
#: What the light or the weather does to an outdoor scene, and the words that ask for it.
MOODS: dict[str, tuple[str, ...]] = {
    "at night": ("at night", "in the dark", "by night"),
    "at sunset": ("at sunset", "at dusk", "at sunrise"),
    "in the rain": ("in the rain", "on a rainy day"),
    "in the snow": ("in the snow", "in winter", "while it snows"),
    "in the fog": ("in the fog", "in the mist", "on a foggy day"),
}


def every() -> list[str]:
    """Return every phrase that asks for a scene or a mood."""
    tables = (ALSO, ALONE, MOODS)
    return [*SCENES, *(phrase for table in tables for phrases in table.values() for phrase in phrases)]


def paint(variants: int, seed: int = 0, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Return `variants` paintings of each scene: float32 [scenes * variants, 3, size, size] in [0, 1].

    The same seed gives the same paintings at every size.
    """
    random = np.random.RandomState(seed)
    paintings = np.empty((len(SCENES) * variants, 3, size, size), np.float32)
    for index, scene in enumerate(scene for scene in SCENES.values() for _ in range(variants)):
        paintings[index] = scene(random, size).clip(0, 1).transpose(2, 0, 1)
    return paintings


def weather(variants: int, seed: int = 1, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Return what falls in front of everything: float32 [moods * variants, 1, size, size], 1 where it hides."""
    random = np.random.RandomState(seed)
    falling = np.zeros((len(MOODS) * variants, 1, size, size), np.float32)
    for index, mood in enumerate(mood for mood in MOODS for _ in range(variants)):
        clear = np.zeros((size, size, 3))
        if mood == "in the rain":
            clear = _streaks(clear, random, 45, (0.8, 0.8, 0.8))
        elif mood == "in the snow":
            clear = _dots(clear, random, 26, 0.013, (1, 1, 1))
        falling[index, 0] = clear[..., 0]
    return falling
