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


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request starts from and is held to, each as wide and high as the request; the mask in shades of grey."""

    image: PIL.Image.Image | None = None
    mask_image: PIL.Image.Image | None = None
    control_image: PIL.Image.Image | None = None


def decode(request: GenerationRequest, uploads: Mapping[str, bytes]) -> Inputs:
    """The uploads that the request names, cut to its proportions around their middle and resized.

    Raises PaintFailed in words for what cannot be used.
    """
    image, mask, control = (
        _open(uploads[sha256], what) if sha256 else None
        for sha256, what in (
            (request.image, "picture"),
            (request.mask_image, "mask"),
            (request.control_image, "control picture"),
        )
    )
    if image and mask and abs(image.width * mask.height / (image.height * mask.width) - 1) > _SAME_SHAPE:
        raise PaintFailed(
            f"The mask has other proportions ({mask.width}×{mask.height}) than its picture "
            f"({image.width}×{image.height}): make it as large as the picture."
        )
    size = (request.width, request.height)
    return Inputs(
        *(
            PIL.ImageOps.fit(picture, size, PIL.Image.Resampling.LANCZOS) if picture else None
            for picture in (_flat(image, "RGB"), _flat(mask, "L"), _flat(control, "RGB"))
        )
    )


def _open(data: bytes, what: str) -> PIL.Image.Image:
    """An upload, decoded and turned as its EXIF data say; the first one of an animation."""
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise PIL.Image.DecompressionBombError
        picture.load()
        return PIL.ImageOps.exif_transpose(picture)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError) as error:
        raise PaintFailed(f"The {what} is too large: at most {MOST_PIXELS // 10**6} megapixels can be used.") from error
    except PIL.UnidentifiedImageError as error:
        raise PaintFailed(f"The {what} is no picture that can be used: send a PNG, JPEG or WebP file.") from error
    except Exception as error:
        # Whatever a decoder trips over in a stranger's file. Its words may quote the file, so only its name is kept.
        log.info("an upload cannot be decoded (%s)", type(error).__name__)
        raise PaintFailed(f"The {what} is damaged: save it again as PNG or JPEG and send that.") from error


def _flat(picture: PIL.Image.Image | None, mode: str) -> PIL.Image.Image | None:
    """The picture in 8 bits without transparency: over white, or over black, which keeps, where it is a mask."""
    if picture is None:
        return None
    if picture.mode.startswith("I"):
        # 16 bits a pixel, which `convert` would clip.
        pixels = np.asarray(picture).astype("float32") / 257
        picture = PIL.Image.fromarray(pixels.clip(0, 255).round().astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", picture.size, "black" if mode == "L" else "white")
        picture = PIL.Image.alpha_composite(ground, picture)
    return picture.convert(mode)
