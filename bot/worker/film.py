"""A process that lives for one message: an animated WebP in, the same animation as MP4 out.

`bot/delivery/film.py` starts it as `python -m bot.worker.film`, because the bot decodes no pictures and the engine is
busy. The answer is empty where nothing encodes H.264: neither PyAV (`pip install 'atelier-bot[video]'`) nor a program
ffmpeg.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from bot.worker import animations
from bot.worker.answering import serve
from bot.worker.source_type import NOTE

RATE = 25
"""Frames in a second; a frame that is shown longer is repeated."""
_QUALITY = "20"
"""The constant rate factor of x264: 18 to 28 is usual, and less is better."""


def mp4(webp: bytes) -> bytes:
    """An animated WebP that was made here as MP4; nothing where it cannot be encoded, or where nothing moves."""
    if not animations.is_animated(webp):
        return b""
    program = shutil.which("ffmpeg")
    has_av = importlib.util.find_spec("av") is not None
    if not has_av and program is None:
        return b""
    frames = list(_at_rate([_even(frame) for frame in animations.frames_of(webp)], animations.durations_of(webp)))
    with tempfile.TemporaryDirectory() as folder:
        # Not written as a stream: the index of an MP4 comes last and is moved to the front.
        path = Path(folder) / "film.mp4"
        if has_av:
            _by_av(frames, path)
        elif program is not None:
            _by_ffmpeg(program, frames, path)
        return path.read_bytes()


def _even(frame: PIL.Image.Image) -> PIL.Image.Image:
    """A frame with even sides, which H.264 needs: its colours have half as many pixels."""
    size = max(frame.width // 2 * 2, 2), max(frame.height // 2 * 2, 2)
    return frame if frame.size == size else frame.resize(size)


def _at_rate(frames: list[PIL.Image.Image], shown: list[int]) -> Iterator[PIL.Image.Image]:
    """The frames at the rate of the film; `shown` is how long each is shown, in milliseconds."""
    passed = 0.0
    count = 0
    for frame, milliseconds in zip(frames, shown, strict=True):
        passed += milliseconds
        while count < round(passed * RATE / 1000):
            yield frame
            count += 1


def _by_av(frames: list[PIL.Image.Image], path: Path) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as film:
        film.metadata["comment"] = NOTE
        stream: Any = film.add_stream("libx264", rate=RATE, options={"crf": _QUALITY})
        stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        film.mux(stream.encode(None))


def _by_ffmpeg(program: str, frames: list[PIL.Image.Image], path: Path) -> None:
    width, height = frames[0].size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-"]
    made = ["-c:v", "libx264", "-crf", _QUALITY, "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    subprocess.run(  # noqa: S603 - the program that the host has installed, with numbers
        [program, "-v", "error", *given, *made, "-metadata", f"comment={NOTE}", str(path)],
        input=b"".join(frame.tobytes() for frame in frames),
        check=True,
    )


def signed(film: bytes, webp: bytes, signing: dict[str, str] | None) -> bytes:
    """A film with a manifest that says of its request what that of its WebP says; without one there, as it is."""
    if not film or signing is None:
        return film
    # It takes a moment to import.
    from bot.worker import manifest

    told = manifest.read(webp, "image/webp")
    return manifest.signed(film, "video/mp4", signing, told.model, told.request) if told.model else film


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    return signed(mp4(body), body, order["signing"])


if __name__ == "__main__":
    serve(_answer)
