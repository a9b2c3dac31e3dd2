"""The models in memory: a request becomes a call of a diffusers pipeline, and the output becomes images.

Imported in the engine process only.
"""

from __future__ import annotations

import gc
import inspect
import json
import logging
import math
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import PIL.Image
import psutil  # type: ignore[import-untyped,unused-ignore]
import torch
import transformers
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    _get_task_class,
)

from bot.config import STEPS, EngineConfig, LoraConfig, ModelConfig
from bot.engine import memory
from bot.engine.calibration import Subject
from bot.engine.catalog import SAMPLERS
from bot.engine.model_files.known_files import UPSCALER, KnownFiles, digest_of
from bot.engine.model_files.sampling import sampling_of
from bot.engine.model_files.single_file import SingleFile
from bot.engine.timing import DECODE
from bot.errors import PaintFailed, UnusableFiles
from bot.jobs import Adapters, GenerationRequest, Image, Operation
from bot.logs import traced
from bot.worker import acceleration, checkpoints, host_upscaler, nsfw, quantization, safety_checker, upscaling
from bot.worker.canvas import Canvas
from bot.worker.checkpoints import Checkpoint
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.host_upscaler import HostUpscaler
from bot.worker.inputs import Inputs
from bot.worker.labels import Labels
from bot.worker.library_errors import refused, told
from bot.worker.loras import RowLoras
from bot.worker.parameters import parameters
from bot.worker.pictures import encode, encoded, enlarged, enlarging, laid_over
from bot.worker.placement import Placement
from bot.worker.prompts import Prompts, Reading
from bot.worker.proving import Prover, machine_facts
from bot.worker.rows import NOT_NUMBERS, Parked, run_eagerly
from bot.worker.switches import ENCODE, FUSED

log = logging.getLogger(__name__)

_TASKS: Mapping[Operation, Mapping[str, Any]] = {
    Operation.TEXT2IMAGE: AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    Operation.IMAGE2IMAGE: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    Operation.BLEND: AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    Operation.INPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
    Operation.OUTPAINT: AUTO_INPAINT_PIPELINES_MAPPING,
}
_ASKED = {
    Operation.TEXT2IMAGE: "from words alone",
    Operation.IMAGE2IMAGE: "from a picture",
    Operation.BLEND: "a blend of pictures",
    Operation.INPAINT: "a part of a picture again",
    Operation.OUTPAINT: "beyond the edges of a picture",
}
_REPAINTING = (Operation.INPAINT, Operation.OUTPAINT)
_NOTHING = Inputs()

_PROMPT_WIDTHS = ("cross_attention_dim", "joint_attention_dim", "pooled_projection_dim")
"""Settings that a denoiser and its ControlNet share, and that differ between families of models."""

_ACCELERATED = {"unet": ("unet",), "transformer": ("transformer",), "vae": (DECODE, ENCODE)}
"""The modules of a pipeline that may be made faster, and the parts under which their forwards are timed."""

