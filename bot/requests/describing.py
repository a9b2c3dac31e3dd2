"""Words for a picture, by the host's model that describes pictures. It runs in a process of its own, one at a time."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict
from pathlib import Path

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.framing import BadFrame
from bot.engine.model_files.describer import check_describer
from bot.errors import EngineError, UnusableFiles, UserError
from bot.jobs import PictureLimits, UserId
from bot.language.reasons import unpacked

SECONDS = 180.0
"""How long one picture may take on a small machine that also paints, with the loading of the model."""
MOST_WAITING = 5
"""How many pictures may wait or be described: the answer to a command must come within fifteen minutes."""


class Describer:
    """Describes pictures, one at a time."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._asking: set[UserId] = set()
        self._turn = asyncio.Lock()

    @property
    def has_model(self) -> bool:
        """Whether the host has set up a model that describes pictures."""
        return self._folder is not None

    def check_room(self, user_id: UserId) -> None:
        """Raise UserError if this person has a picture here already, or if too many people have."""
        if user_id in self._asking:
            raise UserError("I am still looking at another picture of yours. Ask again when its words are there.")
        if len(self._asking) >= MOST_WAITING:
            raise UserError("Too many pictures of other people come first. Ask again in a few minutes.")

    async def describe(self, user_id: UserId, picture: bytes, limits: PictureLimits | None) -> str:
        """One sentence about an encoded picture. `limits` are those of the channel; None where nothing is checked.

        Raises UserError for a picture that nobody can read or that is too explicit, and EngineError.
        """
        assert self._folder is not None  # noqa: S101 - see has_model
        self.check_room(user_id)
        self._asking.add(user_id)
        try:
            await asyncio.to_thread(check_describer, self._folder)
            async with self._turn:
                order = framing.pack(
                    {
                        "kind": "describe",
                        "folder": str(self._folder),
                        "limits": None if limits is None else asdict(limits),
                    },
                    picture,
                )
                output = await child.run("bot.worker.describing", order, SECONDS)
            message = framing.read(io.BytesIO(output))
        except UnusableFiles as error:
            raise UserError(
                "The model that describes pictures cannot be used: {trouble} Tell the host.", trouble=error.words
            ) from error
        except ChildFailed as failure:
            raise EngineError("The picture could not be described. {reason}", reason=failure.reason) from failure
        except BadFrame as error:
            raise EngineError("The picture could not be described.") from error
        finally:
            self._asking.discard(user_id)
        if message is None:
            raise EngineError("The picture could not be described.")
        answer, _ = message
        if answer["kind"] == "refused":
            raise UserError(unpacked(answer["words"]))
        return str(answer["words"])
