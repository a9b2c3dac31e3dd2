"""Weights that changed since their first use are not loaded until the host accepts them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.app import known_files_of
from bot.config import EMBEDDED_MODEL, ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.engine.model_files.known_files import KnownFiles, digest_of
from bot.errors import PaintFailed, UnusableFiles
from bot.findings import CheckStatus, Finding, hashes
from bot.worker.pipelines import ModelStore
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.test_loras import make_lora
from tests.bot.worker.tiny_models import make_tiny_folder

CHANGED = "its files changed since .*, when they were first used here. If you replaced them, run: atelier accept mine."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def store_of(data: Path, *models: ModelConfig) -> ModelStore:
    """The engine's models after a start."""
    settings = EngineConfig(device="cpu", threads=1)
    return ModelStore(models, settings, known=KnownFiles(known_files_of(data)))


def test_a_model_whose_weights_changed_is_not_loaded_until_the_host_accepts_it(
    tiny: Path, tmp_path: Path, data: Path
) -> None:
    source = shutil.copytree(tiny, tmp_path / "mine")
    model = ModelConfig(name="mine", source=str(source))
    for _ in range(2):
        assert store_of(data, model).load("mine")
    assert hashes(model, KnownFiles(known_files_of(data))) == [
        Finding("Hashes of mine", CheckStatus.GOOD, "as at their first use here: mine")
    ]
    shutil.rmtree(source)
    make_tiny_folder(source, seed=9)
    store = store_of(data, model)
    with pytest.raises(PaintFailed, match=f"The model mine cannot be loaded: {CHANGED}"):
        store.load("mine")
    (found,) = hashes(model, KnownFiles(known_files_of(data)))
    assert found.status is CheckStatus.BAD
    assert "atelier accept mine" in found.remedy
    other = ["accept", "other", "--data", str(data)]
    refused = CliRunner().invoke(cli, other)
    assert (refused.exit_code, "No files of 'other' were used here before" in refused.output) == (78, True)
    accepted = CliRunner().invoke(cli, ["accept", "mine", "--data", str(data)])
    assert (accepted.exit_code, "Accepted: mine." in accepted.output) == (0, True)
    assert store.load("mine"), "also without a new start"


def test_another_source_in_the_settings_is_the_hosts_own_change(tiny: Path, tmp_path: Path, data: Path) -> None:
    assert store_of(data, ModelConfig(name="mine", source=str(tiny))).load("mine")
    other = make_tiny_folder(tmp_path / "other", seed=9)
    assert store_of(data, ModelConfig(name="mine", source=str(other))).load("mine")


def test_the_built_in_model_may_change_with_atelier(data: Path) -> None:
    assert store_of(data, EMBEDDED_MODEL).fetch("emoji")
    assert not known_files_of(data).exists()


def test_a_lora_or_controlnet_that_changed_is_left_out_alone(tmp_path: Path, data: Path) -> None:
    plain = tiny_pipelines.stable_diffusion(tmp_path, torch.float32)
    plain.save_pretrained(tmp_path / "sd")
    tiny_pipelines.controlnet(torch.float32).save_pretrained(tmp_path / "edges")
    lora = LoraConfig(name="ink", source=str(make_lora(plain, tmp_path / "ink.safetensors", seed=1)))
    net = ControlNetConfig(name="edges", source=str(tmp_path / "edges"))
    model = ModelConfig(name="mine", source=str(tmp_path / "sd"), loras=(lora,), controlnets=(net,))
    first = store_of(data, model)
    assert (first.load("mine").lora_troubles, first.fetch("mine").controlnet_troubles) == ({}, {})
    make_lora(plain, Path(lora.source), seed=2)
    weights = next((tmp_path / "edges").glob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    again = store_of(data, model)
    assert "its files changed since" in again.load("mine").lora_troubles["ink"]
    assert "its files changed since" in again.fetch("mine").controlnet_troubles["edges"]
    known = KnownFiles(known_files_of(data))
    bad = [found.words.split(":")[0] for found in hashes(model, known) if found.status is CheckStatus.BAD]
    assert bad == ["LoRA ink of mine", "ControlNet edges of mine"]
    assert set(known.accept("mine")) == {"mine", *bad}
    assert store_of(data, model).load("mine").lora_troubles == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"mine": 1}', b"\xff"])
def test_a_damaged_list_accepts_nothing_and_says_what_to_do(data: Path, content: bytes) -> None:
    known_files_of(data).write_bytes(content)
    known = KnownFiles(known_files_of(data))
    with pytest.raises(UnusableFiles, match="delete that file: it is made again"):
        known.check("mine", "mine", "source", "a" * 64)
    assert known_files_of(data).read_bytes() == content


def test_a_full_disk_notes_nothing_and_loads_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bot.engine.model_files.known_files.os.fsync", full)
    with pytest.raises(UnusableFiles, match="No space left on device"):
        KnownFiles(known_files_of(data)).check("mine", "mine", "source", "a" * 64)
    assert [path for path in data.iterdir() if path.suffix != ".lock"] == []


def test_a_digest_covers_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "a.safetensors").write_bytes(b"weights")
    seen = {digest_of(folder)}
    (folder / "unet" / "a.safetensors").rename(folder / "unet" / "b.safetensors")
    seen.add(digest_of(folder))
    (folder / "unet" / "b.safetensors").write_bytes(b"weightz")
    seen.add(digest_of(folder))
    (folder / "model_index.json").write_text(json.dumps({}))
    seen.add(digest_of(folder))
    assert len(seen) == 3
