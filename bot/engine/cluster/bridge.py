"""The process between the bot and a lane on another host: it passes bytes on, and says in words why it ends.

`bot/engine/local/supervisor.py` starts it in the place of the engine process, as

    python -m bot.engine.cluster.bridge LANE [COMMAND ...]

It has one state: it serves one actor with one engine process, and ends with either. If the engine process ends by
itself, the bridge ends without a word, and the orders are blamed as they are on the bot's own host. If the actor, its
host or the head is lost, no order is blamed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import ray
from ray.exceptions import GetTimeoutError, RayError

from bot.config import EngineConfig, RayConfig
from bot.engine import framing
from bot.engine.cluster import host
from bot.engine.cluster.easel import Easel
from bot.engine.cluster.head import Unusable, Watch, reach
from bot.engine.wire import LeavingFrame, SetupFrame, encode, read_frame
from bot.logs import setup_logging
from bot.secrets import without_secrets

log = logging.getLogger(__name__)

PLACE_SECONDS = 60.0
"""How long a lane waits for a place on a host before it says that there is none."""
SILENCE_SECONDS = 15.0
"""How long a host may be silent before it counts as lost: several times the pause between two beats of the easel, and
shorter than any stage may take, so that no order is blamed for a cut network."""
_END_SECONDS = 4.0
_SECRETS_SECONDS = 60.0
_CHUNK = 2**16
_LARGEST_SECRET = 2**20
_ORDERS = "orders"
"""The concurrency group for what the bot says. So a cancel waits for nothing that the engine process does."""


def cross(setup: SetupFrame, lane: str, command: Sequence[str], stdin: BinaryIO, output: BinaryIO) -> None:
    """Serve a lane until its engine process ends, or the bot's pipe does. Raises Unusable."""
    engine = EngineConfig(**setup.engine)
    making = _make_secrets(setup)
    reach(engine.ray.address)
    actor = _placed(engine.ray, f"{engine.ray.folder}/{lane.replace(' ', '-')}", command)
    name, theirs = _about(actor, engine.ray)
    if words := host.difference(name, theirs, host.versions()):
        raise Unusable(words)
    troubles = _get(actor.missing.remote(setup.models), name)
    models = [model for model in setup.models if model["name"] not in troubles]
    if not models:
        raise Unusable(" ".join(troubles.values()))
    log.info("the lane %s paints on the host %s", lane, name)
    setup = replace(setup, models=models, troubles=troubles, host=name)
    serve = actor.serve.options(num_returns="streaming")
    stream = serve.remote(encode(setup), _secrets(setup, making))
    try:
        _pass_back(stream, name, output, Watch(engine.ray.address), partial(_start_passing_on, stdin, actor))
    finally:
        with suppress(RayError):
            ray.get(actor.end.options(concurrency_group=_ORDERS).remote(), timeout=_END_SECONDS)


def _placed(settings: RayConfig, folder: str, command: Sequence[str]) -> Any:
    """The actor, which Ray places on a host with a free GPU, or on any host if the lane needs none."""
    options = {
        "num_gpus": settings.gpus,
        "num_cpus": 0 if settings.gpus else 1,
        # Ray finds another place for an actor that is lost before it serves. What it serves is never tried again: the
        # bot decides about another attempt.
        "max_restarts": -1,
        "max_task_retries": 0,
        "concurrency_groups": {_ORDERS: 1},
        "scheduling_strategy": "SPREAD",
    }
    return ray.remote(**options)(Easel).remote(folder, command)


def _about(actor: Any, settings: RayConfig) -> tuple[str, dict[str, str]]:
    """The name of the actor's host, and its versions. Raises Unusable if it gets no place, or cannot run there."""
    try:
        name, theirs = ray.get(actor.about.remote(), timeout=PLACE_SECONDS)
    except GetTimeoutError as error:
        hosts = [node for node in ray.nodes() if node["Alive"]]
        kind = "GPU" if settings.gpus else "CPU"
        count = sum(int(node["Resources"].get(kind, 0)) for node in hosts)
        raise Unusable(
            f"No host of the Ray cluster has a free {kind} for this lane: hosts: {len(hosts)}, {kind}s: {count}, "
            f"lanes: {settings.lanes}. Add a host to the cluster, or lower engine.ray.lanes."
        ) from error
    except RayError as error:
        last = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise Unusable(
            f"A host of the Ray cluster cannot run the engine ({last[:200]}). Install the same version of Atelier "
            "there, in the environment in which Ray is started."
        ) from error
    return name, theirs


