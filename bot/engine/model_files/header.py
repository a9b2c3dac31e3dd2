"""The header of a .safetensors file: names, types and shapes of its tensors.

The format is eight bytes of length, JSON, then the numbers without gaps:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.errors import UnusableFiles

_LARGEST_HEADER = 100_000_000
"""Bytes; what the safetensors library accepts."""
_LONGEST_VALUES = 1 << 16
"""Bytes of the largest tensor whose numbers are read."""

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

DOWNLOAD_AGAIN = "Download the file again."

GIT_POINTERS = (b"version https://git-lfs", b"# xet version")
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its type as safetensors calls it, such as F16, its shape, and its bytes in the file's data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a .safetensors file says about itself."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    path: Path = Path()
    data_at: int = 0
    """Where the numbers begin, in bytes."""

    def has(self, *beginnings: str) -> bool:
        """Whether the name of any tensor begins like one of these."""
        return any(name.startswith(beginnings) for name in self.tensors)

    def width(self, name: str) -> int | None:
        """The second dimension of a tensor, which is the width of a layer's input; None without such a tensor."""
        tensor = self.tensors.get(name)
        return tensor.shape[1] if tensor is not None and len(tensor.shape) > 1 else None

    @property
    def numbers(self) -> int:
        """How many numbers all tensors have together."""
        return sum(tensor.numbers for tensor in self.tensors.values())

    def values(self, name: str) -> list[float]:
        """The numbers of a small tensor of floats; none if it is missing, large or of another type."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.end - tensor.start > _LONGEST_VALUES:
            return []
        with self.path.open("rb") as file:
            file.seek(self.data_at + tensor.start)
            data = file.read(tensor.end - tensor.start)
        match tensor.dtype:
            case "F32":
                return list(struct.unpack(f"<{len(data) // 4}f", data))
            case "F16":
                return list(struct.unpack(f"<{len(data) // 2}e", data))
            case "BF16":
                # The upper half of a float32.
                wide = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))
                return list(struct.unpack(f"<{len(wide) // 4}f", wide))
        return []


def read_header(path: Path, shown: str = "") -> Header:
    """The header of a file, which is called `shown` in sentences, or by its name.

    Raises UnusableFiles for a file that is no whole .safetensors file.
    """
    shown = shown or path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
            _refuse_others(start, size, shown)
            (length,) = struct.unpack("<Q", start[:8])
            if length > size - 8:
                raise cut_short(shown, length + 8 - size)
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise UnusableFiles(
            f"{shown} cannot be read ({error.strerror}).", "Make it readable for the user that runs Atelier."
        ) from error
    try:
        stored = json.loads(text)
        metadata = {str(name): str(value) for name, value in (stored.pop("__metadata__", None) or {}).items()}
        tensors = {name: _tensor(entry) for name, entry in stored.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnusableFiles(f"the header of {shown} is damaged.", DOWNLOAD_AGAIN) from error
    header = Header(tensors, metadata, path, 8 + length)
    _check_size(header, size, shown)
    return header


def is_git_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS leaves of one that was not downloaded. Raises OSError."""
    with path.open("rb") as file:
        return file.read(64).startswith(GIT_POINTERS)


def git_pointer(shown: str) -> UnusableFiles:
    """The error for such a file."""
    return UnusableFiles(
        f"{shown} is a Git LFS pointer: the file itself was not downloaded.",
        "Run `git lfs pull` in the repository, or download the file again.",
    )


def web_page(shown: str) -> UnusableFiles:
    """The error for a page of a web site that was saved instead of a file."""
    return UnusableFiles(
        f"{shown} is a web page (HTML), not the file itself.",
        "Download the file itself; the site may ask you to log in or to accept a licence first.",
    )


def _refuse_others(start: bytes, size: int, shown: str) -> None:
    """Raise UnusableFiles, with what it is, for a file that does not begin like a .safetensors file."""
    if not size:
        raise UnusableFiles(f"{shown} is empty.", DOWNLOAD_AGAIN)
    # First of all, because any two bytes may begin a length, also those of a pickle or a gzip archive.
    if start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _LARGEST_HEADER:
        return
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(GIT_POINTERS):
        raise git_pointer(shown)
    if text.startswith(b"<"):
        raise web_page(shown)
    if start.startswith((b"PK\x03\x04", *_PICKLES)) or Path(shown).suffix in (".ckpt", ".pt", ".pth", ".bin", ".pkl"):
        raise UnusableFiles(
            f"{shown} is pickled (a .ckpt, .pt or .bin file by its contents), and pickles can run code when loaded.",
            "Take the .safetensors version of it.",
        )
    for magic, what in ((b"GGUF", "GGUF"), (b"\x89HDF", "Keras (HDF5)")):
        if start.startswith(magic):
            raise UnusableFiles(f"{shown} is a {what} file, which cannot be loaded.", "Take the .safetensors version.")
    if start.startswith(_ARCHIVES):
        raise UnusableFiles(f"{shown} is a packed archive.", "Unpack it, and name the .safetensors file in it.")
    if start.startswith(_PICTURES):
        raise UnusableFiles(f"{shown} is a picture and holds no weights.", DOWNLOAD_AGAIN)
    if Path(shown).suffix == ".onnx":
        raise UnusableFiles(f"{shown} is an ONNX file, which cannot be loaded.", "Take the .safetensors version.")
    if start.isascii() and " ".join(start.decode("ascii").split()).isprintable():
        raise UnusableFiles(f"{shown} is a text and holds no weights.", DOWNLOAD_AGAIN)
    raise UnusableFiles(f"{shown} is no .safetensors file, whatever its name says.", DOWNLOAD_AGAIN)


def _tensor(entry: Any) -> Tensor:
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise ValueError("a shape or a place is no number")
    return Tensor(str(entry["dtype"]), shape, start, end)


def _check_size(header: Header, size: int, shown: str) -> None:
    """Raise UnusableFiles unless the tensors fill the file: no byte may be missing, left over or counted twice."""
    at = 0
    for tensor in sorted(header.tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        bits = _BITS.get(tensor.dtype)
        if tensor.start != at or (bits is not None and (tensor.end - tensor.start) * 8 != tensor.numbers * bits):
            raise UnusableFiles(f"the header of {shown} is damaged.", DOWNLOAD_AGAIN)
        at = tensor.end
    missing = header.data_at + at - size
    if missing > 0:
        raise cut_short(shown, missing)
    if missing < 0:
        raise UnusableFiles(
            f"{shown} is too long: it has {_bytes(-missing)} more than its header says.", DOWNLOAD_AGAIN
        )


def cut_short(shown: str, missing: int) -> UnusableFiles:
    """The error for a file that lacks bytes."""
    return UnusableFiles(
        f"{shown} is cut short: it lacks at least {_bytes(missing)} of what its header says.",
        f"{DOWNLOAD_AGAIN} The disk may have been full.",
    )


def _bytes(number: int) -> str:
    return f"{number:,} byte{'' if number == 1 else 's'}"
