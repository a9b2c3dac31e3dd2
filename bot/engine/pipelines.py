"""What a request means in diffusers. Imported in the engine process only."""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import PIL.Image
import torch
import transformers
from diffusers.loaders.single_file_utils import infer_diffusers_model_type, load_single_file_checkpoint
from PIL.PngImagePlugin import PngInfo

from bot.config import EngineConfig, ModelConfig
from bot.engine import upscaling
from bot.engine.catalog import SAMPLERS, folder_of
from bot.engine.loras import Wardrobe, first_line
from bot.engine.prompts import Prompts
from bot.engine.rows import is_out_of_memory
from bot.errors import PaintFailed
from bot.jobs import Adapters, GenerationRequest, Image

log = logging.getLogger(__name__)

_SINGLE_FILE_CLASSES = {
    "v1": "StableDiffusionPipeline",
    "v2": "StableDiffusionPipeline",
    "xl_base": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "sd35_medium": "StableDiffusion3Pipeline",
    "sd35_large": "StableDiffusion3Pipeline",
    "flux-dev": "FluxPipeline",
    "flux-schnell": "FluxPipeline",
}

# Marks the file itself as made by a model, as IPTC defines it and EU AI Act Art. 50(2) asks for:
# https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    "</rdf:RDF></x:xmpmeta>"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where tensors live and how wide they are."""

    device: str
    dtype: torch.dtype
    threads: int

    @classmethod
    def choose(cls, settings: EngineConfig) -> Machine:
        """The best device there is, with the dtype that is right on it, unless the settings say otherwise.

        Raises PaintFailed when the settings name a device this machine has not.
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
        # A second thread on two cores costs tens of seconds a picture as soon as anything else runs.
        cores = os.cpu_count() or 1
        threads = settings.threads or (1 if cores <= 2 else cores // 2)
        return cls(device, dtype, threads)

    @property
    def name(self) -> str:
        """The machine in words: what was timed on another one does not count here."""
        kind = torch.cuda.get_device_name() if self.device == "cuda" else f"{self.threads} thread(s)"
        return f"{self.device} ({kind}), {self.dtype}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline in memory, and the scheduler it came with."""

    pipeline: Any
    scheduler: Any
    prompts: Prompts
    lora_troubles: Mapping[str, str]
    """LoRAs of the model that cannot be worn, each with the reason."""


class Studio:
    """Holds pipelines, and knows how a request is put to them and what to make of their answers."""

    def __init__(self, models: Sequence[ModelConfig], settings: EngineConfig) -> None:
        _quieten()
        self.machine = Machine.choose(settings)
        torch.set_num_threads(self.machine.threads)
        if settings.reproducible:
            # https://docs.pytorch.org/docs/stable/notes/randomness.html: before the first call of cuBLAS.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self._models = {model.name: model for model in models}
        self._room = settings.models_in_memory
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._hashes: dict[str, str] = {}
        # Kept when a model makes room: they are small, and its last pictures may still be waiting to be encoded.
        self._upscalers: dict[str, upscaling.Upscaler | None] = {}
        self.wardrobe = Wardrobe()

    def load(self, name: str) -> Loaded:
        """The model's pipeline, loading it if need be. Raises PaintFailed in words."""
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        while len(self._loaded) >= self._room:
            self._loaded.popitem(last=False)
            _free()
        model = self._models[name]
        try:
            pipeline, digest, upscaler = _load(model, self.machine)
            troubles = self.wardrobe.hang(pipeline, model.loras)
        except Exception as error:
            if _is_device_lost(error):
                raise
            if is_out_of_memory(error):
                _free()
                raise PaintFailed(f"The model {name} does not fit into this machine's memory.") from error
            log.exception("model %s cannot be loaded", name)
            raise PaintFailed(f"The model {name} cannot be loaded: {first_line(error)}") from error
        prompts = Prompts(pipeline, self.wardrobe.on_all)
        self._loaded[name] = Loaded(pipeline, pipeline.scheduler, prompts, troubles)
        self._hashes[name] = digest
        self._upscalers[name] = upscaler
        return self._loaded[name]

    def scheduler(self, request: GenerationRequest) -> Any:
        """A fresh scheduler for the request's sampler, with the model's own settings. Raises PaintFailed in words."""
        loaded = self.load(request.model)
        name, changes = SAMPLERS[request.sampler]
        kind = getattr(diffusers, name) if name else type(loaded.scheduler)
        try:
            return kind.from_config(loaded.scheduler.config, **changes)
        except Exception as error:
            # A model's own settings may hold anything; explain() logs what.
            raise PaintFailed(self.explain(request, error)) from error

    def arguments(self, request: GenerationRequest) -> dict[str, Any]:
        """What the model's pipeline is called with; what it does not know (Flux has no negative prompt) is left out.

        Raises PaintFailed in words.
        """
        loaded = self.load(request.model)
        arguments = {
            **self._encoded(loaded, request),
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "num_images_per_prompt": request.num_images_per_prompt,
            # On the CPU whatever the device: the same seed is the same picture on every machine's generator.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
            "output_type": "np",
        }
        known = inspect.signature(loaded.pipeline.__call__).parameters
        return {name: value for name, value in arguments.items() if name in known}

    def adapters(self, request: GenerationRequest) -> Adapters:
        """What the request's rows wear. Raises PaintFailed when a LoRA cannot be had."""
        troubles = self.load(request.model).lora_troubles
        known = {lora.name for lora in self._models[request.model].loras}
        for name, _ in request.loras:
            if name not in known:
                raise PaintFailed(f"The model {request.model} has no LoRA {name} any more.")
            if name in troubles:
                raise PaintFailed(f"The LoRA {name} cannot be used: {troubles[name]}")
        return request.loras

    def _encoded(self, loaded: Loaded, request: GenerationRequest) -> dict[str, Any]:
        try:
            return loaded.prompts.arguments(request.prompt, request.negative_prompt, self.adapters(request))
        except Exception as error:
            if _is_device_lost(error):
                raise
            raise PaintFailed(self.explain(request, error)) from error

    def images(self, request: GenerationRequest, output: Any) -> list[Image]:
        """The pictures of a pipeline's output, enlarged and encoded, in the order of the request's seeds.

        It uses the CPU alone, and so may run beside the thread that owns the device.
        Raises PaintFailed when there is nothing to show.
        """
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise PaintFailed("The model's own safety check withheld the picture. Try another prompt or seed.")
        pixels = np.asarray(output.images)
        if not np.isfinite(pixels).all():
            raise PaintFailed("The model produced no picture (not a number). Try another sampler or fewer steps.")
        factor, upscaler = self._models[request.model].upscale, self._upscalers[request.model]
        return [_encode(frame, seed, factor, upscaler) for frame, seed in zip(pixels, request.seeds, strict=True)]

    def hash_of(self, name: str) -> str:
        """The sha256 of the weights of a model that was loaded."""
        return self._hashes[name]

    def explain(self, request: GenerationRequest, error: Exception) -> str:
        """Why a request could not be painted, in words for the requester; the log keeps the rest."""
        if isinstance(error, PaintFailed):
            return str(error)
        if is_out_of_memory(error):
            _free()
            return (
                f"{request.width}×{request.height} × {request.num_images_per_prompt} is too large for this "
                "machine's memory: try a smaller size or fewer images."
            )
        log.error("model %s could not paint", request.model, exc_info=error)
        return f"The model {request.model} could not paint this: {first_line(error)}"


