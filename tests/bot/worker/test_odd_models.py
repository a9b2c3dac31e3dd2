"""Models whose files are unusual and right: they simply load, and are painted as what they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from bot.config import EngineConfig, ModelConfig
from bot.doctor import CheckStatus, examine_model
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest
from bot.worker import library_errors
from bot.worker.pipelines import ModelStore
from tests.bot.worker.damage import TEXT, UNET, VAE, scheduler
from tests.bot.worker.test_pipelines import fingerprint, paint, pixels
from tests.bot.worker.tiny_models import SIZE, make_tiny_single_file

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

REQUEST = GenerationRequest("a red apple", "mine", SIZE, SIZE, 4, 3.0, 7)


def store_of(path: Path, **more: str) -> ModelStore:
    return ModelStore([ModelConfig(name="mine", source=str(path), **more)], EngineConfig(device="cpu", threads=1))


def halved(path: Path, places: list[str], variant: str) -> None:
    """Replace weights by a variant of them in half precision."""
    dtype = torch.float16 if variant == "fp16" else torch.bfloat16
    for place in places:
        weights = {name: weight.to(dtype) for name, weight in load_file(path / place).items()}
        save_file(weights, (path / place).with_suffix(f".{variant}.safetensors"), {"format": "pt"})
        (path / place).unlink()


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
@pytest.mark.parametrize("places", [[UNET, VAE, TEXT], [UNET], [TEXT, VAE]], ids=["all", "unet", "others"])
async def test_a_folder_with_a_variant_alone_simply_loads(
    tiny: Path, tmp_path: Path, variant: str, places: list[str]
) -> None:
    path = tmp_path / "half"
    shutil.copytree(tiny, path)
    halved(path, places, variant)
    (finding,) = await examine_model(ModelConfig(name="mine", source=str(path)))
    assert finding.status is CheckStatus.GOOD
    half, whole = store_of(path), store_of(tiny)
    assert half.size("mine") == whole.size("mine")
    (image,), (original,) = paint(half, REQUEST), paint(whole, REQUEST)
    assert np.abs(pixels(image) - pixels(original)).max() <= 40, "the same picture but for the rounding"
    assert pixels(image).std() > 1


def test_a_folder_with_both_loads_the_one_without_a_name(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "both"
    shutil.copytree(tiny, path)
    halved(path, [UNET, VAE, TEXT], "fp16")
    shutil.copytree(tiny, path, dirs_exist_ok=True)
    assert fingerprint(paint(store_of(path), REQUEST)[0]) == fingerprint(paint(store_of(tiny), REQUEST)[0])
    assert store_of(path).size("mine") == store_of(tiny).size("mine")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_several_files_are_loaded(tiny: Path, tmp_path: Path, variant: str | None) -> None:
    path = tmp_path / "split"
    pipeline = StableDiffusionPipeline.from_pretrained(tiny)
    pipeline.save_pretrained(path, max_shard_size="100KB", variant=variant)
    assert len(list((path / "unet").glob("*.safetensors"))) > 1, "it is split"
    assert fingerprint(paint(store_of(path), REQUEST)[0]) == fingerprint(paint(store_of(tiny), REQUEST)[0])


def test_a_tokenizer_that_does_not_say_how_long_a_prompt_may_be_takes_it_from_its_encoder(
    tiny: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mute"
    shutil.copytree(tiny, path)
    settings = path / "tokenizer" / "tokenizer_config.json"
    stored = json.loads(settings.read_text())
    del stored["model_max_length"]
    settings.write_text(json.dumps(stored))
    assert fingerprint(paint(store_of(path), REQUEST)[0]) == fingerprint(paint(store_of(tiny), REQUEST)[0])


@pytest.mark.parametrize("zero_snr", [False, True])
def test_a_single_file_that_predicts_v_is_painted_as_one(tiny: Path, tmp_path: Path, zero_snr: bool) -> None:
    """As the same model in a folder whose scheduler says so."""
    file = make_tiny_single_file(tiny, tmp_path / "mine.safetensors")
    marks = {"v_pred": torch.zeros(0), **({"ztsnr": torch.zeros(0)} if zero_snr else {})}
    marked = tmp_path / "marked.safetensors"
    save_file({**load_file(file), **marks}, marked)
    folder = tmp_path / "folder"
    shutil.copytree(tiny, folder)
    own = json.loads((tiny / "scheduler" / "scheduler_config.json").read_text())
    scheduler(**{**own, "prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr})(folder)

    store = store_of(marked, config=str(tiny))
    (image,), (wanted,) = paint(store, REQUEST), paint(store_of(folder), REQUEST)
    assert fingerprint(image) == fingerprint(wanted)
    (plain,) = paint(store_of(file, config=str(tiny)), REQUEST)
    assert fingerprint(image) != fingerprint(plain)
    assert store.load("mine").pipeline.scheduler.config.prediction_type == "v_prediction"
    if zero_snr:
        with pytest.raises(PaintFailed, match="cannot use the sampler heun, because it was trained with zero terminal"):
            store.scheduler(replace(REQUEST, sampler="heun"))


def test_an_lcm_paints_in_its_range_and_refuses_the_rest_in_words(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "lcm"
    shutil.copytree(tiny, path)
    index = json.loads((path / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "LCMScheduler"]
    (path / "model_index.json").write_text(json.dumps(index))
    scheduler(_class_name="LCMScheduler", beta_schedule="scaled_linear", original_inference_steps=10)(path)
    store = store_of(path)
    assert pixels(paint(store, replace(REQUEST, num_inference_steps=10))[0]).std() > 1
    with pytest.raises(PaintFailed, match="The model mine can be painted in up to 10 steps like this"):
        paint(store, replace(REQUEST, num_inference_steps=11))
    with pytest.raises(PaintFailed, match=r"because it was distilled .*There is: default\."):
        paint(store, replace(REQUEST, sampler="euler"))


def test_what_a_library_says_is_told_whole_or_visibly_cut() -> None:
    told = library_errors.told(ValueError("Error(s) in loading:\n\tsize mismatch for /srv/models/mine/unet: (1, 2)\n"))
    assert told == "Error(s) in loading: size mismatch for unet: (1, 2)"
    long = library_errors.told(ValueError("word " * 200))
    assert len(long) < 340
    assert long.endswith("word … (the log has the rest)")


def test_a_folder_that_the_libraries_refuse_is_told_with_a_remedy(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "shrunk"
    shutil.copytree(tiny, path)
    settings = path / "unet" / "config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "cross_attention_dim": 24}))
    with pytest.raises(PaintFailed) as caught:
        store_of(path).load("mine")
    words = str(caught.value)
    assert words.startswith("The model mine cannot be loaded: diffusers does not accept it (")
    assert words.endswith("the log has the details.")
    assert str(tmp_path) not in words
