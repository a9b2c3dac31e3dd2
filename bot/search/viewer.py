"""The process that looks at pictures, as the process that searches uses it: started when there is something to see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from bot.engine import framing
from bot.engine.framing import BadFrame

NICENESS = 10
"""Nobody waits for it: a new picture is found by its hash until its vector is there."""


class ViewerFailed(Exception):  # noqa: N818 - its caller goes on without vectors
    """The pictures could not be looked at, in words."""


class Viewer:
    """Looks at pictures; ends its process with `close`."""

    def __init__(self, folder: str) -> None:
        """`folder` has a model of the host's, or is empty."""
        self._folder = folder
        self.model = "open_nsfw"
        """What tells vectors of one model from those of another."""
        if folder:
            size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
            self.model = f"{Path(folder).name} {size}"
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, pictures: Sequence[bytes]) -> list[bytes | None]:
        """The vector of each encoded picture; None if that one cannot be decoded. Raises ViewerFailed."""
        if self._process is None or self._process.poll() is not None:
            # This process has no secrets in its environment either.
            self._process = subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-m", "bot.worker.looking", str(NICENESS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        order = {"kind": "look", "folder": self._folder, "limits": None, "lengths": [len(data) for data in pictures]}
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        assert self._process.stdout is not None  # noqa: S101 - as well
        try:
            self._process.stdin.write(framing.pack(order, b"".join(pictures)))
            self._process.stdin.flush()
            message = framing.read(cast(BinaryIO, self._process.stdout))
        except (OSError, BadFrame) as error:
            self.close()
            raise ViewerFailed("the process that looks at pictures ended") from error
        if message is None:
            self.close()
            raise ViewerFailed("the process that looks at pictures ended")
        answer, _ = message
        if answer["kind"] == "refused":
            raise ViewerFailed(answer["words"])
        return [bytes.fromhex(each["vector"]) if "vector" in each else None for each in answer["looks"]]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
