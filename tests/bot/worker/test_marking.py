"""The invisible mark is read in copies of a picture, and in no other picture."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from PIL import ImageDraw, ImageFilter

from bot.worker import marking
from bot.worker.marking import find, mark

SECRET, OTHER = b"s" * 32, b"t" * 32
NUMBERS = np.random.default_rng(5).integers(0, 2**marking.BITS, 5000)
SIZES = [(512, 512), (640, 384), (128, 128)]

Picture = PIL.Image.Image


def scene(seed: int, size: tuple[int, int] = (512, 512)) -> Picture:
    """A drawn picture: flat on white, on a gradient, or on a texture."""
    random = np.random.default_rng(seed)
    grain = (1, 4, 48)[seed % 3]
    colours = random.integers(0, 256, (grain, grain, 3), dtype="uint8")
    ground = PIL.Image.fromarray(colours) if seed % 3 else PIL.Image.new("RGB", (4, 4), "white")
    picture = ground.resize(size, PIL.Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = (int(random.integers(0, side)) for side in size)
        r = int(random.integers(size[1] // 12, size[1] // 4))
        draw.ellipse((x - r, y - r, x + r, y + r), tuple(int(c) for c in random.integers(0, 256, 3)))
    return picture.filter(ImageFilter.SMOOTH)


def saved(picture: Picture, kind: str) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=80)
    return PIL.Image.open(buffer).convert("RGB")


def cut(picture: Picture) -> Picture:
    """Nine tenths of the width and of the height, not from a corner."""
    left, top = picture.width // 23, picture.height // 17
    return picture.crop((left, top, left + picture.width * 9 // 10, top + picture.height * 9 // 10))


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "the file": lambda picture: picture,
    "JPEG": lambda picture: saved(picture, "JPEG"),
    "WebP": lambda picture: saved(picture, "WEBP"),
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2), PIL.Image.Resampling.BICUBIC),
    "larger": lambda picture: picture.resize((picture.width * 3 // 2, picture.height * 3 // 2)),
    "cut": cut,
    "cut, then JPEG": lambda picture: saved(cut(picture), "JPEG"),
    "cut, then half": lambda picture: COPIES["half"](cut(picture)),
}


@pytest.fixture(scope="module")
def marked() -> list[tuple[Picture, Picture, int]]:
    """Pictures without and with a mark, and the number of each."""
    pictures = [scene(seed, SIZES[seed % 2]) for seed in range(8)]
    return [(each, mark(each, SECRET, int(NUMBERS[at])), int(NUMBERS[at])) for at, each in enumerate(pictures)]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_has_the_number_of_its_picture(marked: list[tuple[Picture, Picture, int]], copy: str) -> None:
    for _, picture, number in marked:
        found = find(COPIES[copy](picture), SECRET, SIZES, NUMBERS)
        assert found is not None
        assert found.number == number
        assert found.is_crop is copy.startswith("cut")


def test_no_other_picture_has_the_mark(marked: list[tuple[Picture, Picture, int]]) -> None:
    for at, (before, picture, _) in enumerate(marked):
        assert find(before, SECRET, SIZES, NUMBERS) is None, "the picture before it was marked"
        assert find(cut(before), SECRET, SIZES, NUMBERS) is None
        assert find(picture, OTHER, SIZES, NUMBERS) is None, "the mark of another installation"
        assert find(scene(100 + at), SECRET, SIZES, NUMBERS) is None


def test_a_mark_whose_number_is_not_known_any_more_is_still_a_mark(marked: list[tuple[Picture, Picture, int]]) -> None:
    for at, (_, picture, _) in enumerate(marked):
        for known in (np.delete(NUMBERS, at), NUMBERS[:0]):
            found = find(picture, SECRET, [], known)
            assert found is not None
            assert found.number is None


def test_the_same_picture_number_and_secret_give_the_same_marked_picture() -> None:
    picture = scene(1)
    assert mark(picture, SECRET, 7).tobytes() == mark(picture, SECRET, 7).tobytes()
    assert mark(picture, SECRET, 7).tobytes() != mark(picture, SECRET, 8).tobytes()


def test_the_mark_changes_shades_by_little(marked: list[tuple[Picture, Picture, int]]) -> None:
    for before, picture, _ in marked:
        assert picture.size == before.size
        error = np.asarray(before, float) - np.asarray(picture, float)
        assert 10 * np.log10(255**2 / (error**2).mean()) > 40


def test_a_small_and_a_large_picture_can_be_marked() -> None:
    for size in ((128, 128), (1024, 1536)):
        marked = mark(scene(2, size), SECRET, int(NUMBERS[3]))
        found = find(saved(marked, "JPEG"), SECRET, [size], NUMBERS)
        assert found is not None
        assert found.number == int(NUMBERS[3])


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (48, 48)])
def test_a_picture_of_few_pixels_or_one_colour_has_no_mark_and_is_no_error(size: tuple[int, int]) -> None:
    for colour in ("white", "black", "grey"):
        assert find(PIL.Image.new("RGB", size, colour), SECRET, SIZES, NUMBERS) is None
        assert mark(PIL.Image.new("RGB", size, colour), SECRET, 7).size == size
