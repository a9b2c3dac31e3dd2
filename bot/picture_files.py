"""A PNG, JPEG or WebP as a file: how large it is and how it is turned, by its header, and the file without metadata.

The bot refuses uploads by these sizes, and the engine turns what it decoded by the same orientation, so both speak of
the same upright picture. Nothing here decodes pixels. Metadata come from strangers: broken ones say nothing and break
nothing, and how much of a file is looked at is bounded.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

UPRIGHT = 1

_MOST_PARTS = 50_000
"""Chunks or segments that are looked at. A file of 20 MiB by libpng has 2,560; walking these takes 50 ms."""
_MOST_NOTES = 16
"""Pieces of metadata that are read in search of an orientation."""
_NOTE_BYTES = 2**20
"""Bytes that are read of each, after decompression."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF's types of whole numbers, as `struct` reads them. Some writers store the orientation as a LONG."""
_XMP = re.compile(rb"""tiff:Orientation\s{0,9}(?:=\s{0,9}["']|>)\s{0,9}([1-8])\b""")
_XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_OF_PNG = b"XML:com.adobe.xmp"
_EXIF_OF_IMAGEMAGICK = (b"Raw profile type exif", b"Raw profile type APP1")
_MARKER = re.compile(rb"\xff([^\xff\x00])")
"""A marker after any number of fill bytes; other bytes before it are skipped, as decoders do."""

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_WITHOUT_LENGTH = {0x01, _SOI, *range(0xD0, 0xD8)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Segments that hold a JPEG's size; the three are tables."""
_PIXELS_OF_WEBP = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_METADATA_FLAGS_OF_WEBP = 0x20 | 0x08 | 0x04
"""ICC, EXIF and XMP: https://developers.google.com/speed/webp/docs/riff_container#extended_file_format"""


@dataclass(frozen=True, slots=True)
class Measure:
    """A picture's sides in pixels as it is stored, and its orientation from 1 (upright) to 8, as EXIF defines it."""

    stored_width: int
    stored_height: int
    orientation: int = UPRIGHT

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the picture as people see it; orientations from 5 on lie on their side."""
        sides = (self.stored_width, self.stored_height)
        return sides if self.orientation < 5 else (sides[1], sides[0])


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk or a segment: its kind, where it begins and ends, and where its body does. The end may be cut off."""

    kind: bytes | int
    start: int
    body: slice
    end: int


def is_picture(data: bytes) -> bool:
    """Whether a file begins as a PNG, a JPEG or a WebP does."""
    return data.startswith((_PNG, _JPEG)) or _is_webp(data)


def measure(data: bytes) -> Measure | None:
    """How large a picture is and how it is turned; None where its header holds no size.

    EXIF data go before XMP. An orientation that is no number from 1 to 8 counts as none.
    """
    size: tuple[int, int] | None = None
    notes: list[tuple[bool, bytes]] = []
    parts, sides, note = _readers(data)
    for part in parts:
        size = size or sides(data, part)
        if len(notes) < _MOST_NOTES and (found := note(data, part)) is not None:
            notes.append(found)
    if size is None or min(size) < 1:
        return None
    turned = [_exif_orientation(content) for is_exif, content in notes if is_exif]
    turned += [_xmp_orientation(content) for is_exif, content in notes if not is_exif]
    return Measure(*size, next(filter(None, turned), UPRIGHT))


def without_metadata(data: bytes) -> bytes:
    """The same pixels in a file that holds nothing a decoder could stumble over beside them.

    Of an animated PNG its still picture is left. What cannot be followed as chunks is handed on as it is.
    """
    if data.startswith(_PNG):
        # Ancillary chunks begin with a small letter; transparency is the one among them that belongs to the pixels.
        kept = [data[part.start : part.end] for part in _chunks(data) if part.kind == b"tRNS" or not _is_small(part)]
        return _PNG + b"".join(kept)
    if data.startswith(_JPEG):
        return data[:2] + b"".join(data[part.start : part.end] for part in _segments(data) if _is_pixels(data, part))
    if not _is_webp(data):
        return data
    chunks = [_webp_chunk(data, part) for part in _riff_chunks(data) if part.kind in _PIXELS_OF_WEBP]
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


# ---- how the formats are built ---------------------------------------------------------------------------------------

_Sides = Callable[[bytes, _Part], tuple[int, int] | None]
_Note = Callable[[bytes, _Part], tuple[bool, bytes] | None]


def _readers(data: bytes) -> tuple[Iterator[_Part], _Sides, _Note]:
    """A file's parts, how its sides are read off a part, and its metadata: whether they are EXIF, and the bytes."""
    if data.startswith(_PNG):
        return _chunks(data), _png_sides, _png_note
    if data.startswith(_JPEG):
        return _segments(data), _jpeg_sides, _jpeg_note
    return _riff_chunks(data) if _is_webp(data) else iter(()), _webp_sides, _webp_note


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def _chunks(data: bytes) -> Iterator[_Part]:
    """A PNG's chunks to its end; beyond the most that are looked at, the rest is one part."""
    at = len(_PNG)
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        yield _Part(kind, at, slice(at + 8, at + 8 + length), at + 12 + length)
        at += 12 + length
    yield _Part(b"", at, slice(at, at), len(data))


def _segments(data: bytes) -> Iterator[_Part]:
    """A JPEG's segments; from the first scan on, or from where it cannot be followed, the rest is one part."""
    at = 2
    for _ in range(_MOST_PARTS):
        marker = _MARKER.search(data, at)
        if marker is None:
            return
        kind, at = marker[1][0], marker.end()
        if kind in _WITHOUT_LENGTH:
            continue
        if kind in (_SOS, _EOI) or at + 2 > len(data):
            yield _Part(kind, at - 2, slice(at, at), len(data))
            return
        length = max(int.from_bytes(data[at : at + 2]), 2)
        yield _Part(kind, at - 2, slice(at + 2, at + length), at + length)
        at += length
    yield _Part(_SOS, at, slice(at, at), len(data))


def _riff_chunks(data: bytes) -> Iterator[_Part]:
    """A WebP's chunks to the end of the file, whatever its RIFF header says of its length."""
    at = 12
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        yield _Part(kind, at, slice(at + 8, at + 8 + length), end)
        at = end


def _is_small(part: _Part) -> bool:
    """Whether the kind of a PNG's chunk begins with a small letter."""
    return isinstance(part.kind, bytes) and part.kind[:1].islower()


def _is_pixels(data: bytes, part: _Part) -> bool:
    """Whether a segment says how a JPEG's pixels are to be decoded, by libjpeg's own conditions."""
    if part.kind == _APP0:
        return data[part.body].startswith(b"JFIF\0") and part.body.stop - part.body.start >= 14
    if part.kind == _APP14:
        return data[part.body].startswith(b"Adobe") and part.body.stop - part.body.start >= 12
    return part.kind != _COM and not (isinstance(part.kind, int) and _APP0 < part.kind <= _APP15)


def _webp_chunk(data: bytes, part: _Part) -> bytes:
    """A chunk as it is, but for the flags that announce metadata."""
    chunk = data[part.start : part.end]
    if part.kind != b"VP8X" or len(chunk) < 9:
        return chunk
    return chunk[:8] + bytes([chunk[8] & ~_METADATA_FLAGS_OF_WEBP]) + chunk[9:]


# ---- sizes -----------------------------------------------------------------------------------------------------------


def _png_sides(data: bytes, part: _Part) -> tuple[int, int] | None:
    if part.kind != b"IHDR" or part.end > len(data) or part.body.stop - part.body.start < 8:
        return None
    width, height = struct.unpack_from(">II", data, part.body.start)
    return width, height


def _jpeg_sides(data: bytes, part: _Part) -> tuple[int, int] | None:
    if part.kind not in _FRAMES or part.body.stop > len(data) or part.body.stop - part.body.start < 5:
        return None
    height, width = struct.unpack_from(">HH", data, part.body.start + 1)
    return width, height


def _webp_sides(data: bytes, part: _Part) -> tuple[int, int] | None:
    """The sides of the canvas, or those of a lossy or a lossless frame without one."""
    head = data[part.body][:10]
    if part.kind == b"VP8X" and len(head) == 10:
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if part.kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10:
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    if part.kind == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


# ---- orientation -----------------------------------------------------------------------------------------------------


def _png_note(data: bytes, part: _Part) -> tuple[bool, bytes] | None:
    if part.kind not in (b"eXIf", b"iTXt", b"tEXt", b"zTXt") or part.end > len(data):
        return None
    keyword, _, rest = data[part.body][: _NOTE_BYTES + 100].partition(b"\0")
    if part.kind != b"eXIf" and keyword != _XMP_OF_PNG and keyword not in _EXIF_OF_IMAGEMAGICK:
        return None
    # A decoder ignores a chunk whose checksum is wrong, and so does a viewer.
    checked = memoryview(data)[part.start + 4 : part.body.stop]
    if zlib.crc32(checked) != int.from_bytes(data[part.body.stop : part.end]):
        return None
    if part.kind == b"eXIf":
        return True, data[part.body][:_NOTE_BYTES]
    if part.kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif part.kind == b"iTXt":
        packed, (_, _, rest) = rest[:1], (b"", b"", rest[2:])
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        rest = _inflated(rest) if packed == b"\1" else rest
    return (False, rest) if keyword == _XMP_OF_PNG else (True, _from_hex(rest))


def _jpeg_note(data: bytes, part: _Part) -> tuple[bool, bytes] | None:
    if part.kind != _APP1:
        return None
    body = data[part.body]
    if body.startswith(b"Exif\0"):
        return True, body
    return (False, body) if body.startswith(_XMP_OF_JPEG) else None


def _webp_note(data: bytes, part: _Part) -> tuple[bool, bytes] | None:
    if part.kind == b"EXIF":
        return True, data[part.body][:_NOTE_BYTES]
    return (False, data[part.body][:_NOTE_BYTES]) if part.kind == b"XMP " else None


def _inflated(packed: bytes) -> bytes:
    """The beginning of what was compressed; nothing where it is broken."""
    try:
        return zlib.decompressobj().decompress(packed, _NOTE_BYTES)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """What ImageMagick writes as text: a name, a length, and the bytes as hexadecimal numbers."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _xmp_orientation(content: bytes) -> int | None:
    found = _XMP.search(content)
    return None if found is None else int(found[1])


def _exif_orientation(content: bytes) -> int | None:
    """The orientation in the first directory of a TIFF structure; None where that is broken or holds none."""
    # Some writers repeat a JPEG's prefix, or use it where there is none.
    for _ in range(2):
        content = content[6:] if content.startswith(b"Exif\0") else content
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None or len(content) < 8:
        return None
    (first,) = struct.unpack_from(f"{order}I", content, 4)
    entries = content[first + 2 :]
    if len(content) < first + 2:
        return None
    (count,) = struct.unpack_from(f"{order}H", content, first)
    for tag, kind, values, field in islice(_entries(order, entries), count):
        if tag == _ORIENTATION and kind in _INTEGERS and values == 1:
            (value,) = struct.unpack_from(f"{order}{_INTEGERS[kind]}", field)
            return value if 1 <= value <= 8 else None
    return None


def _entries(order: str, entries: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The entries of a directory: tag, type, number of values, and the field that holds a small value."""
    return struct.iter_unpack(f"{order}HHI4s", entries[: len(entries) // 12 * 12])
