"""What the bot knows of models by their files: samplers, steps and troubles, and that it follows a change of them."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from bot.config import ModelConfig
from bot.engine.catalog import Catalog, check_models
from bot.engine.model_files.header import read_header
from bot.engine.model_files.single_file import recognise_file
from bot.errors import ConfigError, UserError
from bot.jobs import Upload
from bot.requests.options import Options
from bot.requests.resolve import resolve
from tests.bot.engine.model_files.headers_only import flux, sd
from tests.bot.worker.damage import CLIP, FIRST_STAGE, LFS, UNET_OF_COMFY, XL, raw, safetensors


def known(*models: ModelConfig) -> Catalog:
    catalog = Catalog(models)
    catalog.look()
    assert catalog.troubles == {}
    return catalog


@pytest.mark.parametrize("sampler", ["ddim", "euler", "Euler A", "dpm++ 2m karras", "unipc", "heun"])
def test_a_sampler_that_flux_cannot_use_is_refused_with_what_there_is(tmp_path: Path, sampler: str) -> None:
    model = ModelConfig(name="flux", source=str(flux(tmp_path / "flux")))
    samplings = known(model).samplings
    with pytest.raises(UserError) as caught:
        resolve(Options("a cat", sampler=sampler), [model], ("default", sampler.lower()), None, samplings)
    assert str(caught.value) == (
        f"The model flux cannot use the sampler {sampler.lower()}, because it predicts a flow and needs its own "
        "scheduler (FlowMatchEulerDiscreteScheduler). There is: default."
    )
    assert resolve(Options("a cat"), [model], ("default",), None, samplings).request.sampler == "default"


def test_each_model_of_a_host_offers_what_it_can_use(tmp_path: Path) -> None:
    models = [
        ModelConfig(name="flux", source=str(flux(tmp_path / "flux"))),
        ModelConfig(name="sd", source=str(sd(tmp_path / "sd"))),
        ModelConfig(
            name="v", source=str(sd(tmp_path / "v", rescale_betas_zero_snr=True, prediction_type="v_prediction"))
        ),
        ModelConfig(name="hub", source="someone/something-that-was-never-downloaded"),
    ]
    catalog = known(*models)
    assert catalog.samplers("flux") == ("default",)
    assert len(catalog.samplers("sd")) == len(catalog.samplers("hub")) == 11
    assert set(catalog.samplers("sd")) - set(catalog.samplers("v")) == {"deis", "heun"}


def test_steps_of_an_lcm_are_brought_into_its_range(tmp_path: Path) -> None:
    folder = sd(tmp_path / "lcm", "LCMScheduler", "LatentConsistencyModelPipeline", original_inference_steps=50)
    model = ModelConfig(name="lcm", source=str(folder), steps=8)
    samplings = known(model).samplings

    def steps(**options: object) -> tuple[int, tuple[str, ...]]:
        resolved = resolve(Options("a cat", **options), [model], ("default",), None, samplings)  # type: ignore[arg-type]
        return resolved.request.num_inference_steps, resolved.notes

    picture = Upload(b"", 512, 512, "0" * 64)
    assert steps() == (8, ())
    assert steps(steps=80) == (50, ("steps 80 became 50 (it goes from 1 to 50)",))
    assert steps(steps=40, image=picture, strength=0.5) == (25, ("steps 40 became 25 (it goes from 1 to 25)",))


def test_defaults_that_a_model_cannot_use_are_refused_at_the_start(tmp_path: Path) -> None:
    folder = flux(tmp_path / "flux")
    with pytest.raises(ConfigError, match=r"model 1 \(flux\): The model flux cannot use the sampler euler, because .*"):
        check_models([ModelConfig(name="flux", source=str(folder), sampler="euler")])
    lcm = sd(tmp_path / "lcm", "LCMScheduler")
    check_models([ModelConfig(name="lcm", source=str(lcm), steps=50)])
    with pytest.raises(ConfigError, match=r"steps is 51, and the model can be painted in 1 to 50 steps"):
        check_models([ModelConfig(name="lcm", source=str(lcm), steps=51)])


def test_files_that_are_put_right_or_broken_are_noticed(tmp_path: Path) -> None:
    folder = sd(tmp_path / "mine")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(LFS)
    catalog = Catalog(
        [ModelConfig(name="mine", source=str(folder)), ModelConfig(name="sd", source=str(sd(tmp_path / "sd")))]
    )
    catalog.look()
    assert catalog.troubles == {
        "mine": "The model mine cannot be loaded: unet/diffusion_pytorch_model.safetensors is a Git LFS pointer: the "
        "file itself was not downloaded. Run `git lfs pull` in the repository, or download the file again."
    }
    assert "mine" not in catalog.samplings
    weights.write_bytes(whole)
    catalog.look()
    assert catalog.troubles == {}
    shutil.rmtree(folder)
    flux(folder)
    catalog.look()
    assert catalog.samplers("mine") == ("default",)


@pytest.mark.parametrize(
    ("extra", "metadata", "prediction", "zero_snr"),
    [
        ({}, {}, "epsilon", False),
        ({"v_pred": (0,)}, {}, "v_prediction", False),
        ({"v_pred": (0,), "ztsnr": (0,)}, {}, "v_prediction", True),
        ({"ztsnr": (0,)}, {}, "epsilon", False),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ({}, {"modelspec.predict_key": "v"}, "v_prediction", False),
        ({}, {"ss_v_parameterization": "True"}, "v_prediction", False),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon", False),
    ],
)
@pytest.mark.parametrize("config", [True, False])
def test_a_single_file_says_itself_that_it_predicts_v(
    tmp_path: Path, extra: dict, metadata: dict, prediction: str, zero_snr: bool, config: bool
) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(safetensors({**XL, **extra}, metadata))
    own = sd(tmp_path / "config", "EulerDiscreteScheduler", "StableDiffusionXLPipeline", prediction_type="epsilon")
    changes = recognise_file(file, str(own) if config else None).changes
    assert changes.get("prediction_type", "epsilon") == prediction
    assert changes.get("rescale_betas_zero_snr", False) is zero_snr


@pytest.mark.parametrize(("spread", "prediction"), [(0.02, "epsilon"), (0.2, "v_prediction")])
@pytest.mark.parametrize("dtype", ["F16", "F32", "BF16"])
def test_a_stable_diffusion_2_is_told_by_the_spread_of_one_tensor(
    tmp_path: Path, spread: float, prediction: str, dtype: str
) -> None:
    name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    values = [spread, -spread] * 8
    data = {
        "F16": struct.pack("<16e", *values),
        "F32": struct.pack("<16f", *values),
        "BF16": b"".join(struct.pack("<f", value)[2:] for value in values),
    }[dtype]
    shapes = {**UNET_OF_COMFY, "cond_stage_model.model.positional_embedding": (77, 8), **FIRST_STAGE}
    header = {name: {"dtype": dtype, "shape": [16], "data_offsets": [0, len(data)]}}
    at = len(data)
    for other, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[other] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    file = tmp_path / "two.safetensors"
    file.write_bytes(raw(header, data + bytes(at - len(data))))
    found = recognise_file(file, None)
    assert found.config == "stabilityai/stable-diffusion-2-1"
    assert found.changes.get("prediction_type", "v_prediction") == prediction


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    """Any two bytes may begin a length: 0x0280 is also how a pickle begins, 0x8b1f a gzip archive."""
    for length in (0x0280, 0x8B1F):
        text = json.dumps({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode().ljust(length)
        (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + text + b"\0\0")
        assert list(read_header(tmp_path / "a.safetensors").tensors) == ["a"]


def test_text_encoders_and_vaes_of_every_layout_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(safetensors({**UNET_OF_COMFY, **CLIP, **FIRST_STAGE}))
    assert recognise_file(tmp_path / "a.safetensors", None).pipeline == "StableDiffusionPipeline"
