"""An order to enlarge a picture: the model's network does it, beside the steps, in pieces, and without the model."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot.config import EMBEDDED_MODEL, EngineConfig, ModelConfig
from bot.engine.catalog import folder_of
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    Stage,
    StageFrame,
    StopFrame,
    SubmitFrame,
    kind_of,
)
from bot.jobs import GenerationRequest, JobId, Operation, UserId
from bot.worker import upscaling
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.picture_cases import exif, quarters, saved, stored

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PAINT = GenerationRequest(
    prompt="a fox", model="emoji", width=128, height=128, num_inference_steps=40, guidance_scale=3.0, seed=1
)
UPSCALE = replace(PAINT, prompt="", operation=Operation.UPSCALE, seed=9)


class Shop:
    """A loop with the model in the box, the same called `copy`, one without an upscaler, and one with a broken one."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        broken = folder / "broken"
        shutil.copytree(folder_of(EMBEDDED_MODEL), broken)
        models = [
            EMBEDDED_MODEL,
            ModelConfig(name="copy", source=folder_of(EMBEDDED_MODEL)),
            ModelConfig(name="plain", source=str(tiny)),
            ModelConfig(name="broken", source=str(broken)),
        ]
        self.store = ModelStore(models, EngineConfig(device="cpu", threads=1))
        self.store.fetch("broken")
        (broken / upscaling.FOLDER / "model.safetensors").write_bytes(b"no weights")
        self.inbox = Inbox()
        self.said: list[Frame] = []
        self.react: Callable[[Frame], None] = lambda _: None

    def ask(self, job_id: int, request: GenerationRequest, data: bytes = b"") -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if data:
            request = replace(request, image=sha256)
        self.inbox.put(SubmitFrame(JobId(job_id), 1, UserId(job_id), request, {sha256: data} if data else {}))

    def run(self, *, stop: bool = True) -> None:
        def send(frame: Frame) -> None:
            self.said.append(frame)
            self.react(frame)

        if stop:
            self.inbox.put(StopFrame())
        WorkerLoop(self.store, self.inbox, send, rows=16).run()

    def about(self, job_id: int) -> list[str]:
        return [kind_of(frame) for frame in self.said if getattr(frame, "job_id", None) == job_id]

    def picture(self, job_id: int) -> np.ndarray:
        (frame,) = (f for f in self.said if isinstance(f, FinishedFrame) and f.job_id == job_id)
        (image,) = frame.images
        assert (image.seed, image.sha256) == (9, hashlib.sha256(image.png).hexdigest())
        assert (image.width, image.height) == Image.open(io.BytesIO(image.png)).size
        return np.asarray(Image.open(io.BytesIO(image.png)))

    def reason(self, job_id: int) -> str:
        (frame,) = (f for f in self.said if isinstance(f, FailedFrame) and f.job_id == job_id)
        return frame.reason


@pytest.fixture
def shop(tmp_path: Path, tiny: Path) -> Shop:
    return Shop(tmp_path, tiny)


def test_picture_is_what_the_network_makes_of_it_and_the_model_is_not_loaded(shop: Shop) -> None:
    source = quarters(60, 300)
    shop.ask(1, UPSCALE, saved(source))
    shop.ask(2, UPSCALE, stored("JPEG", 6, exif=exif(6)))
    shop.run()
    network = upscaling.load(Path(folder_of(EMBEDDED_MODEL)))
    assert network is not None
    made = network.enlarge(np.asarray(source, np.float32) / 255)
    assert np.array_equal(shop.picture(1), (made * 255).round().astype("uint8"))
    assert shop.picture(2).shape == (4 * 96, 4 * 128, 3), "upright"
    assert shop.about(1) == shop.about(2) == ["started", "finished"]
    assert not shop.store.is_resident("emoji")
    stages = {frame.stage for frame in shop.said if isinstance(frame, StageFrame)} - {Stage.REST}
    assert stages == {Stage.DECODE, Stage.FETCH, Stage.FINISH}
    finishing = [f for f in shop.said if isinstance(f, StageFrame) and f.stage is Stage.FINISH]
    assert len([f for f in finishing if f.orders == ((JobId(1), 1),)]) == 4, "three strips, and the file"
    assert all(f.thread != threading.current_thread().name for f in finishing)


