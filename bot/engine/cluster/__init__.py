"""Lanes on other hosts, by Ray Core.

Each lane is a `LocalEngine` whose child is not the engine process but a bridge to one on another host:

    bot ── frames ── bridge.py ── Ray ── easel.py (an actor) ── frames ── `python -m bot.worker`

The bridge only passes bytes on. So a lost host looks to the bot like an engine process that ended, and everything that
holds for one (another attempt, the watch over its stages, the pause before the next start) holds here, too. Neither the
bot nor the engine process imports Ray; the bridge does, because Ray ends the process that uses it when its own daemons
end. `head.py` finds out whether the head of the cluster can be used, `host.py` whether a host can, and `survey.py` asks
all hosts, for the doctor.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.config import Config, ModelConfig
from bot.engine.local import LocalEngine
from bot.engine.local.devices import Place
from bot.engine.local.environ import worker_environ
from bot.errors import ConfigError
from bot.secrets import read_ray_token

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "bot.engine.cluster.bridge")

_SURVEY_SECONDS = 180.0

_NO_RAY = (
    "engine.ray.lanes is set, but Ray is not installed. Install it here and on the other hosts: "
    "pip install 'atelier-bot[ray]'. Or set lanes = 0 under [engine.ray]."
)


NOTHING_TO_PAINT = (
    "engine.ray.lanes is set, but providers paint with all models, so no lane on another host is started. "
    "Add a model without a provider, or set lanes = 0 under [engine.ray]."
)
"""What the host is told where lanes on other hosts would have nothing to paint."""


def lane_names(config: Config) -> list[str]:
    """The names of the lanes on other hosts; none without a model that is not a provider's."""
    if not config.local_models:
        return []
    return [f"ray {number}" for number in range(config.engine.ray.lanes)]


async def engines(
    config: Config,
    provenance: Path | None,
    recall: Callable[[str], Awaitable[str]],
    painter: Sequence[str] = (),
) -> list[LocalEngine]:
    """The lanes on other hosts, one engine each, not running yet.

    `recall` gives the stored timings of a lane, and `painter` is the command of the engine process there, if it is
    another one than usual. Raises ConfigError without Ray or without its token.
    """
    if not (names := lane_names(config)):
        if config.engine.ray.lanes:
            log.warning("%s", NOTHING_TO_PAINT)
        return []
    environ, remote = bridge_environ(), portable(config)
    return [
        LocalEngine(
            remote,
            place=Place(name),
            command=(*COMMAND, name, *painter),
            environ=environ,
            known=await recall(name),
            provenance=provenance,
        )
        for name in names
    ]


def bridge_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process needs in its environment to use Ray. Raises ConfigError without Ray or without its token."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(_NO_RAY)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": read_ray_token(environ),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
    }


async def find_hosts(config: Config) -> dict[str, Any]:
    """Ask another process what the hosts of the cluster are: `hosts`, or `trouble` in words, as in `survey.py`."""
    try:
        environ = worker_environ(bridge_environ())
    except ConfigError as error:
        return {"trouble": str(error)}
    remote = portable(config)
    question = {"address": config.engine.ray.address, "models": [model.model_dump() for model in remote.models]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.engine.cluster.survey"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environ,
    )
    try:
        async with asyncio.timeout(_SURVEY_SECONDS):
            output, _ = await process.communicate(json.dumps(question).encode())
    except TimeoutError:
        return {"trouble": f"The Ray cluster did not answer within {_SURVEY_SECONDS:.0f} s."}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        return {"trouble": "The process that asks the Ray cluster ended without an answer."}
    answer: dict[str, Any] = json.loads(output)
    return answer


def portable(config: Config) -> Config:
    """The configuration for other hosts: what this program paints itself.

    Paths are whole, because a relative one means another file there; and the devices of this machine are left out.
    """
    models = tuple(_portable_model(model) for model in config.local_models)
    keys = ["upscaler", "certificate", "private_key"]
    if Path(config.engine.segmenter).is_dir():
        keys.append("segmenter")
    paths = {key: _whole(getattr(config.engine, key)) for key in keys}
    device = "auto" if config.engine.ray.gpus else "cpu"
    engine = config.engine.model_copy(update={**paths, "device": device, "devices": ()})
    return config.model_copy(update={"models": models, "engine": engine})


def _portable_model(model: ModelConfig) -> ModelConfig:
    if model.is_embedded:
        return model
    adapters = {
        key: tuple(adapter.model_copy(update={"source": _whole(adapter.source)}) for adapter in getattr(model, key))
        for key in ("loras", "controlnets")
    }
    config = None if model.config is None else _whole(model.config)
    return model.model_copy(update={"source": _whole(model.source), "config": config, **adapters})


def _whole(place: str) -> str:
    """The whole path of what is on this machine; a hub id stays as it is."""
    return str(Path(place).resolve()) if place and Path(place).exists() else place
