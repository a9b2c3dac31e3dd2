"""The pictures a request brings: decoded, upright and of the size it is painted in.

What people upload are strangers' files: they are decoded in the engine process only, beside the thread that paints.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageOps

from bot.errors import PaintFailed
from bot.jobs import GenerationRequest

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 50_000_000
"""A photo of 50 megapixels takes 150 MB while it is decoded."""
_SAME_SHAPE = 0.02
"""How much the proportions of a mask may differ from its picture's: a pixel or two of a small one."""
_WHITE = 128
"""From which shade on diffusers repaints: `VaeImageProcessor.binarize` cuts at 0.5."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request starts from and is held to, each as wide and high as the request; the mask in shades of grey."""

    image: PIL.Image.Image | None = None
    mask_image: PIL.Image.Image | None = None
    control_image: PIL.Image.Image | None = None


def decode(request: GenerationRequest, uploads: Mapping[str, bytes]) -> Inputs:
    """The uploads that the request names, cut to its proportions around their middle and resized.

    A mask is cut where its picture is. Raises PaintFailed in words for what cannot be used.
    """
    image, mask, control = (
        _open(uploads.get(sha256), what, mode) if sha256 else None
        for sha256, what, mode in (
            (request.image, "picture", "RGB"),
            (request.mask_image, "mask", "L"),
            (request.control_image, "control picture", "RGB"),
        )
    )
    if image and mask and abs(image.width * mask.height / (image.height * mask.width) - 1) > _SAME_SHAPE:
        raise PaintFailed(
            f"The mask has other proportions ({mask.width}×{mask.height}) than its picture "
            f"({image.width}×{image.height}): make it as large as the picture."
        )
    size = (request.width, request.height)
    cut = Inputs(
        image and _cut(image, _middle(image, size), size),
        mask and _cut(mask, _middle(image or mask, size), size),
        control and _cut(control, _middle(control, size), size),
    )
    if cut.mask_image and np.asarray(cut.mask_image).max() < _WHITE:
        raise PaintFailed("Nothing in the mask is white: paint white over what is to be painted anew.")
    return cut


def _open(data: bytes | None, what: str, mode: str) -> PIL.Image.Image:
    """An upload, decoded, flat and turned as its EXIF data say; the first one of an animation."""
    if data is None:
        raise PaintFailed(f"The {what} is not here any more: ask again and attach it.")
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise PIL.Image.DecompressionBombError
        picture.load()
        return _flat(PIL.ImageOps.exif_transpose(picture), mode)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError) as error:
        raise PaintFailed(f"The {what} is too large: at most {MOST_PIXELS // 10**6} megapixels can be used.") from error
    except PIL.UnidentifiedImageError as error:
        raise PaintFailed(f"The {what} is no picture that can be used: send a PNG, JPEG or WebP file.") from error
    except Exception as error:
        # Whatever a decoder trips over in a stranger's file. Its words may quote the file, so only its name is kept.
        log.info("an upload cannot be decoded (%s)", type(error).__name__)
        raise PaintFailed(f"The {what} is damaged: save it again as PNG or JPEG and send that.") from error


def _flat(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """The picture in 8 bits without transparency: over white, or over black, which keeps, where it is a mask."""
    if picture.mode.startswith("I"):
        # 16 bits a pixel, which `convert` would clip.
        pixels = np.asarray(picture).astype("float32") / 257
        picture = PIL.Image.fromarray(pixels.clip(0, 255).round().astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", picture.size, "black" if mode == "L" else "white")
        picture = PIL.Image.alpha_composite(ground, picture)
    return picture.convert(mode)


def _middle(picture: PIL.Image.Image, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box of a size's proportions in the middle of a picture: left, upper, right and lower in shares."""
    (width, height), (wide, high) = picture.size, size
    scale = max(wide / width, high / height)
    across, down = min(wide / (scale * width), 1.0), min(high / (scale * height), 1.0)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def _cut(picture: PIL.Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> PIL.Image.Image:
    """A box of a picture, in shares of its sides, resized."""
    (width, height), (left, upper, right, lower) = picture.size, box
    box = (left * width, upper * height, right * width, lower * height)
    return picture.resize(size, PIL.Image.Resampling.LANCZOS, box)
