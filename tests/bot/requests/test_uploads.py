"""What may be uploaded: judged by the header, whatever the file is called, and never decoded."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import pytest
from PIL import Image

from bot.errors import UserError
from bot.jobs import MOST_PIXELS
from bot.requests.uploads import LEAST_SIDE, MOST_BYTES, check_facts, inspect
from tests.picture_cases import CASES, SIZE

KINDS = [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True})]


def encoded(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    """A real picture."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of any size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def refusal(data: bytes, what: str = "image") -> str:
    with pytest.raises(UserError) as refused:
        inspect(what, data)
    return str(refused.value)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_is_read_off_the_header(kind: str, options: dict[str, object], mode: str) -> None:
    if (kind, mode) == ("JPEG", "RGBA"):
        mode = "CMYK"
    data = encoded(kind, (48, 32), mode, **options)
    upload = inspect("image", data)
    assert (upload.width, upload.height) == (48, 32)
    assert (upload.data, upload.sha256) == (data, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("case", CASES)
def test_a_picture_is_measured_upright_whatever_its_metadata_are(case: str) -> None:
    upload = inspect("image", CASES[case]())
    assert (upload.width, upload.height) == SIZE


def test_an_upload_does_not_print_its_bytes() -> None:
    assert "PNG" not in repr(inspect("image", encoded("PNG", (16, 16))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The mask is an empty file: send a PNG, JPEG or WebP."),
        (b"a cat", "The mask is not a picture that Atelier can read: send a PNG, JPEG or WebP."),
        (encoded("GIF", (32, 32)), "The mask is not a picture that Atelier can read"),
        (encoded("BMP", (32, 32)), "The mask is not a picture that Atelier can read"),
        (encoded("TIFF", (32, 32)), "The mask is not a picture that Atelier can read"),
        (b"<svg width='99' height='99'/>", "The mask is not a picture that Atelier can read"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "The mask is not a picture that Atelier can read"),
        (png_header(50_000, 50_000), "The mask has 50,000×50,000 pixels, more than 50 million: scale it down."),
        (png_header(2**32 - 1, 2**32 - 1), "The mask has 4,294,967,295×4,294,967,295 pixels, more than 50 million"),
        (png_header(0, 0), "The mask is damaged: its size cannot be read. Save it again as PNG, JPEG or WebP."),
        (png_header(15, 400), "The mask has 15×400 pixels: each side needs 16 or more."),
        (png_header(64, 64)[:20], "The mask is damaged"),
        (encoded("JPEG", (32, 32))[:20], "The mask is damaged"),
        (b"\xff\xd8\xff" + bytes(2000), "The mask is damaged"),
        (encoded("WEBP", (32, 32))[:16], "The mask is damaged"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "The mask is damaged"),
        (encoded("PNG", (32, 32)) + bytes(MOST_BYTES), "The mask is larger than 20 MiB: scale it down, or save it as"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_no_picture_to_work_from_is_refused_with_what_would_work(data: bytes, words: str) -> None:
    assert refusal(data, "mask").startswith(words)


def test_the_limits_themselves_are_taken() -> None:
    assert inspect("image", png_header(10_000, MOST_PIXELS // 10_000)).width == 10_000
    assert inspect("image", png_header(LEAST_SIDE, LEAST_SIDE)).height == LEAST_SIDE
    picture = encoded("PNG", (32, 32))
    assert inspect("image", picture + bytes(MOST_BYTES - len(picture))).width == 32


@pytest.mark.parametrize("media_type", [None, "image/png", "image/jpeg", "image/webp", "IMAGE/PNG; charset=binary"])
def test_what_is_stated_of_a_picture_passes(media_type: str | None) -> None:
    check_facts("image", 1000, None, None, media_type)
    check_facts("image", 1000, 512, 512, media_type)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ((10, 64, 64, "image/gif"), "not a picture that"),
        ((10, None, None, "text/plain; charset=utf-8"), "not a picture that"),
        ((0, None, None, None), "empty file"),
        ((MOST_BYTES + 1, 64, 64, "image/png"), "larger than 20 MiB"),
        ((10, 50_000, 50_000, "image/png"), "50,000×50,000 pixels"),
        ((10, 64, 8, "image/png"), "64×8 pixels: each side needs 16"),
    ],
)
def test_what_is_stated_of_anything_else_is_enough_to_refuse_it(facts: tuple[object, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_facts("image", *facts)  # type: ignore[arg-type]
