"""Checkpoints on this machine: downloaded if necessary, hashed and measured. Imported in the engine process only.

All of it may run in another thread than the one that paints, because it builds no module and so changes no global
defaults of torch.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import diffusers
from huggingface_hub import snapshot_download
from safetensors import safe_open

from bot.config import ControlNetConfig, ModelConfig
from bot.engine.catalog import folder_of
from bot.worker import safety_checker, upscaling

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's weights as files."""

    source: str
    """The diffusers folder or the single file."""
    digest: str
    """The sha256 of the file, or of the names and hashes of all weights in the folder."""
    parameters: int
    """How many numbers the pipeline's modules have, without an upscaler, which stays on the CPU."""
    controlnets: Mapping[str, str]
    """The folder or the file of each of its ControlNets that could be fetched, by name."""


def fetch(model: ModelConfig) -> Checkpoint:
    """Download a model if necessary, and hash it; hashing also brings the files into the system's cache.

    Raises the errors of diffusers and the file system, and PaintFailed for a safety checker that is damaged.
    """
    source = folder_of(model)
    if model.is_hub_id:
        source = diffusers.DiffusionPipeline.download(source, use_safetensors=True)
    controlnets = {net.name: place for net in model.controlnets if (place := _fetch_controlnet(net)) is not None}
    path = Path(source)
    if path.is_file():
        return Checkpoint(source, _hash(path), _parameters(path), controlnets)
    if safety_checker.is_named(path):
        safety_checker.look(model.name, path)
    weights = sorted(path.rglob("*.safetensors"))
    digest = hashlib.sha256()
    for file in weights:
        digest.update(f"{file.relative_to(path).as_posix()} {_hash(file)}\n".encode())
    # A folder may hold its weights twice, the second time in half precision (unet/….fp16.safetensors).
    loaded = [file for file in weights if ".fp16" not in file.suffixes and file.parent.name != upscaling.FOLDER]
    return Checkpoint(source, digest.hexdigest(), sum(map(_parameters, loaded or weights)), controlnets)


def _fetch_controlnet(controlnet: ControlNetConfig) -> str | None:
    """The path of a ControlNet, downloaded if necessary; None if it cannot be fetched: its model works without it."""
    if Path(controlnet.source).exists():
        return controlnet.source
    try:
        return snapshot_download(controlnet.source, allow_patterns=["config.json", "*.safetensors"])
    except Exception:
        log.exception("ControlNet %s cannot be fetched", controlnet.name)
        return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parameters(path: Path) -> int:
    with safe_open(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
