"""Where things stand in a picture: beside one another, several of one, worn, held, on, under, in front.

All lengths are parts of the picture's side, and y grows downwards. Functions decide; `compose.py` paints.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(slots=True)
class Placement:
    """One sprite in a picture: which, its centre and side, and the colour it is dyed in ("" for its own)."""

    sprite: int
    x: float
    y: float
    side: float
    dye: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The outline of a sprite as parts of its side: its box, and where a hat, a rider or glasses belong."""

    left: float
    top: float
    right: float
    bottom: float
    #: The middle of its highest part.
    crown: float
    #: The left and right ends of its upper third: the head of somebody.
    head: tuple[float, float]
    #: How far down its outline begins in the middle: the back of a horse is below its head.
    back: float


def shape(alpha: Tensor) -> Shape:
    """Return the outline of a sprite from its opacity, uint8 [h, w]."""
    solid = (alpha > 90).numpy()
    side = len(solid)
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not len(rows):
        return Shape(0.1, 0.1, 0.9, 0.9, 0.5, (0.2, 0.8), 0.1)
    top, bottom = rows[0], rows[-1] + 1
    high = np.flatnonzero(solid[top : top + max(2, (bottom - top) // 8)].any(0))
    head = np.flatnonzero(solid[top : top + max(3, (bottom - top) // 3)].any(0))
    middle = solid[:, 4 * side // 10 : 6 * side // 10]
    back = np.flatnonzero(middle.any(1))
    return Shape(
        float(columns[0]) / side,
        float(top) / side,
        float(columns[-1] + 1) / side,
        float(bottom) / side,
        float(high.mean() + 0.5) / side,
        (float(head[0]) / side, float(head[-1] + 1) / side),
        float(back[0] if len(back) else top) / side,
    )


#: Centres of several equal things, and their side, by how many they are.
SEVERAL: dict[int, tuple[tuple[tuple[float, float], ...], float]] = {
    1: (((0.5, 0.5),), 0.84),
    2: (((0.27, 0.5), (0.73, 0.5)), 0.46),
    3: (((0.5, 0.28), (0.27, 0.72), (0.73, 0.72)), 0.45),
    4: (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)), 0.43),
    5: (((0.22, 0.24), (0.78, 0.24), (0.5, 0.5), (0.22, 0.76), (0.78, 0.76)), 0.34),
}


def hat(wearer: Shape, worn: Shape) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of somebody and of what is on their head."""
    x, y, side = 0.5, 0.6, 0.72
    wide = min(max(wearer.head[1] - wearer.head[0], 0.3), 0.75) * side
    scale = min(wide / (worn.right - worn.left), 0.62)
    bottom = y + (wearer.top - 0.5) * side + 0.28 * (worn.bottom - worn.top) * scale
    middle = x + ((wearer.crown + sum(wearer.head) / 2) / 2 - 0.5) * side
    place = middle - ((worn.left + worn.right) / 2 - 0.5) * scale, bottom - (worn.bottom - 0.5) * scale
    return (x, y, side), (*place, scale)


def glasses(wearer: Shape, worn: Shape) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of a face and of what is over its eyes."""
    x, y, side = 0.5, 0.5, 0.84
    wide = 0.82 * (wearer.head[1] - wearer.head[0]) * side
    scale = min(wide / (worn.right - worn.left), 0.72)
    eyes = y + (wearer.top + 0.46 * (wearer.bottom - wearer.top) - 0.5) * side
    middle = x + (sum(wearer.head) / 2 - 0.5) * side
    place = middle - ((worn.left + worn.right) / 2 - 0.5) * scale, eyes - ((worn.top + worn.bottom) / 2 - 0.5) * scale
    return (x, y, side), (*place, scale)


def held(right: bool) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of somebody and of what they hold, on the right or the left of the picture."""
    return (0.45 if right else 0.55, 0.46, 0.74), (0.72 if right else 0.28, 0.74, 0.40)


def on(base: Shape, rider: Shape) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of what is below and of what is on it."""
    x, y, side, scale = 0.5, 0.69, 0.60, 0.46
    seat = y + (base.back + 0.14 * (base.bottom - base.top) - 0.5) * side
    return (x, y, side), (0.5, max(seat - (rider.bottom - 0.5) * scale, 0.22), scale)


def under() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of what is above and of what is under it."""
    return (0.5, 0.27, 0.52), (0.5, 0.75, 0.46)


def front(right: bool) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return `(x, y, side)` of what is behind and of what is in front, a little to the right or the left."""
    return (0.46 if right else 0.54, 0.43, 0.82), (0.66 if right else 0.34, 0.76, 0.44)
