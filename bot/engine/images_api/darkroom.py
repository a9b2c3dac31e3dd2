"""The bot's side of the process that prepares and finishes the pictures of providers (`bot/worker/darkroom.py`)."""

from __future__ import annotations

import asyncio
import io
import logging
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot import child
from bot.child import ChildFailed
from bot.config import EngineConfig
from bot.engine import Order, framing, wire
from bot.engine.framing import BadFrame, Message
from bot.engine.wire import FinishedFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import Image, PictureLimits
from bot.language import mark
from bot.language.reasons import unpacked

log = logging.getLogger(__name__)

SECONDS = 180.0
"""How long one piece of work may take: four large pictures on a small machine that also paints."""
_TRIES = 2


class Unreadable(PaintFailed):
    """Nothing of what a provider answered is a picture that can be read."""


FAILED = mark("The picture could not be prepared or finished here. The host can find the reason in the log.")


class Darkroom:
    """One process, started when there is something to do; it does one piece of work at a time."""

    def __init__(self, settings: EngineConfig, folder: Path | None) -> None:
        """`folder` has the secrets that pictures are labelled with; without it they get no labels."""
        self._settings = {
            "engine": settings.model_dump_json(),
            "folder": "" if folder is None else str(folder.resolve()),
        }
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def prepared(self, order: Order) -> tuple[list[bytes], bytes]:
        """The pictures that an order starts from, as PNGs for its provider, and its mask or nothing.

        Raises PaintFailed.
        """
        header, body = await self._ask({"kind": "prepare"}, [_frame(order)])
        *pictures, mask = framing.split(body, header["lengths"])
        return pictures, mask

    async def preview(self, data: bytes, limits: PictureLimits) -> bytes:
        """A small JPEG of a partial image, or nothing."""
        return (await self._ask({"kind": "preview", "limits": asdict(limits)}, [data]))[1]

    async def finished(self, order: Order, answers: Sequence[bytes], model: str, provider: str) -> tuple[Image, ...]:
        """The results of an order, made of what its provider answered. Raises PaintFailed."""
        head = {"kind": "finish", "model": model, "provider": provider}
        _, body = await self._ask(head, [_frame(order), *answers])
        frame = wire.read_frame(io.BytesIO(body))
        assert isinstance(frame, FinishedFrame)  # noqa: S101 - its process is ours
        return frame.images

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            await child.end(process)

    async def _ask(self, head: dict[str, Any], parts: Sequence[bytes]) -> Message:
        message = framing.pack({**head, **self._settings, "lengths": list(map(len, parts))}, b"".join(parts))
        async with self._turn:
            for _ in range(_TRIES):
                try:
                    answer = await self._answer(message)
                except (ChildFailed, BadFrame, OSError, TimeoutError) as error:
                    log.warning("the process that finishes the pictures of providers failed: %s", type(error).__name__)
                    await self.close()
                    continue
                except BaseException:
                    # Its answer would be taken for that of the next question.
                    await asyncio.shield(self.close())
                    raise
                if answer[0]["kind"] == "failed":
                    raise PaintFailed(unpacked(answer[0]["words"]))
                if answer[0]["kind"] == "unreadable":
                    raise Unreadable(unpacked(answer[0]["words"]))
                return answer
        raise PaintFailed(FAILED)

    async def _answer(self, message: bytes) -> Message:
        if self._process is None or self._process.returncode is not None:
            self._process = await child.start("bot.worker.darkroom")
        process = self._process
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        async with asyncio.timeout(SECONDS):
            process.stdin.write(message)
            await process.stdin.drain()
            answer = await framing.read_async(process.stdout)
        if answer is None:
            raise ChildFailed(child.LOGGED)
        return answer


def _frame(order: Order) -> bytes:
    return wire.encode(
        SubmitFrame(order.job_id, order.attempt, order.owner, order.request, order.uploads, order.limits)
    )
