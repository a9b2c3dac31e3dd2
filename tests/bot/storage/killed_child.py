"""A process that kills itself: `python -m tests.bot.storage.killed_child ACTION FOLDER`.

It repeats an action on a fresh copy of FOLDER/start, each time in a fork that SIGKILLs itself one step later: at the
first SQL statement or renaming of a file, at the second, and so on, until the action survives. What each left lies in
FOLDER/1, FOLDER/2 …; the number of the survivor is printed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.config import Config
from bot.jobs import UserId
from bot.offline import encrypt_database, forget_person
from bot.storage import sqlite
from bot.storage.backups import back_up
from bot.storage.database import open_database
from bot.storage.recovery import heal, restore


async def _open(path: Path) -> None:
    async with open_database(path):
        pass


def _encrypt_pictures(path: Path, *, again: bool, seals: bool = True) -> None:
    asyncio.run(encrypt_database(Config(data=path.parent, encrypt_pictures=seals), again=again))


ACTIONS: dict[str, Callable[[Path], Any]] = {
    "open": lambda path: asyncio.run(_open(path)),
    "back up": lambda path: back_up(path, None),
    "heal": heal,
    "restore": lambda path: restore(path.parent / "given.db", path),
    "encrypt": lambda path: asyncio.run(encrypt_database(Config(data=path.parent), again=False)),
    "rekey": lambda path: asyncio.run(encrypt_database(Config(data=path.parent), again=True)),
    "encrypt pictures": lambda path: _encrypt_pictures(path, again=False),
    "rekey pictures": lambda path: _encrypt_pictures(path, again=True),
    "seal pictures": lambda path: _encrypt_pictures(path, again=False),
    "unseal pictures": lambda path: _encrypt_pictures(path, again=False, seals=False),
    "forget": lambda path: asyncio.run(forget_person(Config(data=path.parent), UserId(1))),
}


def kill_at(step: int) -> None:
    """Make this process die at its `step`-th step, from 1."""
    steps = itertools.count(1)

    def take(_: object = None) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite.connect

    def traced(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(take)
        return connection

    sqlite.connect = traced
    sys.addaudithook(lambda event, _: take() if event in ("os.rename", "os.remove") else None)


def main(action: str, folder: Path) -> int:
    """Return the number of the first fork that survives."""
    for step in itertools.count(1):
        left = folder / str(step)
        shutil.copytree(folder / "start", left)
        if (key := folder / "start.key").exists():
            shutil.copy(key, folder / f"{step}.key")
        child = os.fork()
        if not child:
            kill_at(step)
            ACTIONS[action](left / "atelier.db")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, f"{action} failed at step {step}"
            return step
    raise AssertionError


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
