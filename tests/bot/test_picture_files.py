"""How large and how upright a picture is: what strangers write into a file is bounded and breaks nothing.

`tests/picture_cases.py` is the table of what must come out; the bot's and the engine's tests use it, too.
"""

from __future__ import annotations

import io
import random
import struct
import time

import pytest
from PIL import Image

from bot.picture_files import Measure, is_picture, measure, without_metadata
from tests.picture_cases import CASES, ORIENTED, SIZE, chunk, exif, itxt, stored

MOST_BYTES = 20 * 2**20


@pytest.mark.parametrize("case", CASES)
def test_a_file_without_its_metadata_has_the_same_pixels_and_no_orientation(case: str) -> None:
    data = CASES[case]()
    measured, bare = measure(data), without_metadata(data)
    assert measured is not None
    assert measured.size == SIZE
    assert measure(bare) == Measure(measured.stored_width, measured.stored_height)
    with Image.open(io.BytesIO(bare)) as picture:
        assert picture.size == (measured.stored_width, measured.stored_height)
        assert not picture.info.keys() & {"exif", "xmp", "icc_profile", "XML:com.adobe.xmp"}


def test_every_orientation_is_in_the_table() -> None:
    found = {measured.orientation for case in ORIENTED.values() if (measured := measure(case())) is not None}
    assert found == set(range(1, 9))


PNG = stored("PNG", 1)
_WEBP = b"RIFF\0\0\0\0WEBP"
_ENTRIES = b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(12 * 65535)
BOMBS = {
    "escaped bytes": b"\xff\xd8\xff" + b"\xff\x00" * (MOST_BYTES // 2),
    "fill bytes": b"\xff\xd8\xff" + b"\xff" * MOST_BYTES + b"\x00",
    "segments of nothing": b"\xff\xd8" + b"\xff\xfe\x00\x02" * (MOST_BYTES // 4),
    "chunks of nothing": PNG[:33] + chunk(b"tEXt", b"") * (MOST_BYTES // 12),
    "chunks of nothing in a WebP": _WEBP + b"abcd\0\0\0\0" * (MOST_BYTES // 8),
    "compressed XMP": PNG[:33] + itxt(b"a" * 2**26, packed=True) * 300,
    "directories": PNG[:33] + chunk(b"eXIf", _ENTRIES) * 25,
    "prefixes": PNG[:33] + chunk(b"eXIf", b"Exif\0\0" * (MOST_BYTES // 6)),
    "half an orientation": PNG[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"tiff:Orientation   " * 10**6),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_the_work_on_a_file_is_bounded(kind: str) -> None:
    data = BOMBS[kind]
    assert is_picture(data)
    started_at = time.perf_counter()
    measure(data)
    without_metadata(data)
    assert time.perf_counter() - started_at < 10, "a busy machine takes 2 s; without bounds it takes minutes"


def test_damaged_files_are_measured_or_not_and_raise_nothing() -> None:
    chance = random.Random(7)
    for case in CASES.values():
        whole = case()
        if len(whole) > 100_000:
            continue
        for _ in range(50):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            cut = bytes(data[: chance.randint(1, len(data))])
            measured = measure(cut)
            without_metadata(cut)
            assert measured is None or min(measured.size) > 0


@pytest.mark.parametrize("number", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_none(number: int) -> None:
    assert measure(stored("JPEG", 1, exif=exif(number))) == Measure(*SIZE)
