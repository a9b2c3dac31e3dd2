"""The uploads of a request: decoded, turned upright, and resized to the size that it is painted in.

A request that paints a part of a picture, or the area around it, gets a canvas too (`canvas.py`). One that enlarges a
picture gets it as it is.

Uploads are untrusted files: they are decoded in the engine process only, in a thread beside the one that paints.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from bot.errors import PaintFailed
from bot.jobs import MASK_TOLERANCE, MOST_PIXELS, GenerationRequest, Operation, upscale_refusal
from bot.language import mark, sentence
from bot.picture_files import is_picture, measure, without_metadata
from bot.worker import canvas, cutout
from bot.worker.canvas import Canvas

log = logging.getLogger(__name__)

PICTURE = mark("picture")
"""What the picture that a request starts from is called."""

FORMATS = ("PNG", "JPEG", "WEBP")
_WHITE = 128
"""The shade of the mask from which diffusers repaints: `VaeImageProcessor.binarize` cuts at 0.5."""
_LIKE = 32
"""How far a shade may be from black or white and still be meant as it: edges and compression blur a mask."""
_FURTHER = {2: mark("second picture"), 3: mark("third picture"), 4: mark("fourth picture")}
"""What the further pictures of a blend are called."""
_MASK_SHARE = 0.95
"""From which share of black and white on what is visible is a painted mask, and not a copy of the picture."""

_Turn = PIL.Image.Transpose
_TURNS = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
"""What makes a picture upright, by its orientation in EXIF's numbers."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The decoded uploads of a request, each with the request's width and height; the mask is in shades of grey.

    Only a picture to enlarge has its own size.
    """

    image: PIL.Image.Image | None = None
    mask_image: PIL.Image.Image | None = None
    control_image: PIL.Image.Image | None = None
    canvas: Canvas | None = None
    """What the painted picture is laid over, in the size of the result."""


Check = Callable[[PIL.Image.Image], None]
"""Raises PaintFailed for a picture that may not be used."""


def decode(
    request: GenerationRequest,
    uploads: Mapping[str, bytes],
    check: Check = lambda _: None,
    find: cutout.Find | None = None,
) -> Inputs:
    """The uploads that the request names, cropped around their middle to its proportions, and resized.

    Each is checked before it is used. `find` finds the thing of which variants are painted, if the host has a model for
    that.

    A mask is cropped where its picture is. A canvas is not cropped, so it may be stretched a little; what is painted is
    stretched back. A picture to enlarge keeps its size. Raises PaintFailed, in words, for uploads that cannot be used.
    """
    if not request.operation.begins_with_noise and not request.image:
        raise PaintFailed("There is no picture to start from: ask again and attach one.")
    image, mask, control = (
        flat(_open(uploads.get(sha256), what, check)) if sha256 else None
        for sha256, what, flat in (
            (request.image, PICTURE, on_white),
            (request.mask_image, mark("mask"), _mask),
            (request.control_image, mark("control picture"), on_white),
        )
    )
    if image and mask and abs(image.width * mask.height / (image.height * mask.width) - 1) > MASK_TOLERANCE:
        raise PaintFailed(
            "The mask has other proportions ({mask_width}×{mask_height}) than its picture ({width}×{height}): make it "
            "as large as the picture.",
            mask_width=mask.width,
            mask_height=mask.height,
            width=image.width,
            height=image.height,
        )
    size = (request.width, request.height)
    if image and request.operation is Operation.BLEND:
        image = _mean([image, *_further(request, uploads, check)], size)
    followed = control and _cut(control, _middle(control, size), size)
    if image and request.operation is Operation.UPSCALE:
        if words := upscale_refusal(*image.size):
            raise PaintFailed(words)
        return Inputs(image)
    if image and (whole := _canvas(request, image, find)):
        return Inputs(*whole.given(size), followed, whole)
    if request.operation is Operation.INPAINT and not mask:
        raise PaintFailed("Nothing says which part to paint: send a mask, or choose parts of the picture.")
    cut = Inputs(
        image and _cut(image, _middle(image, size), size),
        mask and _cut(mask, _middle(image or mask, size), size),
        followed,
    )
    if cut.mask_image and np.asarray(cut.mask_image).max() < _WHITE:
        raise PaintFailed(
            "The mask has no white part: make the part white that should be repainted, or send a copy of the picture "
            "in which that part is transparent."
        )
    return cut


def separate(request: GenerationRequest, uploads: Mapping[str, bytes], check: Check) -> list[PIL.Image.Image]:
    """The pictures of a blend, each cropped and resized, but not mixed. Raises PaintFailed as `decode` does."""
    size = (request.width, request.height)
    first = on_white(_open(uploads.get(request.image), PICTURE, check))
    return [_cut(each, _middle(each, size), size) for each in (first, *_further(request, uploads, check))]


def _further(request: GenerationRequest, uploads: Mapping[str, bytes], check: Check) -> list[PIL.Image.Image]:
    """The pictures that a blend mixes with its first one."""
    if not request.blended:
        raise PaintFailed("A blend needs two pictures or more: ask again and attach them.")
    return [
        on_white(_open(uploads.get(sha256), _FURTHER.get(number, PICTURE), check))
        for number, sha256 in enumerate(request.blended, start=2)
    ]


def _mean(pictures: Sequence[PIL.Image.Image], size: tuple[int, int]) -> PIL.Image.Image:
    """The mean of pictures, pixel by pixel, each cropped around its middle and resized to a width and a height.

    The latents of a VAE are nearly linear in the pixels, so this is nearly the mean of the pictures' latents.
    """
    shades = [np.asarray(_cut(picture, _middle(picture, size), size), "float32") for picture in pictures]
    return PIL.Image.fromarray(np.mean(shades, axis=0).round().astype("uint8"))


def _canvas(request: GenerationRequest, image: PIL.Image.Image, find: cutout.Find | None) -> Canvas | None:
    """The canvas of a request; None where the model's picture is the result."""
    if request.operation is Operation.OUTPAINT:
        return canvas.extended(image, request.margins)
    if request.operation is Operation.INPAINT and request.kept is not None and not request.mask_image:
        return cutout.canvas(image, request.kept, find)
    if request.operation is Operation.INPAINT and request.region and not request.mask_image:
        return canvas.region(image, request.region)
    return None


