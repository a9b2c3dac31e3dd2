"""The thing in front of a plain background is found by threshold, and kept to the pixel or painted over."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from PIL import ImageFilter

from bot.errors import PaintFailed
from bot.jobs import Kept
from bot.worker import cutout

SIDE = 240
BOX = (60, 60, 180, 180)


def picture(ground: str = "white", *, noise: float = 0.0, label: bool = True, blur: float = 0.0) -> PIL.Image.Image:
    """A red square with a label of the background's colour, in front of a plain background."""
    drawn = PIL.Image.new("RGB", (SIDE, SIDE), ground)
    draw = PIL.ImageDraw.Draw(drawn)
    draw.rectangle(BOX, fill="red")
    if label:
        draw.rectangle((100, 100, 140, 140), fill=ground)
    drawn = drawn.filter(ImageFilter.GaussianBlur(blur))
    random = np.random.default_rng(0)
    pixels = np.asarray(drawn, float) + random.normal(0, noise, (SIDE, SIDE, 3))
    return PIL.Image.fromarray(pixels.clip(0, 255).astype("uint8"))


def shade(mask: PIL.Image.Image, x: int, y: int) -> int:
    value = mask.getpixel((x, y))
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize("ground", ["white", "black", "#3050c0"])
@pytest.mark.parametrize(("noise", "blur"), [(0.0, 0.0), (4.0, 0.0), (0.0, 1.5)])
def test_a_thing_is_kept_with_a_label_of_the_backgrounds_colour(ground: str, noise: float, blur: float) -> None:
    given = picture(ground, noise=noise, blur=blur)
    canvas = cutout.canvas(given, Kept.THING)
    assert [shade(canvas.cover, *at) for at in ((5, 5), (120, 120), (80, 120), (235, 120))] == [255, 0, 0, 255]
    painted = canvas.finished(PIL.Image.new("RGB", (64, 64), "lime"))
    inside = (70, 70, 170, 170)
    assert np.array_equal(np.asarray(painted.crop(inside)), np.asarray(given.crop(inside))), "to the pixel"
    assert painted.getpixel((5, 5)) == (0, 255, 0)


def test_a_background_is_kept_and_its_thing_painted_over() -> None:
    given = picture()
    canvas = cutout.canvas(given, Kept.BACKGROUND)
    painted = canvas.finished(PIL.Image.new("RGB", (64, 64), "lime"))
    assert painted.getpixel((120, 80)) == (0, 255, 0)
    assert np.array_equal(np.asarray(painted)[:50], np.asarray(given)[:50])


@pytest.mark.parametrize("kept", Kept)
def test_the_model_paints_whole_latents_that_hold_all_that_is_covered(kept: Kept) -> None:
    canvas = cutout.canvas(picture(), kept)
    _, mask = canvas.given((64, 64))
    latents = np.asarray(mask).reshape(8, 8, 8, 8).swapaxes(1, 2).reshape(64, 64)
    assert set(np.unique(latents)) == {0, 255}
    assert all(len(np.unique(latent)) == 1 for latent in latents)
    covered = np.asarray(canvas.cover.resize((64, 64), PIL.Image.Resampling.BOX)) > 0
    assert (np.asarray(mask)[covered] == 255).all()


def test_a_background_that_is_not_plain_is_refused() -> None:
    random = np.random.default_rng(0)
    wild = PIL.Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), "uint8"))
    gradient = PIL.Image.fromarray(np.tile(np.linspace(0, 255, SIDE).astype("uint8")[None, :, None], (SIDE, 1, 3)))
    empty = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    for given in (wild, gradient, empty):
        with pytest.raises(PaintFailed, match="background is not plain"):
            cutout.canvas(given, Kept.THING)
    with pytest.raises(PaintFailed, match="has only 3×3 pixels"):
        cutout.canvas(PIL.Image.new("RGB", (3, 3)), Kept.THING)


def test_a_large_picture_becomes_as_large_as_results_are() -> None:
    assert cutout.canvas(picture().resize((4000, 4000)), Kept.THING).size == (2048, 2048)
