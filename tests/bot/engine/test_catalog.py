"""Samplers and models by the names people use: each one exists, and what cannot load is told in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest

from bot.config import EMBEDDED_MODEL, ModelConfig
from bot.engine.catalog import SAMPLERS, check_models, check_segmenter_exists, folder_of
from bot.errors import ConfigError

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def own_scheduler() -> dict:
    """The embedded model's scheduler configuration."""
    return json.loads((Path(folder_of(EMBEDDED_MODEL)) / "scheduler" / "scheduler_config.json").read_text())


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "default"])
def test_sampler_is_built_from_the_embedded_models_scheduler(sampler: str, own_scheduler: dict) -> None:
    name, changes = SAMPLERS[sampler]
    scheduler = getattr(diffusers, name).from_config(own_scheduler, **changes)
    assert type(scheduler).__name__ == name
    assert scheduler.config.beta_end == own_scheduler["beta_end"], "the model's own settings stay"
    assert scheduler.config.prediction_type == own_scheduler["prediction_type"]
    assert {key: scheduler.config[key] for key in changes} == changes


def test_default_sampler_changes_nothing() -> None:
    assert SAMPLERS["default"] == ("", {})


def test_embedded_model_and_hub_ids_pass() -> None:
    check_models([EMBEDDED_MODEL, ModelConfig(name="sd", source="CompVis/stable-diffusion-v1-4")])


def test_folder_with_an_index_passes(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    check_models([ModelConfig(name="mine", source=str(tmp_path))])


def test_single_file_with_a_config_folder_passes(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").touch()
    check_models([ModelConfig(name="mine", source=str(tmp_path / "mine.safetensors"), config=str(tmp_path))])


def refusal(*models: ModelConfig) -> str:
    """The sentence with which models are refused."""
    with pytest.raises(ConfigError) as caught:
        check_models(models)
    return str(caught.value)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    assert refusal(EMBEDDED_MODEL, ModelConfig(name="mine", source=missing)) == (
        f"model 2 (mine): source {missing} does not exist. Give a diffusers folder, a .safetensors or .gguf file, "
        'a hub id like CompVis/stable-diffusion-v1-4, or "embedded".'
    )


def test_missing_single_file_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.safetensors")
    assert f"source {missing} does not exist" in refusal(ModelConfig(name="mine", source=missing))


def test_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    assert refusal(ModelConfig(name="mine", source=str(tmp_path))) == (
        f"model 1 (mine): {tmp_path} is no diffusers folder: it has no model_index.json. "
        "A single checkpoint is named by its .safetensors file."
    )


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickled_checkpoint_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mine{suffix}"
    file.touch()
    assert refusal(ModelConfig(name="mine", source=str(file))) == (
        f"model 1 (mine): {file} is neither a .safetensors nor a .gguf file, and no other kind is loaded."
    )


def test_unknown_sampler_is_refused_with_those_there_are() -> None:
    words = refusal(EMBEDDED_MODEL.model_copy(update={"sampler": "euler b"}))
    assert words.startswith("model 1 (emoji): sampler 'euler b' does not exist; there is: default, ddim, ")
    assert all(name in words for name in SAMPLERS)


def test_missing_config_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").touch()
    config = str(tmp_path / "nowhere")
    model = ModelConfig(name="mine", source=str(tmp_path / "mine.safetensors"), config=config)
    assert refusal(model) == f"model 1 (mine): config {config} is not a folder."


def test_a_mistyped_folder_of_a_segmenter_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "segformer").mkdir(parents=True)
    for good in ("", "models/segformer", "./models/segformer", str(tmp_path / "models"), "nvidia/segformer-b0"):
        check_segmenter_exists(good)
    for bad in ("models/segformr", "./segformer", "../segformer", ".models/segformer"):
        with pytest.raises(ConfigError, match=f"there is no folder {bad}"):
            check_segmenter_exists(bad)
    with pytest.raises(ConfigError, match="neither a folder nor an id"):
        check_segmenter_exists(str(tmp_path / "lost"))
