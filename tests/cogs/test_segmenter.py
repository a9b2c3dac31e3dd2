"""/variants with the host's own model: the real engine loads it, and keeps a thing before a background of any kind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from bot.config import Config, EngineConfig
from bot.jobs import JobStatus
from tests.bot.worker.test_segmenting import folder, png, scene
from tests.conftest import Workshop

__all__ = ["folder"]


@pytest.fixture
def config(tmp_path: Path, folder: Path) -> Config:
    return Config(data=tmp_path / "data", engine=EngineConfig(segmenter=str(folder)))


async def test_the_real_engine_keeps_what_the_model_finds(real_workshop: Workshop) -> None:
    ada = real_workshop.member("ada")
    pixels, there = scene(99)
    given = PIL.Image.fromarray(pixels).resize((128, 128), PIL.Image.Resampling.NEAREST)
    bill = await ada.slash(
        real_workshop.channel,
        "variants",
        picture=("a.png", png(given)),
        thing="a box",
        backgrounds="blue",
        look="--steps 3",
    )
    await ada.click(bill.response, label="Paint all")
    (job,) = await real_workshop.ended()
    assert job.status is JobStatus.DELIVERED, job.reason
    (image,) = await real_workshop.app.queue.read_painted(await real_workshop.app.queue.pictures(job.id))
    made = np.asarray(PIL.Image.open(io.BytesIO(image.png)).convert("RGB"), int)
    same = (made == np.asarray(given, int)).all(2)
    thing = np.kron(there, np.ones((2, 2), bool))
    assert same[thing].mean() > 0.4
    assert same[~thing].mean() < 0.1
