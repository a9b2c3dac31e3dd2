"""ComfyUI's own sampler as an arm of the comparison: the same weights, prompts, steps and guidance, one by one.

ComfyUI's code is not part of this project and is not needed for anything else: name a folder that holds its `comfy`
package. It brings dependencies of its own (torchsde, einops, scipy, sentencepiece and more: its requirements.txt). It
paints with its own denoiser, attention and samplers; prompts are encoded and pictures decoded and encoded as in every
other arm, since these are not what is compared.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.arms import Arms, UnavailableError
from benchmarks.loads import Arrival, Desk, Outcome
from bot.jobs import GenerationRequest

_SAMPLERS = {"default": "ddim", "ddim": "ddim", "euler": "euler", "euler a": "euler_ancestral", "dpm++ 2m": "dpmpp_2m"}
"""The names in ComfyUI of Atelier's samplers."""


class ComfyUI:
    """ComfyUI with the denoiser of a model."""

    def __init__(self, folder: Path, arms: Arms) -> None:
        """Raises UnavailableError if there is no ComfyUI, or none that knows the model."""
        self._arms = arms
        sys.path.insert(0, str(folder))
        sys.path.insert(0, str(folder))
        try:
            # What it would read from the command line has to be known before its other modules are imported.
            importlib.import_module("comfy.cli_args").args.cpu = arms.store.machine.device == "cpu"
            self._sample: Any = importlib.import_module("comfy.sample")
            loader: Any = importlib.import_module("comfy.sd")
        except ImportError as error:
            sys.path.remove(str(folder))
            raise UnavailableError(f"ComfyUI cannot be imported from {folder}: {error}") from error
        weights = {name: tensor.clone() for name, tensor in arms.pipeline.unet.state_dict().items()}
        options = {"dtype": arms.store.machine.dtype}
        self._model: Any = loader.load_diffusion_model_state_dict(weights, model_options=options)
        if self._model is None:
            raise UnavailableError("ComfyUI does not know this architecture")

    def serve(self, arrivals: Sequence[Arrival]) -> Outcome:
        """One request after the other."""
        with Desk(self._arms.store, arrivals) as desk, torch.inference_mode():
            while desk.more:
                for number in desk.due(wait=True):
                    desk.hand_in(number, self.paint(desk.request(number)))
            return desk.outcome()

    def paint(self, request: GenerationRequest) -> Any:
        """A picture, as a pipeline returns it."""
        pipeline, arguments = self._arms.pipeline, self._arms.store.arguments(request)
        size = request.height // pipeline.vae_scale_factor, request.width // pipeline.vae_scale_factor
        latents = torch.zeros(1, pipeline.unet.config.in_channels, *size)
        painted = self._sample.sample(
            self._model,
            self._sample.prepare_noise(latents, request.seed),
            request.num_inference_steps,
            request.guidance_scale,
            _SAMPLERS[request.sampler],
            "normal",
            _conditioning(arguments, ""),
            _conditioning(arguments, "negative_"),
            latents,
            disable_pbar=True,
            seed=request.seed,
        )
        # It returns latents without the VAE's scale.
        painted = painted.to(pipeline.vae.device, pipeline.vae.dtype)
        pixels = pipeline.vae.decode(painted, return_dict=False)[0]
        return SimpleNamespace(images=pipeline.image_processor.postprocess(pixels, output_type="np"))


def _conditioning(arguments: dict[str, Any], prefix: str) -> list[Any]:
    """A prompt in the form that ComfyUI's nodes use."""
    pooled = arguments.get(f"{prefix}pooled_prompt_embeds")
    return [[arguments[f"{prefix}prompt_embeds"], {} if pooled is None else {"pooled_output": pooled}]]
