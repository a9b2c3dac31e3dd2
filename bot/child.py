"""A process of this program: one that lives for one piece of work, bytes in and bytes out, or one that stays."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from contextlib import suppress

from bot.language import Sentence, sentence
from bot.secrets import without_secrets

LOGGED = sentence("The host can find the reason in the log.")


class ChildFailed(Exception):  # noqa: N818 - its caller turns it into words for people
    """The process did not answer; `reason` is a sentence that says why."""

    def __init__(self, reason: Sentence) -> None:
        super().__init__(reason)
        self.reason = reason


async def start(module: str) -> Process:
    """Start the module as a process with pipes. It gets no secrets in its environment. Raises ChildFailed."""
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Otherwise numpy would start a thread for every core.
            env={"OPENBLAS_NUM_THREADS": "1", **without_secrets()},
        )
    except OSError as error:
        raise ChildFailed(sentence("Its process could not be started: {error}.", error=error.strerror)) from error


async def end(process: Process, seconds: float = 0.0) -> None:
    """Close the pipe of a process that stays, and kill it if it does not end by itself within so many seconds.

    If the caller is cancelled, it is killed at once.
    """
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.close()
    try:
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(module: str, data: bytes, seconds: float) -> bytes:
    """What the module answers to `data`, on its standard output, within so many seconds. Raises ChildFailed.

    The process gets no secrets. It is killed if it takes too long or if the caller is cancelled.
    """
    process = await start(module)
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(data)
    except TimeoutError as error:
        raise ChildFailed(sentence("It took longer than {seconds:.0f} s.", seconds=seconds)) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    if process.returncode:
        raise ChildFailed(LOGGED)
    return output