def _load(model: ModelConfig, machine: Machine) -> tuple[Any, str, upscaling.Upscaler | None]:
    """The model's pipeline on the machine's device, the sha256 of its weights, and its upscaler if it brings one."""
    source = folder_of(model)
    upscaler = None
    if model.is_single_file:
        pipeline = _single_file_class(model).from_single_file(
            source, config=model.config, torch_dtype=machine.dtype, local_files_only=_has_config_folder(model)
        )
        digest = _file_hash(Path(source))
    else:
        if model.is_hub_id:
            source = diffusers.DiffusionPipeline.download(source, use_safetensors=True)
        # Pickled weights can run code when loaded, so only safetensors are.
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            source, torch_dtype=machine.dtype, use_safetensors=True, local_files_only=True
        )
        digest = _folder_hash(Path(source))
        upscaler = upscaling.load(Path(source))
    return pipeline.to(machine.device), digest, upscaler


def _single_file_class(model: ModelConfig) -> Any:
    """The pipeline class of a single file: what its configuration names, or what its tensors look like."""
    if model.config is not None and _has_config_folder(model):
        name = diffusers.DiffusionPipeline.load_config(model.config)["_class_name"]
        return getattr(diffusers, name)
    kind = infer_diffusers_model_type(load_single_file_checkpoint(model.source))
    if kind not in _SINGLE_FILE_CLASSES:
        raise ValueError(f"the checkpoint is of the kind {kind!r}, which cannot be guessed; set its `config`")
    return getattr(diffusers, _SINGLE_FILE_CLASSES[kind])


def _has_config_folder(model: ModelConfig) -> bool:
    """Whether a single file's configuration lies on this machine; a hub id's may have to be fetched."""
    return model.config is not None and Path(model.config).is_dir()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_hash(folder: Path) -> str:
    """The sha256 over the names and hashes of all weights below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(f"{path.relative_to(folder).as_posix()} {_file_hash(path)}\n".encode())
    return digest.hexdigest()


def _encode(pixels: np.ndarray[Any, Any], seed: int, factor: int, upscaler: upscaling.Upscaler | None) -> Image:
    """A PNG of an (h, w, 3) array of floats from 0 to 1, enlarged by a factor and marked as made by a model.

    The model's upscaler knows one factor; to any other its result is resized, and so is a picture without an upscaler.
    """
    height, width = pixels.shape[:2]
    if factor > 1 and upscaler is not None:
        pixels = upscaler.enlarge(pixels)
    picture = PIL.Image.fromarray((pixels * 255).round().astype("uint8"))
    picture = picture.resize((factor * width, factor * height), PIL.Image.Resampling.LANCZOS)
    info = PngInfo()
    info.add_text("Software", "Atelier")
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    png = buffer.getvalue()
    return Image(png, seed, picture.width, picture.height, hashlib.sha256(png).hexdigest())


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_device_lost(error: Exception) -> bool:
    """Whether every later call in this process will fail too."""
    return "CUDA error" in str(error)


def _quieten() -> None:
    """The libraries' own bars and advice would only clutter the bot's log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
