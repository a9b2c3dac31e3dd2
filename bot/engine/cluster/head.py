"""Whether the head of the Ray cluster can be used: it answers, it asks for a token, and it takes ours.

Ray's daemons listen on all interfaces, whatever address they are given, and who may talk to them may run programs on
every host. So a head that asks for no token is refused, also on the loopback interface.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._raylet import AuthenticationTokenLoader, GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError, RpcError

_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 5.0
AWAY_SECONDS = 40.0
"""How long a head may be away. Ray ends a process that has used it without a word after 60 s."""


class Unusable(Exception):  # noqa: N818 - a verdict
    """The cluster or a host of it cannot be used, for a reason in words for the host of the bot."""


def reach(address: str) -> None:
    """Connect this process to the cluster with this head, as one that owns actors. Raises Unusable."""
    token = os.environ[_TOKEN]
    try:
        _knock(address, _CONNECT_SECONDS)
    except OSError as error:
        raise Unusable(
            f"The Ray head at {address} cannot be reached ({error.strerror or 'no answer'}). Start it, and let the "
            "firewall of that host admit this one."
        ) from error
    if _admits(address, secrets.token_hex(32)):
        raise Unusable(
            f"The Ray head at {address} asks for no token, so everybody who reaches it may run programs on all hosts. "
            "Stop it, and start it again with RAY_AUTH_MODE=token."
        )
    if not _admits(address, token):
        raise Unusable(
            f"The Ray head at {address} refuses the token. ATELIER_RAY_TOKEN has to be the token that the head was "
            "started with."
        )
    try:
        ray.init(address=address, namespace="atelier", configure_logging=False, log_to_driver=True)
    except ConnectionError as error:
        raise Unusable(
            f"This machine is no host of the Ray cluster at {address}. Run here, too: ray start --address={address} "
            "--num-gpus=0"
        ) from error
    except RuntimeError as error:
        # Ray compares its own version and that of Python, and names both in its first lines.
        raise Unusable(f"The Ray cluster at {address} does not fit: {' '.join(str(error).split())[:300]}") from error


class Watch:
    """Looks every few seconds whether the head is still there."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._seen_at = self._looked_at = time.monotonic()

    def look(self) -> None:
        """Raise Unusable if the head is away for long; call it often."""
        now = time.monotonic()
        if now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            _knock(self._address, 1.0)
            self._seen_at = now
        except OSError as error:
            if now > self._seen_at + AWAY_SECONDS:
                raise Unusable(
                    f"The Ray head at {self._address} was away for {AWAY_SECONDS:.0f} s, so its lanes end."
                ) from error


def _knock(address: str, seconds: float) -> None:
    """Raises OSError if nothing accepts connections at an address."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), seconds).close()


def _admits(address: str, token: str) -> bool:
    """Whether the head takes a token. Raises Unusable if what answers is no head."""
    os.environ[_TOKEN] = token
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        with _silence():
            GcsClient(address=address)
    except AuthenticationError:
        return False
    except RpcError as error:
        raise Unusable(
            f"What answers at {address} is no Ray head, or it is too busy. engine.ray.address has to be the address "
            "that `ray start --head` says, such as 10.0.0.1:6379."
        ) from error
    return True


@contextmanager
def _silence() -> Iterator[None]:
    """Throw away what Ray writes to standard error meanwhile: a token that is refused on purpose is no news."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
