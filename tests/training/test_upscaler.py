"""The upscaler's training, for a few seconds, on sprites and an autoencoder made here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from bot.worker import upscaling
from training import compose, upscaler
from training.autoencoder import build
from training.sources import SIZE, VENDORS, shrink, sprite_file
from training.upscaler import LARGE, Pairs


@pytest.fixture(autouse=True)
def few_paintings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight paintings of each scene at 512 pixels take twenty seconds."""
    monkeypatch.setattr(compose, "VARIANTS", 1)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sprites of two concepts in every set, at both sizes, and an untrained autoencoder."""
    work = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    build(8, (0, 0, 0), (0, 0, 0)).save_pretrained(work / "autoencoder")
    drawn = []
    for colour in ((200, 40, 40, 255), (40, 40, 200, 255)):
        picture = Image.new("RGBA", (1024, 1024))
        ImageDraw.Draw(picture).ellipse((120, 120, 900, 900), fill=colour)
        drawn += [picture] * len(VENDORS)
    for size in (SIZE, LARGE):
        np.savez(
            sprite_file(work, size),
            pixels=np.stack([shrink(picture, size) for picture in drawn]),
            concept=np.repeat([0, 1], len(VENDORS)),
            vendor=np.tile(np.arange(len(VENDORS)), 2),
        )
    return work


def test_truth_is_the_same_picture_at_the_large_size(work: Path) -> None:
    composer = Pairs(work, "cpu", seed=1)._composer
    scenes = composer.scenes(40)
    small, large = composer.render(scenes), composer.render(scenes, LARGE)
    error = (torch.nn.functional.avg_pool2d(large, LARGE // SIZE) - small).abs().mean()
    shifted = (torch.nn.functional.avg_pool2d(large.roll(2, -1), LARGE // SIZE) - small).abs().mean()
    assert error < 0.004
    assert error < 0.7 * shifted, "half a pixel beside it would be seen"


def test_only_pictures_without_an_enlarged_file_are_true_at_512(work: Path) -> None:
    pairs = Pairs(work, "cpu", seed=1)
    scenes = pairs._composer.scenes(200)
    sharp = [pairs._is_sharp(scene) for scene in scenes]
    assert 0 < sum(sharp) < len(sharp)
    for scene, is_sharp in zip(scenes, sharp, strict=True):
        fluent = [p for p in scene.placements if p.sprite in pairs._fluent]
        assert is_sharp == all(p.side * LARGE < 1.05 * upscaler.NATIVE for p in fluent)


def test_what_is_enlarged_from_a_file_is_compared_at_half_the_size() -> None:
    real = torch.rand(2, 3, 8, 8)
    halves = torch.nn.functional.avg_pool2d(real, 2)
    made = torch.nn.functional.interpolate(halves, scale_factor=2.0)
    assert upscaler.loss_of(made, real, torch.tensor([False, False])) < 1e-5
    assert upscaler.loss_of(made, real, torch.tensor([True, False])) > 0.1
    assert upscaler.loss_of(made, real, torch.tensor([True, True])) > upscaler.loss_of(
        made, real, torch.tensor([True, False])
    )


def test_training_writes_a_folder_that_the_engine_loads(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscaler, "measure", partial(upscaler.measure, pictures=8))
    upscaler.main(work, minutes=0.05, batch=2, channels=8, layers=1, learning_rate=5e-3)
    network = upscaling.load(work)
    assert network is not None
    weights = network.state_dict()["body.4.weight"]
    assert float(weights.abs().max()) > 0, "it is no longer the plain enlargement it started as"
    assert network.enlarge(np.zeros((8, 8, 3))).shape == (32, 32, 3)