def _get(reference: Any, name: str) -> Any:
    """What a host answers. Raises Unusable if it is lost."""
    try:
        return ray.get(reference, timeout=PLACE_SECONDS)
    except RayError as error:
        raise Unusable(_lost(name, error)) from error


def _pass_back(stream: Any, name: str, output: BinaryIO, head: Watch, begin: Callable[[], threading.Event]) -> None:
    """Write what the engine process says, in whole frames, until it ends; call `begin` once it was started.

    Raises Unusable if its host or the head is lost.
    """
    buffer, deaf = bytearray(), None
    while True:
        head.look()
        if deaf is not None and deaf.is_set():
            raise Unusable(f"The host {name} takes no orders any more, so it counts as lost.")
        ready, _ = ray.wait([stream], timeout=SILENCE_SECONDS)
        if not ready:
            raise Unusable(f"The host {name} was silent for {SILENCE_SECONDS:.0f} s, so it counts as lost.")
        try:
            buffer += ray.get(next(stream))
        except StopIteration:
            return
        except RayError as error:
            raise Unusable(_lost(name, error)) from error
        deaf = deaf or begin()
        if end := framing.whole(buffer):
            output.write(buffer[:end])
            output.flush()
            del buffer[:end]


def _start_passing_on(stdin: BinaryIO, actor: Any) -> threading.Event:
    """Pass on what the bot says, in another thread; with the end of its pipe this process ends.

    Returns what is set once the actor takes nothing any more.
    """
    deaf = threading.Event()

    def run() -> None:
        try:
            # One piece after the other: pieces of one frame may not overtake each other, nor a cancel its order.
            while data := stdin.read1(_CHUNK):  # type: ignore[attr-defined]
                ray.get(actor.tell.options(concurrency_group=_ORDERS).remote(data))
        except RayError:
            deaf.set()
            return
        with suppress(RayError):
            ray.get(actor.end.options(concurrency_group=_ORDERS).remote(), timeout=_END_SECONDS)
        os._exit(0)

    threading.Thread(target=run, name="orders", daemon=True).start()
    return deaf


def _lost(name: str, error: RayError) -> str:
    return f"The host {name}, or what painted there, was lost ({type(error).__name__})."


def _make_secrets(setup: SetupFrame) -> subprocess.Popen[bytes] | None:
    """Begin to make the secrets that pictures are labelled with, in case there are none yet."""
    if not setup.provenance:
        return None
    command = (sys.executable, "-m", "bot.worker.labels", setup.provenance)
    making = subprocess.Popen(command, stdin=subprocess.PIPE, env=without_secrets())  # noqa: S603 - the command is ours
    assert making.stdin is not None  # noqa: S101 - it is a pipe
    making.stdin.write(EngineConfig(**setup.engine).model_dump_json().encode())
    making.stdin.close()
    return making


def _secrets(setup: SetupFrame, making: subprocess.Popen[bytes] | None) -> dict[str, bytes]:
    """The files that pictures are labelled with, by their names. Raises Unusable if they cannot be read."""
    if making is None:
        return {}
    try:
        code = making.wait(_SECRETS_SECONDS)
        files = {path.name: path for path in Path(setup.provenance).iterdir() if path.suffix in (".key", ".pem")}
        for key in ("certificate", "private_key"):
            if setup.engine[key]:
                files[f"given-{key}"] = Path(setup.engine[key])
        if not code:
            return {name: path.read_bytes() for name, path in files.items() if path.stat().st_size < _LARGEST_SECRET}
    except (OSError, subprocess.TimeoutExpired):
        log.exception("the secrets of the labels cannot be read")
    raise Unusable("The secrets that pictures are labelled with cannot be read. The log of the bot says why.")


def main() -> None:
    """Run the bridge on this process's standard input and output."""
    # Ctrl-C reaches all processes of the terminal, but the bot decides when the engine stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames are written to a copy of standard output, so that prints of libraries go to the log instead.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setup = read_frame(sys.stdin.buffer)
    if isinstance(setup, SetupFrame):
        setup_logging(setup.log_level)
        try:
            cross(setup, sys.argv[1], sys.argv[2:], sys.stdin.buffer, output)
        except Unusable as reason:
            output.write(encode(LeavingFrame(str(reason))))
            output.flush()
        except (BrokenPipeError, SystemExit):
            log.info("the bridge to another host ends with its bot")
        except Exception:
            log.exception("the bridge to another host ends on a bug")
    sys.stderr.flush()
    # A normal end would wait for the thread that reads standard input.
    os._exit(1)


if __name__ == "__main__":
    main()
