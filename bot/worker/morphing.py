"""The frames between two prompts and two seeds: spherical interpolation of noise and of embeddings.

On the straight line between two samples of noise the middle has too little variance, and so paints a grey picture. On
the arc between them it has the right one: Shoemake, "Animating Rotation with Quaternion Curves", 1985,
<https://doi.org/10.1145/325334.325242>. Imported in the engine process only.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from bot.jobs import GenerationRequest

_STRAIGHT = 0.9995
"""From which cosine of their angle on two tensors count as parallel: then the line is as good as the arc, and exact."""


def slerp(first: torch.Tensor, last: torch.Tensor, share: float) -> torch.Tensor:
    """The tensor at a share, from 0 to 1, of the arc between two of one shape; both ends are returned as they are."""
    if share <= 0:
        return first
    if share >= 1:
        return last
    start, end = first.double(), last.double()
    cosine = torch.sum(start * end) / (start.norm() * end.norm()).clamp_min(1e-12)
    if abs(float(cosine)) > _STRAIGHT:
        return (start + share * (end - start)).to(first.dtype)
    angle = torch.arccos(cosine)
    parts = torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end
    return (parts / torch.sin(angle)).to(first.dtype)


def shares(request: GenerationRequest) -> list[float]:
    """How far each frame of a request is from the first to the last, from 0 to 1."""
    return [number / (request.frames - 1) for number in range(request.frames)]


class Noise:
    """The noise of the frames of a request, for a pipeline of Stable Diffusion or SDXL."""

    def __init__(self, pipeline: Any, request: GenerationRequest, like: torch.Tensor) -> None:
        """Draw both ends as the pipeline itself does, on the device and in the precision of the embeddings `like`."""
        factor = pipeline.vae_scale_factor
        shape = (1, pipeline.unet.config.in_channels, request.height // factor, request.width // factor)
        self._seed = request.seed
        self._shape, self._like = shape, like
        last = request.seed if request.end_seed is None else request.end_seed
        self._first, self._last = self._drawn(self.generator(fresh=True)), self._drawn(_seeded(last))

    def _drawn(self, generator: torch.Generator) -> torch.Tensor:
        drawn: torch.Tensor = randn_tensor(
            self._shape, generator=[generator], device=self._like.device, dtype=self._like.dtype
        )
        return drawn

    def at(self, share: float) -> torch.Tensor:
        """The noise of the frame at a share of the way: (1, channels, h, w)."""
        return slerp(self._first, self._last, share)

    def generator(self, *, fresh: bool = False) -> torch.Generator:
        """What draws the noise of later steps, the same for all frames, so that nothing flickers.

        It is where that of a single picture with the first seed is after its noise was drawn.
        """
        generator = _seeded(self._seed)
        if not fresh:
            self._drawn(generator)
        return generator


def _seeded(seed: int) -> torch.Generator:
    # Always on the CPU, so that a seed gives the same noise on every device.
    return torch.Generator("cpu").manual_seed(seed)