_NO_LENGTH = 10**6
"""transformers writes a number far above this one where a tokenizer's settings name no length."""
_MOST_ENCODERS = 4
"""The most threads that encode PNGs: zlib releases the interpreter's lock, but copying pixels does not."""
_BLACK = 2 / 255
"""A picture counts as black if no channel of any pixel is brighter than this."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device of this machine, its dtype, and how many threads and bytes of memory models may use."""

    device: str
    dtype: torch.dtype
    threads: int
    budget: int
    """Bytes that models may take together."""

    @classmethod
    def choose(cls, settings: EngineConfig) -> Machine:
        """The best device of this machine, with the dtype for it, unless the settings name others.

        Raises PaintFailed if the settings name a device that this machine does not have.
        """
        has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        device = next(name for name, there in has.items() if there) if settings.device == "auto" else settings.device
        if not has[device]:
            raise PaintFailed(f"engine.device is {device!r}, but torch finds no such device on this machine.")
        if settings.dtype != "auto":
            dtype: torch.dtype = getattr(torch, settings.dtype)
        elif device == "cuda":
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        else:
            dtype = torch.float16 if device == "mps" else torch.float32
        # On two cores a second thread makes a picture tens of seconds slower as soon as another program runs.
        cores = os.cpu_count() or 1
        threads = settings.threads or (1 if cores <= 2 else cores // 2)
        return cls(device, dtype, threads, int(settings.memory * 2**30) or _budget(device))

    @property
    def encoders(self) -> int:
        """How many threads encode pictures beside those that paint."""
        return max(1, min(_MOST_ENCODERS, (os.cpu_count() or 1) - self.threads))

    @property
    def name(self) -> str:
        """The machine in words; timings of another machine are ignored."""
        kind = torch.cuda.get_device_name() if self.device == "cuda" else f"{self.threads} thread(s)"
        return f"{self.device} ({kind}), {self.dtype}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline in memory, and the scheduler it came with."""

    pipeline: Any
    scheduler: Any
    prompts: Prompts
    placement: Placement
    lora_troubles: Mapping[str, str]
    """LoRAs of the model that cannot be used, each with the reason."""
    controlnets: dict[str, Any] = field(default_factory=dict)
    """The ControlNets that were loaded so far, by name."""
    views: dict[tuple[Operation, str], Any] = field(default_factory=dict)
    """The same modules in other pipelines of diffusers, by the operation and the ControlNet's name."""


class ModelStore:
    """Holds the models that are in memory, turns a request into a pipeline's arguments and its output into images."""

    def __init__(
        self,
        models: Sequence[ModelConfig],
        settings: EngineConfig,
        calibration: Path | None = None,
        labels: Labels | None = None,
        known: KnownFiles | None = None,
    ) -> None:
        """Make a store of these models; what makes them faster here is remembered in the file `calibration`.

        With `labels` pictures are marked and signed. With `known` only weights that did not change are loaded.
        Raises PaintFailed if the safety check cannot be loaded.
        """
        _quieten()
        self.machine = Machine.choose(settings)
        torch.set_num_threads(self.machine.threads)
        if settings.reproducible:
            # https://docs.pytorch.org/docs/stable/notes/randomness.html: before the first call of cuBLAS.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self._models = {model.name: model for model in models}
        self._known = known or KnownFiles(None)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._loaded: dict[str, Loaded] = {}
        self._rehearsed: set[str] = set()
        # Kept when a model is evicted: they are small, and pictures of the model may still wait to be encoded.
        self._upscalers: dict[str, upscaling.Upscaler | None] = {}
        self._schedulers: dict[str, str] = {}
        self._host_upscaler_file = settings.upscaler
        self._host_upscaler: HostUpscaler | None = None
        self._detail, self._labels = settings.provenance, labels
        self.nsfw = nsfw.load() if settings.safety == "on" else None
        """The safety check that every picture passes; None if the host has switched it off."""
        self.row_loras = RowLoras()
        self.graphs = acceleration.graphs(
            (self.machine.device, self.machine.dtype),
            Prover.reading(calibration, machine_facts()),
            recording=settings.graphs and not settings.reproducible,
            compiling=settings.compile,
            rows=settings.rows,
            trying=not settings.reproducible,
        )

    def fetch(self, name: str) -> Checkpoint:
        """The model's files, downloaded if necessary; in any thread. Raises PaintFailed in words."""
        if name not in self._checkpoints:
            try:
                self._checkpoints[name] = checkpoints.fetch(self._models[name], self._known)
            except PaintFailed:
                raise
            except UnusableFiles as error:
                raise PaintFailed(f"The model {name} cannot be loaded: {error}") from error
            except Exception as error:
                log.exception("model %s cannot be fetched", name)
                raise PaintFailed(f"The model {name} cannot be loaded: {refused(error)}") from error
        return self._checkpoints[name]

    def load(self, name: str) -> Loaded:
        """The model's pipeline, loaded if necessary. Raises PaintFailed in words."""
        if name in self._loaded:
            return self._loaded[name]
        model, checkpoint = self._models[name], self.fetch(name)
        try:
            pipeline, upscaler = _load(model, checkpoint, self.machine)
            placement = Placement(pipeline, model.memory, self.machine.device)
            troubles = self.row_loras.load(pipeline, model.loras, partial(self._check_lora, name))
            self._adopt(name, pipeline)
        except PaintFailed:
            raise
        except UnusableFiles as error:
            raise PaintFailed(f"The model {name} cannot be loaded: {error}") from error
        except Exception as error:
            if is_device_lost(error):
                raise
            if is_out_of_memory(error):
                _free()
                raise PaintFailed(self._too_large(model, checkpoint)) from error
            log.exception("model %s cannot be loaded", name)
            raise PaintFailed(f"The model {name} cannot be loaded: {refused(error)}") from error
        prompts = Prompts(pipeline, self.row_loras.on_all)
        self._loaded[name] = Loaded(pipeline, pipeline.scheduler, prompts, placement, troubles)
        self._upscalers[name], self._schedulers[name] = upscaler, type(pipeline.scheduler).__name__
        return self._loaded[name]

    def _check_lora(self, model: str, lora: LoraConfig, file: Path) -> None:
        """Raise UnusableFiles for a LoRA whose file changed since its first use."""
        self._known.check(f"LoRA {lora.name} of {model}", model, lora.source, digest_of(file))

    def _adopt(self, name: str, pipeline: Any) -> None:
        """Have what makes the modules of a pipeline faster tried, and switch on what was tried before."""
        # LoRAs change the projections that would be fused, and packed ones cannot be put together.
        packed = any(map(quantization.is_quantized, pipeline.components.values()))
        without = (FUSED,) if self._models[name].loras or packed else ()
        for part, parts in _ACCELERATED.items():
            if (module := getattr(pipeline, part, None)) is not None:
                self.graphs.switches.adopt(self._subject(name), module, parts, without=without)

    def _subject(self, name: str) -> Subject:
        """A model, for the verdicts on what makes it faster."""
        dtype = str(self.machine.dtype).removeprefix("torch.")
        return Subject(name, f"{self.hash_of(name)[:16]} in {dtype}")

    def _too_large(self, model: ModelConfig, checkpoint: Checkpoint) -> str:
        """That a model does not fit, and what the host can do."""
        painting = memory.Painting(model.width * model.height, itemsize=self.machine.dtype.itemsize)
        needs = memory.need(checkpoint.parts, model.memory, painting).peak
        words = f"The model {model.name} does not fit into this machine's memory: it needs about {memory.gib(needs)}."
        if self.machine.device != "cuda":
            return f"{words} Choose a smaller model."
        _, whole = torch.cuda.mem_get_info()
        return f"{words} {memory.remedy(checkpoint.parts, whole, painting)}"

    def run(self, parked: Parked, leaves: Sequence[Any], adapters: Sequence[Adapters]) -> Any:
        """Run the function of a call (see `rows.Run`), with its module on the device."""
        for loaded in self._loaded.values():
            if loaded.placement.moves(parked.module):
                with loaded.placement.present(parked.module):
                    # A graph would read the module where it was when the graph was recorded.
                    return run_eagerly(parked, leaves, adapters)
        return self.graphs(parked, leaves, adapters)

    def works_in_batches(self, name: str) -> bool:
        """Whether requests for a model begin together and end before others begin, because its parts take turns."""
        return "offload" in self._models[name].memory

    @property
    def names(self) -> Collection[str]:
        """The names of all models."""
        return self._models.keys()

    @property
    def unrehearsed(self) -> str | None:
        """A model in memory with which nothing was tried yet that could make it faster; None if there is none."""
        waiting = (name for name in self._loaded if name not in self._rehearsed)
        return next(waiting, None) if self.graphs.can_prove else None

    def rehearsing(self, name: str) -> ModelConfig:
        """The model's settings; from now on it counts as rehearsed."""
        self._rehearsed.add(name)
        return self._models[name]

    def evict(self, name: str) -> None:
        """Take a model out of memory. No request may be using it."""
        del self._loaded[name]
        self._rehearsed.discard(name)
        self.graphs.clear()
        _free()

    def is_resident(self, name: str) -> bool:
        """Whether the model is in memory."""
        return name in self._loaded

    def size(self, name: str) -> int:
        """Bytes that a fetched model takes in memory, with its ControlNets that are loaded."""
        model, itemsize = self._models[name], self.machine.dtype.itemsize
        beside = self._loaded[name].controlnets.values() if name in self._loaded else ()
        own = memory.need(self.fetch(name).parts, model.memory, memory.Painting(0, itemsize=itemsize)).weights
        if self.works_in_batches(name):
            return own
        return own + sum(int(net.num_parameters()) for net in beside) * itemsize

    def scheduler(self, request: GenerationRequest) -> Any:
        """A fresh scheduler for the request's sampler, with the model's own settings. Raises PaintFailed in words."""
        loaded = self.load(request.model)
        scheduler, pipeline = type(loaded.scheduler).__name__, type(loaded.pipeline).__name__
        sampling = sampling_of(scheduler, loaded.scheduler.config, pipeline)
        if words := sampling.refusal(request.sampler):
            raise PaintFailed(f"The model {request.model} {words}")
        most = sampling.most_steps(request.strength)
        # What all models may be asked for is not the engine's business: benchmarks ask for more.
        if most < min(STEPS[1], request.num_inference_steps):
            raise PaintFailed(f"The model {request.model} can be painted in up to {most} steps like this.")
        name, changes = SAMPLERS[request.sampler]
        kind = getattr(diffusers, name) if name else type(loaded.scheduler)
        try:
            return kind.from_config(loaded.scheduler.config, **changes)
        except Exception as error:
            # A model's own settings may be wrong in any way. explain() logs the error.
            raise PaintFailed(self.explain(request, error)) from error

    def pipeline(self, request: GenerationRequest) -> Any:
        """The model's modules in diffusers' pipeline for such a request. Raises PaintFailed in words."""
        loaded = self.load(request.model)
        key = (request.operation, request.controlnet)
        if key not in loaded.views:
            controlnet = self._controlnet(request) if request.controlnet else None
            view = _view(request, loaded.pipeline, controlnet)
            if view is not loaded.pipeline and self._models[request.model].memory:
                loaded.placement.claim(view)
            safety_checker.guard(request.model, getattr(loaded.pipeline, safety_checker.FOLDER, None), view)
            loaded.views[key] = view
        return loaded.views[key]

    def prompts(self, name: str) -> Prompts:
        """What reads and encodes the prompts of a model, loaded if necessary. Raises PaintFailed in words."""
        return self.load(name).prompts

    def arguments(
        self, request: GenerationRequest, inputs: Inputs = _NOTHING, texts: Sequence[str | Reading] | None = None
    ) -> dict[str, Any]:
        """The arguments for the request's pipeline, without those that it does not know (Flux has no negative prompt).

        `texts` are the prompt and the negative prompt as they were read. Raises PaintFailed in words.
        """
        loaded, pipeline = self.load(request.model), self.pipeline(request)
        known = inspect.signature(pipeline.__call__).parameters
        arguments = {
            **self._encoded(loaded, request, texts or request.texts),
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "num_images_per_prompt": request.num_images_per_prompt,
            # Always on the CPU, so that a seed gives the same noise on every device.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
            "output_type": "np",
        }
        if request.image:
            arguments |= {"image": inputs.image, "strength": _strength(request)}
        if inputs.mask_image is not None:
            arguments |= {"mask_image": inputs.mask_image}
        if request.controlnet:
            # Without an image to start from, diffusers calls the control image `image`.
            name = "control_image" if "control_image" in known else "image"
            scale = request.controlnet_conditioning_scale
            arguments |= {name: inputs.control_image, "controlnet_conditioning_scale": scale}
        return {name: value for name, value in arguments.items() if name in known}

    def adapters(self, request: GenerationRequest) -> Adapters:
        """The LoRAs of the request's rows. Raises PaintFailed if a LoRA cannot be loaded."""
        troubles = self.load(request.model).lora_troubles
        known = {lora.name for lora in self._models[request.model].loras}
        for name, _ in request.loras:
            if name not in known:
                raise PaintFailed(f"The model {request.model} has no LoRA {name} any more.")
            if name in troubles:
                raise PaintFailed(f"The LoRA {name} cannot be used: {troubles[name]}")
        return request.loras

    def _controlnet(self, request: GenerationRequest) -> Any:
        """The request's ControlNet, loaded if necessary."""
        name, loaded = request.controlnet, self.load(request.model)
        if name not in loaded.controlnets:
            checkpoint = self._checkpoints[request.model]
            if name in checkpoint.controlnet_troubles:
                raise PaintFailed(f"The ControlNet {name} cannot be used: {checkpoint.controlnet_troubles[name]}")
            source = checkpoint.controlnets.get(name)
            if source is None:
                raise PaintFailed(f"The model {request.model} has no ControlNet {name} any more. Choose another.")
            try:
                net = _load_controlnet(source, loaded.pipeline, self.machine)
                loaded.controlnets[name] = loaded.placement.add(net)
                subject = self._subject(request.model)
                beside = Subject(subject.model, f"{subject.key}, with {name}")
                self.graphs.switches.adopt(beside, net, ("controlnet",))
            except Exception as error:
                if is_device_lost(error):
                    raise
                if is_out_of_memory(error):
                    _free()
                    raise PaintFailed(f"The ControlNet {name} does not fit into this machine's memory.") from error
                log.exception("ControlNet %s cannot be loaded", name)
                raise PaintFailed(f"The ControlNet {name} cannot be loaded: {refused(error)}") from error
        return loaded.controlnets[name]

    def _encoded(self, loaded: Loaded, request: GenerationRequest, texts: Sequence[str | Reading]) -> dict[str, Any]:
        prompt, negative = texts
        try:
            return loaded.prompts.arguments(prompt, negative, self.adapters(request))
        except Exception as error:
            if is_device_lost(error):
                raise
            raise PaintFailed(self.explain(request, error)) from error

    def images(self, request: GenerationRequest, output: Any, canvas: Canvas | None = None) -> Iterator[Image]:
        """The pictures of a pipeline's output, enlarged and encoded one by one, in the order of the request's seeds.

        With a canvas, each is laid over it and has its size.

        It uses only the CPU, so it may run in another thread than the one that owns the device.
        Raises PaintFailed if a picture is invalid, black, or withheld by the safety checker.
        """
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise PaintFailed("The model's own safety check withheld the picture. Try another prompt or seed.")
        pixels = np.asarray(output.images)
        if not np.isfinite(pixels).all():
            raise PaintFailed(NOT_NUMBERS)
        # A VAE that overflows, or a safety checker without an answer, leaves a black picture. No scene is that dark.
        if any(float(frame.max()) < _BLACK for frame in pixels):
            raise PaintFailed("The model produced a black picture. Try another seed, sampler or size.")
        factor, upscaler = self._models[request.model].upscale, self._upscalers[request.model]
        for frame, seed in zip(pixels, request.seeds, strict=True):
            whole = enlarged(frame, factor, upscaler) if canvas is None else laid_over(canvas, frame, upscaler)
            yield self._encode(request, seed, whole)

    def enlarged(self, request: GenerationRequest, picture: PIL.Image.Image) -> Iterator[Image | None]:
        """A picture, enlarged by the model's upscaler and encoded: yields None after each piece of work but the last.

        The model need not be in memory, and its files must have been fetched. Like `images`, the work uses only the
        CPU. Raises PaintFailed at once if the model has no upscaler.
        """
        upscaler = self._upscaler(request.model)
        if upscaler is None:
            raise PaintFailed(
                f"The model {request.model} has no upscaler, so it cannot enlarge pictures. Choose another model."
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
                network = host_upscaler.load(Path(self._host_upscaler_file), self.machine.device)
                self._known.check(UPSCALER, UPSCALER, self._host_upscaler_file, network.digest)
                self._host_upscaler = network
            except UnusableFiles as error:
                raise PaintFailed(f"The host's upscaler cannot be used: {error}") from error
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                _free()
                raise PaintFailed("The host's upscaler does not fit into this machine's memory.") from error
        return enlarging(picture, self._host_upscaler)

    def enlargement(self, request: GenerationRequest, picture: PIL.Image.Image) -> Iterator[Image]:
        """A picture that the host's upscaler enlarged, encoded. Like `images`, it uses only the CPU."""
        yield self._encode(request, request.seed, picture)

    def _encode(self, request: GenerationRequest, seed: int, picture: PIL.Image.Image) -> Image:
        """A finished picture of a request as files, with the score of the safety check."""
        score = None if self.nsfw is None else self.nsfw.score(picture)
        text = ""
        if self._detail != "none":
            host = self._enlarger(request)
            text = parameters(
                request if self._detail == "full" else replace(request, prompt="", negative_prompt=""),
                seed,
                picture.size,
                scheduler=self._schedulers.get(request.model, ""),
                model_hash=self.hash_of(request.model),
                upscaler="" if host is None else host.name,
            )
        image = encode(picture, seed, text, score)
        if self._labels is None:
            return image
        digest = self.made_by(request)
        marked = self._labels.marked(picture)
        if marked is None:
            png = self._labels.signed(image.png, request, seed, digest)
            return replace(image, png=png, sha256=sha256(png).hexdigest())
        png = self._labels.signed(encoded(marked[0], text), request, seed, digest)
        return replace(image, delivered=png, delivered_sha256=sha256(png).hexdigest(), mark=marked[1])

    def _upscaler(self, name: str) -> upscaling.Upscaler | None:
        """The upscaler of a model whose files were fetched; None if it has none. Raises PaintFailed in words."""
        if name not in self._upscalers:
            try:
                self._upscalers[name] = upscaling.load(Path(self.fetch(name).source))
            except UnusableFiles as error:
                raise PaintFailed(f"The model {name} cannot be loaded: {error}") from error
        return self._upscalers[name]

    def _enlarger(self, request: GenerationRequest) -> HostUpscaler | None:
        """The host's upscaler if it enlarges the picture of a request."""
        own = self._upscalers.get(request.model)
        return self._host_upscaler if request.operation is Operation.UPSCALE and own is None else None

    def hash_of(self, name: str) -> str:
        """The sha256 of the weights of a model that was fetched."""
        return self._checkpoints[name].digest

    def made_by(self, request: GenerationRequest) -> str:
        """The sha256 of the weights that made the picture of a request: of its model, or of the host's upscaler."""
        host = self._enlarger(request)
        return self.hash_of(request.model) if host is None else host.digest

    def explain(self, request: GenerationRequest, error: Exception) -> str:
        """Why a request could not be painted, in words for the requester; details go to the log."""
        if isinstance(error, PaintFailed):
            return str(error)
        if is_out_of_memory(error):
            _free()
            return (
                f"{request.width}×{request.height} × {request.num_images_per_prompt} is too large for this "
                "machine's memory: try a smaller size or fewer images."
            )
        log.error("model %s could not paint\n%s", request.model, traced(error, *request.texts))
        return f"The model {request.model} could not paint this: {told(error)}"


def _load(model: ModelConfig, checkpoint: Checkpoint, machine: Machine) -> tuple[Any, upscaling.Upscaler | None]:
    """The model's pipeline, still on the CPU, and its upscaler if it has one."""
    source, files, upscaler = checkpoint.source, checkpoint.files, None
    parts = quantization.load_denoiser(model, files, machine.dtype, machine.device)
    if isinstance(files, SingleFile):
        pipeline = getattr(diffusers, files.pipeline).from_single_file(
            source, config=files.config, torch_dtype=machine.dtype, local_files_only=True, **parts
        )
        if files.changes:
            # The file knows better than its configuration what it predicts.
            kind = getattr(diffusers, files.scheduler)
            pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **files.changes)
    else:
        if safety_checker.is_named(Path(source)) and (
            checker := safety_checker.load(model.name, Path(source), machine.dtype)
        ):
            parts[safety_checker.FOLDER] = checker
        # Pickled weights can run code when they are loaded, so only safetensors are loaded.
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            source,
            torch_dtype=machine.dtype,
            use_safetensors=True,
            local_files_only=True,
            variant=files.variant,
            **parts,
        )
        upscaler = upscaling.load(Path(source))
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        raise UnusableFiles(f"it does not paint from words ({type(pipeline).__name__}).", "Choose another model.")
    _limit_tokenizers(pipeline)
    vae: Any = getattr(pipeline, "vae", None)
    if machine.dtype == torch.float16 and hasattr(pipeline, "upcast_vae") and vae.config.get("force_upcast"):
        # SDXL's VAE overflows in half precision. Its pipelines would cast it for every picture, but it is shared.
        vae.to(torch.float32)
    return pipeline, upscaler


