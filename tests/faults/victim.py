"""`atelier run` on the local Discord with a light engine; it can die at any of its side effects.

    python -m tests.faults.victim REST GATEWAY FOLDER run --data FOLDER/data

The bot's code does not know about this: the calls to the database, the disk, Discord and the engine are wrapped here,
in this process. There is a crash point just before every side effect and, if another program sees the side effect, one
just after it. Crash points are numbered in order; CRASH_AT=n ends the process at number n with SIGKILL. FOLDER/points
gets their names, one a line, and the log gets everything that a bot must never do. SPEED=n makes waits in the event
loop n times as short.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import aiohttp
import aiosqlite
import discord.gateway
import discord.http
import yarl

import bot.__main__
import bot.app
import bot.client
import bot.engine.building
import bot.engine.local
import bot.engine.local.supervisor
import bot.queue.dispatcher
from bot.engine.wire import Frame, ToWorker, kind_of

CHANGE = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) \w+( SET \w+( = '\w+)?)?")
"""What a statement changes, in a few words."""
ENGINE = Path(__file__).with_name("light_engine.py")


class Points:
    """Counts crash points, writes their names, and kills the process at the chosen one."""

    def __init__(self, path: Path, crash_at: int) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._crash_at = crash_at
        self._numbers = itertools.count(1)
        # Some crash points are passed on the threads that write files.
        self._lock = threading.Lock()

    def passing(self, name: str) -> None:
        """Pass a crash point, or die there."""
        with self._lock:
            number = next(self._numbers)
            self._file.write(f"{name}\n")
            if number == self._crash_at:
                os.kill(os.getpid(), signal.SIGKILL)


def watch() -> None:
    """Log what the bot must never do: import a picture decoder, or open a file that a stranger named."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and str(arguments[0]).partition(".")[0] in ("PIL", "torch", "numpy"):
            print(f"AUDIT: imports {arguments[0]}", file=sys.stderr, flush=True)
        if event == "open" and "passwd" in str(arguments[0]):
            print(f"AUDIT: opens {arguments[0]}", file=sys.stderr, flush=True)

    sys.addaudithook(hook)


def wrap_database(points: Points) -> None:
    """A commit has a point before and after it, named by what was written."""
    commit = aiosqlite.Connection.commit
    written: list[str] = []

    def remember(sql: str) -> None:
        if change := re.match(
            r"\s*(INSERT|UPDATE|DELETE)\b.*?"
            r"(jobs SET \w+(?: = '\w+)?|\bjobs|ratings|memory|rules|cases|refusals|deletion_requests|posts|"
            r"side_messages|removals|member_reports|reporters|$)",
            sql,
        ):
            written.append(f"{change[1].lower()} {change[2]}")

    def remembering(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def executing(self: aiosqlite.Connection, sql: str, parameters: Any = None) -> Any:
            remember(sql)
            return call(self, sql, parameters)

        return executing

    async def committing(self: aiosqlite.Connection) -> None:
        name = f"commit ({', '.join(written)})"
        written.clear()
        points.passing(f"{name}: before")
        await commit(self)
        points.passing(f"{name}: after")

    for name in ("execute", "execute_fetchall"):
        setattr(aiosqlite.Connection, name, remembering(getattr(aiosqlite.Connection, name)))
    fetch = aiosqlite.Connection.execute_fetchall

    async def rewriting(self: aiosqlite.Connection) -> Any:
        points.passing("rewrite the database: before")
        rows = await fetch(self, "VACUUM")
        points.passing("rewrite the database: after")
        return rows

    def fetching(self: aiosqlite.Connection, sql: str, parameters: Any = None) -> Any:
        return rewriting(self) if sql == "VACUUM" else fetch(self, sql, parameters)

    aiosqlite.Connection.execute_fetchall = fetching  # type: ignore[assignment]
    aiosqlite.Connection.commit = committing  # type: ignore[method-assign]


def wrap_disk(points: Points) -> None:
    """A sync, a rename and a deletion each have a point before them."""

    def before(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(call)
        def passing(*arguments: Any, **options: Any) -> Any:
            points.passing(name)
            return call(*arguments, **options)

        return passing

    os.fsync = before(os.fsync, "sync a file or folder: before")
    os.replace = before(os.replace, "rename a file: before")
    os.unlink = before(os.unlink, "delete a file: before")


def wrap_discord(points: Points) -> None:
    """A request has a point before it, and one when Discord has answered but the bot has not read the answer."""
    request = aiohttp.ClientSession._request

    async def requesting(self: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> aiohttp.ClientResponse:
        if yarl.URL(url).path.startswith("/gateway/"):
            return await request(self, method, url, **options)
        path = re.sub(r"\d{3,}", "…", yarl.URL(url).path.removeprefix("/api/"))
        points.passing(f"{method} {path}: before")
        response = await request(self, method, url, **options)
        points.passing(f"{method} {path}: after")
        return response

    aiohttp.ClientSession._request = requesting  # type: ignore[method-assign]


def wrap_engine(points: Points, folder: Path) -> None:
    """A frame has a point before it is sent, and one before a received frame is read."""
    engine, supervisor = bot.engine.local, bot.engine.local.supervisor
    send, read = supervisor.Supervisor.send, supervisor.read_frame_async

    def sending(self: supervisor.Supervisor, frame: ToWorker) -> None:
        points.passing(f"{kind_of(frame)} to the engine: before")
        send(self, frame)

    async def reading(stream: asyncio.StreamReader) -> Frame | None:
        frame = await read(stream)
        points.passing(f"{'the end' if frame is None else kind_of(frame)} from the engine: after")
        return frame

    supervisor.Supervisor.send = sending  # type: ignore[method-assign]
    supervisor.read_frame_async = reading
    bot.engine.building.LocalEngine = partial(engine.LocalEngine, command=(sys.executable, str(ENGINE), str(folder)))  # type: ignore[misc,assignment]


def quicken(speed: float) -> None:
    """Make the time of event loops pass `speed` times as fast."""
    select = selectors.DefaultSelector.select

    def selecting(self: Any, timeout: float | None = None) -> Any:
        return select(self, timeout / speed if timeout else timeout)

    selectors.DefaultSelector.select = selecting  # type: ignore[method-assign]
    asyncio.BaseEventLoop.time = lambda self: time.monotonic() * speed  # type: ignore[method-assign]


def main() -> None:
    """Wrap every boundary, then run."""
    rest, gateway, folder = sys.argv.pop(1), sys.argv.pop(1), Path(sys.argv.pop(1))
    points = Points(folder / "points", int(os.environ.pop("CRASH_AT", "0")))
    watch()
    quicken(float(os.environ.pop("SPEED", "1")))
    wrap_database(points)
    wrap_disk(points)
    wrap_discord(points)
    wrap_engine(points, folder)
    discord.http.Route.BASE = rest
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    # The engine here is quick, and what people see of its steps is a side effect, too.
    bot.queue.dispatcher.SHORT_SECONDS = 0.0
    # Kills in a row are no crash loop here: the next life need not wait before it identifies.
    bot.client.FREE_IDENTIFIES = 10_000
    bot.__main__.main()


if __name__ == "__main__":
    main()
