"""Previews of the model in the box: do they show the picture, for every sampler, and to nobody who must not see it?"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from bot.config import EMBEDDED_MODEL, EngineConfig, ModelConfig
from bot.engine.catalog import SAMPLERS
from bot.engine.wire import FinishedFrame, Frame, Inbox, PreviewFrame, StopFrame, SubmitFrame
from bot.jobs import GenerationRequest, JobId, UserId
from bot.worker import previews
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from bot.worker.previews import LatentPreview, LatentTap
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SETTINGS = EngineConfig(device="cpu", threads=1)
APPLE = GenerationRequest(
    prompt="a red apple on a blue background",
    model="emoji",
    width=128,
    height=128,
    num_inference_steps=12,
    guidance_scale=3.0,
    seed=7,
)
NOISY = {"deis"}
"""Samplers that do not say what they take for the finished picture."""


@pytest.fixture(scope="module")
def store(own_threads: None) -> ModelStore:
    return ModelStore([EMBEDDED_MODEL], SETTINGS)


@pytest.fixture(scope="module")
def latent_preview(store: ModelStore) -> LatentPreview:
    pipeline = store.load("emoji").pipeline
    return LatentPreview(pipeline.vae, pipeline.vae_scale_factor)


def colours(picture: Picture.Image) -> np.ndarray:
    """The picture in 16×16 squares, (16, 16, 3)."""
    return np.asarray(picture.convert("RGB").resize((16, 16), Picture.Resampling.BOX)).astype(float)


def distance(one: Picture.Image, other: Picture.Image) -> float:
    """The mean difference of two pictures' colours, of 255."""
    return float(np.abs(colours(one) - colours(other)).mean())


def painted(
    store: ModelStore, latent_preview: LatentPreview, request: GenerationRequest
) -> tuple[list[Picture.Image], Picture.Image]:
    """A preview after every step, and the picture."""
    scheduler, shown = store.scheduler(request), []
    tap = LatentTap(scheduler)
    pipeline = store.load("emoji").pipeline
    own, pipeline.scheduler = pipeline.scheduler, scheduler

    def look(_pipe: Any, _step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        assert tap.latents is not None
        shown.append(latent_preview.picture(tap.latents.numpy()))
        return values

    try:
        with torch.inference_mode():
            output = pipeline(**store.arguments(request), callback_on_step_end=look)
    finally:
        pipeline.scheduler = own
    return shown, Picture.fromarray((output.images[0] * 255).astype("uint8"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_preview_comes_to_look_like_the_picture(store: ModelStore, latent_preview: LatentPreview, sampler: str) -> None:
    shown, picture = painted(store, latent_preview, replace(APPLE, sampler=sampler))
    assert distance(shown[-1], picture) < 20, "of 255"
    early = shown[len(shown) // 4]
    if sampler not in NOISY:
        other = picture.rotate(180).transpose(Picture.Transpose.FLIP_LEFT_RIGHT)
        grey = Picture.new("RGB", (16, 16), tuple(int(c) for c in colours(picture).mean((0, 1))))
        assert distance(early, picture) < min(distance(early, other), distance(grey, picture))


def test_watching_a_scheduler_changes_nothing(store: ModelStore) -> None:
    pipeline = store.load("emoji").pipeline
    own, pictures = pipeline.scheduler, []
    try:
        for watch in (lambda scheduler: None, LatentTap):
            pipeline.scheduler = store.scheduler(replace(APPLE, sampler="euler a"))
            watch(pipeline.scheduler)
            with torch.inference_mode():
                pictures.append(pipeline(**store.arguments(APPLE)).images)
    finally:
        pipeline.scheduler = own
    assert np.array_equal(*pictures)


def test_plain_colours_are_read_back(store: ModelStore, latent_preview: LatentPreview) -> None:
    vae = store.load("emoji").pipeline.vae
    for colour in ((255, 0, 0), (20, 160, 60), (128, 128, 128), (250, 240, 20)):
        pixels = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 128, 128) / 127.5 - 1
        with torch.inference_mode():
            latents = vae.encode(pixels).latents.numpy()
        middle = np.asarray(latent_preview.picture(latents))[64:-64, 64:-64].mean((0, 1))
        assert np.abs(middle - colour).max() < 60, (colour, middle)


def test_several_pictures_stand_side_by_side(latent_preview: LatentPreview) -> None:
    four = latent_preview.picture(np.zeros((4, 4, 16, 24), "float32"))
    assert four.width == four.height * 6
    assert Picture.open(io.BytesIO(previews.encode(four))).format == "JPEG"


def frames(store: ModelStore, request: GenerationRequest, seconds: float) -> list[Frame]:
    """What the loop says about one order."""
    said: list[Frame] = []
    inbox = Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), request, {}))
    inbox.put(StopFrame())
    WorkerLoop(store, inbox, said.append, rows=16, preview_seconds=seconds).run()
    return said


def test_the_loop_sends_previews_between_the_steps_of_a_long_picture(store: ModelStore) -> None:
    shown = [frame for frame in frames(store, APPLE, 1e-9) if isinstance(frame, PreviewFrame)]
    assert 1 <= len(shown) < APPLE.num_inference_steps, "none after the last step"
    assert all(Picture.open(io.BytesIO(frame.jpeg)).size == (256, 256) for frame in shown)


@pytest.mark.parametrize("seconds", [0, 3600])
def test_the_loop_sends_none_when_told_not_to_or_when_a_picture_is_quick(store: ModelStore, seconds: float) -> None:
    assert not [frame for frame in frames(store, APPLE, seconds) if isinstance(frame, PreviewFrame)]


def test_nobody_sees_what_a_safety_checker_has_not_seen(tmp_path: Path) -> None:
    store = ModelStore([ModelConfig(name="checked", source=str(make_tiny_folder(tmp_path / "tiny")))], SETTINGS)
    request = replace(APPLE, model="checked", width=SIZE, height=SIZE)
    assert [frame for frame in frames(store, request, 1e-9) if isinstance(frame, PreviewFrame)]
    pipeline = store.load("checked").pipeline
    pipeline.safety_checker = object()
    pipeline.run_safety_checker = lambda images, *_: (images, [False])
    said = frames(store, request, 1e-9)
    assert [frame for frame in said if isinstance(frame, FinishedFrame)]
    assert not [frame for frame in said if isinstance(frame, PreviewFrame)]
