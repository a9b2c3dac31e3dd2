"""A process of this program that lives for one piece of work: bytes in, bytes out."""

from __future__ import annotations

import asyncio
import os
import sys

from bot.config import SECRETS


class ChildFailed(Exception):  # noqa: N818 - its caller turns it into words for people
    """The process did not answer; `reason` says why, as the end of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def run(module: str, data: bytes, seconds: float) -> bytes:
    """What the module answers to `data`, on its standard output, within so many seconds. Raises ChildFailed.

    The process gets no secrets. It is killed if it takes too long or if the caller is cancelled.
    """
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Otherwise numpy would start a thread for every core.
            env={"OPENBLAS_NUM_THREADS": "1", **environ},
        )
    except OSError as error:
        raise ChildFailed(f": {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(data)
    except TimeoutError as error:
        raise ChildFailed(f" within {seconds:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if process.returncode:
        raise ChildFailed("; the log says why")
    return output