def _limit_tokenizers(pipeline: Any) -> None:
    """Give tokenizers whose settings do not say how long a prompt may be the length of their text encoder."""
    for name, part in pipeline.components.items():
        if not name.startswith("tokenizer") or getattr(part, "model_max_length", 0) < _NO_LENGTH:
            continue
        encoder = pipeline.components.get(name.replace("tokenizer", "text_encoder"))
        positions = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        if positions:
            part.model_max_length = positions


def _load_controlnet(source: str, pipeline: Any, machine: Machine) -> Any:
    """A ControlNet, still on the CPU. Raises ValueError if it is no ControlNet, or does not fit this pipeline."""
    path = Path(source)
    if path.is_file():
        # Without a configuration beside it, diffusers fetches the configuration of the ControlNet it resembles.
        beside = str(path.parent) if (path.parent / "config.json").is_file() else None
        controlnet = diffusers.ControlNetModel.from_single_file(
            source, config=beside, torch_dtype=machine.dtype, local_files_only=beside is not None
        )
    else:
        name = json.loads((path / "config.json").read_text(encoding="utf-8"))["_class_name"]
        if not name.endswith("ControlNetModel"):
            raise ValueError(f"it is a {name}, which is no ControlNet that can be used")
        controlnet = getattr(diffusers, name).from_pretrained(
            source, torch_dtype=machine.dtype, use_safetensors=True, local_files_only=True
        )
    denoiser = getattr(pipeline, "unet", None) or pipeline.transformer
    if any(controlnet.config.get(width) != denoiser.config.get(width) for width in _PROMPT_WIDTHS):
        raise ValueError("it is made for another kind of model")
    return controlnet


