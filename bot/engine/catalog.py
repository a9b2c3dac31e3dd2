"""The models, by the names that people use, and what each can be painted with. It does not import torch."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from bot.config import EMBEDDED, ModelConfig
from bot.engine.images_api.capabilities import Capabilities, capabilities_of
from bot.engine.model_files.host_upscaler import check_upscaler
from bot.engine.model_files.hub import cached_folder
from bot.engine.model_files.operations import UNKNOWN
from bot.engine.model_files.recognise import recognise
from bot.engine.model_files.sampling import SAMPLERS, UNLIMITED, Sampling
from bot.errors import ConfigError, UnusableFiles
from bot.jobs import Operation
from bot.language import sentence
from bot.language.reasons import Reason

__all__ = [
    "SAMPLERS",
    "Catalog",
    "check_models",
    "check_upscaler_exists",
    "fingerprint_of",
    "folder_of",
    "place_of",
]

log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")

_LOOK_SECONDS = 5.0
"""Between two looks at the models' files."""

Traces = frozenset[tuple[str, int, int]]


def folder_of(model: ModelConfig) -> str:
    """Where diffusers loads the model from: a folder, a file or a hub id."""
    if model.source == EMBEDDED:
        return str(resources.files("bot") / "models" / "emoji")
    return model.source


def place_of(model: ModelConfig) -> Path | None:
    """The folder or file of a model on this machine; None for a hub id that was not downloaded yet."""
    if not model.is_hub_id:
        return Path(folder_of(model))
    return cached_folder(model.source)


def fingerprint_of(model: ModelConfig) -> Traces:
    """The paths, sizes and times of a model's files, to notice a change; empty for a hub id.

    Reads the disk. If a file disappears meanwhile, the files after it are left out.
    """
    return traces_of(Path(folder_of(model)))


def traces_of(source: Path) -> Traces:
    """The paths, sizes and times of a file, or of all files in a folder."""
    found = set()
    with suppress(OSError):
        for path in (source, *source.rglob("*")):
            facts = path.stat()
            found.add((str(path), facts.st_size, facts.st_mtime_ns))
    return frozenset(found)


class Catalog:
    """What is known of the models by their files, which may be replaced while the bot runs."""

    def __init__(self, models: Sequence[ModelConfig], upscaler: str = "") -> None:
        """Make a catalog of models; `upscaler` is the file of the host's upscaler, or empty."""
        self.models = models
        self._remote = {model.name: capabilities_of(model) for model in models if model.provider}
        self._upscaler = upscaler
        self._upscaler_seen: Traces | None = None
        self._has_upscaler = False
        self._seen: dict[str, Traces] = {}
        self._samplings: dict[str, Sampling] = {}
        self._operations: dict[str, frozenset[Operation]] = {}
        self._troubles: dict[str, str] = {}

    @property
    def samplings(self) -> Mapping[str, Sampling]:
        """How the models can be painted, by their names; one that was not downloaded yet is not among them."""
        return self._samplings

    @property
    def troubles(self) -> Mapping[str, str]:
        """Models whose files cannot be used, each with the reason and the remedy."""
        return self._troubles

    def samplers(self, model: str) -> tuple[str, ...]:
        """The samplers that a model can use."""
        return self._samplings.get(model, UNLIMITED).samplers

    def operations(self, model: str) -> frozenset[Operation]:
        """What can be done with a model; of one that was not downloaded yet it is not known whether it can enlarge."""
        if model in self._remote:
            return self._remote[model].operations
        own = self._operations.get(model, UNKNOWN)
        return own | {Operation.UPSCALE} if self._has_upscaler else own

    def has_own_upscaler(self, model: str) -> bool:
        """Whether a model enlarges pictures itself, and not the host's upscaler."""
        return model not in self._remote and Operation.UPSCALE in self._operations.get(model, UNKNOWN)

    def capabilities(self, model: str) -> Capabilities | None:
        """What a model of a provider can do and costs; None for one that this machine paints with."""
        return self._remote.get(model)

    def _look_at_upscaler(self) -> None:
        file = Path(self._upscaler)
        if not self._upscaler or (traces := traces_of(file)) == self._upscaler_seen:
            return
        self._upscaler_seen = traces
        try:
            check_upscaler(file)
            self._has_upscaler = True
        except UnusableFiles as error:
            self._has_upscaler = False
            log.warning("the host's upscaler cannot be used: %s", error)

    def look(self) -> None:
        """Look at the files of all models that are new or were changed. Reads the disk: call it in a thread."""
        self._look_at_upscaler()
        for model in self.models:
            place = None if model.provider else place_of(model)
            if place is None:
                continue
            config = Path(model.config) if model.config is not None else None
            traces = traces_of(place) | (traces_of(config) if config is not None and config.is_dir() else frozenset())
            if traces == self._seen.get(model.name):
                continue
            try:
                found = recognise(place, model.config)
                self._samplings[model.name], self._operations[model.name] = found.sampling, found.operations
                self._troubles.pop(model.name, None)
            except UnusableFiles as error:
                self._samplings.pop(model.name, None)
                self._operations.pop(model.name, None)
                if model.is_hub_id:
                    # It may be on its way here. The engine, which fetches it, says what is wrong with it.
                    continue
                self._troubles[model.name] = Reason(
                    sentence("The model {model} cannot be loaded: {error}", model=model.name, error=error.reason)
                )
                log.warning("model %s: %s", model.name, error)
            self._seen[model.name] = traces

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.look)