def test_it_goes_on_while_others_are_painted(shop: Shop) -> None:
    shop.ask(1, replace(PAINT, num_inference_steps=1000))
    stepped = threading.Event()

    def react(frame: Frame) -> None:
        kind = kind_of(frame)
        if kind == "progress" and not shop.about(2):
            if len(shop.about(1)) == 2:
                shop.ask(2, replace(UPSCALE, model="copy"), saved(quarters(384, 384)))
        elif kind == "progress":
            stepped.set()
        elif isinstance(frame, StageFrame) and frame.stage is Stage.FINISH and frame.orders == ((JobId(2), 1),):
            assert stepped.wait(60), "the steps of others wait for it"
        elif kind == "finished":
            shop.inbox.put(CancelFrame(JobId(1), 1))
            shop.inbox.put(StopFrame())

    shop.react = react
    shop.run(stop=False)
    assert shop.about(2) == ["started", "finished"]
    assert "finished" not in shop.about(1), "it waits for no end of others"
    assert not shop.store.is_resident("copy")


def test_cancelled_order_does_no_further_piece_of_work(shop: Shop) -> None:
    next_began = threading.Event()

    def react(frame: Frame) -> None:
        if isinstance(frame, StageFrame) and frame.stage is Stage.FINISH and frame.orders == ((JobId(1), 1),):
            shop.inbox.put(CancelFrame(JobId(1), 1))
            shop.ask(2, UPSCALE, saved(quarters(16, 16)))
            shop.inbox.put(StopFrame())
            assert next_began.wait(60), "by then the loop has read the cancellation"
        elif kind_of(frame) == "started" and frame.job_id == 2:
            next_began.set()

    shop.react = react
    shop.ask(1, UPSCALE, saved(quarters(700, 1024)))
    shop.run(stop=False)
    assert shop.about(1) == ["started"]
    assert shop.about(2) == ["started", "finished"]
    pieces = [f for f in shop.said if isinstance(f, StageFrame) and f.stage is Stage.FINISH]
    assert sum(f.orders == ((JobId(1), 1),) for f in pieces) == 1


def test_order_that_is_cancelled_before_it_begins_is_not_begun(shop: Shop) -> None:
    shop.ask(1, UPSCALE, saved(quarters()))
    shop.inbox.put(CancelFrame(JobId(1), 1))
    shop.run()
    assert shop.about(1) == []


@pytest.mark.parametrize(
    ("request_", "data", "words"),
    [
        (
            replace(UPSCALE, model="plain"),
            saved(quarters()),
            "The model plain has no upscaler, so it cannot enlarge pictures. Choose another model.",
        ),
        (replace(UPSCALE, model="broken"), saved(quarters()), "The model broken cannot be loaded: its upscaler/ is "),
        (
            UPSCALE,
            saved(Image.new("RGB", (1025, 9))),
            "has 1025×9 pixels. Enlarged 4 times it would be longer than 4096",
        ),
        (UPSCALE, saved(Image.new("RGB", (9, 2000))), "the limit: pictures of up to 1024×1024 pixels can be enlarged."),
        (UPSCALE, b"", "There is no picture to start from"),
        (UPSCALE, b"no picture", "is not a picture that Atelier can read"),
    ],
)
def test_what_cannot_be_enlarged_is_said_in_words(
    shop: Shop, request_: GenerationRequest, data: bytes, words: str
) -> None:
    shop.ask(1, request_, data)
    shop.ask(2, UPSCALE, saved(quarters(8, 8)))
    shop.run()
    assert words in shop.reason(1)
    assert shop.about(1) == ["failed"]
    assert shop.about(2) == ["started", "finished"]


def test_the_largest_picture_that_is_allowed_is_enlarged(shop: Shop) -> None:
    shop.ask(1, UPSCALE, saved(Image.new("RGB", (1024, 20), (40, 90, 220))))
    shop.run()
    picture = shop.picture(1)
    assert picture.shape == (80, 4096, 3)
    assert np.abs(picture.astype(int) - (40, 90, 220)).max() < 5
