"""An invisible mark in a picture: a number of 48 bits, laid over it as a faint pattern that a secret decides.

The pattern is a tile that is repeated over the picture. Its size is measured on the picture with a shorter side of 256
pixels, so the pattern grows with the picture, and a crop only moves it. It is a sum of waves whose phases the secret
decides. Half of the waves are the same in every picture: they show that there is a mark, and where its tiles begin. The
others are turned over for each bit that is 0. This is spread spectrum, <https://doi.org/10.1109/83.650120>. The reader
looks at phases alone, after the picture was made equally contrasted everywhere, so that no single edge decides.

The same picture, number and secret give the same marked picture. Imported in the engine process and in the process that
examines pictures.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import PIL.Image

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

BITS = 48
SHORT_SIDE = 256
"""The shorter side of a picture, in the pixels in which a tile is measured."""
TILE = 128
"""The side of a tile."""
_BAND = (5.0, 28.0)
"""How many periods in a tile the longest and the shortest waves have."""
_FALL = -0.5
"""Shorter waves are weaker: their amplitude is this power of the number of their periods."""

STRENGTHS = (0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0)
"""Strengths of the pattern, as the root of its mean square in shades of 256. The first that is enough is taken."""
_ENOUGH = 8.0
"""How clear the mark must be in a compressed and in a smaller copy: far over what decides."""
_ENOUGH_NUMBER = 5.7
"""How well its number must fit there; √48 at most."""

SURE = 6.5
"""How clear the waves that are always the same must be in a picture whose place and size are known. In a picture
without the mark the number is nearly normally distributed around 0, with a deviation of 1."""
SURE_IN_A_CROP = 7.5
"""The same where the clearest of 16,384 places is taken."""
_LEAST_FIT = 4.0
"""How well a number must fit in any case."""
_CHANCE = 0.01
"""How likely a number may be found by chance, if that of the picture is not among those that are known."""
_THIN = 6.0
"""How many times longer than wide a picture may be: a thinner one has no mark."""

_TRIAL_SIDE = 768
"""The shorter side up to which a strength is tried on the picture itself. A larger one keeps the mark better."""
_ROWS = 256
"""Rows of pixels that are marked at a time, so that a large picture takes little memory."""

_CROPS = (1.0, 0.5)
"""How much smaller than its original a picture may be of which a part was cut out."""
_LEAST_PART = 0.35
"""The least part of an original's side that is looked for in a crop."""
MOST_SIZES = 24
"""How many sizes of originals are tried."""


@dataclass(frozen=True)
class Waves:
    """The waves that a secret gives: periods in a tile down and across, exp(iθ), amplitudes, and the bit of each.

    Waves that are always the same have the bit -1.
    """

    rows: Array
    columns: Array
    phases: Array
    amplitudes: Array
    bits: Array


@dataclass(frozen=True)
class Found:
    """A mark in a picture: how clear it is, how well its number fits, and the number if it is known."""

    clearness: float
    fit: float
    number: int | None
    is_crop: bool


