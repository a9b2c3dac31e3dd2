"""What a pipeline painted becomes files: checked, enlarged, marked, signed and encoded.

Imported in the engine process only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from bot.config import EngineConfig, ModelConfig
from bot.engine.model_files.known_files import UPSCALER, KnownFiles
from bot.errors import PaintFailed, UnusableFiles
from bot.jobs import GenerationRequest, Image, Operation
from bot.worker import animations, host_upscaler, nsfw, upscaling
from bot.worker.canvas import Canvas
from bot.worker.checkpoints import Checkpoint
from bot.worker.device_errors import is_out_of_memory
from bot.worker.host_upscaler import HostUpscaler
from bot.worker.labels import Labels, Maker
from bot.worker.likeness import phash
from bot.worker.machine import free_memory
from bot.worker.parameters import commented, parameters
from bot.worker.pictures import enlarged, enlarging, laid_over
from bot.worker.printing import Printer
from bot.worker.rows import NOT_NUMBERS
from bot.worker.upscaling import Upscaler

_BLACK = 2 / 255
"""A picture counts as black if no channel of any pixel is brighter than this."""


class Finisher:
    """Turns a pipeline's output into images. A model need not be in memory, but its files must have been fetched."""

    def __init__(
        self,
        models: Mapping[str, ModelConfig],
        settings: EngineConfig,
        device: str,
        fetch: Callable[[str], Checkpoint],
        labels: Labels | None,
        known: KnownFiles,
    ) -> None:
        """Make a finisher of these models' pictures; with `labels` it marks and signs them.

        The host's upscaler is used if it is new here, or did not change since it became `known`.
        Raises PaintFailed if the safety check cannot be loaded.
        """
        self._models, self._device, self._fetch, self._known = models, device, fetch, known
        # Kept when a model is evicted: they are small, and pictures of the model may still wait to be encoded.
        self._upscalers: dict[str, Upscaler | None] = {}
        self._schedulers: dict[str, str] = {}
        self._host_upscaler_file = settings.upscaler
        self._host_upscaler: HostUpscaler | None = None
        self._detail, self._labels = settings.provenance, labels
        self.nsfw = nsfw.load() if settings.safety == "on" else None
        """The safety check that every picture passes; None if the host has switched it off."""

    def remember(self, name: str, scheduler: str, upscaler: Upscaler | None) -> None:
        """Note the scheduler's class and the upscaler that a model was loaded with."""
        self._schedulers[name], self._upscalers[name] = scheduler, upscaler

    def finished(self, request: GenerationRequest, output: Any, canvas: Canvas | None = None) -> Iterator[Image | None]:
        """The pictures of a pipeline's output, or its animation; see `images` and `animation`."""
        return self.animation(request, output) if request.frames else self.images(request, output, canvas)

    def images(self, request: GenerationRequest, output: Any, canvas: Canvas | None = None) -> Iterator[Image]:
        """The pictures of a pipeline's output, enlarged and encoded one by one, in the order of the request's seeds.

        With a canvas, each is laid over it and has its size.

        It uses only the CPU, so it may run in another thread than the one that owns the device.
        Raises PaintFailed if a picture is invalid, black, or withheld by the safety checker.
        """
        pixels = _sound(output)
        factor, upscaler = self._models[request.model].upscale, self._upscalers[request.model]
        for frame, seed in zip(pixels, request.seeds, strict=True):
            whole = enlarged(frame, factor, upscaler) if canvas is None else laid_over(canvas, frame, upscaler)
            yield self._encode(request, seed, whole)

    def animation(self, request: GenerationRequest, output: Any) -> Iterator[Image | None]:
        """The frames of a pipeline's output as one animated WebP: yields None after each piece of work but the last.

        The safety check sees each, and the highest score counts. What was painted is kept
        without loss; people get a smaller file, in which each frame has the same invisible mark. Raises as `images`.
        """
        frames, scores = [], []
        factor, upscaler = self._models[request.model].upscale, self._upscalers[request.model]
        for pixels in _sound(output):
            frames.append(enlarged(pixels, factor, upscaler))
            if self.nsfw is not None:
                scores.append(self.nsfw.score(frames[-1]))
            yield None
        count = len(frames)
        shown = [animations.FILM_MS] * count if request.operation.is_film else animations.durations(count)
        exif = commented(self._text(request, request.seed, frames[0].size))
        png = animations.encoded(frames, shown, lossless=True, exif=exif)
        yield None
        number = None if self._labels is None else self._labels.new_mark()
        if self._labels is not None and number is not None:
            for at, frame in enumerate(frames):
                frames[at] = self._labels.with_mark(frame, number)
                yield None
        delivered = animations.encoded(frames, shown, lossless=False, exif=exif)
        if self._labels is not None:
            delivered = self._labels.signed(delivered, request, request.seed, self._maker(request), "image/webp")
        yield Image(
            png,
            request.seed,
            *frames[0].size,
            sha256(png).hexdigest(),
            phash(frames[0]),
            max(scores, default=None),
            delivered,
            sha256(delivered).hexdigest(),
            number,
        )

    def enlarged(self, request: GenerationRequest, picture: PIL.Image.Image) -> Iterator[Image | None]:
        """A picture, enlarged by the model's upscaler and encoded: yields None after each piece of work but the last.

        The model need not be in memory, and its files must have been fetched. Like `images`, the work uses only the
        CPU. Raises PaintFailed at once if the model has no upscaler.
        """
        upscaler = self._upscaler(request.model)
        if upscaler is None:
            raise PaintFailed(
                "The model {model} has no upscaler, so it cannot enlarge pictures. Choose another model.",
                model=request.model,
            )
        large = enlarging(picture, upscaler)
        return (None if whole is None else self._encode(request, request.seed, whole) for whole in large)

    def is_enlarged_on_device(self, model: str) -> bool:
        """Whether the host's upscaler enlarges pictures of a fetched model, because it has none. Raises PaintFailed."""
        return bool(self._host_upscaler_file) and self._upscaler(model) is None

    @property
    def unloaded_upscaler(self) -> int:
        """The bytes of the host's upscaler if it is still to be loaded; otherwise 0."""
        file = Path(self._host_upscaler_file)
        return file.stat().st_size if self._host_upscaler is None and file.is_file() else 0

    def enlarged_on_device(self, picture: PIL.Image.Image) -> Iterator[PIL.Image.Image | None]:
        """A picture, enlarged by the host's upscaler: yields None after each piece of work, and the result last.

        It is loaded if necessary. Only the thread that owns the device may go through it. Raises PaintFailed in words.
        """
        if self._host_upscaler is None:
            try:
                network = host_upscaler.load(Path(self._host_upscaler_file), self._device)
                self._known.check(UPSCALER, UPSCALER, self._host_upscaler_file, network.digest)
                self._host_upscaler = network
            except UnusableFiles as error:
                raise PaintFailed("The host's upscaler cannot be used: {error}", error=error.reason) from error
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                free_memory()
                raise PaintFailed("The host's upscaler does not fit into this machine's memory.") from error
        return enlarging(picture, self._host_upscaler)

    def enlargement(self, request: GenerationRequest, picture: PIL.Image.Image) -> Iterator[Image]:
        """A picture that the host's upscaler enlarged, encoded. Like `images`, it uses only the CPU."""
        yield self._encode(request, request.seed, picture)

    def made_by(self, request: GenerationRequest) -> str:
        """The sha256 of the weights that made the picture of a request: of its model, or of the host's upscaler."""
        host = self._enlarger(request)
        return self._fetch(request.model).digest if host is None else host.digest

    def _encode(self, request: GenerationRequest, seed: int, picture: PIL.Image.Image) -> Image:
        """A finished picture of a request as files, with the score of the safety check."""
        text = self._text(request, seed, picture.size)
        return Printer(self.nsfw, self._labels).image(request, seed, picture, text, self._maker(request))

    def _maker(self, request: GenerationRequest) -> Maker:
        """Who painted a picture, for its manifest; without labels nobody asks for the hash."""
        return Maker(request.model, model_hash="" if self._labels is None else self.made_by(request))

    def _text(self, request: GenerationRequest, seed: int, size: tuple[int, int]) -> str:
        """What the file of a picture says of how it was made; nothing if the host wants that."""
        if self._detail == "none":
            return ""
        host = self._enlarger(request)
        return parameters(
            request if self._detail == "full" else replace(request, prompt="", negative_prompt="", end_prompt=""),
            seed,
            size,
            scheduler=self._schedulers.get(request.model, ""),
            model_hash=self._fetch(request.model).digest,
            upscaler="" if host is None else host.name,
        )

    def _upscaler(self, name: str) -> upscaling.Upscaler | None:
        """The upscaler of a model whose files were fetched; None if it has none. Raises PaintFailed in words."""
        if name not in self._upscalers:
            try:
                self._upscalers[name] = upscaling.load(Path(self._fetch(name).source))
            except UnusableFiles as error:
                raise PaintFailed(
                    "The model {model} cannot be loaded: {error}", model=name, error=error.reason
                ) from error
        return self._upscalers[name]

    def _enlarger(self, request: GenerationRequest) -> HostUpscaler | None:
        """The host's upscaler if it enlarges the picture of a request."""
        own = self._upscalers.get(request.model)
        return self._host_upscaler if request.operation is Operation.UPSCALE and own is None else None


def _sound(output: Any) -> np.ndarray[Any, Any]:
    """The pictures of a pipeline's output, (n, h, w, 3) from 0 to 1. Raises PaintFailed for one that is invalid."""
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        raise PaintFailed("The model's own safety check withheld the picture. Try another prompt or seed.")
    # A film is one sample with many frames, of which some may be black: it fades in or out.
    is_film = hasattr(output, "frames")
    pixels = np.asarray(output.frames[0] if is_film else output.images)
    if not np.isfinite(pixels).all():
        raise PaintFailed(NOT_NUMBERS)
    # A VAE that overflows, or a safety checker without an answer, leaves a black picture. No scene is that dark.
    if (all if is_film else any)(float(frame.max()) < _BLACK for frame in pixels):
        raise PaintFailed("The model produced a black picture. Try another seed, sampler or size.")
    return pixels
