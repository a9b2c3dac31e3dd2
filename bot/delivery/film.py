"""The bot's side of `bot/worker/film.py`: an animation as MP4, made in another process where that is possible."""

from __future__ import annotations

import logging

from bot import child
from bot.child import ChildFailed
from bot.delivery.smaller import TOTAL_LIMIT
from bot.engine import framing

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a film may take on a small machine that also paints."""


async def film_beside(webp: bytes, file_limit: int) -> bytes:
    """An animation as MP4, to be sent beside its WebP; nothing if it cannot be made here, or if both do not fit."""
    try:
        made = await child.run("bot.worker.film", framing.pack({"kind": "film"}, webp), SECONDS)
    except ChildFailed as failure:
        log.warning("an animation is sent without an MP4, which could not be made%s", failure.reason)
        return b""
    return made if len(made) <= file_limit and len(webp) + len(made) <= TOTAL_LIMIT else b""
