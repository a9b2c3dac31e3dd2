"""Animated WebP: frames become one file, and one file becomes a smaller one. It uses the CPU alone.

Imported in the engine process, and in the processes that encode files for the bot.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import PIL.Image
import PIL.ImageSequence

from bot.worker.source_type import XMP

FRAME_MS, END_MS = 120, 700
"""How long a frame between two ends is shown, and how long the ends: only those show one thing alone."""
FILM_MS = 60
"""How long a frame of a film is shown: the models paint about 16 in a second."""
QUALITY = 90

SMALLER: Sequence[tuple[int, float]] = ((75, 1.0), (60, 0.75), (50, 0.5), (40, 0.25))
"""What is tried in turn where a file is too large: a quality, and how much of the width and the height stays."""


def durations(count: int) -> list[int]:
    """How long each of so many frames between two ends is shown, in milliseconds."""
    return [END_MS if number in (0, count - 1) else FRAME_MS for number in range(count)]


def encoded(
    frames: Sequence[PIL.Image.Image],
    shown: Sequence[int],
    *,
    lossless: bool,
    exif: bytes = b"",
    quality: int = QUALITY,
) -> bytes:
    """Frames in RGB as an animated WebP that repeats for ever and says that a model made it.

    `shown` is how long each is shown, in milliseconds.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "quality": 60} if lossless else {"quality": quality}
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=list(shown),
        loop=0,
        method=3,
        xmp=XMP.encode(),
        exif=exif,
        **options,
    )
    return buffer.getvalue()


def frames_of(data: bytes) -> list[PIL.Image.Image]:
    """The frames of an animated WebP that was made here, in RGB."""
    with PIL.Image.open(io.BytesIO(data), formats=["WEBP"]) as film:
        return [frame.convert("RGB") for frame in PIL.ImageSequence.Iterator(film)]


def durations_of(data: bytes) -> list[int]:
    """How long each frame of such a file is shown, in milliseconds."""
    shown = []
    with PIL.Image.open(io.BytesIO(data), formats=["WEBP"]) as film:
        for frame in PIL.ImageSequence.Iterator(film):
            frame.load()
            shown.append(int(frame.info["duration"]))
    return shown


def is_animated(data: bytes) -> bool:
    """Whether a picture that was made here has several frames: the flag of an animation in the header of a WebP.

    https://developers.google.com/speed/webp/docs/riff_container#extended_file_format
    """
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and bool(data[20] & 0x02)


def smaller(data: bytes, limit: int) -> bytes:
    """An animation in fewer bytes than a limit if that is possible, otherwise as small as it is made."""
    with PIL.Image.open(io.BytesIO(data), formats=["WEBP"]) as film:
        exif = film.info.get("exif", b"")
    frames, shown = frames_of(data), durations_of(data)
    for quality, scale in SMALLER:
        size = max(round(frames[0].width * scale), 1), max(round(frames[0].height * scale), 1)
        scaled = [frame.resize(size, PIL.Image.Resampling.LANCZOS) for frame in frames] if scale < 1 else frames
        data = encoded(scaled, shown, lossless=False, exif=exif, quality=quality)
        if len(data) <= limit:
            break
    return data