@lru_cache(maxsize=4)
def waves_of(secret: bytes) -> Waves:
    """The waves of a secret."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(b"atelier mark" + secret).digest(), "big"))
    rows, columns = np.meshgrid(np.arange(-TILE // 2, TILE // 2), np.arange(TILE // 2), indexing="ij")
    length = np.hypot(rows, columns)
    # A wave and its opposite are the same one.
    taken = (length >= _BAND[0]) & (length <= _BAND[1]) & ((columns > 0) | (rows > 0))
    rows, columns, length = rows[taken], columns[taken], length[taken]
    bits = np.full(len(rows), -1)
    holding = random.permutation(len(rows))[: len(rows) // 2]
    bits[holding] = np.arange(len(holding)) % BITS
    return Waves(rows, columns, np.exp(2j * np.pi * random.random(len(rows))), length**_FALL, bits)


def mark(picture: PIL.Image.Image, secret: bytes, number: int) -> PIL.Image.Image:
    """A picture in RGB with the mark of a number, as strong as it must be to be read in its compressed copies."""
    if _is_thin(picture.size):
        return picture
    waves = waves_of(secret)
    scale = min(_TRIAL_SIDE / min(picture.size), 1.0)
    size = max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)
    trial = picture if scale == 1 else picture.resize(size, PIL.Image.Resampling.LANCZOS)
    pattern = _pattern(waves, number, size) * _cover(trial)
    for strength in STRENGTHS:
        marked = _laid_over(trial, strength * pattern)
        if all(_is_enough(waves, copy, size, number) for copy in _copies(marked)):
            break
    if scale == 1:
        return marked
    return _laid_over(picture, strength * _pattern(waves, number, picture.size) * _cover(picture))


def _laid_over(picture: PIL.Image.Image, pattern: Array) -> PIL.Image.Image:
    """A picture with a pattern of shades over it."""
    pixels = np.array(picture)
    for top in range(0, picture.height, _ROWS):
        rows = slice(top, top + _ROWS)
        pixels[rows] = (pixels[rows] + pattern[rows, :, None]).round().clip(0, 255)
    return PIL.Image.fromarray(pixels)


def _is_enough(waves: Waves, copy: PIL.Image.Image, size: Size, number: int) -> bool:
    fits = _fits(waves, _spectrum(waves, _shades(copy, _small(size))))
    return fits.clearness >= _ENOUGH and _best_of(fits, np.array([number]))[1] >= _ENOUGH_NUMBER


def _copies(picture: PIL.Image.Image) -> Iterator[PIL.Image.Image]:
    """What becomes of a picture elsewhere, the worst first."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    with PIL.Image.open(buffer) as copy:
        yield copy.convert("RGB")
    half = max(picture.width // 2, 1), max(picture.height // 2, 1)
    yield picture.resize(half, PIL.Image.Resampling.BICUBIC)


def find(picture: PIL.Image.Image, secret: bytes, sizes: Iterable[Size], numbers: Array) -> Found | None:
    """The mark of a secret in a picture in RGB; None if there is none.

    `sizes` are those of the pictures that were marked, the most likely first, and `numbers` those that are known, as
    int64.
    """
    if _is_thin(picture.size):
        return None
    waves = waves_of(secret)
    own, known = picture.size, list(dict.fromkeys(sizes))[:MOST_SIZES]
    best: tuple[float, _Fits, bool] | None = None
    for small in dict.fromkeys(_small(size) for size in (own, *known) if _are_alike(own, size)):
        fits = _fits(waves, _spectrum(waves, _shades(picture, small)))
        if fits.clearness >= SURE and (best is None or fits.clearness / SURE > best[0]):
            best = fits.clearness / SURE, fits, False
    if best is None:
        for small in _crops(own, known):
            fits = _moved(waves, _spectrum(waves, _shades(picture, small)))
            if fits.clearness >= SURE_IN_A_CROP and (best is None or fits.clearness / SURE_IN_A_CROP > best[0]):
                best = fits.clearness / SURE_IN_A_CROP, fits, True
    if best is None:
        return None
    _, fits, is_crop = best
    number, fit = _best_of(fits, numbers)
    # A number that is not the picture's fits nearly as a normal variable does.
    sure = NormalDist().inv_cdf(1 - _CHANCE / max(len(numbers), 1))
    return Found(fits.clearness, fit, number if fit >= max(sure, _LEAST_FIT) else None, is_crop)


def _is_thin(size: Size) -> bool:
    return max(size) > _THIN * min(size)


def _are_alike(own: Size, size: Size) -> bool:
    """Whether two sizes have the same proportions, up to rounding."""
    return abs(own[0] * size[1] / (own[1] * size[0]) - 1) <= 0.02


def _crops(own: Size, sizes: Iterable[Size]) -> Iterator[Size]:
    """The sizes of a picture for the mark if it was cut out of an original of one of the sizes."""
    tried: set[Size] = set()
    for size in sizes:
        for part in _CROPS:
            shares = [side / (part * whole) for side, whole in zip(own, size, strict=True)]
            if min(shares) < _LEAST_PART or max(shares) > 1.01:
                continue
            scale = SHORT_SIDE / (part * min(size))
            small = max(round(own[0] * scale), 1), max(round(own[1] * scale), 1)
            if small not in tried:
                tried.add(small)
                yield small


@dataclass(frozen=True)
class _Fits:
    """How well the waves of a picture fit: those that are always the same, and those of each bit."""

    clearness: float
    bits: Array


def _fits(waves: Waves, spectrum: Array) -> _Fits:
    """How well a spectrum fits where it is."""
    agreement = (spectrum * np.conj(waves.phases)).real
    same = waves.bits < 0
    # A phase by chance has a mean of 0 and a mean square of 1/2.
    clearness = float(agreement[same].sum()) / math.sqrt(same.sum() / 2)
    sums = np.bincount(waves.bits[~same], agreement[~same], BITS)
    return _Fits(clearness, sums / np.sqrt(np.bincount(waves.bits[~same], minlength=BITS) / 2))


def _moved(waves: Waves, spectrum: Array) -> _Fits:
    """How well a spectrum fits where it fits best."""
    same = waves.bits < 0
    agreement = np.zeros((TILE, TILE), complex)
    agreement[waves.rows[same] % TILE, waves.columns[same]] = (spectrum * np.conj(waves.phases))[same]
    places = np.fft.ifft2(agreement).real
    down, across = np.unravel_index(int(places.argmax()), places.shape)
    turned = spectrum * np.exp(2j * np.pi * (waves.rows * int(down) + waves.columns * int(across)) / TILE)
    return _fits(waves, turned)


def _best_of(fits: _Fits, numbers: Array) -> tuple[int | None, float]:
    """The number of several that fits best, and how well."""
    best: tuple[int | None, float] = (None, 0.0)
    length = math.sqrt(float(fits.bits @ fits.bits)) or 1.0
    for start in range(0, len(numbers), 1 << 16):
        some = numbers[start : start + (1 << 16)]
        values = _signs(some) @ fits.bits / length
        at = int(values.argmax())
        if values[at] > best[1]:
            best = int(some[at]), float(values[at])
    return best


def _signs(numbers: Any) -> Array:
    """The bits of numbers as ±1: (n, 48)."""
    bits = np.asarray(numbers, np.int64)[:, None] >> np.arange(BITS) & 1
    return (2 * bits - 1).astype(np.float32)


def _pattern(waves: Waves, number: int, size: Size) -> Array:
    """The mark of a number for a picture of a width and a height, with a mean square of 1."""
    signs = np.append(_signs([number])[0], 1)[waves.bits]
    spectrum = np.zeros((TILE, TILE), complex)
    spectrum[waves.rows % TILE, waves.columns] = waves.phases * signs * waves.amplitudes
    spectrum[-waves.rows % TILE, -waves.columns % TILE] = np.conj(waves.phases * signs * waves.amplitudes)
    tile = np.fft.ifft2(spectrum).real.astype(np.float32)
    width, height = _small(size)
    whole = np.tile(tile / tile.std(), (-(-height // TILE), -(-width // TILE)))[:height, :width]
    large = np.asarray(PIL.Image.fromarray(whole).resize(size, PIL.Image.Resampling.BICUBIC))
    # A picture of one pixel has no waves.
    pattern: Array = large / max(large.std(), 0.1)
    return pattern


def _cover(picture: PIL.Image.Image) -> Array:
    """How much of the pattern each pixel of a picture takes: more where the picture hides it."""
    small = _small(picture.size)
    grey = np.asarray(picture.convert("L").resize(small, PIL.Image.Resampling.LANCZOS), np.float64)
    detail = _blurred((grey - _blurred(grey, 2)) ** 2, 2)
    cover = (1 + np.sqrt(detail) / 6).clip(1, 2.5).astype(np.float32)
    return np.asarray(PIL.Image.fromarray(cover).resize(picture.size, PIL.Image.Resampling.BICUBIC))


def _small(size: Size) -> Size:
    """A picture's width and height with the mark's shorter side."""
    scale = SHORT_SIDE / min(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _shades(picture: PIL.Image.Image, size: Size) -> Array:
    """The shades of grey of a picture in a size, without what changes slowly, and equally contrasted everywhere."""
    grey = np.asarray(picture.convert("L").resize(size, PIL.Image.Resampling.LANCZOS), np.float64)
    detail = grey - _blurred(grey)
    return detail / np.sqrt(_blurred(detail**2) + 4.0)


def _blurred(values: Array, reach: int = 8) -> Array:
    """The mean of the square around each value, twice."""
    for axis in (0, 1, 0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(values, padding, "edge"), axis)
        count, length = 2 * reach + 1, values.shape[axis]
        values = (sums.take(np.arange(count, count + length), axis) - sums.take(np.arange(length), axis)) / count
    return values


def _spectrum(waves: Waves, shades: Array) -> Array:
    """The phases of the waves in a picture, with all its tiles on top of each other: numbers of length 1."""
    height, width = shades.shape
    padded = np.pad(shades, ((0, -height % TILE), (0, -width % TILE)))
    tile = padded.reshape(padded.shape[0] // TILE, TILE, padded.shape[1] // TILE, TILE).sum((0, 2))
    spectrum = np.fft.fft2(tile)[waves.rows % TILE, waves.columns]
    phases: Array = spectrum / np.maximum(np.abs(spectrum), 1e-12)
    return phases
