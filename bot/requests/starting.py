"""What a request starts from: which operation its pictures ask for, and how much of them is painted over. Pure."""

from __future__ import annotations

import math

from bot.errors import UserError
from bot.jobs import MASK_TOLERANCE, Operation, upscale_refusal
from bot.language import mark, sentence
from bot.requests.bounds import is_finite, within
from bot.requests.options import BLENDED, Options
from bot.requests.shapes import RATIOS
from bot.requests.uploads import CALLED

STRENGTH = 0.75
"""The default strength for an image without a mask: as in CompVis' img2img script and diffusers' examples."""
INPAINT_STRENGTH = 1.0
"""The default strength for an image with a mask, which is diffusers' default."""


def check_uploads(options: Options) -> None:
    """Raise UserError for uploads that cannot be used, or not together."""
    image, mask = options.image, options.mask
    pictures = [("image", image), ("mask", mask), ("control picture", options.control)]
    if options.blended:
        pictures = list(zip([CALLED[name] for name in BLENDED], (image, *options.blended), strict=False))
    for what, upload in pictures:
        if upload is not None and not RATIOS[0] <= upload.width / upload.height <= RATIOS[1]:
            raise UserError(
                "The {file} has {width}×{height} pixels, and shapes go only from 1:4 to 4:1: crop it.",
                file=sentence(what),
                width=upload.width,
                height=upload.height,
            )
    if image is not None and operation_of(options) is Operation.UPSCALE:
        if words := upscale_refusal(image.width, image.height):
            raise UserError(words)
        return
    if image is None:
        if mask is not None:
            raise UserError("A mask needs an image to repaint: add the image to start from, too.")
        if options.strength is not None:
            raise UserError(
                "Strength says how much of an image is painted over: add the image to start from, or omit strength."
            )
    elif mask is not None:
        stretch = (image.width * mask.height) / (image.height * mask.width)
        if abs(stretch - 1) > MASK_TOLERANCE:
            raise UserError(
                "The mask has {mask} pixels and the image {image}: draw a mask for the whole image, with the same "
                "proportions.",
                mask=f"{mask.width}×{mask.height}",
                image=f"{image.width}×{image.height}",
            )


def operation_of(options: Options) -> Operation:
    """The operation that a control asks for, or else the uploads."""
    if options.edit is not None and options.edit.operation is not None:
        return options.edit.operation
    if options.morph is not None:
        return Operation.MORPH
    if options.film is not None:
        return Operation.FILM if options.image is None else Operation.IMAGE2FILM
    if options.mask is not None:
        return Operation.INPAINT
    if options.blended:
        return Operation.BLEND
    return Operation.TEXT2IMAGE if options.image is None else Operation.IMAGE2IMAGE


def asked_strength(options: Options) -> float:
    """How much of the image is to be painted over, before it is known how many steps there are."""
    if options.image is None:
        return 1.0
    asked = _usual_strength(options) if options.strength is None else options.strength
    return min(max(asked, 0.0), 1.0) if is_finite(asked) else 1.0


def _usual_strength(options: Options) -> float:
    """How much of the image is painted over if the person does not say."""
    whole = operation_of(options) in (Operation.IMAGE2IMAGE, Operation.BLEND)
    return STRENGTH if whole else INPAINT_STRENGTH


def strength_of(options: Options, steps: int, notes: list[str]) -> float:
    """How much of the image is painted over: at least one step of it, because diffusers takes int(steps · strength)."""
    if options.image is None:
        return 1.0
    usual = _usual_strength(options)
    # In thousandths, rounded up: 49 · (1 / 49) is below 1 in floating point.
    least = math.ceil(1000 / steps) / 1000
    return within(mark("strength"), usual if options.strength is None else options.strength, usual, (least, 1.0), notes)
