"""The same batches without coroutines: a hand-written loop for plain Stable Diffusion.

It does what a loop of one's own cannot do without (each request's latents and scheduler, guidance, one forward for
all, one picture decoded at a time) and nothing else. Beside the easel it shows what running diffusers' own pipelines
in greenlets costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from types import SimpleNamespace
from typing import Any

import diffusers
import torch

from bot.jobs import GenerationRequest
from bot.worker.pipelines import ModelStore


def can_paint(pipeline: Any) -> bool:
    """Whether the loop knows the kind of pipeline."""
    return type(pipeline) is diffusers.StableDiffusionPipeline


class Painting:
    """One request of one picture: its latents, its scheduler, and how far it is."""

    def __init__(self, studio: ModelStore, number: int, request: GenerationRequest) -> None:
        pipeline, arguments = studio.load(request.model).pipeline, studio.arguments(request)
        self.number = number
        self._view = copy(pipeline)
        self._scheduler = vars(self._view)["scheduler"] = studio.scheduler(request)
        self._scheduler.set_timesteps(request.num_inference_steps, device=pipeline.device)
        self._left = list(self._scheduler.timesteps)
        self._generator = arguments["generator"]
        self._latents = self._view.prepare_latents(
            1, pipeline.unet.config.in_channels, request.height, request.width,
            arguments["prompt_embeds"].dtype, pipeline.device, self._generator,
        )  # fmt: skip
        self._more = self._view.prepare_extra_step_kwargs(self._generator, 0.0)
        self._guidance = request.guidance_scale
        texts = [arguments["prompt_embeds"]]
        if request.guidance_scale > 1:
            texts.insert(0, arguments["negative_prompt_embeds"])
        self.texts = torch.cat(texts)

    @property
    def rows(self) -> int:
        return len(self.texts)

    @property
    def done(self) -> bool:
        return not self._left

    def ask(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next forward's latents (rows, channels, h, w) and timesteps (rows)."""
        step = self._left[0]
        latents = self._scheduler.scale_model_input(torch.cat([self._latents] * self.rows), step)
        return latents, step.expand(self.rows)

    def take(self, noise: torch.Tensor) -> None:
        """Go on by one step."""
        if self.rows == 2:
            unwanted, wanted = noise.chunk(2)
            noise = unwanted + self._guidance * (wanted - unwanted)
        self._latents = self._scheduler.step(noise, self._left.pop(0), self._latents, **self._more, return_dict=False)[
            0
        ]

    def decode(self) -> Any:
        """The picture, as a pipeline returns it."""
        latents = self._latents / self._view.vae.config.scaling_factor
        pixels = self._view.vae.decode(latents, return_dict=False, generator=self._generator)[0]
        return SimpleNamespace(images=self._view.image_processor.postprocess(pixels, output_type="np"))


def serve(
    unet: Any, rows: int, take: Callable[[bool], Sequence[Painting] | None], hand_in: Callable[[int, Any], None]
) -> None:
    """Paint what `take` brings (told True, nothing is left to do) until it brings None."""
    live: list[Painting] = []
    finished: list[Painting] = []
    with torch.inference_mode():
        while (came := take(not live and not finished)) is not None or live or finished:
            live += came or ()
            group: list[Painting] = []
            for painting in live:
                if sum(other.rows for other in group) + painting.rows <= rows:
                    group.append(painting)
            if group:
                asked = [painting.ask() for painting in group]
                noise = unet(
                    torch.cat([latents for latents, _ in asked]),
                    torch.cat([steps for _, steps in asked]),
                    encoder_hidden_states=torch.cat([painting.texts for painting in group]),
                    return_dict=False,
                )[0]
                for painting, part in zip(group, noise.split([painting.rows for painting in group]), strict=True):
                    painting.take(part)
                # Whoever was served goes behind those who were not.
                live = [p for p in live if p not in group] + [p for p in group if not p.done]
                finished += [painting for painting in group if painting.done]
            if finished:
                first = finished.pop(0)
                hand_in(first.number, first.decode())
