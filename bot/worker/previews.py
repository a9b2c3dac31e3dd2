"""Previews of pictures that are being painted, directly from their latents. Imported in the engine process only.

The latents of a VAE are nearly a linear picture. So a matrix from their channels to red, green and blue, fitted to how
the same VAE encodes plain colours, gives a picture of an eighth of the size in a fraction of a millisecond.
"""

from __future__ import annotations

import functools
import io
import itertools
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

_TILE = 8
"""The side, in latents, of the plain squares to which the matrix is fitted; edges do not affect their middle."""
_SIDE = 256
"""The longer side of a preview, in pixels, approximately."""


class LatentTap:
    """Records a scheduler's estimate of the finished picture: `latents`, (images, channels, h, w), or None."""

    def __init__(self, scheduler: Any) -> None:
        """Record every step from now on; the scheduler works as before."""
        self.latents: torch.Tensor | None = None
        step = scheduler.step

        @functools.wraps(step)
        def stepping(model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            result = step(model_output, *args, **kwargs)
            self.latents = _finished(scheduler, model_output, result)
            return result

        scheduler.step = stepping


class LatentPreview:
    """Makes pictures of latents with the matrix of one VAE."""

    def __init__(self, vae: Any, factor: int) -> None:
        """Fit the matrix for a VAE with `factor` pixels a latent; takes one small forward of its encoder."""
        levels = torch.tensor(list(itertools.product((-1.0, -1 / 3, 1 / 3, 1.0), repeat=3)))
        tiles = levels.view(-1, 3, 1, 1).expand(-1, 3, _TILE * factor, _TILE * factor).to(vae.device, vae.dtype)
        # A VAE for videos takes frames as one more axis.
        self._channels = int(vae.config.get("z_dim") or vae.config.get("latent_channels") or 0)
        of_videos = vae.config.get("temporal_compression_ratio") or vae.config.get("scale_factor_temporal")
        with torch.inference_mode():
            output = vae.encode(tiles[:, :, None] if of_videos else tiles)
            encoded = output.latents if hasattr(output, "latents") else output.latent_dist.mode()
        middle = (encoded[:, :, 0] if of_videos else encoded)[:, :, _TILE // 2, _TILE // 2].float().cpu()
        latents = _scaled(middle, vae.config)
        ones = torch.ones(len(latents), 1)
        self._matrix = torch.linalg.lstsq(torch.cat([latents, ones], 1), levels / 2 + 0.5).solution.numpy()

    def one_frame(self, latents: torch.Tensor) -> torch.Tensor:
        """The middle frame of the latents of a video, as those of a picture; the latents of pictures as they are."""
        if latents.ndim != 5:
            return latents
        # Kinds of models differ in whether frames or channels come first.
        axis = 2 if latents.shape[1] == self._channels else 1
        return latents.select(axis, latents.shape[axis] // 2)

    def picture(self, latents: np.ndarray[Any, Any]) -> PIL.Image.Image:
        """The pictures of latents (images, channels, h, w), side by side."""
        row = np.concatenate(list(latents), axis=2)
        colours = np.tensordot(self._matrix[:-1], row, axes=(0, 0)) + self._matrix[-1][:, None, None]
        pixels = (np.nan_to_num(colours).clip(0, 1) * 255).round().astype("uint8").transpose(1, 2, 0)
        picture = PIL.Image.fromarray(pixels)
        scale = max(1, round(_SIDE / max(picture.size)))
        return picture.resize((picture.width * scale, picture.height * scale), PIL.Image.Resampling.BICUBIC)


def encode(picture: PIL.Image.Image) -> bytes:
    """A small JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _scaled(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """Latents (n, channels) of a VAE as a denoiser gets them."""
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        scaled: torch.Tensor = (latents - torch.tensor(config["latents_mean"])) / torch.tensor(config["latents_std"])
        return scaled * float(config.get("scaling_factor") or 1.0)
    scaled = (latents - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]
    return scaled  # noqa: RET504 - the settings have no types


def _finished(scheduler: Any, model_output: torch.Tensor, result: Any) -> torch.Tensor:
    """The scheduler's estimate of the finished picture; if it gives none, the picture as it is now, with its noise."""
    if not isinstance(result, tuple):
        result = tuple(result.values())
    outputs = getattr(scheduler, "model_outputs", None)
    finished: torch.Tensor = result[0]
    if len(result) > 1 and result[1] is not None:
        finished = result[1]
    elif isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # Flow matching walks a straight line at the model's speed: x₀ = x_σ − σ·v.
        finished = finished - scheduler.sigmas[scheduler.step_index] * model_output
    elif outputs and (scheduler.config.get("predict_x0") or "++" in scheduler.config.get("algorithm_type", "")):
        finished = outputs[-1]
    return finished
