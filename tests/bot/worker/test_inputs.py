"""Strangers' files: each comes out upright and in the size that is painted, or is refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Operation
from bot.worker.inputs import Inputs, decode
from tests.picture_cases import CASES, COLOURS, quarters, saved

REQUEST = GenerationRequest(
    prompt="a fox", model="m", width=64, height=48, num_inference_steps=4, guidance_scale=3.0, seed=1, image="picture"
)


def opened(data: bytes, request: GenerationRequest = REQUEST) -> Image.Image:
    image = decode(request, {"picture": data}).image
    assert image is not None
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the quarters, clockwise from the upper left."""
    width, height = image.size
    places = ((1, 1), (3, 1), (3, 3), (1, 3))
    return [image.getpixel((x * width // 4, y * height // 4)) for x, y in places]  # type: ignore[misc]


def near(one: list[tuple[int, ...]], other: list[tuple[int, ...]], by: int = 12) -> bool:
    return bool(np.abs(np.array(one) - np.array(other)).max() <= by)


GOOD: dict[str, Callable[[], bytes]] = {
    **CASES,
    "palette": lambda: saved(quarters().convert("P", palette=Image.Palette.ADAPTIVE)),
    "CMYK": lambda: saved(quarters().convert("CMYK"), "JPEG", quality=95),
    "animated": lambda: saved(quarters(), "WEBP", save_all=True, append_images=[quarters().rotate(180)], lossless=True),
    "several in one, as phones save them": lambda: saved(
        quarters(), "MPO", save_all=True, append_images=[quarters().rotate(180)], quality=95
    ),
    "opaque alpha": lambda: saved(quarters().convert("RGBA")),
    "other proportions": lambda: saved(quarters(96, 96)),
}


@pytest.mark.parametrize("kind", GOOD)
def test_picture_comes_out_upright_in_the_size_that_is_painted(kind: str) -> None:
    image = opened(GOOD[kind]())
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert near(corners(image), COLOURS), corners(image)


def plain(colour: str, size: tuple[int, int] = (64, 48)) -> bytes:
    return saved(Image.new("RGB", size, colour))


@pytest.mark.parametrize(
    ("colours", "mean"),
    [
        (["red", "blue"], (128, 0, 128)),
        (["blue", "red"], (128, 0, 128)),
        (["red", "blue", "lime"], (85, 85, 85)),
        (["white", "black", "black", "black"], (64, 64, 64)),
        (["red", "red"], (255, 0, 0)),
    ],
)
def test_a_blend_starts_from_the_even_mean_of_its_pictures(colours: list[str], mean: tuple[int, ...]) -> None:
    files = {colour: plain(colour, (40 + 20 * n, 90)) for n, colour in enumerate(colours)}
    request = replace(REQUEST, operation=Operation.BLEND, image=colours[0], blended=tuple(colours[1:]))
    image = decode(request, files).image
    assert image is not None
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert near(corners(image), [mean] * 4, by=1)


@pytest.mark.parametrize(
    ("blended", "words"),
    [
        ((), "A blend needs two pictures or more"),
        (("gone",), "The second picture is no longer stored"),
        (("picture", "text"), "The third picture is not a picture"),
        (("picture", "picture", "cut"), "The fourth picture is damaged"),
    ],
)
def test_a_blend_says_which_of_its_pictures_cannot_be_used(blended: tuple[str, ...], words: str) -> None:
    files = {"picture": plain("red"), "text": b"words", "cut": saved(quarters())[:60]}
    with pytest.raises(PaintFailed, match=words):
        decode(replace(REQUEST, operation=Operation.BLEND, blended=blended), files)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((48, 64), 0x8080, "uint16"))
    assert near(corners(opened(saved(grey))), [(128, 128, 128)] * 4, by=1)


def test_transparency_shows_white_and_keeps_what_a_mask_leaves_out() -> None:
    clear = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    stroke = clear.copy()
    stroke.paste("white", (32, 0, 64, 48))
    request = replace(REQUEST, mask_image="mask")
    inputs = decode(request, {"picture": saved(clear), "mask": saved(stroke)})
    assert inputs.image is not None
    assert inputs.mask_image is not None
    assert inputs.image.getpixel((9, 9)) == (255, 255, 255)
    assert inputs.mask_image.mode == "L"
    assert [inputs.mask_image.getpixel((x, 9)) for x in (9, 54)] == [0, 255]


def masked(mask: Image.Image) -> np.ndarray[Any, Any]:
    """Which pixels of the request are painted anew under a mask."""
    inputs = decode(replace(REQUEST, mask_image="mask"), {"picture": saved(quarters()), "mask": saved(mask)})
    assert inputs.mask_image is not None
    assert (inputs.mask_image.mode, inputs.mask_image.size) == ("L", (64, 48))
    return np.asarray(inputs.mask_image) >= 128


def with_hole(picture: Image.Image, *, alpha: int = 0) -> Image.Image:
    """The picture with its right half erased."""
    cut = picture.convert("RGBA")
    cut.paste((0, 0, 0, alpha), (cut.width // 2, 0, cut.width, cut.height))
    return cut


@pytest.mark.parametrize(
    ("mask", "right"),
    [
        (with_hole(quarters()), True),
        (with_hole(Image.new("RGB", (128, 96), "red")), True),
        (with_hole(Image.new("RGB", (128, 96), "black")), True),
        (with_hole(Image.radial_gradient("L").resize((128, 96))), True),
        (with_hole(quarters(), alpha=100), True),
        (with_hole(Image.new("RGB", (128, 96), "black")).convert("LA"), True),
        (with_hole(Image.new("RGB", (128, 96), "white")), False),
        (with_hole(Image.new("RGB", (128, 96), "#f0f0f0")).convert("LA"), False),
    ],
    ids=["copy", "red copy", "black", "grey copy", "half erased copy", "black in grey", "white", "white in grey"],
)
def test_mask_may_be_transparency(mask: Image.Image, right: bool) -> None:
    anew = masked(mask)
    assert (anew[:, 40:] == right).all()
    assert (anew[:, :24] != right).all()


def test_mask_in_black_and_white_counts_as_painted_where_parts_are_transparent() -> None:
    mask = with_hole(Image.new("RGB", (128, 96), "black"))
    mask.paste("white", (0, 0, 32, 96))
    anew = masked(mask)
    assert anew[:, :12].all()
    assert not anew[:, 20:].any(), "neither what is black nor what is transparent"


def test_palette_with_a_transparent_colour_is_a_mask() -> None:
    mask = Image.new("P", (128, 96), 0)
    mask.putpalette([200, 30, 30, 0, 0, 0])
    mask.paste(1, (64, 0, 128, 96))
    file = io.BytesIO()
    mask.save(file, "PNG", transparency=1)
    assert masked(Image.open(file))[:, 40:].all()


def test_mask_of_nothing_but_transparency_is_refused() -> None:
    with pytest.raises(PaintFailed, match=r"The mask has no white part: .* or send a copy of the picture in which"):
        masked(Image.new("RGBA", (128, 96), (255, 255, 255, 0)))


def test_mask_stays_where_it_was_on_its_picture() -> None:
    picture, mask = quarters(200, 100), Image.new("L", (100, 50))
    mask.paste(255, (50, 25, 100, 50))
    inputs = decode(replace(REQUEST, mask_image="mask"), {"picture": saved(picture), "mask": saved(mask)})
    assert inputs.image is not None
    assert inputs.mask_image is not None
    blue = (np.asarray(inputs.image) == (0, 0, 255)).all(-1)
    assert (blue == (np.asarray(inputs.mask_image) > 127)).mean() > 0.95, "but for the edge, which is smooth"


@pytest.mark.parametrize("high", [994, 1000, 1019])
def test_mask_that_was_rounded_otherwise_is_cut_where_its_picture_is(high: int) -> None:
    picture, mask = Image.new("RGB", (1000, 1000), "white"), Image.new("L", (1000, high))
    picture.paste("black", (0, 0, 1000, 250))
    mask.paste(255, (0, 0, 1000, high // 4))
    request = replace(REQUEST, mask_image="mask", width=512, height=384)
    inputs = decode(request, {"picture": saved(picture), "mask": saved(mask)})
    assert inputs.image is not None
    assert inputs.mask_image is not None
    black, white = (np.asarray(inputs.image)[:, 9, 0] < 128).sum(), (np.asarray(inputs.mask_image)[:, 9] >= 128).sum()
    assert abs(int(black) - int(white)) <= 1
    assert black == 64, "a quarter of 512, less what is cut off above"


@pytest.mark.parametrize(("shade", "good"), [(0, False), (127, False), (128, True)])
def test_mask_that_repaints_nothing_is_refused(shade: int, good: bool) -> None:
    request = replace(REQUEST, mask_image="mask")
    files = {"picture": saved(quarters()), "mask": saved(Image.new("L", (128, 96), shade))}
    if good:
        assert decode(request, files).mask_image is not None
        return
    with pytest.raises(PaintFailed, match="The mask has no white part: make the part white that should be repainted"):
        decode(request, files)


def test_upload_that_is_gone_is_named() -> None:
    with pytest.raises(PaintFailed, match="The mask is no longer stored: ask again and attach it"):
        decode(replace(REQUEST, mask_image="mask"), {"picture": saved(quarters())})


def test_mask_of_other_proportions_is_refused() -> None:
    with pytest.raises(PaintFailed, match=r"other proportions \(64×64\) than its picture \(128×96\)"):
        decode(
            replace(REQUEST, mask_image="mask"),
            {"picture": saved(quarters()), "mask": saved(Image.new("L", (64, 64)))},
        )


def test_nothing_is_decoded_that_was_not_asked_for() -> None:
    assert decode(replace(REQUEST, image=""), {}) == Inputs()
    control = decode(replace(REQUEST, image="", control_image="picture"), {"picture": saved(quarters())})
    assert control.control_image is not None
    assert control.image is None


def huge(width: int, height: int) -> bytes:
    """A PNG's header alone: what would take gigabytes is not even there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )


def noisy() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), "uint8"))


BAD = {
    "a bomb": (lambda: huge(50_000, 50_000), "too large: at most 50 megapixels"),
    "a little too large": (lambda: huge(8000, 7000), "too large: at most 50 megapixels"),
    "text": (lambda: b"hello", "is not a picture that Atelier can read: send a PNG, JPEG or WebP"),
    "empty": (lambda: b"", "is not a picture that Atelier can read"),
    "a GIF": (lambda: saved(quarters(), "GIF"), "is not a picture that Atelier can read"),
    "a BMP": (lambda: saved(quarters(), "BMP"), "is not a picture that Atelier can read"),
    "a PNG cut short": (lambda: saved(noisy())[:3000], "damaged: save it again"),
    "a JPEG cut short": (lambda: saved(noisy(), "JPEG")[:1500], "damaged: save it again"),
    "a WebP cut short": (lambda: saved(noisy(), "WEBP")[:1500], "damaged: save it again"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_used_is_refused_in_words(kind: str) -> None:
    data, words = BAD[kind]
    with pytest.raises(PaintFailed, match=f"The picture is {words.removeprefix('is ')}"):
        opened(data())


def test_any_cut_of_a_file_is_a_picture_or_a_refusal() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = saved(quarters(32, 24), kind)
        for length in range(0, len(whole), 7):
            try:
                image = opened(whole[:length])
            except PaintFailed:
                continue
            assert image.size == (64, 48)
