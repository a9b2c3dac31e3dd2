"""What a host must have to paint for the bot: the same versions, and the files of the models."""

from __future__ import annotations

import functools
import hashlib
import platform
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bot
from bot.config import ModelConfig
from bot.engine import catalog
from bot.errors import ConfigError

_PACKAGES = ("torch", "diffusers", "transformers")


@functools.cache
def versions() -> dict[str, str]:
    """The versions that must be the same on all hosts; what is not installed has none.

    That of Atelier has the beginning of a hash of its code, because a checkout keeps its number between releases. The
    part of a version after a plus is left out, because it only says what torch was built for.
    """
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"Atelier": f"{_version('atelier-bot')} ({_code_hash()})", "Python": python}
    return found | {name: _version(name) for name in _PACKAGES}


def name() -> str:
    """What this host calls itself."""
    return socket.gethostname()


def difference(host: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """A sentence about the first version that differs, with both versions; empty if none does."""
    for what, version_here in ours.items():
        if (there := theirs.get(what, "none")) != version_here:
            return (
                f"The host {host} has {what} {there}, and the bot has {version_here}. Install the same versions on "
                "both, with the bot's constraints.txt, and start Ray there again."
            )
    return ""


def missing(host: str, models: Sequence[ModelConfig]) -> dict[str, str]:
    """The models that cannot be painted here, because files are missing or cannot be used, each with a sentence.

    People may read them, so no folder is in them. A model of the hub is downloaded when it is needed.
    """
    found = {}
    for model in models:
        try:
            catalog.check_models([model])
        except ConfigError:
            found[model.name] = (
                f"The host {host} lacks files of the model {model.name}: {', '.join(_names(model))}. The host of the "
                "bot has to copy them there, to the same place as here."
            )
    return found


def _names(model: ModelConfig) -> list[str]:
    """The names of the files and folders of a model that are not here, or of its source if all are."""
    adapters = (*(lora.source for lora in model.loras), *(net.source for net in model.controlnets))
    places = [place for place in adapters if place.endswith(".safetensors")]
    if model.config is not None and model.config.startswith(("/", ".")):
        places.append(model.config)
    if not model.is_hub_id:
        places.append(catalog.folder_of(model))
    return [Path(place).name for place in places if not Path(place).exists()] or [Path(model.source).name]


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "none"


def _code_hash() -> str:
    """Eight digits of a hash over Atelier's own code."""
    root, digest = Path(bot.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]
