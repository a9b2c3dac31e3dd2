"""The models in memory: a request becomes a call of a diffusers pipeline.

Imported in the engine process only.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch

from bot.config import STEPS, EngineConfig, LoraConfig, ModelConfig
from bot.engine import memory
from bot.engine.calibration import Subject
from bot.engine.catalog import SAMPLERS
from bot.engine.model_files.known_files import KnownFiles, digest_of
from bot.engine.model_files.operations import FILMING
from bot.engine.model_files.sampling import sampling_of
from bot.engine.timing import DECODE
from bot.errors import PaintFailed, UnusableFiles
from bot.jobs import Adapters, GenerationRequest, Operation
from bot.language import Sentence, mark, sentence
from bot.language.reasons import Reason
from bot.logs import traced
from bot.worker import acceleration, checkpoints, morphing, quantization, safety_checker
from bot.worker.checkpoints import Checkpoint
from bot.worker.device_errors import is_device_lost, is_out_of_memory
from bot.worker.finishing import Finisher
from bot.worker.inputs import Inputs
from bot.worker.labels import Labels
from bot.worker.library_errors import refused, told
from bot.worker.loading import load_controlnet, load_pipeline, quieten_libraries
from bot.worker.loras import RowLoras
from bot.worker.machine import Machine, free_memory
from bot.worker.placement import Placement
from bot.worker.prompts import Prompts, Reading
from bot.worker.proving import Prover, machine_facts
from bot.worker.rows import Parked, run_eagerly
from bot.worker.switches import ENCODE, FUSED
from bot.worker.views import view_for

log = logging.getLogger(__name__)

T = TypeVar("T")

_NOTHING = Inputs()

_ACCELERATED = {"unet": ("unet",), "transformer": ("transformer",), "vae": (DECODE, ENCODE)}
"""The modules of a pipeline that may be made faster, and the parts under which their forwards are timed."""


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
    """Holds the models that are in memory, and turns a request into a pipeline's arguments."""

    def __init__(
        self,
        models: Sequence[ModelConfig],
        settings: EngineConfig,
        calibration: Path | None = None,
        labels: Labels | None = None,
        known: KnownFiles | None = None,
        machine: Machine | None = None,
    ) -> None:
        """Make a store of these models; what makes them faster here is remembered in the file `calibration`.

        With `labels` pictures are marked and signed. With `known` only weights that did not change are loaded.
        Raises PaintFailed if the safety check cannot be loaded.
        """
        quieten_libraries()
        self.machine = machine or Machine.choose(settings)
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
        self.finisher = Finisher(self._models, settings, self.machine.device, self.fetch, labels, self._known)
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
                raise PaintFailed(
                    "The model {model} cannot be loaded: {error}", model=name, error=error.reason
                ) from error
            except Exception as error:
                log.exception("model %s cannot be fetched", name)
                raise PaintFailed(
                    "The model {model} cannot be loaded: {error}", model=name, error=refused(error)
                ) from error
        return self._checkpoints[name]

    def load(self, name: str) -> Loaded:
        """The model's pipeline, loaded if necessary. Raises PaintFailed in words."""
        if name in self._loaded:
            return self._loaded[name]
        model, checkpoint = self._models[name], self.fetch(name)
        try:
            pipeline, upscaler = load_pipeline(model, checkpoint, self.machine)
            placement = Placement(pipeline, model.memory, self.machine.device)
            troubles = self.row_loras.load(pipeline, model.loras, partial(self._check_lora, name))
            self._adopt(name, pipeline)
        except PaintFailed:
            raise
        except UnusableFiles as error:
            raise PaintFailed("The model {model} cannot be loaded: {error}", model=name, error=error.reason) from error
        except Exception as error:
            if is_device_lost(error):
                raise
            if is_out_of_memory(error):
                free_memory()
                raise PaintFailed(self._too_large(model, checkpoint)) from error
            log.exception("model %s cannot be loaded", name)
            raise PaintFailed(
                "The model {model} cannot be loaded: {error}", model=name, error=refused(error)
            ) from error
        prompts = Prompts(pipeline, self.row_loras.on_all)
        self._loaded[name] = Loaded(pipeline, pipeline.scheduler, prompts, placement, troubles)
        self.finisher.remember(name, type(pipeline.scheduler).__name__, upscaler)
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

    def _too_large(self, model: ModelConfig, checkpoint: Checkpoint) -> Sentence:
        """That a model does not fit, and what the host can do."""
        painting = memory.Painting(model.width * model.height, itemsize=self.machine.dtype.itemsize)
        needs = memory.need(checkpoint.parts, model.memory, painting).peak
        facts = {"model": model.name, "size": memory.gib(needs)}
        if self.machine.device != "cuda":
            return sentence(
                "The model {model} does not fit into this machine's memory: it needs about {size}. Choose a smaller "
                "model.",
                **facts,
            )
        _, whole = torch.cuda.mem_get_info()
        return sentence(
            "The model {model} does not fit into this machine's memory: it needs about {size}. {remedy}",
            **facts,
            remedy=memory.remedy(checkpoint.parts, whole, painting),
        )

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
        """A model in memory with which nothing was tried yet that could make it faster; None if there is none.

        With models for videos nothing is tried: a trial would take as long as a film.
        """
        waiting = (
            name
            for name, loaded in self._loaded.items()
            if name not in self._rehearsed and type(loaded.pipeline).__name__ not in FILMING
        )
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
        free_memory()

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
        if refusal := sampling.refusal(request.model, request.sampler):
            raise PaintFailed(refusal)
        most = sampling.most_steps(request.strength)
        # What all models may be asked for is not the engine's business: benchmarks ask for more.
        if most < min(STEPS[1], request.num_inference_steps):
            raise PaintFailed(
                "The model {model} can be painted in up to {most} steps like this.", model=request.model, most=most
            )
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
            view = view_for(request, loaded.pipeline, controlnet)
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
        if request.operation.is_film:
            arguments |= {"num_frames": request.frames}
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

    def frames(self, request: GenerationRequest, texts: Sequence[str | Reading] | None = None) -> list[dict[str, Any]]:
        """The arguments for the request's pipeline for each frame of an animation; raises as `arguments` does."""
        loaded, pipeline = self.load(request.model), self.pipeline(request)
        at = morphing.shares(request)
        encoded = self._in_words(
            request, lambda: loaded.prompts.between(texts or request.texts, self.adapters(request), at)
        )
        noise = morphing.Noise(pipeline, request, encoded[0]["prompt_embeds"])
        return [
            {
                **embeddings,
                "latents": noise.at(share),
                "generator": [noise.generator()],
                "width": request.width,
                "height": request.height,
                "num_inference_steps": request.num_inference_steps,
                "guidance_scale": request.guidance_scale,
                "output_type": "np",
            }
            for embeddings, share in zip(encoded, at, strict=True)
        ]

    def adapters(self, request: GenerationRequest) -> Adapters:
        """The LoRAs of the request's rows. Raises PaintFailed if a LoRA cannot be loaded."""
        troubles = self.load(request.model).lora_troubles
        known = {lora.name for lora in self._models[request.model].loras}
        for name, _ in request.loras:
            if name not in known:
                raise PaintFailed("The model {model} has no LoRA {name} any more.", model=request.model, name=name)
            if name in troubles:
                raise PaintFailed("The LoRA {name} cannot be used: {error}", name=name, error=troubles[name])
        return request.loras

    def _controlnet(self, request: GenerationRequest) -> Any:
        """The request's ControlNet, loaded if necessary."""
        name, loaded = request.controlnet, self.load(request.model)
        if name not in loaded.controlnets:
            checkpoint = self._checkpoints[request.model]
            if name in checkpoint.controlnet_troubles:
                trouble = checkpoint.controlnet_troubles[name]
                raise PaintFailed("The ControlNet {name} cannot be used: {error}", name=name, error=trouble)
            source = checkpoint.controlnets.get(name)
            if source is None:
                raise PaintFailed(
                    "The model {model} has no ControlNet {name} any more. Choose another.",
                    model=request.model,
                    name=name,
                )
            try:
                net = load_controlnet(source, loaded.pipeline, self.machine)
                loaded.controlnets[name] = loaded.placement.add(net)
                subject = self._subject(request.model)
                beside = Subject(subject.model, f"{subject.key}, with {name}")
                self.graphs.switches.adopt(beside, net, ("controlnet",))
            except Exception as error:
                if is_device_lost(error):
                    raise
                if is_out_of_memory(error):
                    free_memory()
                    raise PaintFailed(
                        "The ControlNet {name} does not fit into this machine's memory.", name=name
                    ) from error
                log.exception("ControlNet %s cannot be loaded", name)
                raise PaintFailed(
                    "The ControlNet {name} cannot be loaded: {error}", name=name, error=refused(error)
                ) from error
        return loaded.controlnets[name]

    def _encoded(self, loaded: Loaded, request: GenerationRequest, texts: Sequence[str | Reading]) -> dict[str, Any]:
        prompt, negative = texts
        return self._in_words(request, lambda: loaded.prompts.arguments(prompt, negative, self.adapters(request)))

    def _in_words(self, request: GenerationRequest, encode: Callable[[], T]) -> T:
        """What `encode` returns; an error is raised as PaintFailed."""
        try:
            return encode()
        except Exception as error:
            if is_device_lost(error):
                raise
            raise PaintFailed(self.explain(request, error)) from error

    def hash_of(self, name: str) -> str:
        """The sha256 of the weights of a model that was fetched."""
        return self._checkpoints[name].digest

    def explain(self, request: GenerationRequest, error: Exception) -> Reason:
        """Why a request could not be painted, for the requester; details go to the log."""
        if isinstance(error, PaintFailed):
            return error.reason
        if is_out_of_memory(error):
            free_memory()
            return Reason(_too_large(request))
        log.error("model %s could not paint\n%s", request.model, traced(error, *request.texts))
        return Reason(
            sentence("The model {model} could not paint this: {error}", model=request.model, error=told(error))
        )


def _too_large(request: GenerationRequest) -> Sentence:
    """What a person is told whose request does not fit into the memory."""
    words = mark("A picture of {size} pixels is too large for this machine's memory: try a smaller size.")
    if request.painted > 1:
        words = mark(
            "{count} pictures of {size} pixels are too large for this machine's memory: try a smaller size or fewer "
            "pictures."
        )
    if request.frames:
        words = mark(
            "{count} frames of {size} pixels are too large for this machine's memory: try a smaller size or fewer "
            "frames."
        )
    return sentence(words, size=f"{request.width}×{request.height}", count=request.painted)


def _strength(request: GenerationRequest) -> float:
    """The request's strength, or the smallest with which diffusers makes a step: int(steps · strength) ≥ 1."""
    # 49 · (1 / 49) is below 1 in floating point; with the next larger number it is not.
    return max(request.strength, math.nextafter(1 / request.num_inference_steps, 1))
