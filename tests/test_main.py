"""The command line, as a person at a terminal uses it: real processes, the real model."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from PIL import Image

from bot.errors import EX_CONFIG

ATELIER = (sys.executable, "-m", "bot")


@asynccontextmanager
async def atelier(*arguments: str | Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *ATELIER,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("DISCORD_", "ATELIER_"))}, **environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*arguments: str | Path, **environ: str) -> tuple[int, str, str]:
    """Run the command to its end: exit code, standard output, standard error."""
    async with atelier(*arguments, **environ) as process:
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


async def test_the_same_seed_writes_the_same_picture_twice_and_both_are_in_the_usage_log(tmp_path: Path) -> None:
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for picture in pictures:
        code, output, errors = await run(
            "imagine", "a red apple on a blue background", "--seed", "7", "-o", picture, "--data", tmp_path / "data"
        )
        assert (code, output.strip()) == (0, str(picture)), errors
    first, second = (hashlib.sha256(Image.open(picture).tobytes()).hexdigest() for picture in pictures)
    assert first == second

    with sqlite3.connect(tmp_path / "data" / "atelier.db") as database:
        rows = database.execute("SELECT prompt, seed, status, surface, length(model_hash) FROM jobs").fetchall()
    database.close()
    assert rows == [("a red apple on a blue background", 7, "delivered", "terminal", 64)] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["imagine", "  "], 1, "Say what to paint"),
        (["imagine", "a cat", "--model", "emojy"], 1, "Did you mean emoji?"),
        (["imagine", "a cat", "--image", "none.png"], 1, "The image none.png cannot be read: No such file"),
        (["imagine", "a cat", "--image", "cat.png"], 1, "The image is no picture of a kind that can be read"),
        (["imagine", "a cat", "--image", "/dev/zero"], 1, "The image is larger than 20 MiB"),
        (["imagine", "a cat", "--strength", "0.5"], 1, "Strength says how much of an image is painted over"),
        (["imagine", "a cat", "--controlnet", "canny"], 1, "The model emoji has no ControlNets"),
        (["imagine", "a cat", "--config", "none.toml"], EX_CONFIG, "none.toml cannot be read"),
        (["imagine", "a cat", "--data", "/proc/none"], EX_CONFIG, "/proc/none cannot be written"),
        (["run"], EX_CONFIG, "No bot token: set DISCORD_TOKEN"),
        (["imagine", "a cat", "--config", "bad.toml"], EX_CONFIG, "bad.toml, line 2: limits.pace:"),
        (["imagine", "a cat", "--config", "gone.toml"], EX_CONFIG, "nowhere does not exist"),
    ],
)
async def test_bad_input_is_one_sentence_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_text("a cat")
    Path("bad.toml").write_text("[limits]\npace = 0\n")
    Path("gone.toml").write_text('[[models]]\nname = "gone"\nsource = "./nowhere"\n')
    exit_code, output, errors = await run(*arguments)

    assert exit_code == code
    assert output == ""
    assert words in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1


async def test_a_second_atelier_on_the_same_data_is_sent_away(tmp_path: Path) -> None:
    async with atelier("try", "--no-browser", "--data", tmp_path) as first:
        await opened(first)
        code, _, errors = await run("imagine", "a cat", "--data", tmp_path)
        assert code == EX_CONFIG
        assert "Another Atelier is using the data folder" in errors
        first.send_signal(signal.SIGINT)
        await first.communicate()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_try_serves_its_page_and_ends_cleanly_with_its_engine(tmp_path: Path, ending: signal.Signals) -> None:
    async with atelier("try", "--no-browser", "--data", tmp_path) as process:
        url = await opened(process)
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            assert "<html" in await answer.text()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 1, "the engine process"
        process.send_signal(ending)
        async with asyncio.timeout(30):
            _, errors = await process.communicate()

        assert process.returncode == 0
        assert b"Traceback" not in errors
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []


async def test_a_wrong_token_reaches_no_log(tmp_path: Path) -> None:
    token = "MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.GabcdE.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    code, output, errors = await run(
        "run", "--data", tmp_path, DISCORD_TOKEN=token, ATELIER_LOG_LEVEL="debug", https_proxy="http://127.0.0.1:9"
    )
    assert code != 0
    assert token not in output + errors
    assert "Traceback" not in errors


async def test_doctor_finds_this_machine_in_order(tmp_path: Path) -> None:
    code, output, errors = await run("doctor", "--data", tmp_path)

    assert code == 0, errors
    for what in ("Python", "Disk", "Database", "Model emoji", "Torch", "Token"):
        assert re.search(rf"^[✓•] {what}: ", output, re.MULTILINE), what
    assert "DISCORD_TOKEN" in output


async def test_doctor_names_a_missing_model_and_its_remedy(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[models]]\nname = "gone"\nsource = "./nowhere"\n')
    code, output, _ = await run("doctor", "--data", tmp_path, "--config", config)

    assert code == 1
    assert "✗ Model gone: " in output
    assert "→ Correct the entry in config.toml." in output


async def opened(process: asyncio.subprocess.Process) -> str:
    """Wait for the page; returns its URL without the key in the fragment."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if found := re.search(rb"http://127\.0\.0\.1:\d+/", line):
                return found[0].decode()
    raise AssertionError("the page never opened")
