"""A process of its own, for the doctor: what the hosts of the Ray cluster are, and whether each of them can paint.

Standard input has the settings of the engine and the models as JSON; standard output gets `trouble`, or `hosts`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bot.engine.cluster import host
from bot.engine.cluster.easel import Easel
from bot.engine.cluster.head import Unusable, reach

_ANSWER_SECONDS = 60.0
"""How long all hosts together may take to answer a question."""
_LOOK_SECONDS = 1.0
"""How long an answer that is there may take to be read."""
_GPU_KIND = "accelerator_type:"


def survey(address: str, models: list[dict[str, Any]]) -> dict[str, Any]:
    """Every host with its name, its GPUs, their kind, its versions and what speaks against it; or the trouble."""
    try:
        reach(address)
    except Unusable as reason:
        return {"trouble": str(reason)}
    nodes = [node for node in ray.nodes() if node["Alive"]]
    actors = [_actor(node["NodeID"]) for node in nodes]
    abouts = answers([actor.about.remote() for actor in actors])
    fitting = [at for at, about in enumerate(abouts) if not isinstance(about, RayError) and not _difference(about)]
    missing = dict(zip(fitting, answers([actors[at].missing.remote(models) for at in fitting]), strict=True))
    for actor in actors:
        ray.kill(actor)
    return {"hosts": [_host(node, abouts[at], missing.get(at, {})) for at, node in enumerate(nodes)]}


def answers(questions: Sequence[Any]) -> list[Any]:
    """What each question was answered, or the RayError; a host that is stuck takes no time from the others."""
    if questions:
        ray.wait(list(questions), num_returns=len(questions), timeout=_ANSWER_SECONDS)
    found: list[Any] = []
    for question in questions:
        try:
            found.append(ray.get(question, timeout=_LOOK_SECONDS))
        except RayError as error:
            found.append(error)
    return found


def _actor(node_id: str) -> Any:
    """One who answers on a host."""
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=strategy)(Easel).remote("~")


def _difference(about: tuple[str, dict[str, str]]) -> str | None:
    """Which versions of a host are others than here, as a sentence."""
    return host.difference(*about, host.versions())


def _host(node: dict[str, Any], about: Any, missing: Any) -> dict[str, Any]:
    """What is told of a host; `about` and `missing` are what it answered, or a RayError."""
    resources = node["Resources"]
    found = {
        "name": node["NodeManagerHostname"],
        "address": node["NodeManagerAddress"],
        "gpus": int(resources.get("GPU", 0)),
        "kind": ", ".join(name.removeprefix(_GPU_KIND) for name in resources if name.startswith(_GPU_KIND)),
    }
    if (error := next((each for each in (about, missing) if isinstance(each, RayError)), None)) is not None:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return found | {"troubles": [f"The host {found['name']} cannot run the engine ({last[:200]})."]}
    different = _difference(about)
    return found | {"versions": about[1], "troubles": [different] if different else list(missing.values())}


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