def _view(request: GenerationRequest, pipeline: Any, controlnet: Any) -> Any:
    """The pipeline's modules in the pipeline class for a request, as AutoPipeline chooses it.

    `from_pipe` is not used, because it casts the modules that other requests are painted with.
    """
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
        what = f"{_ASKED[request.operation]}{' with a ControlNet' if controlnet is not None else ''}"
        raise PaintFailed(f"The model {request.model} cannot paint {what}. Choose another model.")
    if kind is type(pipeline) and controlnet is None:
        return pipeline
    parts = {**pipeline.config, **pipeline.components, "controlnet": controlnet}
    wanted = inspect.signature(kind.__init__).parameters
    return kind(**{name: part for name, part in parts.items() if name in wanted})


def _strength(request: GenerationRequest) -> float:
    """The request's strength, or the smallest with which diffusers makes a step: int(steps · strength) ≥ 1."""
    # 49 · (1 / 49) is below 1 in floating point; with the next larger number it is not.
    return max(request.strength, math.nextafter(1 / request.num_inference_steps, 1))


def _budget(device: str) -> int:
    """Bytes for models if the settings name none: the rest is for painting, and on a CPU also for other programs."""
    if device == "cuda":
        return int(0.7 * torch.cuda.mem_get_info()[0])
    if device == "mps":
        return int(0.7 * torch.mps.recommended_max_memory())
    memory = int(psutil.virtual_memory().total)
    # A container may have less than its machine: https://docs.kernel.org/admin-guide/cgroup-v2.html
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    return memory // 2


def _free() -> None:
    # Pipelines and their views refer to each other.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _quieten() -> None:
    """Turn off the libraries' progress bars and advice, which would fill the bot's log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
