"""The perceptual hash of a picture survives what happens to a file, and tells pictures apart."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from PIL import ImageFilter

from bot.worker.likeness import phash


def scene(seed: int) -> PIL.Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype="uint8")
    return PIL.Image.fromarray(noise).resize((256, 256), PIL.Image.Resampling.BICUBIC).filter(ImageFilter.BLUR)


def distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


def as_jpeg(picture: PIL.Image.Image) -> PIL.Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return PIL.Image.open(buffer)


@pytest.mark.parametrize("change", [as_jpeg, lambda picture: picture.resize((128, 128))])
def test_a_changed_file_keeps_its_hash_nearly(change) -> None:
    for seed in range(20):
        assert distance(phash(scene(seed)), phash(change(scene(seed)))) <= 4


def test_different_pictures_have_different_hashes() -> None:
    hashes = [phash(scene(seed)) for seed in range(20)]
    assert min(distance(one, other) for at, one in enumerate(hashes) for other in hashes[:at]) > 10


def test_a_hash_fits_into_a_signed_number_of_64_bits() -> None:
    hashes = [phash(scene(seed)) for seed in range(20)]
    assert all(-(2**63) <= each < 2**63 for each in hashes)
    assert min(hashes) < 0, "the highest bit is set in nearly every picture"


def test_a_picture_of_one_colour_and_one_of_one_pixel_have_a_hash() -> None:
    for size in ((64, 64), (1, 1)):
        assert isinstance(phash(PIL.Image.new("RGB", size, "white")), int)
