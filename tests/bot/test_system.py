"""Atelier without what only Linux and macOS have: all modules can be imported, and it paints.

This stands in for Windows, where it was never run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bot import system

ELSEWHERE = r"""
import asyncio, importlib, os, pkgutil, sys

from bot.config import Config
import bot.worker  # before diffusers
import bot, cogs, torch, diffusers, transformers, matplotlib, psutil, aiosqlite, discord
import multiprocessing.resource_tracker

for name in ("resource", "fcntl", "pwd", "grp", "ray"):
    sys.modules[name] = None
for name in ("nice", "setpriority", "sched_getaffinity", "sched_setaffinity", "getuid", "geteuid", "fork", "killpg",
             "statvfs", "sysconf", "getloadavg", "uname", "mkfifo", "chown", "fchmod", "pread", "pwrite"):
    if hasattr(os, name):
        delattr(os, name)

def refuse(*_):
    raise NotImplementedError
asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = refuse

OPTIONAL = ("ray", "httpx2", "openai", "av", "pyarrow", "spandrel", "torchao", "wordllama", "simcord")
imported = 0
for package in (bot, cogs):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.endswith("__main__") or found.name.startswith("bot.models"):
            continue
        try:
            importlib.import_module(found.name)
            imported += 1
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] not in OPTIONAL:
                raise
assert imported > 250, imported

from bot.command import run_to_end
from bot.engine.fake import FakeEngine
from bot.requests.options import Options
from bot.terminal import imagine
from rich.console import Console
from pathlib import Path
from bot.worker.kernels import peak_bytes

config = Config(data=Path("data"))
paths = run_to_end(imagine(config, Options("a cat"), {}, Path("cat.png"), Console(stderr=True)))
assert [path.exists() for path in paths] == [True]
print("painted")
"""


def test_all_modules_are_imported_and_a_picture_is_painted_without_what_windows_lacks(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.stdout == "painted\n", done.stderr[-3000:]


def test_the_rights_of_others_are_seen_where_there_are_such_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a")
    secret.chmod(0o640)
    assert system.is_open_to_others(secret)
    secret.chmod(0o600)
    assert not system.is_open_to_others(secret)
    secret.chmod(0o666)
    monkeypatch.setattr(system.os, "name", "nt")
    assert not system.is_open_to_others(secret), "Windows shows 666 for every file"


def test_the_peak_of_memory_is_also_known_without_the_module_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 10_000_000 < system.peak_bytes() < 100_000_000_000

    class Windows:
        def memory_info(self) -> object:
            return type("Facts", (), {"peak_wset": 5})()

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(psutil, "Process", Windows)
    assert system.peak_bytes() == 5
