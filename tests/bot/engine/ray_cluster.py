"""A Ray cluster on this machine: a head and other hosts, each a group of processes that can be killed as a whole.

Each host says that it has one GPU. Nothing here has one, so what paints there paints on the CPU.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

START_SECONDS = 90.0
"""More than a host takes to start on a busy machine."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """A head, and the hosts that were added to it."""

    def __init__(self, folder: Path, token: str | None) -> None:
        self.token = token or secrets.token_hex(32)
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._environ = {
            **os.environ,
            "RAY_AUTH_MODE": "token" if token else "disabled",
            "RAY_AUTH_TOKEN": self.token,
            # Ray starts its workers with a low priority: on a busy machine they would take for ever.
            "RAY_worker_niceness": "0",
        }
        self._hosts: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the head."""
        port = self.address.rpartition(":")[2]
        self._run("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")

    def add_host(self) -> subprocess.Popen[bytes]:
        """Add a host."""
        return self._run(f"--address={self.address}")

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments)
        log = self._folder / f"host-{len(self._hosts)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--num-cpus=1", "--num-gpus=1", "--object-store-memory=80000000", "--disable-usage-stats"],
                stdout=output,
                stderr=output,
                env=self._environ,
                start_new_session=True,
            )
        self._hosts.append(process)
        end = time.monotonic() + START_SECONDS
        while b"--block" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a host as if its plug was pulled: everything that runs there, at once."""
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in everything:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(everything, timeout=10)
        process.wait()
        self._hosts.remove(process)

    def actors(self) -> list[psutil.Process]:
        """The processes that own an engine process."""
        found = []
        for process in self._hosts:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    if "".join(child.cmdline()).startswith("ray::Easel"):
                        found.append(child)
        return found

    def stop(self) -> None:
        """End all hosts."""
        for process in list(self._hosts):
            with suppress(psutil.NoSuchProcess):
                self.kill(process)


@contextmanager
def cluster(*, with_token: bool = True) -> Iterator[Cluster]:
    """A cluster with a head only. Its folder has a short name: sockets are in it, whose paths may not be long."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder), secrets.token_hex(32) if with_token else None)
        try:
            made.start()
            yield made
        finally:
            made.stop()
