"""The controls under a result, with the real engine process and the built-in model: each does what its label says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot.config import Config, LimitsConfig
from bot.jobs import Job
from tests.conftest import Workshop

SEAM = 32
"""Pixels at an edge of the old picture that may be blended with what is new beside it."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", limits=LimitsConfig(pace=1000, depth=1000, quota=10**6))


async def pixels(workshop: Workshop, job: Job) -> np.ndarray:
    """The first picture of a job: (h, w, 3) in 8 bits."""
    painted = await workshop.app.queue.pictures(job.id)
    (image, *_) = await workshop.app.queue.read_painted(painted)
    return np.asarray(Image.open(io.BytesIO(image.png)).convert("RGB"))


async def test_each_control_changes_what_it_says_and_is_reproducible(real_workshop: Workshop) -> None:
    workshop = real_workshop
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a red apple on a blue background", seed=7, steps=8)
    (first,) = await workshop.ended()
    message = workshop.message(first.destination.message_id)
    old = await pixels(workshop, first)
    height, width, _ = old.shape
    await workshop.restart()
    count = 1

    async def made(label: str) -> np.ndarray:
        nonlocal count
        count += 1
        await grace.click(message, label=label)
        return await pixels(workshop, (await workshop.ended(count))[-1])

    subtle, strong = await made("Vary (subtle)"), await made("Vary (strong)")
    assert subtle.shape == strong.shape == old.shape
    assert difference(subtle, old) > 0
    assert difference(strong, old) > 0
    assert difference(subtle, strong) > 0

    upscaled = await made("Upscale")
    assert upscaled.shape == (4 * height, 4 * width, 3)
    assert difference(np.asarray(Image.fromarray(upscaled).resize((width, height))), old) < 8

    zoomed = await made("Zoom out 2×")
    assert zoomed.shape == (2 * height, 2 * width, 3)
    middle = zoomed[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    np.testing.assert_array_equal(middle[SEAM:-SEAM, SEAM:-SEAM], old[SEAM:-SEAM, SEAM:-SEAM])

    panned = await made("⬅️")
    assert panned.shape == (height, width + width // 2, 3)
    np.testing.assert_array_equal(panned[:, width // 2 + SEAM :], old[:, SEAM:])

    grid = (await grace.click(message, label="Edit region")).followups[-1]
    form = await grace.select(grid, ["0", "1"])
    await grace.submit_modal(form, {"prompt": "a yellow star"})
    count += 1
    repainted = await pixels(workshop, (await workshop.ended(count))[-1])
    cell = height // 4
    np.testing.assert_array_equal(repainted[cell + SEAM :], old[cell + SEAM :])
    assert difference(repainted[:cell, : width // 2], old[:cell, : width // 2]) > 1

    for job in await workshop.jobs():
        count += 1
        await ada.slash(workshop.channel, "reproduce", id=job.id)
        again = (await workshop.ended(count))[-1]
        assert again.request == job.request
        assert "every pixel is equal" in workshop.message(again.destination.message_id).content, job.request.operation


async def test_each_of_four_pictures_is_painted_again_from_the_seed_that_its_info_shows(
    real_workshop: Workshop,
) -> None:
    workshop = real_workshop
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red apple", images=4, steps=5)
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    for number, picture in enumerate(await workshop.app.queue.images(job.id), start=1):
        single = (await ada.click(message, label=f"U{number}")).followups[-1]
        info = (await ada.click(single, label="More")).response.content
        seed = int(info.split("seed `")[1].split("`")[0])
        await ada.slash(workshop.channel, "imagine", prompt="a red apple", seed=seed, steps=5)
        alone = await pixels(workshop, (await workshop.ended(1 + number))[-1])
        batch = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))
        # Alone, a forward rounds differently than with three other rows.
        assert difference(alone, batch) < 1


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The mean distance of two pictures, in shades of 255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())
