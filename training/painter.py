"""Paints pictures with a trained model, as diffusers does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from diffusers import StableDiffusionPipeline
from rich.progress import track
from torch import Tensor

from bot.engine.catalog import SAMPLERS
from training.sources import SIZE


def load(folder: Path, device: str = "cpu", sampler: str = "default") -> Any:
    """Return the pipeline of a diffusers folder in single precision. Raises FileNotFoundError when there is none."""
    if not (folder / "model_index.json").is_file():
        message = f"{folder} is no diffusers folder: it has no model_index.json"
        raise FileNotFoundError(message)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    kind, changes = SAMPLERS[sampler]
    if kind:
        pipeline.scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config, **changes)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)  # many pictures at a time are a quarter faster
    return pipeline.to(device)


def paint(
    pipeline: Any, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, batch: int = 16
) -> Tensor:
    """Return a picture of each text with its seed: float32 [n, 3, 128, 128] in [0, 1], on the CPU."""
    painted = []
    for start in track(range(0, len(texts), batch), f"{len(texts)} pictures"):
        rows = slice(start, start + batch)
        with torch.inference_mode():
            output = pipeline(
                list(texts[rows]),
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds[rows]],
                num_inference_steps=steps,
                guidance_scale=guidance,
                output_type="pt",
            )
        pictures = output.images.float().cpu()
        if pictures.shape[-1] != SIZE:
            pictures = F.interpolate(pictures, (SIZE, SIZE), mode="bilinear", antialias=True)
        painted.append(pictures)
    return torch.cat(painted)
