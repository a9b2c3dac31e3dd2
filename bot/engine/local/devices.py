"""The devices of this machine that paint: one lane, and so one engine process, for each."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.config import EngineConfig
from bot.secrets import without_secrets

log = logging.getLogger(__name__)

LOCAL = "local"
"""The name of the lane of a machine on which the configuration names no devices."""

_PROBE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where one engine process paints."""

    lane: str = LOCAL
    device: str = ""
    """As the configuration names it, such as cuda:1; empty is whatever `engine.device` says."""
    sharing: int = 1
    """How many engine processes share the cores and the memory of this machine."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What the process has in its environment beside `environ`: it sees its own GPU and no other.

        Devices are counted among those that the bot itself may use. An index that does not exist hides all of them.
        """
        kind, _, index = self.device.partition(":")
        if kind != "cuda":
            return {}
        visible = environ.get(_VISIBLE)
        if visible is None:
            return {_VISIBLE: index}
        names = [name for name in visible.split(",") if name.strip()]
        return {_VISIBLE: names[int(index)] if int(index) < len(names) else "-1"}

    def settings(self, engine: EngineConfig) -> EngineConfig:
        """The settings of the process."""
        kind = self.device.partition(":")[0]
        return engine.model_copy(update={"device": kind, "devices": ()}) if kind else engine


_VISIBLE = "CUDA_VISIBLE_DEVICES"


async def find_places(engine: EngineConfig) -> list[Place]:
    """Where this machine paints, by the settings; for `all` another process asks torch for the GPUs."""
    if engine.devices == "none":
        return []
    if engine.devices == "all":
        facts = await probe()
        if "error" in facts:
            log.error(
                'engine.devices is "all", but torch %s, so one lane is tried. %s', facts["error"], facts["remedy"]
            )
        return places([f"cuda:{index}" for index in range(len(facts.get("gpus", [])))])
    return places(engine.devices)


def places(devices: Sequence[str]) -> list[Place]:
    """A place for each device, named after its kind and number; for none the one of `engine.device`."""
    if not devices:
        return [Place()]
    counts: dict[str, int] = {}
    found = []
    for device in devices:
        kind, _, index = device.partition(":")
        word = "cpu" if kind == "cpu" else "gpu"
        number = int(index) if index else counts.get(word, 0)
        counts[word] = counts.get(word, 0) + 1
        found.append(Place(f"{word} {number}", device, len(devices)))
    return found


async def probe() -> dict[str, Any]:
    """Ask another process what torch finds, because the bot process never imports torch.

    Returns the facts of `bot.worker.probe`, or `error` with the words and `remedy`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.worker.probe",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_secrets(),
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        return {"error": "does not answer", "remedy": "Reinstall it: pip install --force-reinstall torch"}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = (errors.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        return {"error": f"cannot be imported: {last}", "remedy": "Reinstall Atelier into a fresh venv."}
    found: dict[str, Any] = json.loads(output)
    return found
