"""Pictures that Discord does not take: encoded smaller, by a process of their own."""

from __future__ import annotations

import hashlib
import io
import sys

import numpy as np
import pytest
from PIL import Image as Picture

from bot.delivery import smaller as parent
from bot.delivery.smaller import smaller
from bot.errors import EngineError
from bot.jobs import Image
from bot.worker.webp import encode


def image(picture: Picture.Image) -> Image:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    png = buffer.getvalue()
    return Image(png, 7, picture.width, picture.height, hashlib.sha256(png).hexdigest())


GRADIENT = image(Picture.linear_gradient("L").convert("RGB").resize((512, 512)))
NOISE = image(Picture.effect_noise((256, 256), 90).convert("RGB"))


def pixels(file: bytes) -> np.ndarray:
    with Picture.open(io.BytesIO(file)) as picture:
        assert picture.format == "WEBP"
        return np.asarray(picture.convert("RGB")).astype(int)


async def test_lossless_where_that_is_enough_and_every_pixel_stays() -> None:
    limit = len(GRADIENT.png) - 1
    done = await smaller([GRADIENT], limit)
    assert done.lossless
    assert len(done.files[0]) <= limit
    assert (pixels(done.files[0]) == np.asarray(Picture.open(io.BytesIO(GRADIENT.png)))).all()


async def test_at_quality_90_where_it_is_not_enough_or_the_limit_is_another_than_we_think() -> None:
    for limit in (1000, 10 * 2**20):
        done = await smaller([NOISE, GRADIENT], limit)
        assert not done.lossless
        assert len(done.files[0]) < len(NOISE.png)
        assert np.abs(pixels(done.files[1]) - np.asarray(Picture.open(io.BytesIO(GRADIENT.png)))).mean() < 3


def test_the_mark_that_a_model_made_it_goes_along() -> None:
    from bot.worker import printing, source_type

    marked = printing.encode(Picture.new("RGB", (64, 64), "grey"), 7)
    for lossless in (True, False):
        with Picture.open(io.BytesIO(encode(marked.png, lossless=lossless))) as picture:
            assert picture.info["xmp"].decode() == source_type.XMP


async def test_a_process_that_fails_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="could not be encoded smaller"):
        await smaller([Image(b"no picture", 7, 8, 8, "")], 1)
    monkeypatch.setattr(parent, "SECONDS", 0.0)
    with pytest.raises(EngineError, match="could not be encoded smaller"):
        await smaller([NOISE], 1)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(EngineError, match="could not be encoded smaller"):
        await smaller([NOISE], 1)
