"""Makes the engines that the configuration names. Here is where a new kind of engine is added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bot.config import Config
from bot.engine import Engine
from bot.engine.fleet import Fleet
from bot.engine.local import LocalEngine

LOCAL = "local"
"""The name of the only lane of a machine that paints on one device."""

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
    engines: list[Engine] = [*await _local(config, files, recall)]
    return Fleet(engines, [model.name for model in config.models])


async def _local(config: Config, files: Files, recall: Recall) -> list[LocalEngine]:
    """The engines that paint on this machine."""
    return [
        LocalEngine(
            config,
            known=await recall(LOCAL),
            calibration=files.calibration,
            provenance=files.provenance,
            known_files=files.known_files,
        )
    ]
