"""What can be done with a model beside painting from words: whether diffusers has pipelines for it over its modules.

The names are those of the classes in diffusers' AUTO_IMAGE2IMAGE_PIPELINES_MAPPING and AUTO_INPAINT_PIPELINES_MAPPING;
importing them would import torch. A test compares them.
"""

from __future__ import annotations

import re

from bot.jobs import Operation

_REPAINTING = frozenset({Operation.INPAINT, Operation.OUTPAINT})
"""A picture is continued by the pipeline that repaints a part of one."""

_STARTING = frozenset({Operation.IMAGE2IMAGE, Operation.BLEND})
"""The mean of several pictures is painted over by the pipeline that starts from a picture."""

_VARIANT = re.compile("(Img2Img|Inpaint)(?=(Combined)?Pipeline$)")
"""A model may be saved as the pipeline of another operation; the modules are the same."""

_FROM_PICTURES = frozenset(
    {
        "Flux2KleinPipeline",
        "Flux2Pipeline",
        "FluxKontextPipeline",
        "Kandinsky3Pipeline",
        "LatentConsistencyModelPipeline",
        "QwenImageLayeredPipeline",
        "StableDiffusion3PAGPipeline",
    }
)
"""Pipelines beside which there is one that starts from a picture, and none that repaints a part of one."""

_FROM_PARTS = frozenset(
    {
        "FluxPipeline",
        "IFInpaintingPipeline",
        "IFPipeline",
        "KandinskyCombinedPipeline",
        "KandinskyV22CombinedPipeline",
        "QwenImagePipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusionPAGPipeline",
        "StableDiffusionPipeline",
        "StableDiffusionXLPAGPipeline",
        "StableDiffusionXLPipeline",
        "ZImagePipeline",
    }
)
"""Pipelines beside which there is one of each kind."""

FILMING = frozenset(
    {"CogVideoXPipeline", "LTXPipeline", "WanPipeline", "CogVideoXImageToVideoPipeline", "LTXImageToVideoPipeline"}
)
"""Pipelines for videos that were tried; the name says whether they go on from a picture."""

_MORPHING = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})
"""Pipelines that take embeddings of prompts and noise of any shape that `bot/worker/morphing.py` knows."""

MASKED_CHANNELS = 9
"""The channels of a denoiser that is given the mask and the picture under it, and so can do nothing else."""

UNKNOWN = frozenset(Operation) - {Operation.UPSCALE}
"""What a model is taken to do while its files are not here; the engine, which fetches them, knows better."""


def operations_of(pipeline: str, channels: int | None, *, upscales: bool) -> frozenset[Operation]:
    """What can be done with a model, by the class of its pipeline and the channels that its denoiser takes.

    `channels` is None if their number is not known; `upscales` says whether the model has an upscaler.
    """
    if pipeline in FILMING:
        return frozenset({Operation.IMAGE2FILM if "ImageToVideo" in pipeline else Operation.FILM})
    name = _VARIANT.sub("", pipeline.replace("ControlNet", ""))
    found = frozenset({Operation.UPSCALE}) if upscales else frozenset[Operation]()
    if channels == MASKED_CHANNELS:
        return found | _REPAINTING
    found |= {Operation.TEXT2IMAGE}
    if name in _FROM_PICTURES or name in _FROM_PARTS:
        found |= _STARTING
    if name in _MORPHING:
        found |= {Operation.MORPH}
    return found | _REPAINTING if name in _FROM_PARTS else found
