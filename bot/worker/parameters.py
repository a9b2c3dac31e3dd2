"""How a picture was painted, as the text that AUTOMATIC1111's web UI writes into PNGs and other tools read.

The form is that of its `create_infotext`: the prompt, a line for the negative prompt, and a line of names and values. A
value with a comma, a colon or the end of a line is quoted as JSON. The same request gives the same text, so that the
same picture gives the same file. In the engine process only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import PIL.Image

from bot.jobs import UPSCALE_FACTOR, GenerationRequest, Operation

KEYWORD = "parameters"
"""The keyword of the PNG's text chunk."""

_EXIF_FOLDER, _USER_COMMENT = 0x8769, 0x9286
"""Where EXIF keeps a text, which AUTOMATIC1111's web UI reads in formats other than PNG."""

_HASH_DIGITS = 10
"""How many digits of a model's hash are shown."""

_SAMPLERS: Mapping[str, str] = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "deis": "DEIS",
    "dpm++ 2m": "DPM++ 2M",
    "dpm++ 2m karras": "DPM++ 2M Karras",
    "dpm++ sde": "DPM++ 2M SDE",
    "euler": "Euler",
    "euler a": "Euler a",
    "heun": "Heun",
    "unipc": "UniPC",
}
"""Our samplers by the names that other tools know."""

_SCHEDULERS: Mapping[str, str] = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DEISMultistepScheduler": "DEIS",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "FlowMatchEulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "LCMScheduler": "LCM",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}
"""The same for the scheduler that a model comes with, by its class in diffusers."""


def parameters(
    request: GenerationRequest,
    seed: int,
    size: tuple[int, int],
    *,
    scheduler: str,
    model_hash: str,
    upscaler: str = "",
) -> str:
    """The text for one picture of a request, with the seed of that picture.

    `size` is its width and height in pixels, `scheduler` the class of the scheduler that the model comes with, and
    `model_hash` the sha256 of the model. `upscaler` is the name of the host's network, if that enlarged the picture.
    """
    prompt = " ".join(filter(None, [request.prompt, *(f"<lora:{name}:{weight:g}>" for name, weight in request.loras)]))
    lines = [prompt, f"Negative prompt: {request.negative_prompt}" if request.negative_prompt else ""]
    values = (
        _enlarging(upscaler or request.model, size)
        if request.operation is Operation.UPSCALE
        else _painting(request, seed, scheduler)
    )
    values |= {"Model": request.model, "Model hash": model_hash[:_HASH_DIGITS]}
    if request.frames:
        values["Frames"] = str(request.frames)
    if request.operation is Operation.MORPH:
        values["Last prompt"] = request.end_prompt or request.prompt
        values["Last seed"] = str(seed if request.end_seed is None else request.end_seed)
    if not (request.operation.begins_with_noise or request.operation.is_film or request.operation is Operation.UPSCALE):
        values["Denoising strength"] = f"{request.strength:g}"
    if request.controlnet:
        values["ControlNet 0"] = f"Model: {request.controlnet}, Weight: {request.controlnet_conditioning_scale:g}"
    return _text([*lines, _listed(values)])


def remote_parameters(request: GenerationRequest, size: tuple[int, int], model: str, provider: str) -> str:
    """The text for a picture that a provider painted: the words, and what is known of how it was made."""
    values = {"Size": f"{size[0]}x{size[1]}", "Model": model, "Provider": provider}
    lines = [request.prompt, f"Negative prompt: {request.negative_prompt}" if request.negative_prompt else ""]
    return _text([*lines, _listed(values)])


def _text(lines: list[str]) -> str:
    """Lines as the text of a PNG, in which neither a zero byte nor half of a surrogate pair has a place."""
    return "\n".join(filter(None, lines)).replace("\0", "").encode(errors="replace").decode()


def commented(text: str) -> bytes:
    """EXIF data with a text, for formats other than PNG; none without a text."""
    if not text:
        return b""
    exif = PIL.Image.Exif()
    exif.get_ifd(_EXIF_FOLDER)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {_quoted(value)}" for name, value in values.items())


def _painting(request: GenerationRequest, seed: int, scheduler: str) -> dict[str, str]:
    sampler = _SAMPLERS.get(request.sampler) or _SCHEDULERS.get(scheduler, scheduler.removesuffix("Scheduler"))
    return {
        "Steps": str(request.num_inference_steps),
        "Sampler": sampler,
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": str(seed),
        # What is painted, as it is typed in to paint it again; the picture may have been enlarged since.
        "Size": f"{request.width}x{request.height}",
    }


def _enlarging(upscaler: str, size: tuple[int, int]) -> dict[str, str]:
    return {
        "Size": f"{size[0]}x{size[1]}",
        "Postprocess upscale by": str(UPSCALE_FACTOR),
        "Postprocess upscaler": upscaler,
    }


def _quoted(value: str) -> str:
    """The value as JSON if it could be mistaken for several."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value
