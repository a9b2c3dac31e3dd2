"""One table of picture files: the bot, which reads headers, and the engine, which decodes, must see the same picture.

Upright, every file shows QUARTERS in SIZE. Files are made when they are asked for.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image, PngImagePlugin

SIZE = (128, 96)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
"""Clockwise from the upper left."""

_TURN = Image.Transpose
_STORED = {
    1: None,
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_90,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_270,
}
"""How a picture is stored by a camera that notes this orientation."""


def quarters(width: int = SIZE[0], height: int = SIZE[1]) -> Image.Image:
    """Red, green, blue and yellow, clockwise from the upper left."""
    picture = Image.new("RGB", (width, height), COLOURS[0])
    picture.paste(COLOURS[1], (width // 2, 0, width, height // 2))
    picture.paste(COLOURS[2], (width // 2, height // 2, width, height))
    picture.paste(COLOURS[3], (0, height // 2, width // 2, height))
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(kind: str, orientation: int, **options: Any) -> bytes:
    """The quarters as they are stored at an orientation, without a note of it unless the options bring one."""
    if kind == "JPEG" and "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    turn = _STORED[orientation]
    quality = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    picture = quarters() if turn is None else quarters().transpose(turn)
    return saved(picture, kind, **quality, **options)


def exif(orientation: int, *, order: str = "<", kind: str = "H", first: int = 8) -> bytes:
    """A TIFF structure with this orientation as a SHORT (H), a LONG (I) or a BYTE (B), in either byte order."""
    number = {"H": 3, "I": 4, "B": 1}[kind]
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", first)
    make = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"cam\0")
    entry = struct.pack(f"{order}HHI", 0x0112, number, 1) + struct.pack(f"{order}{kind}", orientation).ljust(4, b"\0")
    return head + struct.pack(f"{order}H", 2) + make + entry + bytes(4)


def xmp(orientation: int, form: str = 'tiff:Orientation="%d"') -> bytes:
    """An XMP packet with this orientation."""
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + (form % orientation).encode() + b"</x:xmpmeta>"


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def in_jpeg(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments before all others."""
    return data[:2] + b"".join(segments) + data[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def in_png(data: bytes, *chunks: bytes, late: bool = False) -> bytes:
    """A PNG with more chunks, after its header or `late`, before its end."""
    at = len(data) - 12 if late else 33
    return data[:at] + b"".join(chunks) + data[at:]


def itxt(text: bytes, keyword: bytes = b"XML:com.adobe.xmp", *, packed: bool = False) -> bytes:
    """An iTXt chunk."""
    return chunk(b"iTXt", keyword + b"\0" + bytes([packed, 0, 0, 0]) + (zlib.compress(text) if packed else text))


def _raw_profile(orientation: int) -> bytes:
    content = b"Exif\0\0" + exif(orientation)
    text = f"\nexif\n{len(content):8}\n{content.hex()}\n".encode()
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))


def _wrong_sum(data: bytes) -> bytes:
    return data[:-4] + bytes(4)


