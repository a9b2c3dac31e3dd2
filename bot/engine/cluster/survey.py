"""A process of its own, for the doctor: what the hosts of the Ray cluster are, and whether each of them can paint.

Standard input has the settings of the engine and the models as JSON; standard output gets `trouble`, or `hosts`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bot.engine.cluster import host
from bot.engine.cluster.easel import Easel
from bot.engine.cluster.head import Unusable, reach

_HOST_SECONDS = 60.0
"""How long a host may take to answer; all are asked at the same time."""
_GPU_KIND = "accelerator_type:"


def survey(address: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    """Every host with its name, its GPUs, their kind, its versions and what speaks against it; or the trouble."""
    try:
        reach(address)
    except Unusable as reason:
        return {"trouble": str(reason)}
    # All are asked before the first answer is waited for: one that is stuck takes no time from the others.
    asked = [(node, _Asked(node["NodeID"])) for node in ray.nodes() if node["Alive"]]
    return {"hosts": [_host(node, host_asked, models) for node, host_asked in asked]}


class _Asked:
    """A host that was asked what it is."""

    def __init__(self, node_id: str) -> None:
        strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
        self.actor: Any = ray.remote(num_cpus=0, scheduling_strategy=strategy)(Easel).remote("~")
        self.about = self.actor.about.remote()
        self._ends_at = time.monotonic() + _HOST_SECONDS

    def answer(self, reference: Any) -> Any:
        """What it answers within its time. Raises RayError."""
        return ray.get(reference, timeout=max(self._ends_at - time.monotonic(), 0.0))


def _host(node: dict[str, Any], asked: _Asked, models: list[dict[str, Any]]) -> dict[str, Any]:
    resources = node["Resources"]
    found = {
        "name": node["NodeManagerHostname"],
        "address": node["NodeManagerAddress"],
        "gpus": int(resources.get("GPU", 0)),
        "kind": ", ".join(name.removeprefix(_GPU_KIND) for name in resources if name.startswith(_GPU_KIND)),
    }
    try:
        name, versions = asked.answer(asked.about)
        different = host.difference(name, versions, host.versions())
        missing = {} if different else asked.answer(asked.actor.missing.remote(models))
    except RayError as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return found | {"troubles": [f"The host {found['name']} cannot run the engine ({last[:200]})."]}
    finally:
        ray.kill(asked.actor)
    return found | {"versions": versions, "troubles": [different] if different else list(missing.values())}


def main() -> None:
    """Read the question and print the answer."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    question = json.load(sys.stdin)
    json.dump(survey(question["address"], question["models"]), output)
    output.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
