"""`atelier run` as a process, on a Discord that listens on a real socket: its start, its memory, and kills."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from bot.errors import EX_CONFIG
from tests.local_discord import LocalDiscord, local_discord

PNG = b"\x89PNG\r\n\x1a\n"
SLOW = {"prompt": "a red apple", "images": 4, "steps": 20}
"""A request that paints for some seconds."""


@asynccontextmanager
async def running(discord: LocalDiscord, data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `atelier run` on that Discord until it has identified; it is stopped at the end."""
    before = discord.identified
    process = await asyncio.create_subprocess_exec(
        *discord.command("run", "--data", str(data)),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DISCORD_TOKEN": "token"},
    )
    try:
        died = asyncio.create_task(process.wait())
        identified = asyncio.create_task(discord.until(lambda: discord.identified > before))
        await asyncio.wait((died, identified), return_when=asyncio.FIRST_COMPLETED)
        assert identified.done(), (await process.stderr.read()).decode()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def log_until(process: asyncio.subprocess.Process, words: str) -> list[str]:
    """Read the log up to the line with these words."""
    lines = []
    assert process.stderr is not None
    async with asyncio.timeout(120):
        while not lines or words not in lines[-1]:
            line = await process.stderr.readline()
            assert line, "".join(lines)
            lines.append(line.decode())
    return lines


def engine_of(process: asyncio.subprocess.Process) -> psutil.Process:
    """The engine process; a minute after the start there is also the one that searches."""
    (child,) = [each for each in psutil.Process(process.pid).children() if "bot.worker" in each.cmdline()]
    return child


def pictures(edit: dict[str, Any]) -> list[bytes]:
    """The finished pictures of an edit; previews are JPEGs and do not count."""
    return [file for file in edit["files"] if file.startswith(PNG)]


async def test_the_bot_is_ready_before_torch_and_stays_small_while_the_engine_paints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        page = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("ATELIER_METRICS__LISTEN", page)
    async with local_discord() as discord, running(discord, tmp_path) as process:
        lines = await log_until(process, "engine ready")
        assert any("ready for commands" in line for line in lines[:-1]), "ready for commands came first"
        message = await discord.imagine(**SLOW)
        sizes = []
        while not any(map(pictures, discord.edits)):
            sizes.append(psutil.Process(process.pid).memory_info().rss)
            discord.changed.clear()
            await discord.changed.wait()

        assert max(sizes) < 150e6
        assert any("Painting" in edit["content"] for edit in discord.edits)
        assert len(pictures(discord.edits[-1])) == 4
        assert {edit["message"] for edit in discord.edits} == {message}
        async with aiohttp.ClientSession() as session, asyncio.timeout(20):
            metrics = ""
            while not re.search(r"^atelier_batch_rows_count [1-9]", metrics, re.MULTILINE):
                async with session.get(f"http://{page}/metrics") as answer:
                    metrics = await answer.text()
        assert re.search(r"^atelier_gateway_latency_seconds [0-9.e-]+$", metrics, re.MULTILINE)
        (rss,) = re.findall(r"^process_resident_memory_bytes ([0-9.e+]+)$", metrics, re.MULTILINE)
        assert 50e6 < float(rss) < 150e6


async def test_an_engine_killed_mid_picture_costs_nobody_their_picture(tmp_path: Path) -> None:
    async with local_discord() as discord, running(discord, tmp_path) as process:
        message = await discord.imagine(**SLOW)
        await discord.until(lambda: any("Painting" in edit["content"] for edit in discord.edits))
        victim = engine_of(process)
        beats = discord.heartbeats
        victim.kill()
        await discord.until(lambda: any(map(pictures, discord.edits)))

        assert len(pictures(discord.edits[-1])) == 4
        assert {edit["message"] for edit in discord.edits} == {message}
        assert any("The engine was restarted" in edit["content"] for edit in discord.edits)
        assert engine_of(process).pid != victim.pid
        assert discord.identified == 1, "the bot never left the gateway"
        assert discord.heartbeats > beats


@pytest.mark.parametrize("when", ["while torch is imported", "while a picture is painted"])
async def test_no_engine_outlives_a_killed_bot(tmp_path: Path, when: str) -> None:
    async with local_discord() as discord, running(discord, tmp_path) as process:
        if when == "while a picture is painted":
            await discord.imagine(**SLOW)
            await discord.until(lambda: discord.edits)
        engine = engine_of(process)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, [engine], 60)
        assert alive == []


async def test_a_job_cut_off_by_a_kill_is_painted_after_the_restart_in_the_same_message(tmp_path: Path) -> None:
    async with local_discord() as discord:
        async with running(discord, tmp_path) as process:
            message = await discord.imagine(**SLOW)
            await discord.until(lambda: discord.edits)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with running(discord, tmp_path) as process:
            await discord.until(lambda: any(map(pictures, discord.edits)))
            process.send_signal(signal.SIGTERM)
            lines = await log_until(process, "stopped")
            await process.wait()

        assert process.returncode == 0
        assert not re.search("Traceback|ERROR", "".join(lines))
        finals = [edit for edit in discord.edits if pictures(edit)]
        assert [edit["message"] for edit in finals] == [message]


async def test_a_token_that_was_reset_while_running_is_one_sentence_and_exit_code_78(tmp_path: Path) -> None:
    async with local_discord() as discord, running(discord, tmp_path) as process:
        await discord.close_gateway(4004)
        _, errors = await process.communicate()
    assert process.returncode == EX_CONFIG
    assert errors.decode().strip().splitlines()[-1].startswith("atelier: Discord refuses the token")
    assert b"Traceback" not in errors
