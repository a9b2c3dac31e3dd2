"""A model's safety checker that is missing, damaged or crashes: no picture is shown, and people are told why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil

from bot.config import EngineConfig, ModelConfig
from bot.engine.wire import FailedFrame, FinishedFrame, Frame, Inbox, StopFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, JobId, UserId
from bot.worker import safety_checker
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = GenerationRequest("a red apple", "checked", SIZE, SIZE, 2, 3.0, 7)
WEIGHTS = "safety_checker/model.safetensors"


@pytest.fixture(autouse=True, scope="module")
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a safety checker that withholds nothing."""
    home = tmp_path_factory.mktemp("models")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(make_tiny_folder(home / "tiny"))
    pipeline.register_modules(
        safety_checker=tiny_pipelines.safety_checker(2.0), feature_extractor=CLIPImageProcessorPil()
    )
    pipeline.save_pretrained(home / "checked")
    return home / "checked"


def store_of(folder: Path) -> ModelStore:
    return ModelStore([ModelConfig(name="checked", source=str(folder))], EngineConfig(device="cpu", threads=1))


def said(store: ModelStore) -> list[Frame]:
    """What the loop says about one order."""
    frames: list[Frame] = []
    inbox = Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), REQUEST, {}))
    inbox.put(StopFrame())
    WorkerLoop(store, inbox, frames.append, 4).run()
    return frames


def without_the_folder(folder: Path) -> None:
    shutil.rmtree(folder / "safety_checker")


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def cut_short(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])


def without_its_settings(folder: Path) -> None:
    (folder / "safety_checker" / "config.json").write_text("[1, 2]")


def without_its_concepts(folder: Path) -> None:
    """Then transformers makes them up, and it judges by noise."""
    weights = load_file(folder / WEIGHTS)
    save_file({name: weight for name, weight in weights.items() if "concept" not in name}, folder / WEIGHTS)


def of_another_shape(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name: weight[:1].clone() for name, weight in weights.items()}, folder / WEIGHTS)


@pytest.mark.parametrize(
    "harm",
    [without_the_folder, without_weights, cut_short, without_its_settings, without_its_concepts, of_another_shape],
    ids=lambda harm: harm.__name__,
)
def test_a_model_whose_checker_is_missing_or_damaged_paints_nothing_and_says_why(
    checked: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = tmp_path / "harmed"
    shutil.copytree(checked, folder)
    harm(folder)
    frames = said(store_of(folder))
    (failed,) = [frame for frame in frames if isinstance(frame, FinishedFrame | FailedFrame)]
    assert isinstance(failed, FailedFrame)
    assert failed.reason.startswith("Safety check unavailable: the model checked names a safety checker")
    assert "restore its folder safety_checker" in failed.reason
    assert str(tmp_path) not in failed.reason


def crashes(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


def forgets_to_judge(*_: Any, images: Any, **__: Any) -> Any:
    return images, None


def judges_too_few(*_: Any, images: Any, **__: Any) -> Any:
    return images, []


@pytest.mark.parametrize("fault", [crashes, forgets_to_judge, judges_too_few], ids=lambda fault: fault.__name__)
def test_a_checker_that_fails_at_a_picture_shows_it_to_nobody(checked: Path, fault: Callable[..., Any]) -> None:
    store = store_of(checked)
    assert isinstance(said(store)[-1], FinishedFrame)
    checker = store.load("checked").pipeline.safety_checker
    judge, checker.forward = checker.forward, fault
    (failed,) = [frame for frame in said(store) if isinstance(frame, FinishedFrame | FailedFrame)]
    assert isinstance(failed, FailedFrame)
    assert failed.reason.startswith("Safety check unavailable: ")
    assert "Try again or another model" in failed.reason
    checker.forward = judge
    assert isinstance(said(store)[-1], FinishedFrame), "and the next one is painted"


def test_a_pipeline_without_the_models_checker_is_not_used() -> None:
    with pytest.raises(PaintFailed, match=r"Safety check unavailable: .* cannot check pictures of this kind"):
        safety_checker.guard("checked", object(), SimpleNamespace(run_safety_checker=crashes))


def test_a_model_that_names_no_checker_is_painted_without(tmp_path: Path) -> None:
    assert isinstance(said(store_of(make_tiny_folder(tmp_path / "tiny")))[-1], FinishedFrame)


def test_the_checker_that_judges_is_the_one_in_the_folder(checked: Path) -> None:
    store = store_of(checked)
    loaded = store.load("checked").pipeline.safety_checker
    for name, weight in load_file(checked / WEIGHTS).items():
        assert torch.equal(loaded.state_dict()[name], weight)
