"""Frames on the pipe between the bot and the engine process.

A frame is two big-endian 32-bit lengths, a JSON header and raw bytes (encoded pictures). Down go `setup`,
`submit`, `cancel` and `stop`; up come `ready`, `started`, `progress`, `preview`, `finished`, `failed` and `timings`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
HEADER_LIMIT = 2**20
BODY_LIMIT = 2**28


class BadFrame(Exception):  # noqa: N818
    """What came over the pipe is not a frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: `kind`, its JSON `fields`, and raw bytes."""

    kind: str
    fields: dict[str, Any]
    body: bytes = b""

    def encode(self) -> bytes:
        """The frame as bytes."""
        header = json.dumps({"kind": self.kind, **self.fields}, separators=(",", ":")).encode()
        return _LENGTHS.pack(len(header), len(self.body)) + header + self.body


class Inbox:
    """Frames in the order they came, from whichever thread."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def put(self, frame: Frame) -> None:
        """Add a frame."""
        self._frames.put(frame)

    def take(self, *, wait: bool) -> list[Frame]:
        """Everything that came since the last time; waits for a first frame if told to."""
        frames = [self._frames.get()] if wait else []
        with suppress(queue.Empty):
            while True:
                frames.append(self._frames.get_nowait())
        return frames


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read one frame, blocking; None at the end of the stream. Raises BadFrame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, body_length = _check(lengths)
    header, body = stream.read(header_length), stream.read(body_length)
    if len(header) < header_length or len(body) < body_length:
        return None
    return _decode(header, body)


async def read_frame_async(stream: asyncio.StreamReader) -> Frame | None:
    """Read one frame; None at the end of the stream. Raises BadFrame."""
    try:
        header_length, body_length = _check(await stream.readexactly(_LENGTHS.size))
        return _decode(await stream.readexactly(header_length), await stream.readexactly(body_length))
    except asyncio.IncompleteReadError:
        return None


def submit_frame(fields: Mapping[str, Any], uploads: Mapping[str, bytes]) -> Frame:
    """Make a `submit` of an order's fields and of the pictures it builds on, by their sha256."""
    index = [[sha256, len(data)] for sha256, data in uploads.items()]
    return Frame("submit", {**fields, "uploads": index}, b"".join(uploads.values()))


def uploads_of(frame: Frame) -> dict[str, bytes]:
    """The pictures that came with a `submit`, by their sha256. Raises BadFrame when they are not what it says."""
    uploads, offset = {}, 0
    for sha256, size in frame.fields.get("uploads", ()):
        uploads[sha256] = frame.body[offset : offset + size]
        offset += size
        if hashlib.sha256(uploads[sha256]).hexdigest() != sha256:
            raise BadFrame("a picture in the frame is not the one it names")
    if offset != len(frame.body):
        raise BadFrame(f"the frame has {len(frame.body)} bytes of pictures and names {offset}")
    return uploads


def _check(lengths: bytes) -> tuple[int, int]:
    header_length, body_length = _LENGTHS.unpack(lengths)
    if header_length > HEADER_LIMIT or body_length > BODY_LIMIT:
        raise BadFrame(f"a frame of {header_length} + {body_length} bytes is too large")
    return header_length, body_length


def _decode(header: bytes, body: bytes) -> Frame:
    try:
        fields = json.loads(header)
        return Frame(fields.pop("kind"), fields, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFrame("a frame's header is not a JSON object with a kind") from error
