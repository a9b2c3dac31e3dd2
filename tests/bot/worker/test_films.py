"""Models for videos, real ones with random weights: they are recognised, loaded, and paint films in the loop."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch

from bot.config import EngineConfig, ModelConfig
from bot.engine.model_files.operations import FILMING
from bot.engine.model_files.recognise import recognise
from bot.engine.wire import FailedFrame, PreviewFrame, StopFrame
from bot.jobs import GenerationRequest, Operation
from bot.worker import animations
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.bot.worker.test_animations import Check, painted
from tests.bot.worker.test_loop import Workshop
from tests.bot.worker.tiny_films import FILMS, SIDE, make_film_folder
from tests.bot.worker.tiny_models import make_tiny_folder
from tests.picture_cases import quarters, saved

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

FRAMES = 9
FILM = GenerationRequest(
    prompt="a fox",
    model="film",
    width=SIDE,
    height=SIDE,
    num_inference_steps=3,
    guidance_scale=3.0,
    seed=1,
    operation=Operation.FILM,
    frames=FRAMES,
)
PICTURE = saved(quarters(SIDE, SIDE), "PNG")
FROM_PICTURE = replace(FILM, operation=Operation.IMAGE2FILM, image=hashlib.sha256(PICTURE).hexdigest())
STOP = StopFrame()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("films")
    return {kind: make_film_folder(parent / kind, kind) for kind in FILMS}


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Cinema(Workshop):
    """A loop with one model for videos and the tiny model `a`, if there is a folder for it."""

    def __init__(self, folder: Path, pictures: Path | None = None) -> None:
        super().__init__(pictures or folder)
        models = [ModelConfig(name="film", source=str(folder), width=SIDE, height=SIDE)]
        if pictures is not None:
            models.append(ModelConfig(name="a", source=str(pictures), width=SIDE, height=SIDE))
        self.store = ModelStore(models, EngineConfig(device="cpu", threads=1))


def asked(kind: str) -> GenerationRequest:
    return FROM_PICTURE if "ImageToVideo" in kind else FILM


def test_every_kind_is_tried() -> None:
    assert set(FILMS) == FILMING


@pytest.mark.parametrize("kind", FILMS)
def test_each_kind_is_recognised_loads_and_paints_its_frames(folders: dict[str, Path], kind: str) -> None:
    assert recognise(folders[kind]).operations == {asked(kind).operation}
    cinema = Cinema(folders[kind])
    cinema.ask(1, asked(kind), {FROM_PICTURE.image: PICTURE} if asked(kind).image else {})
    cinema.inbox.put(STOP)
    cinema.run()
    assert [frame.reason for frame in cinema.said if isinstance(frame, FailedFrame)] == []
    image = painted(cinema)
    assert (image.width, image.height) == (SIDE, SIDE)
    assert len(animations.frames_of(image.png)) == FRAMES
    assert set(animations.durations_of(image.png)) == {animations.FILM_MS}
    steps = [getattr(frame, "step", 0) for frame in cinema.said if getattr(frame, "of", 0)]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("kind", ["WanPipeline", "CogVideoXPipeline"])
def test_a_preview_is_one_frame(folders: dict[str, Path], kind: str) -> None:
    cinema = Cinema(folders[kind])
    cinema.ask(1, FILM)
    cinema.inbox.put(STOP)
    WorkerLoop(cinema.store, cinema.inbox, cinema._send, 16, preview_seconds=1e-9).run()
    previews = [frame for frame in cinema.said if isinstance(frame, PreviewFrame)]
    assert previews
    width, height = PIL.Image.open(io.BytesIO(previews[0].jpeg)).size
    assert width == height


def test_a_film_is_cancelled_between_two_steps(folders: dict[str, Path]) -> None:
    cinema = Cinema(folders["WanPipeline"])
    cinema.ask(1, replace(FILM, num_inference_steps=100))
    cinema.when("progress", 1, do=lambda: (cinema.cancel(1), cinema.inbox.put(STOP)))  # type: ignore[func-returns-value]
    cinema.run()
    assert cinema.jobs("finished") == []
    assert len(cinema.jobs("progress")) < 10


@pytest.mark.parametrize("explicit", [1, FRAMES])
def test_one_explicit_frame_counts_for_the_film(folders: dict[str, Path], explicit: int) -> None:
    cinema = Cinema(folders["WanPipeline"])
    cinema.store.finisher.nsfw = Check(explicit)  # type: ignore[assignment]
    cinema.ask(1, FILM)
    cinema.inbox.put(STOP)
    cinema.run()
    assert painted(cinema).nsfw == 0.9


def test_the_work_of_a_film_is_one_sample_with_all_pixels_of_its_frames() -> None:
    assert FILM.work.rows == 2
    assert FILM.work.shape == ("film", SIDE, SIDE * FRAMES)
    assert FILM.cost == FRAMES * replace(FILM, operation=Operation.TEXT2IMAGE, frames=0).cost


def test_the_engine_refuses_what_a_model_that_was_not_known_cannot_paint(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Of a model that was not downloaded yet the bot does not know what it can do."""
    cinema = Cinema(folders["WanPipeline"], make_tiny_folder(tmp_path / "tiny"))
    cinema.ask(1, replace(FILM, operation=Operation.TEXT2IMAGE, frames=0))
    cinema.ask(2, replace(FILM, model="a"))
    cinema.ask(3, FROM_PICTURE, {FROM_PICTURE.image: PICTURE})
    cinema.ask(4, FILM)
    cinema.inbox.put(STOP)
    cinema.run()
    assert {frame.job_id: frame.reason for frame in cinema.said if isinstance(frame, FailedFrame)} == {
        1: "The model film cannot paint from words alone. Choose another model.",
        2: "The model a cannot paint films from words. Choose another model.",
        3: "The model film cannot paint films that begin with a picture. Choose another model.",
    }
    assert cinema.jobs("finished") == [4]
