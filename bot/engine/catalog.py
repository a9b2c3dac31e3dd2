"""The models and the samplers, by the names that people use. It does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from bot.config import EMBEDDED, ModelConfig
from bot.errors import ConfigError

SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "default": ("", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++ 2m karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpm++ sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Name → diffusers' scheduler class and what to change in its configuration. "default" is the model's own."""


def folder_of(model: ModelConfig) -> str:
    """Where diffusers loads the model from: a folder, a file or a hub id."""
    if model.source == EMBEDDED:
        return str(resources.files("bot") / "models" / "emoji")
    return model.source


def fingerprint_of(model: ModelConfig) -> frozenset[tuple[str, int, int]]:
    """The paths, sizes and times of a model's files, to notice a change; empty for a hub id.

    Reads the disk. If a file disappears meanwhile, the files after it are left out.
    """
    source, found = Path(folder_of(model)), set()
    with suppress(OSError):
        for path in (source, *source.rglob("*")):
            facts = path.stat()
            found.add((str(path), facts.st_size, facts.st_mtime_ns))
    return frozenset(found)


def check_models(models: Sequence[ModelConfig]) -> None:
    """Raise ConfigError for the first model that cannot possibly load: a missing folder, an unknown sampler."""
    for number, model in enumerate(models):
        key = f"models[{number}] ({model.name})"
        if model.sampler not in SAMPLERS:
            raise ConfigError(f"{key}: sampler {model.sampler!r} does not exist; there is: {', '.join(SAMPLERS)}.")
        for what, name, place in (
            *(("LoRA", lora.name, lora.source) for lora in model.loras),
            *(("ControlNet", net.name, net.source) for net in model.controlnets),
        ):
            path = Path(place)
            if path.suffix == ".safetensors" and not path.is_file():
                raise ConfigError(f"{key}: the {what} {name} has the source {place}, which does not exist.")
        if model.is_hub_id:
            continue
        source = Path(folder_of(model))
        if not source.exists():
            raise ConfigError(
                f"{key}: source {model.source} does not exist. Give a diffusers folder, a .safetensors file, "
                'a hub id like CompVis/stable-diffusion-v1-4, or "embedded".'
            )
        if source.is_dir() and not (source / "model_index.json").is_file():
            raise ConfigError(
                f"{key}: {model.source} is no diffusers folder: it has no model_index.json. "
                "A single checkpoint is named by its .safetensors file."
            )
        if source.is_file() and not model.is_single_file:
            raise ConfigError(f"{key}: {model.source} is not a .safetensors file, and no other kind is loaded.")
        if model.config is not None and model.config.startswith(("/", ".")) and not Path(model.config).is_dir():
            raise ConfigError(f"{key}: config {model.config} is not a folder.")
