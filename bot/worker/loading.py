"""A model's files become a pipeline of diffusers, still on the CPU. Imported in the engine process only."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from bot.config import ModelConfig
from bot.engine.model_files.single_file import SingleFile
from bot.errors import UnusableFiles
from bot.worker import quantization, safety_checker, upscaling
from bot.worker.checkpoints import Checkpoint
from bot.worker.machine import Machine
from bot.worker.upscaling import Upscaler

_PROMPT_WIDTHS = ("cross_attention_dim", "joint_attention_dim", "pooled_projection_dim")
"""Settings that a denoiser and its ControlNet share, and that differ between families of models."""

_NO_LENGTH = 10**6
"""transformers writes a number far above this one where a tokenizer's settings name no length."""


def quieten_libraries() -> None:
    """Turn off the libraries' progress bars and advice, which would fill the bot's log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def load_pipeline(model: ModelConfig, checkpoint: Checkpoint, machine: Machine) -> tuple[Any, Upscaler | None]:
    """The model's pipeline, still on the CPU, and its upscaler if it has one."""
    source, files, upscaler = checkpoint.source, checkpoint.files, None
    parts = quantization.load_denoiser(model, files, machine.dtype, machine.device)
    if isinstance(files, SingleFile):
        pipeline = getattr(diffusers, files.pipeline).from_single_file(
            source, config=files.config, torch_dtype=machine.dtype, local_files_only=True, **parts
        )
        if files.changes:
            # The file knows better than its configuration what it predicts.
            kind = getattr(diffusers, files.scheduler)
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **files.changes)
    else:
        if safety_checker.is_named(Path(source)) and (
            checker := safety_checker.load(model.name, Path(source), machine.dtype)
        ):
            parts[safety_checker.FOLDER] = checker
        # Pickled weights can run code when they are loaded, so only safetensors are loaded.
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            source,
            torch_dtype=machine.dtype,
            use_safetensors=True,
            local_files_only=True,
            variant=files.variant,
            **parts,
        )
        upscaler = upscaling.load(Path(source))
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        raise UnusableFiles(f"it does not paint from words ({type(pipeline).__name__}).", "Choose another model.")
    _limit_tokenizers(pipeline)
    vae: Any = getattr(pipeline, "vae", None)
    if machine.dtype == torch.float16 and hasattr(pipeline, "upcast_vae") and vae.config.get("force_upcast"):
        # SDXL's VAE overflows in half precision. Its pipelines would cast it for every picture, but it is shared.
        vae.to(torch.float32)
    return pipeline, upscaler


def _limit_tokenizers(pipeline: Any) -> None:
    """Give tokenizers whose settings do not say how long a prompt may be the length of their text encoder."""
    for name, part in pipeline.components.items():
        if not name.startswith("tokenizer") or getattr(part, "model_max_length", 0) < _NO_LENGTH:
            continue
        encoder = pipeline.components.get(name.replace("tokenizer", "text_encoder"))
        positions = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        if positions:
            part.model_max_length = positions


def load_controlnet(source: str, pipeline: Any, machine: Machine) -> Any:
    """A ControlNet, still on the CPU. Raises ValueError if it is no ControlNet, or does not fit this pipeline."""
    path = Path(source)
    if path.is_file():
        # Without a configuration beside it, diffusers fetches the configuration of the ControlNet it resembles.
        beside = str(path.parent) if (path.parent / "config.json").is_file() else None
        controlnet = diffusers.ControlNetModel.from_single_file(
            source, config=beside, torch_dtype=machine.dtype, local_files_only=beside is not None
        )
    else:
        name = json.loads((path / "config.json").read_text(encoding="utf-8"))["_class_name"]
        if not name.endswith("ControlNetModel"):
            raise ValueError(f"it is a {name}, which is no ControlNet that can be used")
        controlnet = getattr(diffusers, name).from_pretrained(
            source, torch_dtype=machine.dtype, use_safetensors=True, local_files_only=True
        )
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    if any(controlnet.config.get(width) != denoiser.config.get(width) for width in _PROMPT_WIDTHS):
        raise ValueError("it is made for another kind of model")
    return controlnet