def check_upscaler_exists(upscaler: str) -> None:
    """Raise ConfigError if the file of the host's upscaler is missing."""
    if upscaler and not Path(upscaler).is_file():
        raise ConfigError(
            f"engine.upscaler: {upscaler} does not exist. Give a .safetensors file with a network that enlarges "
            "pictures, or leave the setting out."
        )


def check_describer_exists(describer: str) -> None:
    """Raise ConfigError if the folder of the host's model that describes pictures is missing."""
    if describer and not Path(describer).is_dir():
        raise ConfigError(
            f"engine.describer: {describer} is not a folder. Give the folder of a model that describes pictures, such "
            "as a download of Salesforce/blip-image-captioning-base, or leave the setting out."
        )


def check_segmenter_exists(segmenter: str) -> None:
    """Raise ConfigError if the host's model that tells things from backgrounds is neither a folder nor a hub id."""
    if not segmenter or Path(segmenter).is_dir():
        return
    first = segmenter.partition("/")[0]
    if first.startswith(".") or (_HUB_ID.fullmatch(segmenter) and Path(first).is_dir()):
        raise ConfigError(
            f"engine.segmenter: there is no folder {segmenter}. Correct the path, or leave the setting out. It is "
            "taken for an id on the Hugging Face hub only if no folder here has the name of its first part."
        )
    if not _HUB_ID.fullmatch(segmenter):
        raise ConfigError(
            f"engine.segmenter: {segmenter} is neither a folder nor an id on the Hugging Face hub. Give one of a model "
            "for segmentation, such as nvidia/segformer-b0-finetuned-ade-512-512, or leave the setting out."
        )


def check_likeness_exists(likeness: str) -> None:
    """Raise ConfigError if the folder of the host's model that compares pictures is missing, or holds none."""
    if likeness and not (Path(likeness) / "model.safetensors").is_file():
        raise ConfigError(
            f"engine.likeness: {likeness} is not a folder with a model.safetensors. Give the folder of a CLIP model, "
            "such as a download of openai/clip-vit-base-patch32, or leave the setting out."
        )


def check_models(models: Sequence[ModelConfig]) -> None:
    """Raise ConfigError for the first model that cannot possibly load or whose own defaults it cannot use.

    These are a missing folder or file, an unknown sampler, and a sampler or steps that the model cannot be painted
    with. Files that are there and broken are the catalog's troubles, so that other models can be used.
    """
    for number, model in enumerate(models, start=1):
        key = f"model {number} ({model.name})"
        if model.sampler not in SAMPLERS:
            raise ConfigError(f"{key}: sampler {model.sampler!r} does not exist; there is: {', '.join(SAMPLERS)}.")
        for what, name, place in (
            *(("LoRA", lora.name, lora.source) for lora in model.loras),
            *(("ControlNet", net.name, net.source) for net in model.controlnets),
        ):
            path = Path(place)
            if path.suffix == ".safetensors" and not path.is_file():
                raise ConfigError(f"{key}: the {what} {name} has the source {place}, which does not exist.")
        if not model.is_hub_id:
            _check_source(key, model)
        _check_defaults(key, model)


def _check_source(key: str, model: ModelConfig) -> None:
    source = Path(folder_of(model))
    if not source.exists():
        raise ConfigError(
            f"{key}: source {model.source} does not exist. Give a diffusers folder, a .safetensors or .gguf file, "
            'a hub id like CompVis/stable-diffusion-v1-4, or "embedded".'
        )
    if source.is_dir() and not (source / "model_index.json").is_file():
        try:
            recognise(source)
        except UnusableFiles as error:
            raise ConfigError(f"{key}: {model.source} is no diffusers folder: {error}") from error
    if source.is_file() and not model.is_single_file:
        raise ConfigError(
            f"{key}: {model.source} is neither a .safetensors nor a .gguf file, and no other kind is loaded."
        )
    if model.config is not None and model.config.startswith(("/", ".")) and not Path(model.config).is_dir():
        raise ConfigError(f"{key}: config {model.config} is not a folder.")


def _check_defaults(key: str, model: ModelConfig) -> None:
    """Raise ConfigError for a sampler or a number of steps in the configuration that the model cannot use."""
    place = place_of(model)
    try:
        sampling = UNLIMITED if place is None else recognise(place, model.config).sampling
    except UnusableFiles:
        return
    if words := sampling.refusal(model.name, model.sampler):
        raise ConfigError(f"{key}: {words}")
    low, high = sampling.steps
    if not low <= model.steps <= high:
        raise ConfigError(f"{key}: steps is {model.steps}, and the model can be painted in {low} to {high} steps.")
