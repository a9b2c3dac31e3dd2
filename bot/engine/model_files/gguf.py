"""The header of a GGUF file: names, types and shapes of its tensors, of which many are packed in a few bits.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bot.engine.model_files.header import DOWNLOAD_AGAIN, Header, Tensor, cut_short
from bot.errors import UnusableFiles

MAGIC = b"GGUF"

_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
"""Those that diffusers can compute with, by their number: name, numbers in a block, bytes of a block."""
_PLAIN = ("F32", "F16")
_PACKED = frozenset(name for name, *_ in _TYPES.values() if name not in _PLAIN)
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of the metadata, by its type."""
_STRING, _ARRAY = 8, 9
_ALIGNMENT = "general.alignment"
_MOST = 1 << 20
"""More tensors or values than any model has; a damaged file may claim any number."""
_LONGEST = 1 << 24
"""Bytes of the longest text in the metadata, such as a licence."""


def is_packed(dtype: str) -> bool:
    """Whether numbers of this type stay packed in memory."""
    return dtype in _PACKED


def is_gguf(path: Path) -> bool:
    """Whether a file is called one, or begins like one. Raises OSError."""
    if path.suffix == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read_gguf(path: Path) -> Header:
    """The header of a GGUF file. Raises UnusableFiles for one that is not whole or that diffusers cannot compute."""
    shown = path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(file, path, size, shown)
    except OSError as error:
        raise UnusableFiles(
            f"{shown} cannot be read ({error.strerror}).", "Make it readable for the user that runs Atelier."
        ) from error
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise UnusableFiles(f"the header of {shown} is damaged or cut short.", DOWNLOAD_AGAIN) from error


def _read(file: BinaryIO, path: Path, size: int, shown: str) -> Header:
    if file.read(4) != MAGIC:
        raise UnusableFiles(f"{shown} is no GGUF file, whatever its name says.", DOWNLOAD_AGAIN)
    (version,) = _take(file, "<I")
    if version not in (2, 3):
        raise UnusableFiles(
            f"{shown} is a GGUF file of version {version}; versions 2 and 3 can be read.", "Convert it."
        )
    tensors, values = _take(file, "<QQ")
    if max(tensors, values) > _MOST:
        raise ValueError("more entries than any model has")
    metadata, alignment = {}, 32
    for _ in range(values):
        name = _text(file)
        (kind,) = _take(file, "<I")
        value = _value(file, kind)
        if name == _ALIGNMENT and isinstance(value, int):
            alignment = value
        if isinstance(value, str):
            metadata[name] = value
    if alignment <= 0 or alignment % 8:
        raise ValueError("the alignment is no multiple of 8")
    found = {}
    for _ in range(tensors):
        name = _text(file)
        (dimensions,) = _take(file, "<I")
        if dimensions > 8:
            raise ValueError("more dimensions than any tensor has")
        # The first dimension is the one whose numbers lie side by side.
        shape = tuple(reversed(_take(file, f"<{dimensions}Q")))
        kind, start = _take(file, "<IQ")
        if kind not in _TYPES:
            raise UnusableFiles(
                f"{shown} has numbers of a type that diffusers cannot compute with (number {kind} of GGUF).",
                f"Take another version of it, such as one of {', '.join(sorted(_PACKED))}.",
            )
        dtype, block, width = _TYPES[kind]
        numbers = math.prod(shape)
        if numbers % block:
            raise ValueError("a tensor has a part of a block")
        found[name] = Tensor(dtype, shape, start, start + numbers // block * width)
    data_at = -(-file.tell() // alignment) * alignment
    missing = data_at + max((tensor.end for tensor in found.values()), default=0) - size
    if missing > 0:
        raise cut_short(shown, missing)
    return Header(found, metadata, path, data_at)


def _take(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _text(file: BinaryIO) -> str:
    (length,) = _take(file, "<Q")
    if length > _LONGEST:
        raise ValueError("a text is longer than any")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("a text is cut short")
    return data.decode()


def _value(file: BinaryIO, kind: int) -> int | str | None:
    """A value of the metadata: a whole number or a text; other values are passed over."""
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, length = _take(file, "<IQ")
        if inner in _FIXED:
            file.seek(length * _FIXED[inner], 1)
        elif length > _MOST:
            raise ValueError("a list is longer than any")
        else:
            for _ in range(length):
                _value(file, inner)
        return None
    if kind not in _FIXED:
        raise ValueError("a value has no known type")
    data = file.read(_FIXED[kind])
    # 6 and 12 are floats, 7 is a truth value.
    return None if kind in (6, 7, 12) else int.from_bytes(data, "little", signed=kind in (1, 3, 5, 11))
