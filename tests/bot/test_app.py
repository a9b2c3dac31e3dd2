"""The house as a whole: how it opens, and how it ends when a part of it dies."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import typer

from bot.app import lock_folder, open_app
from bot.command import run_to_end
from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError
from bot.jobs import Surface
from bot.storage.sqlite import Stop


def test_a_database_nobody_can_use_any_more_ends_the_process_with_words_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError

    async def serve() -> None:
        async with open_app(Config(data=tmp_path), Surface.DISCORD, engine=FakeEngine()) as app:
            monkeypatch.setattr(app.database, "_read", broken)
            # Whatever asks next meets it; the body itself waits for something else.
            asyncio.get_running_loop().call_soon(asyncio.ensure_future, app.queue.depth())
            async with asyncio.timeout(20):
                await asyncio.Event().wait()

    with pytest.raises(typer.Exit) as ended:
        run_to_end(serve())
    assert ended.value.exit_code == 1
    assert "The database cannot be used any more" in capsys.readouterr().err
    assert "the background task database died" in caplog.text
    with lock_folder(tmp_path):
        pass


async def test_the_folder_is_held_until_the_look_at_the_database_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, loop, held = asyncio.Event(), asyncio.get_running_loop(), []

    def heal(path: Path, key: str | None, stop: Stop) -> None:
        loop.call_soon_threadsafe(looking.set)
        end = time.monotonic() + 20
        while not stop() and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.1)
        held.append((tmp_path / "lock").exists() and is_held(tmp_path))

    monkeypatch.setattr("bot.app.heal", heal)
    opening = asyncio.create_task(open_app(Config(data=tmp_path), Surface.DISCORD, engine=FakeEngine()).__aenter__())
    await looking.wait()
    begun = time.monotonic()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert held == [True], "the thread ended first, and the folder was still held"
    assert time.monotonic() - begun < 10
    with lock_folder(tmp_path):
        pass


def is_held(data: Path) -> bool:
    """Whether another is kept out of a data folder."""
    try:
        with lock_folder(data):
            return False
    except ConfigError:
        return True
