"""Which classes the installed libraries have is found out without importing them, and rightly."""

from __future__ import annotations

import subprocess
import sys

import diffusers
import pytest
import transformers

from bot.engine.model_files.settings import is_in_diffusers, is_in_transformers, version_of


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
        "FluxPipeline",
        "StableDiffusion3Pipeline",
        "UNet2DConditionModel",
        "AutoencoderKL",
        "LCMScheduler",
        "LMSDiscreteScheduler",
        "FluxTransformer2DModel",
        "Flux9Pipeline",
        "UNet9DConditionModel",
    ],
)
def test_a_class_of_diffusers_is_known_if_it_is_there(name: str) -> None:
    assert is_in_diffusers(name) == hasattr(diffusers, name)


@pytest.mark.parametrize(
    "name",
    [
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "T5EncoderModel",
        "UMT5EncoderModel",
        "Gemma2Model",
        "Qwen2_5_VLForConditionalGeneration",
        "LlamaForCausalLM",
        "Mistral3ForConditionalGeneration",
        "Qwen9TextModel",
        "CLIPTextModelWithout",
    ],
)
def test_a_class_of_transformers_is_known_if_it_is_there(name: str) -> None:
    assert is_in_transformers(name) == hasattr(transformers, name)


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys; from bot.engine.model_files.settings import *; from bot.engine.model_files.recognise import *;"
        "is_in_diffusers('x'); is_in_transformers('x');"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_versions_are_those_that_are_installed() -> None:
    assert version_of("diffusers") == diffusers.__version__
    assert version_of("a-library-that-is-not-installed") == "unknown"