def _open(data: bytes | None, what: str, check: Check) -> PIL.Image.Image:
    """An upload that passed a check, decoded and turned upright."""
    picture = opened(data, what)
    check(on_white(picture))
    return picture


def opened(data: bytes | None, what: str = PICTURE) -> PIL.Image.Image:
    """An upload, decoded and turned upright; the first one of an animation. `what` is what people call it.

    The decoder gets the file without its metadata, so that only pixels decide whether a picture is damaged.
    """
    if data is None:
        raise PaintFailed("The {picture} is no longer stored: ask again and attach it.", picture=sentence(what))
    if not is_picture(data):
        raise PaintFailed(
            "The {picture} is not a picture that Atelier can read: send a PNG, JPEG or WebP.", picture=sentence(what)
        )
    damaged = sentence("The {picture} is damaged: save it again as PNG or JPEG and send that.", picture=sentence(what))
    if (measured := measure(data)) is None:
        raise PaintFailed(damaged)
    if measured.stored_width * measured.stored_height > MOST_PIXELS:
        raise _too_large(what)
    try:
        picture = PIL.Image.open(io.BytesIO(without_metadata(data)), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise _too_large(what)
        picture.load()
        turn = _TURNS.get(measured.orientation)
        return picture if turn is None else picture.transpose(turn)
    except PaintFailed:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError) as error:
        raise _too_large(what) from error
    except Exception as error:
        # A decoder may raise any error on an untrusted file. The text may quote the file, so only its class is logged.
        log.info("an upload cannot be decoded (%s)", type(error).__name__)
        raise PaintFailed(damaged) from error


def _too_large(what: str) -> PaintFailed:
    most = MOST_PIXELS // 10**6
    return PaintFailed(
        "The {picture} is too large: at most {most} megapixels can be used.", picture=sentence(what), most=most
    )


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture in RGB; where it is transparent, white shows."""
    return _over("white", _in_8_bits(picture)).convert("RGB")


def _mask(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The mask in shades of grey: white is painted anew.

    A mask with transparent parts is read in one of two ways. Where all that is visible is black and white, it was
    painted: its white counts. Otherwise it is a copy of the picture with a part erased: the transparent part counts.
    """
    picture = _in_8_bits(picture)
    if not picture.has_transparency_data:
        return picture.convert("L")
    pixels = np.asarray(picture.convert("RGBA"))
    alpha, visible = pixels[..., 3], pixels[pixels[..., 3] >= _WHITE][:, :3]
    if len(visible) in (0, alpha.size) or _is_painted(visible):
        return _over("black", picture).convert("L")
    return PIL.Image.fromarray(255 - alpha)


def _is_painted(colours: np.ndarray[Any, Any]) -> bool:
    """Whether colours, (n, 3) in 8 bits, are those of a painted mask: some white, and black."""
    darkest, brightest = colours.min(1), colours.max(1)
    white = darkest >= 255 - _LIKE
    return bool(white.any() and (white | (brightest <= _LIKE)).mean() >= _MASK_SHARE)


def _in_8_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture, with 16 bits a pixel scaled to 8; `convert` would clip them."""
    if not picture.mode.startswith("I"):
        return picture
    pixels = np.asarray(picture).astype("float32") / 257
    return PIL.Image.fromarray(pixels.clip(0, 255).round().astype("uint8"))


def _over(ground: str, picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture over a ground of one colour, where it is transparent."""
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, ground), picture)


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
