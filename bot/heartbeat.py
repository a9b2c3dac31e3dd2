"""Tells `atelier health`, through a file, that the running bot works: its event loop, its connection, its engine."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bot.queue.lane_states import LaneState

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A loop that did not beat for so long hangs."""
ANY_MODEL = ""
"""The key under which an engine says why nothing can be painted."""

log = logging.getLogger(__name__)


class Health(NamedTuple):
    """Whether the bot works, and what is to be said about it."""

    works: bool
    words: str


@asynccontextmanager
async def beating(
    path: Path,
    is_connected: Callable[[], bool],
    troubles: Callable[[], Mapping[str, str]],
    lanes: Callable[[], Sequence[LaneState]] = tuple,
) -> AsyncIterator[None]:
    """Beat while the body runs. `troubles` are those of the engine, by model, and `lanes` what each lane does."""
    task = asyncio.create_task(_beat(path, is_connected, troubles, lanes), name="heartbeat")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(OSError):
            await asyncio.to_thread(path.unlink, missing_ok=True)


async def _beat(
    path: Path,
    is_connected: Callable[[], bool],
    troubles: Callable[[], Mapping[str, str]],
    lanes: Callable[[], Sequence[LaneState]],
) -> None:
    told = False
    while True:
        state = {
            "at": time.time(),
            "connected": is_connected(),
            "engine": troubles().get(ANY_MODEL, ""),
            "lanes": [asdict(lane) for lane in lanes()],
        }
        try:
            await asyncio.to_thread(_write, path, json.dumps(state))
            told = False
        except OSError as error:
            if not told:
                log.warning("%s cannot be written (%s): `atelier health` will say so", path, error.strerror)
            told = True
        await asyncio.sleep(BEAT_SECONDS)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def last_lanes(path: Path, now: float) -> list[LaneState]:
    """What each lane did at the last beat; nothing if no bot runs."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        is_fresh = now - state["at"] <= STALE_SECONDS
        return [LaneState.read(fields) for fields in state["lanes"]] if is_fresh else []
    except (OSError, ValueError, TypeError, KeyError):
        # `atelier health` says what is wrong with the file.
        return []


def health(path: Path, now: float) -> Health:
    """What the last beat says at the time `now`, in seconds since 1970."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        age, connected, engine = max(now - state["at"], 0.0), bool(state["connected"]), str(state["engine"])
    except FileNotFoundError:
        return Health(False, f"The bot does not run: there is no {path}.")
    except (OSError, ValueError, TypeError, KeyError) as error:
        return Health(False, f"{path} cannot be read ({type(error).__name__}).")
    if age > STALE_SECONDS:
        return Health(False, f"The bot was last heard of {age:.0f} s ago: it hangs, was killed, or the disk is full.")
    if not connected:
        return Health(False, "The bot runs, but is not connected to Discord.")
    if engine:
        return Health(False, f"The bot is connected to Discord, but nothing can be painted: {engine}")
    return Health(True, "The bot is connected to Discord, and the engine runs.")
