"""A picture that a person sends to search by: checked and looked at in a process of its own, and not kept."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict, dataclass

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.errors import EngineError, UserError
from bot.jobs import PictureLimits
from bot.language.reasons import unpacked

SECONDS = 60.0
"""How long the look at one picture may take on a small machine that also paints."""
AT_ONCE = 2
"""How many pictures are looked at at the same time: each may take 300 MB while it is decoded."""
MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class SentLook:
    """How a picture looks: its perceptual hash and its vector, as hexadecimal digits."""

    phash: int
    vector: str


class SentPictures:
    """Looks at pictures that people send."""

    def __init__(self, likeness: str = "") -> None:
        """`likeness` is the folder of the host's model that compares pictures, if there is one."""
        self._likeness = likeness
        self._waiting = 0
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def look(self, data: bytes, limits: PictureLimits | None) -> SentLook:
        """How an encoded picture looks. `limits` are those of the channel; None where nothing is checked.

        Raises UserError for what is no picture, for one that may not be used there, and if too many people send
        pictures; EngineError if it cannot be looked at.
        """
        if self._waiting >= MOST_WAITING:
            raise UserError("Many people search by pictures right now. Try again in a moment.")
        header = {
            "kind": "look",
            "folder": self._likeness,
            "limits": None if limits is None else asdict(limits),
            "lengths": [len(data)],
        }
        self._waiting += 1
        try:
            async with self._turns:
                output = await child.run("bot.worker.looking", framing.pack(header, data), SECONDS)
            message = framing.read(io.BytesIO(output))
        except ChildFailed as failure:
            raise EngineError("The picture could not be looked at. {reason}", reason=failure.reason) from failure
        except BadFrame as error:
            raise EngineError("The picture could not be looked at.") from error
        finally:
            self._waiting -= 1
        if message is None:
            raise EngineError("The picture could not be looked at.")
        answer, _ = message
        if answer["kind"] == "refused":
            raise UserError("{reason} Tell the host.", reason=unpacked(answer["words"]))
        (look,) = answer["looks"]
        if "words" in look:
            raise UserError(unpacked(look["words"]))
        return SentLook(look["phash"], look["vector"])
