"""Checks uploads by their size and header; no picture is decoded here."""

from __future__ import annotations

import hashlib

from bot.errors import UserError
from bot.jobs import MOST_PIXELS, Upload
from bot.language import mark, sentence
from bot.picture_files import is_picture, measure
from bot.requests.options import BLENDED, table

UPLOAD_NAMES = {option.name: option.called for option in table() if option.is_upload}
"""What people call each upload, by the name of its option."""

CALLED = UPLOAD_NAMES | dict(
    zip(BLENDED, (mark("first image"), mark("second image"), mark("third image"), mark("fourth image")), strict=True)
)
"""The same with the pictures of a blend."""

MOST_BYTES = 20 * 2**20
LEAST_SIDE = 16

_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


def check_facts(what: str, size: int, width: int | None, height: int | None, media_type: str | None = None) -> None:
    """Refuse an upload by facts that are known without decoding it. Raises UserError.

    `what` is one of the values of CALLED, `size` is in bytes, `width` and `height` in pixels; None is unknown.
    """
    if media_type is not None and media_type.partition(";")[0].strip().lower() not in _MEDIA_TYPES:
        raise _no_picture(what)
    if size == 0:
        raise UserError("The {file} is an empty file: send a PNG, JPEG or WebP.", file=sentence(what))
    if size > MOST_BYTES:
        raise UserError(
            "The {file} is larger than {most} MiB: scale it down, or save it as JPEG or WebP.",
            file=sentence(what),
            most=MOST_BYTES // 2**20,
        )
    if width is None or height is None:
        return
    if width * height > MOST_PIXELS:
        raise UserError(
            "The {file} has {width:,}×{height:,} pixels, more than {most} million: scale it down.",
            file=sentence(what),
            width=width,
            height=height,
            most=MOST_PIXELS // 10**6,
        )
    if min(width, height) < LEAST_SIDE:
        raise UserError(
            "The {file} has {width}×{height} pixels: each side needs {least} or more.",
            file=sentence(what),
            width=width,
            height=height,
            least=LEAST_SIDE,
        )


def inspect(what: str, data: bytes) -> Upload:
    """Check the bytes of an upload, whatever its file name and stated type are. Raises UserError.

    `what` is one of the values of CALLED. The result's width and height are those of the upright picture.
    """
    check_facts(what, len(data), None, None)
    if not is_picture(data):
        raise _no_picture(what)
    measured = measure(data)
    if measured is None:
        raise UserError(
            "The {file} is damaged: its size cannot be read. Save it again as PNG, JPEG or WebP.", file=sentence(what)
        )
    width, height = measured.size
    check_facts(what, len(data), width, height)
    return Upload(data, width, height, hashlib.sha256(data).hexdigest())


def _no_picture(what: str) -> UserError:
    return UserError(
        "The {file} is not a picture that Atelier can read: send a PNG, JPEG or WebP.", file=sentence(what)
    )
