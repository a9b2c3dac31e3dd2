"""A process that lives for one message: PNGs in, smaller WebPs out.

`bot/delivery/smaller.py` starts it as `python -m bot.worker.webp`, because the bot decodes no pictures and the engine
is busy. The files keep the mark that a model made them, and the text that says how.
"""

from __future__ import annotations

import io
from typing import Any

import PIL.Image

from bot.engine import framing
from bot.worker import animations
from bot.worker.answering import serve
from bot.worker.parameters import KEYWORD, commented

QUALITY = 90


def encode(png: bytes, *, lossless: bool) -> bytes:
    """The picture as WebP, with its XMP and its parameters."""
    with PIL.Image.open(io.BytesIO(png)) as picture:
        picture.load()
        xmp = picture.info.get("XML:com.adobe.xmp", picture.info.get("xmp", b""))
        buffer = io.BytesIO()
        picture.save(
            buffer,
            "WEBP",
            lossless=lossless,
            quality=100 if lossless else QUALITY,
            xmp=xmp.encode() if isinstance(xmp, str) else xmp,
            exif=commented(picture.info.get(KEYWORD, "")),
        )
    return buffer.getvalue()


def smaller(pngs: list[bytes], file_limit: int, total_limit: int) -> tuple[list[bytes], bool]:
    """The pictures as lossless WebP if that is small enough, otherwise at quality 90; returns also whether lossless.

    If the PNGs are within the limits already, Discord's real limits are smaller than ours, so lossless is not tried.
    """
    if any(map(animations.is_animated, pngs)):
        # It is a file of its own, which has lost details already.
        return [animations.smaller(film, min(file_limit, total_limit)) for film in pngs], False

    def fits(files: list[bytes]) -> bool:
        return all(len(file) <= file_limit for file in files) and sum(map(len, files)) <= total_limit

    if not fits(pngs):
        files = [encode(png, lossless=True) for png in pngs]
        if fits(files):
            return files, True
    return [encode(png, lossless=False) for png in pngs], False


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    files, lossless = smaller(framing.split(body, order["sizes"]), order["file_limit"], order["total_limit"])
    answer = {"kind": "smaller", "sizes": [len(file) for file in files], "lossless": lossless}
    return framing.pack(answer, b"".join(files))


if __name__ == "__main__":
    serve(_answer)
