"""Which of diffusers' pipelines paints a request, over the modules that its model has in memory."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    _get_task_class,
)

from bot.engine.model_files.operations import FILMING, operations_of
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Operation
from bot.language import mark

_TASKS: Mapping[Operation, Mapping[str, Any]] = {
    Operation.TEXT2IMAGE: AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    Operation.MORPH: AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    Operation.IMAGE2IMAGE: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    Operation.BLEND: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    Operation.INPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
    Operation.OUTPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
}
_UNABLE = {
    Operation.TEXT2IMAGE: mark("The model {model} cannot paint from words alone. Choose another model."),
    Operation.MORPH: mark("The model {model} cannot paint an animation. Choose another model."),
    Operation.IMAGE2IMAGE: mark("The model {model} cannot paint from a picture. Choose another model."),
    Operation.BLEND: mark("The model {model} cannot paint a blend of pictures. Choose another model."),
    Operation.INPAINT: mark("The model {model} cannot paint a part of a picture again. Choose another model."),
    Operation.OUTPAINT: mark("The model {model} cannot paint beyond the edges of a picture. Choose another model."),
    Operation.FILM: mark("The model {model} cannot paint films from words. Choose another model."),
    Operation.IMAGE2FILM: mark("The model {model} cannot paint films that begin with a picture. Choose another model."),
}
_UNABLE_WITH_A_CONTROLNET = {
    Operation.TEXT2IMAGE: mark(
        "The model {model} cannot paint from words alone with a ControlNet. Choose another model."
    ),
    Operation.MORPH: mark("The model {model} cannot paint an animation with a ControlNet. Choose another model."),
    Operation.IMAGE2IMAGE: mark(
        "The model {model} cannot paint from a picture with a ControlNet. Choose another model."
    ),
    Operation.BLEND: mark(
        "The model {model} cannot paint a blend of pictures with a ControlNet. Choose another model."
    ),
    Operation.INPAINT: mark(
        "The model {model} cannot paint a part of a picture again with a ControlNet. Choose another model."
    ),
    Operation.OUTPAINT: mark(
        "The model {model} cannot paint beyond the edges of a picture with a ControlNet. Choose another model."
    ),
}
_REPAINTING = (Operation.INPAINT, Operation.OUTPAINT)


def view_for(request: GenerationRequest, pipeline: Any, controlnet: Any) -> Any:
    """The pipeline's modules in the pipeline class for a request, as AutoPipeline chooses it.

    `from_pipe` is not used, because it casts the modules that other requests are painted with.
    """
    if (of_videos := type(pipeline).__name__ in FILMING) or request.operation.is_film:
        if of_videos and request.operation in operations_of(type(pipeline).__name__, None, upscales=False):
            return pipeline
        raise PaintFailed(_UNABLE[request.operation], model=request.model)
    # A model may be saved with a ControlNet of its own, but the request says which one is used.
    name = type(pipeline).__name__.replace("ControlNet", "")
    if controlnet is not None:
        name = re.sub("(Img2Img|Inpaint)?Pipeline$", "ControlNetPipeline", name)
    kind = _get_task_class(_TASKS[request.operation], name, throw_error_if_not_exist=False)
    if kind is None and controlnet is None and request.operation is Operation.TEXT2IMAGE:
        # AutoPipeline does not know this pipeline, so it is used as it is.
        return pipeline
    # Models with nine channels take the mask and the masked image as five more channels of the latents.
    channels = getattr(getattr(pipeline, "unet", None), "config", {}).get("in_channels")
    if kind is None or (channels == 9 and request.operation not in _REPAINTING):
        unable = _UNABLE[request.operation] if controlnet is None else _UNABLE_WITH_A_CONTROLNET[request.operation]
        raise PaintFailed(unable, model=request.model)
    if kind is type(pipeline) and controlnet is None:
        return pipeline
    parts = {**pipeline.config, **pipeline.components, "controlnet": controlnet}
    wanted = inspect.signature(kind.__init__).parameters
    return kind(**{name: part for name, part in parts.items() if name in wanted})
