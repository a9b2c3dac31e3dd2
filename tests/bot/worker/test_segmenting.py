"""The host's model that tells a thing from its background: a small real one that has learned what is red."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bot.worker import cutout, segmenting  # isort: skip - it comes before transformers
import torch
import transformers
from safetensors.torch import load_file, save_file

from bot.config import EMBEDDED_MODEL
from bot.errors import PaintFailed
from bot.jobs import Kept, Operation
from bot.requests.resolve import usual_request
from bot.worker.__main__ import _finder
from bot.worker.inputs import decode

SIDE = 64


def scene(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A red thing before a background that is not plain, and where it is."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 120, (SIDE, SIDE, 3)).astype("uint8")
    top, left = random.integers(12, 24, 2)
    there = np.zeros((SIDE, SIDE), bool)
    there[top : top + 28, left : left + 26] = True
    pixels[there] = (240, 20, 20)
    return pixels, there


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SegFormer of some thousand numbers, trained for a few seconds."""
    place = tmp_path_factory.mktemp("segmenter")
    torch.manual_seed(1)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        num_labels=3,
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    processor = transformers.SegformerImageProcessorPil(size={"height": SIDE, "width": SIDE})
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scenes = [scene(seed) for seed in range(8)]
    inputs = processor(images=[PIL.Image.fromarray(pixels) for pixels, _ in scenes], return_tensors="pt")
    wanted = torch.tensor(np.stack([there for _, there in scenes]).astype("int64"))
    for _ in range(60):
        optimizer.zero_grad()
        model(**inputs, labels=wanted).loss.backward()
        optimizer.step()
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place


def png(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def agreement(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def test_a_model_finds_a_thing_that_a_threshold_cannot(folder: Path) -> None:
    pixels, there = scene(99)
    picture = PIL.Image.fromarray(pixels)
    with pytest.raises(PaintFailed, match="not plain"):
        cutout.canvas(picture, Kept.THING)
    found = segmenting.load(str(folder)).thing(picture)
    assert found.size == picture.size
    assert agreement(np.asarray(found) > 0, there) > 0.7
    request = replace(
        usual_request(EMBEDDED_MODEL),
        width=SIDE,
        height=SIDE,
        operation=Operation.INPAINT,
        kept=Kept.THING,
        image="a",
    )
    inputs = decode(request, {"a": png(picture)}, find=segmenting.load(str(folder)).thing)
    assert inputs.mask_image is not None
    # What is kept ends a little inside of the thing, because its outermost pixels are mixed with its background.
    kept = np.asarray(inputs.mask_image.convert("L")) < 128
    assert (kept & there).sum() > 0.9 * kept.sum() > 0.2 * there.sum()


def test_the_labels_of_the_edge_are_the_background() -> None:
    labels = np.zeros((80, 100), int)
    labels[40:] = 1  # the ground; the edge has two labels
    labels[30:60, 40:60] = 7
    assert agreement(np.asarray(segmenting.thing_of(labels)) > 0, labels == 7) == 1
    labels[30:80, 40:60] = 7  # it may reach the edge
    assert agreement(np.asarray(segmenting.thing_of(labels)) > 0, labels == 7) == 1


def test_a_picture_without_a_thing_gets_one_sentence() -> None:
    for labels in (np.zeros((64, 64), int), np.pad(np.ones((126, 126), int), 1)):
        with pytest.raises(PaintFailed, match="finds no thing in front of a background"):
            segmenting.thing_of(labels)
    assert "{command imagine}" in segmenting.NOT_FOUND, "commands have the names that the reader sees"


def test_a_model_that_is_no_safetensors_or_lacks_weights_or_is_of_another_kind_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(PaintFailed, match=r"engine\.segmenter cannot be loaded"):
        segmenting.load(str(tmp_path))
    for file in folder.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(PaintFailed, match=r"engine\.segmenter cannot be loaded"):
        segmenting.load(str(tmp_path))
    weights = load_file(folder / "model.safetensors")
    weights.pop("decode_head.classifier.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(PaintFailed, match="is incomplete"):
        segmenting.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PaintFailed, match="kind bert"):
        segmenting.load(str(tmp_path))


@pytest.mark.parametrize("damage", ["cut off", "a pointer of Git LFS", "other sizes", "a bad config"])
def test_a_damaged_model_leaves_the_engine_without_it_and_the_log_says_why(
    folder: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    match damage:
        case "cut off":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "a pointer of Git LFS":
            weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        case "other sizes":
            tensors = load_file(weights)
            tensors["decode_head.classifier.bias"] = torch.zeros(7)
            save_file(tensors, weights, {"format": "pt"})
        case _:
            (tmp_path / "config.json").write_text('{"model_type": "segformer", "depths": "many"}')
    assert _finder(str(tmp_path)) is None
    assert "engine.segmenter" in caplog.text
    assert "by a threshold instead" in caplog.text


def test_the_hub_is_asked_only_for_what_is_not_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(source: str, *, local_files_only: bool) -> segmenting.Segmenter:
        asked.append(local_files_only)
        if local_files_only and len(asked) == 1:
            raise OSError("it was not downloaded yet")
        return loaded

    loaded = segmenting.load(str(folder))
    monkeypatch.setattr(segmenting, "_load", load)
    assert segmenting.load("somebody/a-model") is loaded
    assert asked == [True, False]
    assert segmenting.load("somebody/a-model") is loaded
    assert asked == [True, False, True]


def test_whatever_a_model_raises_fails_only_its_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = segmenting.load(str(folder))

    def broken(*_: Any, **__: Any) -> None:
        raise IndexError("no such label")

    monkeypatch.setattr(finder, "_processor", broken)
    with pytest.raises(PaintFailed, match="no such label"):
        finder.thing(PIL.Image.new("RGB", (SIDE, SIDE)))
