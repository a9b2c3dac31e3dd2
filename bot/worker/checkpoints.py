"""Checkpoints on this machine: downloaded if necessary, recognised, hashed. Imported in the engine process only.

All of it may run in another thread than the one that paints, because it builds no module and so changes no global
defaults of torch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import diffusers
from diffusers.loaders.lora_base import _best_guess_weight_name
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from bot.config import LoraConfig, ModelConfig
from bot.engine.catalog import folder_of
from bot.engine.model_files import hub
from bot.engine.model_files.adapters import check_controlnet, lora_file
from bot.engine.model_files.folder import INDEX
from bot.engine.model_files.known_files import KnownFiles, digest_of
from bot.engine.model_files.recognise import Recognised, layers_of, recognise
from bot.engine.model_files.single_file import SingleFile, recognise_file
from bot.engine.model_files.sizes import Kind, Part, parts_of
from bot.errors import UnusableFiles
from bot.worker import safety_checker

log = logging.getLogger(__name__)

_SETTINGS = ["*.json", "**/*.json", "*.txt", "**/*.txt", "**/*.model"]
"""Files of a hub repository that configure the model of a single file, as diffusers chooses them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's weights as files."""

    source: str
    """The diffusers folder or the single file."""
    files: Recognised
    """What its headers say."""
    digest: str
    """The sha256 of the file, or of the names and hashes of all weights in the folder."""
    parts: tuple[Part, ...]
    """The pipeline's modules, without an upscaler, which stays on the CPU."""
    controlnets: Mapping[str, str]
    """The folder or the file of each of its ControlNets that can be used, by name."""
    controlnet_troubles: Mapping[str, str]
    """Those that cannot, each with the reason."""


def fetch(model: ModelConfig, known: KnownFiles) -> Checkpoint:
    """Download a model if necessary, and hash it; hashing also brings the files into the system's cache.

    Raises UnusableFiles for files that cannot be loaded or are not those that are `known`, the errors of diffusers and
    the file system, and PaintFailed for a safety checker that is damaged.
    """
    path = Path(_download(model.source) if model.is_hub_id else folder_of(model))
    if (path / INDEX).is_file() and safety_checker.is_named(path):
        safety_checker.look(model.name, path)
    files = recognise(path, model.config)
    parts = parts_of(files)
    if isinstance(files, SingleFile):
        files = _configured(model, files)
    digest = digest_of(path)
    known.check(model.name, model.name, model.source, digest)
    if not isinstance(files, SingleFile) and files.gguf is not None:
        # The folder of the configuration has the parts that few people change; they are not hashed.
        path = files.path
    if not isinstance(files, SingleFile) and (checker := safety_checker.numbers(path)):
        parts += (Part(safety_checker.FOLDER, Kind.OTHER, 0, checker),)
    nets, troubles = _fetch_controlnets(model, files, known)
    return Checkpoint(str(path), files, digest, parts, nets, troubles)


def fetch_lora(lora: LoraConfig) -> Path:
    """The file of a LoRA, downloaded if necessary. Raises UnusableFiles."""
    path = Path(lora.source)
    if path.exists():
        return lora_file(path)
    if path.is_absolute() or path.suffix == ".safetensors":
        raise UnusableFiles(f"its file {path.name} is missing.", "Put it back, or correct its source in config.toml.")
    try:
        name = _best_guess_weight_name(lora.source, file_extension=".safetensors")
        return Path(hf_hub_download(lora.source, name or "pytorch_lora_weights.safetensors"))
    except Exception as error:
        log.exception("LoRA %s cannot be fetched", lora.name)
        raise _unfetched(lora.source, error) from error


def _download(source: str) -> str:
    """A diffusers folder from the hub. Raises UnusableFiles."""
    try:
        return str(diffusers.DiffusionPipeline.download(source, use_safetensors=True))
    except Exception as error:
        if not isinstance(error, OSError) or "safetensors" not in str(error):
            raise _unfetched(source, error) from error
    try:
        # It may have its weights in half precision only.
        return str(diffusers.DiffusionPipeline.download(source, use_safetensors=True, variant="fp16"))
    except Exception as error:
        if isinstance(error, OSError) and "safetensors" not in str(error):
            raise _unfetched(source, error) from error
        raise UnusableFiles(
            f"{source} has no weights as .safetensors files.", "Choose a version that has them."
        ) from error


def _configured(model: ModelConfig, files: SingleFile) -> SingleFile:
    """A single file with the folder of its configuration, fetched if it is a hub id. Raises UnusableFiles."""
    if files.is_configured:
        return files
    try:
        folder = snapshot_download(files.config, allow_patterns=_SETTINGS)
    except Exception as error:
        raise hub.unconfigured(files.path.name, _unfetched(files.config, error)) from error
    return recognise_file(files.path, folder, named=model.config is not None)


def _unfetched(source: str, error: Exception) -> UnusableFiles:
    """Why something cannot be fetched from the hub."""
    if isinstance(error, GatedRepoError):
        return hub.gated(source)
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return hub.unknown(source)
    # The traceback says nothing that a host could act on, and hides the sentence in the log.
    log.debug("%s cannot be fetched", source, exc_info=error)
    return hub.unreachable(source, "HF_HUB_OFFLINE is set" if hub.is_offline() else hub.cause(error))


def _fetch_controlnets(
    model: ModelConfig, files: Recognised, known: KnownFiles
) -> tuple[dict[str, str], dict[str, str]]:
    """The paths of the ControlNets that can be used, and the troubles of the others: the model works without them."""
    places, troubles = {}, {}
    layers = layers_of(files) if model.controlnets else {}
    for net in model.controlnets:
        place = net.source
        try:
            if not Path(place).exists():
                place = _fetch_controlnet(place)
            check_controlnet(Path(place), layers)
            known.check(f"ControlNet {net.name} of {model.name}", model.name, net.source, digest_of(Path(place)))
        except UnusableFiles as error:
            log.warning("ControlNet %s: %s", net.name, error)
            troubles[net.name] = str(error)
            continue
        places[net.name] = place
    return places, troubles


def _fetch_controlnet(source: str) -> str:
    path = Path(source)
    if path.is_absolute() or path.suffix == ".safetensors":
        raise UnusableFiles(f"its file {path.name} is missing.", "Put it back, or correct its source in config.toml.")
    try:
        return str(snapshot_download(source, allow_patterns=["config.json", "*.safetensors"]))
    except Exception as error:
        log.exception("ControlNet %s cannot be fetched", source)
        raise _unfetched(source, error) from error
