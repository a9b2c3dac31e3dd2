"""The uploads of a request: decoded, turned upright, and resized to the size that it is painted in.

Uploads are untrusted files: they are decoded in the engine process only, in a thread beside the one that paints.
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
from bot.jobs import MASK_TOLERANCE, MOST_PIXELS, GenerationRequest

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
_WHITE = 128
"""The shade of the mask from which diffusers repaints: `VaeImageProcessor.binarize` cuts at 0.5."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The decoded uploads of a request, each with the request's width and height; the mask is in shades of grey."""

    image: PIL.Image.Image | None = None
    mask_image: PIL.Image.Image | None = None
    control_image: PIL.Image.Image | None = None


def decode(request: GenerationRequest, uploads: Mapping[str, bytes]) -> Inputs:
    """The uploads that the request names, cropped around their middle to its proportions, and resized.

    A mask is cropped where its picture is. Raises PaintFailed, in words, for an upload that cannot be used.
    """
    image, mask, control = (
        _open(uploads.get(sha256), what, mode) if sha256 else None
        for sha256, what, mode in (
            (request.image, "picture", "RGB"),
            (request.mask_image, "mask", "L"),
            (request.control_image, "control picture", "RGB"),
        )
    )
    if image and mask and abs(image.width * mask.height / (image.height * mask.width) - 1) > MASK_TOLERANCE:
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
        raise PaintFailed("The mask has no white part: make the part white that should be repainted.")
    return cut


def _open(data: bytes | None, what: str, mode: str) -> PIL.Image.Image:
    """An upload: decoded, without transparency, turned as its EXIF data says; the first frame of an animation."""
    if data is None:
        raise PaintFailed(f"The {what} is no longer stored: ask again and attach it.")
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise PIL.Image.DecompressionBombError
        picture.load()
        return _flat(PIL.ImageOps.exif_transpose(picture), mode)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError) as error:
        raise PaintFailed(f"The {what} is too large: at most {MOST_PIXELS // 10**6} megapixels can be used.") from error
    except PIL.UnidentifiedImageError as error:
        raise PaintFailed(f"The {what} is not a picture that Atelier can read: send a PNG, JPEG or WebP.") from error
    except Exception as error:
        # A decoder may raise any error on an untrusted file. The text may quote the file, so only its class is logged.
        log.info("an upload cannot be decoded (%s)", type(error).__name__)
        raise PaintFailed(f"The {what} is damaged: save it again as PNG or JPEG and send that.") from error


def _flat(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """The picture in 8 bits without transparency: on white, or for a mask on black, which is not repainted."""
    if picture.mode.startswith("I"):
        # The picture has 16 bits per pixel, which `convert` would clip.
        pixels = np.asarray(picture).astype("float32") / 257
        picture = PIL.Image.fromarray(pixels.clip(0, 255).round().astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", picture.size, "black" if mode == "L" else "white")
        picture = PIL.Image.alpha_composite(ground, picture)
    return picture.convert(mode)


def _middle(picture: PIL.Image.Image, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box of a size's proportions in the middle of a picture: left, upper, right, lower, from 0 to 1."""
    (width, height), (wide, high) = picture.size, size
    scale = max(wide / width, high / height)
    across, down = min(wide / (scale * width), 1.0), min(high / (scale * height), 1.0)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def _cut(picture: PIL.Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> PIL.Image.Image:
    """A box of a picture, resized; the box is in parts of its sides, from 0 to 1."""
    (width, height), (left, upper, right, lower) = picture.size, box
    box = (left * width, upper * height, right * width, lower * height)
    return picture.resize(size, PIL.Image.Resampling.LANCZOS, box)