def _noted(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A WebP with another chunk at its end, which its header does not announce."""
    body = data[8:] + kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _long_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * 2**23, zip=True)
    return stored("PNG", 1, pnginfo=info)


_BEYOND = exif(6, first=2**31)
_ENDLESS = b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(30)

ORIENTED: dict[str, Callable[[], bytes]] = {
    **{f"JPEG, EXIF {n}": (lambda n=n: stored("JPEG", n, exif=exif(n))) for n in range(1, 9)},
    **{f"WebP, EXIF {n}": (lambda n=n: stored("WEBP", n, exif=exif(n))) for n in range(2, 9)},
    **{f"PNG, eXIf {n}": (lambda n=n: in_png(stored("PNG", n), chunk(b"eXIf", exif(n)))) for n in range(2, 9)},
    "JPEG, EXIF as LONG": lambda: stored("JPEG", 6, exif=exif(6, kind="I")),
    "JPEG, EXIF as LONG of Motorola": lambda: stored("JPEG", 8, exif=exif(8, kind="I", order=">")),
    "JPEG, EXIF as BYTE of Motorola": lambda: stored("JPEG", 6, exif=exif(6, kind="B", order=">")),
    "WebP, EXIF as LONG of Motorola": lambda: stored("WEBP", 6, exif=exif(6, kind="I", order=">")),
    "PNG, eXIf as LONG": lambda: in_png(stored("PNG", 5), chunk(b"eXIf", exif(5, kind="I"))),
    "PNG, eXIf after the pixels": lambda: in_png(stored("PNG", 6), chunk(b"eXIf", exif(6)), late=True),
    "PNG, eXIf with a JPEG's prefix": lambda: in_png(stored("PNG", 6), chunk(b"eXIf", b"Exif\0\0" + exif(6))),
    "PNG, EXIF as ImageMagick writes it": lambda: in_png(stored("PNG", 6), _raw_profile(6)),
    "JPEG, XMP": lambda: in_jpeg(stored("JPEG", 6), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6))),
    "JPEG, XMP as an element": lambda: in_jpeg(
        stored("JPEG", 8),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(8, "<tiff:Orientation>%d</tiff:Orientation>")),
    ),
    "WebP, XMP": lambda: stored("WEBP", 6, xmp=xmp(6, "tiff:Orientation = '%d'")),
    "WebP, XMP that is not announced": lambda: _noted(stored("WEBP", 7), b"XMP ", xmp(7)),
    "PNG, XMP": lambda: in_png(stored("PNG", 6), itxt(xmp(6))),
    "PNG, XMP, compressed, after the pixels": lambda: in_png(stored("PNG", 8), itxt(xmp(8), packed=True), late=True),
    "EXIF goes before XMP": lambda: in_png(stored("PNG", 3), itxt(xmp(6)), chunk(b"eXIf", exif(3))),
    "XMP counts where EXIF says nothing": lambda: in_png(stored("PNG", 6), chunk(b"eXIf", exif(0)), itxt(xmp(6))),
    "EXIF 0 is none": lambda: stored("JPEG", 1, exif=exif(0)),
    "EXIF 9 is none": lambda: stored("WEBP", 1, exif=exif(9)),
}
"""Files that note how they are turned, in all the ways there are."""

INTACT: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: stored("PNG", 1),
    "JPEG": lambda: stored("JPEG", 1),
    "progressive JPEG": lambda: stored("JPEG", 1, progressive=True),
    "lossless WebP": lambda: stored("WEBP", 1),
    "lossy WebP": lambda: saved(quarters(), "WEBP", quality=98),
    "WebP with transparency": lambda: saved(quarters().convert("RGBA"), "WEBP", quality=98, exact=True),
    "JPEG, a colour profile of 2 MB": lambda: stored("JPEG", 1, icc_profile=bytes(2 * 2**20)),
    "PNG, a colour profile of 2 MB": lambda: stored("PNG", 1, icc_profile=bytes(2 * 2**20)),
    "WebP, a colour profile of 2 MB": lambda: stored("WEBP", 1, icc_profile=bytes(2 * 2**20)),
    "PNG, a broken colour profile": lambda: in_png(stored("PNG", 1), chunk(b"iCCP", b"icc\0\0not compressed")),
    "PNG, 8 MiB of text in 8 KiB": _long_text,
    "PNG, a long iTXt": lambda: in_png(stored("PNG", 1), itxt(b"a" * 3 * 2**20, b"Comment")),
    "PNG, long XMP": lambda: in_png(stored("PNG", 6), itxt(xmp(6) + b" " * 3 * 2**20)),
    "PNG, 200 long texts": lambda: in_png(stored("PNG", 1), *[itxt(b"a" * 2**20, b"Comment", packed=True)] * 200),
    "PNG, eXIf of rubbish": lambda: in_png(stored("PNG", 1), chunk(b"eXIf", b"rubbish")),
    "PNG, eXIf with a wrong checksum": lambda: in_png(stored("PNG", 1), _wrong_sum(chunk(b"eXIf", exif(6)))),
    "PNG, eXIf that points beyond its end": lambda: in_png(stored("PNG", 1), chunk(b"eXIf", _BEYOND)),
    "PNG, eXIf with endless entries": lambda: in_png(stored("PNG", 1), chunk(b"eXIf", _ENDLESS)),
    "PNG, an empty eXIf": lambda: in_png(stored("PNG", 1), chunk(b"eXIf", b"")),
    "PNG, eXIf cut off after the pixels": lambda: stored("PNG", 1)[:-12] + chunk(b"eXIf", exif(6))[:20],
    "PNG, a broken iTXt": lambda: in_png(stored("PNG", 1), chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0")),
    "PNG, a text that is not what it says": lambda: in_png(
        stored("PNG", 1), chunk(b"zTXt", b"Raw profile type exif\0\0no")
    ),
    "PNG, an animation without frames": lambda: in_png(stored("PNG", 1), chunk(b"acTL", b"\0")),
    "JPEG, EXIF of rubbish": lambda: stored("JPEG", 1, exif=b"rubbish"),
    "JPEG, EXIF that points beyond its end": lambda: stored("JPEG", 1, exif=_BEYOND),
    "JPEG, a broken JFIF segment": lambda: in_jpeg(stored("JPEG", 1), segment(0xE0, b"JFIF")),
    "JPEG, a broken index of pictures": lambda: in_jpeg(stored("JPEG", 1), segment(0xE2, b"MPF\0II*\0rubbish")),
    "JPEG, 5 MiB before its size": lambda: in_jpeg(stored("JPEG", 1), *[segment(0xFE, bytes(65533))] * 80),
    "JPEG, 4 MiB in small pieces before its size": lambda: in_jpeg(
        stored("JPEG", 1), *[segment(0xED, bytes(500))] * 8400
    ),
    "JPEG, 4 MiB of fill bytes before its size": lambda: in_jpeg(stored("JPEG", 1), b"\xff" * 2**22),
    "WebP, EXIF of rubbish": lambda: stored("WEBP", 1, exif=b"rubbish"),
    "WebP, EXIF cut off": lambda: _noted(stored("WEBP", 1), b"EXIF", exif(1))[:-20],
}
"""Files whose pixels are intact, whatever their metadata are."""

CASES = {**ORIENTED, **INTACT}
