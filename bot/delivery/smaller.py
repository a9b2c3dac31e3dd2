"""The bot's side of `bot/worker/webp.py`: encodes pictures smaller in another process, which may fail."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from bot import child
from bot.child import ChildFailed
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
    sizes = [len(image.png) for image in images]
    order = framing.pack(
        {"kind": "smaller", "sizes": sizes, "file_limit": file_limit, "total_limit": TOTAL_LIMIT},
        b"".join(image.png for image in images),
    )
    try:
        output = await child.run("bot.worker.webp", order, SECONDS)
        message = framing.read(io.BytesIO(output))
        if message is None or len(message[0]["sizes"]) != len(images):
            raise BadFrame("the answer is not whole")
        answer, body = message
        files = framing.split(body, answer["sizes"])
    except ChildFailed as failure:
        raise EngineError("The pictures could not be encoded smaller. {reason}", reason=failure.reason) from failure
    except BadFrame as error:
        raise EngineError("The pictures could not be encoded smaller.") from error
    return Smaller(tuple(files), answer["lossless"])
