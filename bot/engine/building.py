"""Makes the engines that the configuration names. Here is where a new kind of engine is added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bot.config import Config
from bot.engine import Engine, cluster
from bot.engine.fleet import Fleet
from bot.engine.local import LocalEngine
from bot.engine.local.devices import LOCAL, Place, find_places
from bot.errors import ConfigError

Recall = Callable[[str], Awaitable[str]]
"""The timings of a lane that were stored before, by the name of the lane; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files in the data folder that engines use."""

    calibration: Path
    """What makes models faster on this machine."""
    provenance: Path
    """The folder of the secrets that pictures are labelled with."""
    known_files: Path
    """The hashes of the model files that were used before."""


async def build(config: Config, files: Files, recall: Recall) -> Fleet:
    """All engines of the configuration, not running yet. Raises ConfigError if one of them cannot be made."""
    ours = config.model_copy(update={"models": config.local_models})
    engines: list[Engine] = [
        *await _local(ours, files, recall),
        *await cluster.engines(ours, files.provenance, recall),
        *await _providers(config, files, recall),
    ]
    return Fleet(engines, [model.name for model in config.models])


async def _local(config: Config, files: Files, recall: Recall) -> list[LocalEngine]:
    """The engines that paint on this machine."""
    if not config.models:
        return []
    return [
        LocalEngine(
            config,
            place=place,
            known=await recall(place.lane),
            calibration=calibration_of(files.calibration, place),
            provenance=files.provenance,
            known_files=files.known_files,
        )
        for place in await find_places(config.engine)
    ]


async def _providers(config: Config, files: Files, recall: Recall) -> list[Engine]:
    """The engine of the models that other servers paint, if there are any. Its libraries are imported only then."""
    if not config.remote_models:
        return []
    try:
        from bot.engine.images_api.engine import ImagesApiEngine
    except ImportError as error:
        raise ConfigError(
            "Models of providers need a library that is not installed. Run: pip install -c constraints.txt "
            "'atelier-bot[providers]'"
        ) from error
    known = {provider.name: await recall(provider.name) for provider in config.providers}
    return [ImagesApiEngine(config, known=known, provenance=files.provenance)]


def calibration_of(path: Path, place: Place) -> Path:
    """Each device has its own file: two processes do not write one, and other cards may judge otherwise."""
    return path if place.lane == LOCAL else path.with_stem(f"{path.stem}-{place.lane.replace(' ', '-')}")
