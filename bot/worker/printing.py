"""Finished pictures become files: scored by the safety check, marked, signed and encoded. It needs no torch.

The engine process prints what it painted, and `darkroom.py` what other servers painted.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace

import PIL.Image

from bot.jobs import GenerationRequest, Image
from bot.worker.labels import Labels, Maker
from bot.worker.likeness import phash
from bot.worker.nsfw import NsfwCheck
from bot.worker.parameters import KEYWORD
from bot.worker.source_type import png_info


@dataclass(frozen=True)
class Printer:
    """Makes the files of pictures; without `check` they get no score, and without `labels` no mark and no manifest."""

    check: NsfwCheck | None
    labels: Labels | None

    def image(self, request: GenerationRequest, seed: int, picture: PIL.Image.Image, text: str, maker: Maker) -> Image:
        """A finished picture as files, with its score. `text` says in the file how it was made. Raises PaintFailed."""
        score = None if self.check is None else self.check.score(picture)
        image = encode(picture, seed, text, score)
        if self.labels is None:
            return image
        marked = self.labels.marked(picture)
        if marked is None:
            png = self.labels.signed(image.png, request, seed, maker)
            return replace(image, png=png, sha256=hashlib.sha256(png).hexdigest())
        png = self.labels.signed(encoded(marked[0], text), request, seed, maker)
        return replace(image, delivered=png, delivered_sha256=hashlib.sha256(png).hexdigest(), mark=marked[1])


def encode(picture: PIL.Image.Image, seed: int, text: str = "", nsfw: float | None = None) -> Image:
    """A picture as a PNG that says that a model made it, with the text that says how.

    `nsfw` is the score of the safety check.
    """
    png = encoded(picture, text)
    sha256 = hashlib.sha256(png).hexdigest()
    return Image(png, seed, picture.width, picture.height, sha256, phash(picture), nsfw)


def encoded(picture: PIL.Image.Image, text: str) -> bytes:
    """The bytes of such a PNG."""
    info = png_info()
    if text:
        # Pillow writes an iTXt chunk for what Latin-1 does not hold.
        info.add_text(KEYWORD, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
