"""`atelier health`: what a beat says, and what its absence says."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.app import heartbeat_of
from bot.heartbeat import STALE_SECONDS, beating, health
from tests.faults.stage import open_stage


def beat(path: Path, **changes: object) -> float:
    now = time.time()
    path.write_text(json.dumps({"at": now, "connected": True, "engine": ""} | changes))
    return now


def test_what_a_beat_says(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    assert health(path, 0.0) == (False, f"The bot does not run: there is no {path}.")
    now = beat(path)
    assert health(path, now + STALE_SECONDS) == (True, "The bot is connected to Discord, and the engine runs.")
    assert health(path, now - 86_400).works, "a clock that was set back"
    stale = health(path, now + 86_400)
    assert (stale.works, "last heard of 86400 s ago" in stale.words) == (False, True)
    assert not health(path, beat(path, connected=False)).works
    broken = health(path, beat(path, engine="The engine does not start."))
    assert (broken.works, broken.words.endswith("The engine does not start.")) == (False, True)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"at": "now"}', '{"at": 1}'])
def test_what_is_no_beat_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "heartbeat.json").write_text(content)
    found = health(tmp_path / "heartbeat.json", 1.0)
    assert (found.works, "cannot be read" in found.words) == (False, True)


async def test_a_beat_follows_the_state_and_goes_with_the_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.heartbeat.BEAT_SECONDS", 0.02)
    path, troubles = tmp_path / "heartbeat.json", {"broken": "its files are missing"}

    async def until(words: str) -> None:
        async with asyncio.timeout(10):
            while words not in health(path, time.time()).words:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)

    connected = [True]
    async with beating(path, lambda: connected[0], lambda: troubles):
        await until("the engine runs")
        connected[0] = False
        await until("not connected")
        connected[0], troubles[""] = True, "The engine does not start."
        await until("nothing can be painted: The engine does not start.")
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_takes_no_beat_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "missing" / "heartbeat.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.heartbeat.BEAT_SECONDS", 0.01)
        async with beating(path, lambda: True, dict):
            await asyncio.sleep(0.2)
    assert caplog.text.count("cannot be written (No such file or directory)") == 1


async def test_the_command_asks_a_bot_that_runs_and_knows_one_that_was_killed(tmp_path: Path) -> None:
    async def asked(data: Path) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "health", "--data", str(data)), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    (tmp_path / "data").mkdir()
    async with open_stage(tmp_path) as stage:
        await stage.until(lambda: stage.discord.connected, "the bot did not connect")

        async with asyncio.timeout(30):
            while not health(heartbeat_of(stage.data), time.time()).works:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.2)
        assert await asked(stage.data) == (0, "The bot is connected to Discord, and the engine runs.\n")
    assert heartbeat_of(stage.data).exists(), "the bot was killed"
    state = json.loads(heartbeat_of(stage.data).read_text())
    heartbeat_of(stage.data).write_text(json.dumps(state | {"at": state["at"] - STALE_SECONDS - 60}))
    code, words = await asked(stage.data)
    assert (code, "it hangs, was killed, or the disk is full" in words) == (1, True)


def test_no_bot_is_exit_code_1(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["health", "--data", str(tmp_path)])
    assert (ran.exit_code, "does not run" in ran.output) == (1, True)
