"""The host's model that tells a thing from its background, for variants of it. In the engine process only.

It is any model of transformers for semantic, instance or panoptic segmentation whose image processor can turn its
output into one label for each pixel. It runs on the CPU, beside the thread that paints. Which labels are the background
is read off the edge of the picture, because models have names for many things and people have pictures of any.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import transformers

from bot.errors import PaintFailed
from bot.language import mark
from bot.worker.library_errors import told

log = logging.getLogger(__name__)

_KINDS = (
    transformers.AutoModelForSemanticSegmentation,
    transformers.AutoModelForUniversalSegmentation,
    transformers.AutoModelForImageSegmentation,
)
_EDGE = 40
"""The edge of a picture is this part of its shorter side."""
_BACKGROUND = 0.75
"""The most frequent labels of the edge that have this share of it together are the background."""
_SHARES = (0.005, 0.95)
"""Which share of the picture the thing may have."""

NOT_FOUND = mark(
    "The host's model for that finds no thing in front of a background in this picture. Use a picture in which the "
    "thing stands out, or ask with {command imagine} and a mask."
)


class Segmenter:
    """A model in memory."""

    def __init__(self, processor: Any, model: Any) -> None:
        self._processor = processor
        self._model = model

    def thing(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """Where the thing in a picture in RGB is: 255 there, 0 in the background. Raises PaintFailed in words."""
        try:
            inputs = self._processor(images=picture, return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**inputs)
            (labels,) = self._processor.post_process_semantic_segmentation(
                outputs, target_sizes=[(picture.height, picture.width)]
            )
        except Exception as error:
            log.exception("the host's segmentation model failed")
            raise PaintFailed(
                "The host's model that finds the thing in a picture failed: {error}", error=told(error)
            ) from error
        return thing_of(labels.cpu().numpy())


def thing_of(labels: np.ndarray[Any, Any]) -> PIL.Image.Image:
    """Where the thing is by the labels (h, w) of the pixels. Raises PaintFailed if the picture has no such thing."""
    edge = max(min(labels.shape) // _EDGE, 1)
    parts = labels[:edge], labels[-edge:], labels[edge:-edge, :edge], labels[edge:-edge, -edge:]
    border = np.concatenate([part.reshape(-1) for part in parts])
    found, counts = np.unique(border, return_counts=True)
    order = counts.argsort()[::-1]
    # Those before the share is reached, and the one that reaches it.
    needed = int(np.searchsorted(counts[order].cumsum(), _BACKGROUND * len(border))) + 1
    thing = ~np.isin(labels, found[order[:needed]])
    if not _SHARES[0] <= thing.mean() <= _SHARES[1]:
        raise PaintFailed(NOT_FOUND)
    return PIL.Image.fromarray(np.where(thing, 255, 0).astype("uint8"))


def load(source: str) -> Segmenter:
    """The model in a folder or of a hub id, from safetensors only. Raises PaintFailed, in words, if it is unusable.

    The hub is asked only for what was not downloaded before.
    """
    try:
        try:
            return _load(source, local_files_only=True)
        except OSError:
            if Path(source).is_dir():
                raise
            return _load(source, local_files_only=False)
    except PaintFailed:
        raise
    except Exception as error:
        # Whatever it is, variants can be painted without the model, and all else too.
        log.exception("the model of engine.segmenter cannot be loaded (%s)", type(error).__name__)
        raise PaintFailed(
            "The model {model} of engine.segmenter cannot be loaded: {error}", model=source, error=told(error)
        ) from error


def _load(source: str, *, local_files_only: bool) -> Segmenter:
    options: dict[str, Any] = {"local_files_only": local_files_only, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(source, **options)
    kind = next((kind for kind in _KINDS if type(config) in kind._model_mapping), None)
    if kind is None:
        raise PaintFailed(
            "The model {model} cannot be used for engine.segmenter: it is of the kind {kind}, and transformers "
            "has no segmentation by such models. Take one for segmentation, such as SegFormer.",
            model=source,
            kind=config.model_type,
        )
    processor = transformers.AutoImageProcessor.from_pretrained(source, backend="pil", **options)
    model, found = kind.from_pretrained(
        source, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
    )
    if found["missing_keys"] or found["mismatched_keys"]:
        raise PaintFailed(
            "The model {model} of engine.segmenter is incomplete: some of its weights are missing.", model=source
        )
    if not hasattr(processor, "post_process_semantic_segmentation"):
        raise PaintFailed(
            "The model {model} of engine.segmenter gives no label for each pixel. Take another one.", model=source
        )
    return Segmenter(processor, model.eval())
