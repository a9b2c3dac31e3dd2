"""The actor on another host: it owns one engine process there, and passes on its bytes. It does not import Ray.

An error of the device ends only that process. If the actor is killed, the process ends as it does without its bot: at
the end of its pipe.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from bot.config import ModelConfig
from bot.engine.cluster import host
from bot.engine.local import COMMAND
from bot.engine.local.environ import worker_environ
from bot.engine.wire import SetupFrame, encode, read_frame

BEAT_SECONDS = 2.0
"""The longest silence: then the stream has an item without bytes, which says that the host is there."""
_END_SECONDS = 2.0
"""From the end of its pipe, at which the process ends by itself, to SIGKILL."""
_CHUNK = 2**16
"""The most bytes of one item: Ray sends so few with the message itself, and not through its object store."""
_NOT_THE_WORKERS = ("OMP_NUM_THREADS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""What Ray sets for its own processes."""


class Easel:
    """One engine process at a time, for one bridge."""

    def __init__(self, folder: str, command: Sequence[str] = ()) -> None:
        """Make it; the engine process keeps what it learns in `folder`, and is started by `command`."""
        self._folder = Path(folder).expanduser()
        self._command = tuple(command) or COMMAND
        self._process: subprocess.Popen[bytes] | None = None

    def about(self) -> tuple[str, dict[str, str]]:
        """The name of this host, and its versions."""
        return host.name(), host.versions()

    def missing(self, models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """The models of a configuration that cannot be painted here, each with a sentence."""
        return host.missing(host.name(), [ModelConfig(**fields) for fields in models])

    def serve(self, setup: bytes, secrets: Mapping[str, bytes]) -> Iterator[bytes]:
        """Run an engine process; yields its bytes, and nothing at first and after each silence, until it ends.

        `setup` is its first frame, in which the files of this host take the place of those of the bot. `secrets` are
        the files that pictures are labelled with, by their names; they are here only until the process has read them.
        """
        private = Path(tempfile.mkdtemp(prefix="atelier-"))
        try:
            for name, data in secrets.items():
                (private / name).touch(0o600)
                (private / name).write_bytes(data)
            frame = read_frame(BytesIO(setup))
            assert isinstance(frame, SetupFrame)  # noqa: S101 - the bridge has read it, in the same version
            self._start(self._settled(frame, private if secrets else None))
            yield b""
            for data in self._bytes():
                if data and private.exists():
                    # What it says first, it says after it has read them.
                    shutil.rmtree(private)
                yield data
        finally:
            self.end()
            if self._process is not None and self._process.stdout is not None:
                self._process.stdout.close()
            shutil.rmtree(private, ignore_errors=True)

    def tell(self, data: bytes) -> None:
        """Pass bytes on to the process; to none, or to one that has ended, they are lost."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.write(data)
                process.stdin.flush()

    def end(self) -> None:
        """End the process, if need be by force; its stream ends, too."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _settled(self, frame: SetupFrame, private: Path | None) -> SetupFrame:
        """The first frame with the files of this host."""
        self._folder.mkdir(parents=True, exist_ok=True)
        engine = dict(frame.engine)
        if private is not None:
            given = {key: str(private / f"given-{key}") for key in ("certificate", "private_key") if engine[key]}
            engine |= given
        return replace(
            frame,
            engine=engine,
            calibration=str(self._folder / "calibration.json"),
            provenance=str(private) if private else "",
            known_files=str(self._folder / "model-files.json"),
        )

    def _start(self, setup: SetupFrame) -> None:
        environ = {name: value for name, value in worker_environ().items() if name not in _NOT_THE_WORKERS}
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
        self.tell(encode(setup))

    def _bytes(self) -> Iterator[bytes]:
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        output = self._process.stdout.fileno()
        while True:
            readable, _, _ = select.select([output], [], [], BEAT_SECONDS)
            data = os.read(output, _CHUNK) if readable else b""
            if readable and not data:
                return
            yield data
