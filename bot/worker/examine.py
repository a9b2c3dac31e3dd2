"""A process that lives for one message: a picture in, what its labels say out.

`bot/verification.py` starts it as `python -m bot.worker.examine`, because the bot decodes no pictures.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from bot.engine import framing
from bot.errors import PaintFailed
from bot.language.reasons import packed
from bot.worker import manifest, marking
from bot.worker.answering import serve
from bot.worker.inputs import on_white, opened
from bot.worker.labels import KEY_FILE, read_secret
from bot.worker.likeness import phash

LEAST_SIDE = 48
"""The least side of a picture in which a mark is looked for: a smaller one holds too little of it."""

log = logging.getLogger(__name__)


def examine(data: bytes, folder: Path, certificate: Path, sizes: list[tuple[int, int]], numbers: Any) -> dict[str, Any]:
    """What the labels of a picture say, by the secrets in a folder. Raises PaintFailed, in words, for no picture.

    Of an MP4 and a GIF only the manifest is read: nothing here decodes them.
    """
    if kind := _unopened(data):
        return {
            "mark": None,
            "is_too_small": False,
            "is_opened": False,
            "manifest": asdict(manifest.read(data, kind, certificate)),
        }
    picture = on_white(opened(data))
    found = None
    is_too_small = min(picture.size) < LEAST_SIDE
    try:
        secret = read_secret(folder / KEY_FILE)
    except (OSError, ValueError):
        # Nothing was marked here yet, or the host has lost the secret.
        secret = None
    if secret is not None and not is_too_small:
        found = marking.find(picture, secret, sizes, numbers)
    return {
        "width": picture.width,
        "height": picture.height,
        "phash": phash(picture),
        "is_too_small": is_too_small,
        "is_opened": True,
        "mark": None if found is None else asdict(found),
        "manifest": asdict(manifest.read(data, PIL.Image.MIME[_format(data)], certificate)),
    }


def _unopened(data: bytes) -> str:
    """The media type of a file of which only the manifest is read; empty for all others."""
    return "video/mp4" if data[4:8] == b"ftyp" else "image/gif" if data.startswith(b"GIF8") else ""


def _format(data: bytes) -> str:
    return "PNG" if data.startswith(b"\x89PNG") else "JPEG" if data.startswith(b"\xff\xd8") else "WEBP"


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    data, marks = framing.split(body, order["lengths"])
    sizes = [(width, height) for width, height in order["sizes"]]
    try:
        numbers = np.frombuffer(marks, "<i8")
        found = examine(data, Path(order["folder"]), Path(order["certificate"]), sizes, numbers)
        return framing.pack({"kind": "examined", **found})
    except PaintFailed as refusal:
        return framing.pack({"kind": "refused", "words": packed(refusal.reason)})


if __name__ == "__main__":
    serve(_answer)
