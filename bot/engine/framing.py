"""The format of a message on a pipe: two big-endian 32-bit lengths, a JSON header, and raw bytes (encoded pictures)."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
HEADER_LIMIT = 2**20
BODY_LIMIT = 2**28

Message = tuple[dict[str, Any], bytes]
"""A header and a body."""


class BadFrame(Exception):  # noqa: N818
    """The bytes on the pipe are not a frame."""


def pack(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A header and a body as bytes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def read(stream: BinaryIO) -> Message | None:
    """Read one message, blocking; None at the end of the stream. Raises BadFrame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, body_length = _check(lengths)
    header, body = stream.read(header_length), stream.read(body_length)
    if len(header) < header_length or len(body) < body_length:
        return None
    return _header(header), body


async def read_async(stream: asyncio.StreamReader) -> Message | None:
    """Read one message; None at the end of the stream. Raises BadFrame."""
    try:
        header_length, body_length = _check(await stream.readexactly(_LENGTHS.size))
        return _header(await stream.readexactly(header_length)), await stream.readexactly(body_length)
    except asyncio.IncompleteReadError:
        return None


def whole(data: bytes | bytearray) -> int:
    """How many of the bytes are whole messages, from the first one on. Raises BadFrame."""
    end = 0
    while len(data) - end >= _LENGTHS.size:
        header_length, body_length = _check(data[end : end + _LENGTHS.size])
        after = end + _LENGTHS.size + header_length + body_length
        if after > len(data):
            break
        end = after
    return end


def split(body: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The pictures of a body, by their sizes in bytes. Raises BadFrame if the sizes do not add up to its length."""
    if sum(sizes) != len(body):
        raise BadFrame(f"the frame has {len(body)} bytes of pictures and names {sum(sizes)}")
    return [body[end - size : end] for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)]


def _check(lengths: bytes | bytearray) -> tuple[int, int]:
    header_length, body_length = _LENGTHS.unpack(lengths)
    if header_length > HEADER_LIMIT or body_length > BODY_LIMIT:
        raise BadFrame(f"a frame of {header_length} + {body_length} bytes is too large")
    return header_length, body_length


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame("a frame's header is not a JSON object with a kind") from error
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise BadFrame("a frame's header is not a JSON object with a kind")
    return header
