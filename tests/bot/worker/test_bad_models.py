"""Every bad model, LoRA and ControlNet of `bad_models.py`: the doctor and the engine say the same sentence of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import transformers

from bot.config import ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.doctor import CheckStatus, Finding, examine_model
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest
from bot.worker.pipelines import ModelStore
from tests.bot.worker.bad_adapters import CONTROLNETS, LORAS
from tests.bot.worker.bad_files import FILES
from tests.bot.worker.bad_folders import FOLDERS
from tests.bot.worker.damage import Bad, gone
from tests.bot.worker.tiny_models import SIZE, make_tiny_single_file

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = GenerationRequest("a red apple", "mine", SIZE, SIZE, 2, 3.0, 7)


def said_of(bad: Bad) -> tuple[str, str]:
    """The sentences of the table."""
    versions = {"{diffusers}": diffusers.__version__, "{transformers}": transformers.__version__}
    words = bad.words
    for library, version in versions.items():
        words = words.replace(library, version)
    return words, bad.remedy


def store_of(model: ModelConfig) -> ModelStore:
    return ModelStore([model], EngineConfig(device="cpu", threads=1))


def ids(bad: Bad) -> str:
    return bad.name


@pytest.mark.parametrize("bad", [*FILES, *FOLDERS], ids=ids)
async def test_doctor_and_engine_say_what_a_bad_model_is(
    tiny: Path, tmp_path: Path, bad: Bad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = tmp_path / bad.file_name
    bad.make(tiny, path)
    config = str(tiny) if bad.suffix and bad.configured else None
    model = ModelConfig(name="mine", source=str(path), config=config)
    words, remedy = said_of(bad)
    assert await examine_model(model) == [Finding("Model mine", CheckStatus.BAD, words, remedy)]
    with pytest.raises(PaintFailed) as caught:
        store_of(model).load("mine")
    if bad.name != "no safety checker":  # people are told in words of its own: test_safety_checker.py
        assert str(caught.value) == f"The model mine cannot be loaded: {words} {remedy}"


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("model_index.json", "config/model_index.json is missing."),
        ("tokenizer", "its folder config/tokenizer is missing, without which no prompt can be read."),
        (
            "tokenizer/tokenizer.json",
            "its folder config/tokenizer has no vocabulary, without which no prompt can be read.",
        ),
        ("scheduler", "scheduler/scheduler_config.json is missing."),
    ],
)
async def test_doctor_and_engine_say_what_a_single_files_configuration_lacks(
    tiny: Path, tmp_path: Path, lost: str, words: str
) -> None:
    config = tmp_path / "config"
    shutil.copytree(tiny, config)
    gone(lost)(config)
    model = ModelConfig(
        name="mine", source=str(make_tiny_single_file(tiny, tmp_path / "a.safetensors")), config=str(config)
    )
    (finding,) = await examine_model(model)
    assert (finding.status, finding.words, finding.remedy) == (
        CheckStatus.BAD,
        words,
        "Download the whole model again.",
    )
    with pytest.raises(PaintFailed) as caught:
        store_of(model).load("mine")
    assert str(caught.value) == f"The model mine cannot be loaded: {words} Download the whole model again."


async def check_adapter(tiny: Path, bad: Bad, model: ModelConfig, kind: str, name: str, **asked: Any) -> None:
    """Check what is said of a LoRA or a ControlNet: the model works without it, and a request for it fails."""
    words, remedy = said_of(bad)
    assert await examine_model(model) == [
        Finding("Model mine", CheckStatus.GOOD, str(tiny)),
        Finding(f"{kind} {name} of mine", CheckStatus.BAD, words, remedy),
    ]
    store = store_of(model)
    assert store.pipeline(REQUEST)
    request = replace(REQUEST, **asked)
    with pytest.raises(PaintFailed) as caught:
        _ = store.pipeline(request), store.adapters(request)
    assert str(caught.value) == f"The {kind} {name} cannot be used: {words} {remedy}"


@pytest.mark.parametrize("bad", LORAS, ids=ids)
async def test_doctor_and_engine_say_what_a_bad_lora_is(tiny: Path, tmp_path: Path, bad: Bad) -> None:
    path = tmp_path / bad.file_name
    bad.make(tiny, path)
    model = ModelConfig(name="mine", source=str(tiny), loras=(LoraConfig(name="ink", source=str(path)),))
    await check_adapter(tiny, bad, model, "LoRA", "ink", loras=(("ink", 1.0),))


@pytest.mark.parametrize("bad", CONTROLNETS, ids=ids)
async def test_doctor_and_engine_say_what_a_bad_controlnet_is(tiny: Path, tmp_path: Path, bad: Bad) -> None:
    path = tmp_path / bad.file_name
    bad.make(tiny, path)
    model = ModelConfig(name="mine", source=str(tiny), controlnets=(ControlNetConfig(name="edges", source=str(path)),))
    await check_adapter(tiny, bad, model, "ControlNet", "edges", controlnet="edges")
