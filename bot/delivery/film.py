"""The bot's side of `bot/worker/film.py`: an animation as MP4, made in another process where that is possible."""

from __future__ import annotations

import logging

from bot import child
from bot.child import ChildFailed
from bot.delivery.smaller import TOTAL_LIMIT
from bot.engine import framing
from bot.engine.signing import Signing

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a film may take on a small machine that also paints."""


async def film_of(webp: bytes, signing: Signing | None = None) -> bytes:
    """An animation as MP4, signed as its WebP is; nothing if it cannot be made here. It takes up to SECONDS."""
    order = {"kind": "film", "signing": None if signing is None else signing.order()}
    try:
        return await child.run("bot.worker.film", framing.pack(order, webp), SECONDS)
    except ChildFailed as failure:
        log.warning("an animation is sent without an MP4, which could not be made. %s", failure.reason)
        return b""


def beside(webp: bytes, film: bytes, file_limit: int) -> bytes:
    """The MP4 of an animation, to be sent beside its WebP; nothing if both do not fit."""
    return film if len(film) <= file_limit and len(webp) + len(film) <= TOTAL_LIMIT else b""
