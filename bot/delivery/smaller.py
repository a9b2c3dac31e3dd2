"""The bot's side of `bot/worker/webp.py`: encodes pictures smaller in another process, which may fail."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bot.config import SECRETS
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.errors import EngineError
from bot.jobs import Image

TOTAL_LIMIT = 24 * 2**20
"""The most bytes of all files of one message: Discord takes requests of 25 MiB."""

SECONDS = 120.0
"""How long four large pictures may take on a small machine."""


@dataclass(frozen=True, slots=True)
class Smaller:
    """Pictures as WebP, in order; `lossless` says that every pixel is as it was painted."""

    files: tuple[bytes, ...]
    lossless: bool


async def smaller(images: Sequence[Image], file_limit: int) -> Smaller:
    """Encode pictures so that Discord may take them. Raises EngineError when that fails."""
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    sizes = [len(image.png) for image in images]
    order = framing.pack(
        {"kind": "smaller", "sizes": sizes, "file_limit": file_limit, "total_limit": TOTAL_LIMIT},
        b"".join(image.png for image in images),
    )
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.worker.webp",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environ,
        )
    except OSError as error:
        raise EngineError(f"The pictures could not be encoded smaller: {error.strerror}.") from error
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate(order)
        message = framing.read(io.BytesIO(output))
        if message is None or len(message[0]["sizes"]) != len(images):
            raise BadFrame("the answer is not whole")
        answer, body = message
        files = framing.split(body, answer["sizes"])
    except (TimeoutError, BadFrame) as error:
        raise EngineError("The pictures could not be encoded smaller.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Smaller(tuple(files), answer["lossless"])
