"""The command line, as a person at a terminal uses it: real processes, the real model."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from importlib import metadata
from pathlib import Path

import aiohttp
import psutil
import pytest
from PIL import Image

from bot.errors import EX_CONFIG
from bot.storage import encryption, sqlite
from bot.storage.database import open_database, schema_scripts
from tests.provider_server import KEY, provider_server

ATELIER = (sys.executable, "-m", "bot")


@asynccontextmanager
async def atelier(*arguments: str | Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command; it is stopped at the end. Its lines are so long that none is broken within a path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DISCORD_", "ATELIER_"))}
    process = await asyncio.create_subprocess_exec(
        *ATELIER,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**inherited, "COLUMNS": "400", **environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*arguments: str | Path, typed: str = "", **environ: str) -> tuple[int, str, str]:
    """Run the command to its end: exit code, standard output, standard error."""
    async with atelier(*arguments, **environ) as process:
        output, errors = await process.communicate(typed.encode())
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()


async def test_the_same_seed_writes_the_same_picture_twice_and_both_are_in_the_usage_log(tmp_path: Path) -> None:
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for picture in pictures:
        code, output, errors = await run(
            *("imagine", "a red apple on a blue background", "--seed", "7", "-o", picture, "--data", tmp_path / "data"),
            # The mark of each picture is another one.
            ATELIER_ENGINE__MARK="false",
        )
        assert (code, output.strip()) == (0, str(picture)), errors
    first, second = (hashlib.sha256(Image.open(picture).tobytes()).hexdigest() for picture in pictures)
    assert first == second

    path = tmp_path / "data" / "atelier.db"
    with closing(sqlite.connect(path, encryption.find_key(path))) as database:
        sql = "SELECT prompt, request ->> '$.seed', status, surface, length(model_hash) FROM jobs"
        rows = [tuple(row) for row in database.execute(sql)]
    assert rows == [("a red apple on a blue background", 7, "delivered", "terminal", 64)] * 2


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("🦣 and 🍎 und 猫 και γάτα \u200b~~<|endoftext|>~~", "This small model reads only English words"),
        ("ox " * 300, "This small model can't draw “ox”."),
    ],
)
async def test_strange_words_are_named_and_painted_past(tmp_path: Path, prompt: str, note: str) -> None:
    picture = tmp_path / "strange.png"
    code, _, errors = await run("imagine", prompt, "--steps", "2", "-o", picture, "--data", tmp_path / "data")
    assert code == 0, errors
    assert note in errors
    assert "Traceback" not in errors
    with Image.open(picture) as painted:
        assert painted.size == (512, 512)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["imagine", "  "], 1, "Say what to paint"),
        (["imagine", "a cat", "--model", "emojy"], 1, "Did you mean emoji?"),
        (["imagine", "a cat", "--image", "none.png"], 1, "The image none.png cannot be read: No such file"),
        (["imagine", "a cat", "--image", "cat.png"], 1, "The image is not a picture that Atelier can read"),
        (["imagine", "a cat", "--image", "/dev/zero"], 1, "The image is larger than 20 MiB"),
        (["imagine", "a cat", "--strength", "0.5"], 1, "Strength says how much of an image is painted over"),
        (["imagine", "a cat", "--controlnet", "canny"], 1, "The model emoji has no ControlNets"),
        (["imagine", "a cat", "--config", "none.toml"], EX_CONFIG, "none.toml cannot be read"),
        (["imagine", "a cat", "--data", "/proc/none"], EX_CONFIG, "/proc/none cannot be written"),
        (["run"], EX_CONFIG, "There is no bot token: set DISCORD_TOKEN"),
        (["imagine", "a cat", "--config", "bad.toml"], EX_CONFIG, "bad.toml, line 2: limits.pace:"),
        (["imagine", "a cat", "--config", "gone.toml"], EX_CONFIG, "nowhere does not exist"),
        (["backup"], 1, "atelier.db does not exist: there is nothing to back up"),
        (["restore", "bad.toml"], 1, "bad.toml is damaged, or not a database of this key"),
        (["restore", "none.db"], 1, "none.db does not exist"),
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


async def test_a_dear_picture_is_painted_only_after_a_yes(tmp_path: Path) -> None:
    settings, picture = tmp_path / "config.toml", tmp_path / "a.png"
    async with provider_server() as server:
        settings.write_text(
            f'[bill]\nmoney = 5\n[[providers]]\nname = "far"\nbase_url = "{server.base_url}"\n'
            '[[models]]\nname = "two"\nprovider = "far"\nsource = "gpt-image-2"\n'
        )
        command = ("imagine", "a cat", "-o", picture, "--config", settings, "--data", tmp_path / "data")
        code, output, errors = await run(*command, ATELIER_KEY_FAR=KEY)
        assert "This costs about $0.056. This is an estimate: far says afterwards what it costs. Paint it?" in errors
        assert "Nothing was painted, and it costs nothing. With --yes" in errors
        assert (code, output, server.asked, picture.exists()) == (1, "", [], False)
        for arguments, typed in (((), "y\n"), (("--yes",), "")):
            code, output, errors = await run(*command, *arguments, typed=typed, ATELIER_KEY_FAR=KEY)
            assert (code, output) == (0, f"{picture}\n"), errors
        assert len(server.asked) == 2


async def test_a_second_atelier_on_the_same_data_is_sent_away_at_once_and_disturbs_nobody(tmp_path: Path) -> None:
    async with atelier("try", "--no-browser", "--data", tmp_path) as first:
        await opened(first)
        started = time.monotonic()
        assert (await run("imagine", "--help"))[0] == 0
        floor = time.monotonic() - started
        for command in (["imagine", "a cat"], ["restore", "bad.db"]):
            started = time.monotonic()
            code, _, errors = await run(*command, "--data", tmp_path)
            assert code == EX_CONFIG
            assert errors.startswith(f"atelier: Another Atelier is using the data folder {tmp_path}. Stop it, or give")
            # The time for the interpreter and the imports differs between machines by more than the second allowed.
            assert time.monotonic() - started < 1 + 5 * floor
        assert (await run("backup", tmp_path / "copy.db", "--data", tmp_path))[0] == 0, "a backup works meanwhile"
        first.send_signal(signal.SIGINT)
        await first.communicate()


async def a_database(path: Path, *names: str) -> None:
    """A database with some rows."""
    path.parent.mkdir(exist_ok=True)
    async with open_database(path) as database:
        for name in names:
            await database.remember(name, "x")


async def names_in(path: Path) -> list[str]:
    async with open_database(path) as database:
        return [row["name"] for row in await database.fetch_all("SELECT name FROM memory ORDER BY name")]


async def test_a_backup_is_restored_and_the_former_database_kept(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    await a_database(data / "atelier.db", "early")
    code, output, errors = await run("backup", copy, "--data", data)
    assert (code, errors) == (0, "")
    assert re.fullmatch(rf"{copy}: \d+ KiB, requests: 0\n", output)
    assert await run("backup", copy, "--data", data) == (1, "", f"atelier: {copy} exists already. Name a new file.\n")

    await a_database(data / "atelier.db", "late")
    code, output, errors = await run("restore", copy, "--data", data)
    assert (code, errors) == (0, "")
    (former,) = data.glob("atelier-aside-*.db")
    assert (
        output == f"{data}/atelier.db is now as it was in {copy} (requests: 0). The former one is kept as {former}.\n"
    )
    assert await names_in(data / "atelier.db") == ["early"]
    assert await names_in(former) == ["early", "late"]


async def test_a_damaged_database_is_replaced_at_start_and_the_log_says_so_loudly(tmp_path: Path) -> None:
    await a_database(tmp_path / "atelier.db", "kept")
    assert (await run("backup", "--data", tmp_path))[0] == 0
    with (tmp_path / "atelier.db").open("rb+") as file:
        file.truncate(20_000)
    code, output, _ = await run("doctor", "--data", tmp_path)
    assert code == 1
    assert re.search(r"✗ Database: \S*atelier.db is damaged: .* → Start Atelier", " ".join(output.split()))
    code, _, errors = await run("imagine", "a red apple", "--data", tmp_path, "-o", tmp_path / "b.png")
    assert code == 0, errors
    assert "CRITICAL" in errors
    assert "The database was damaged and was put back as it was on" in errors
    assert "kept" in await names_in(tmp_path / "atelier.db")


async def test_an_encrypted_database_needs_its_key_and_no_log_has_it(tmp_path: Path) -> None:
    picture = ("imagine", "a red apple", "--data", tmp_path, "-o", tmp_path / "a.png")
    key = {"ATELIER_DATABASE_KEY": "correct horse", "ATELIER_LOG_LEVEL": "debug"}
    code, _, errors = await run(*picture, **key)
    assert code == 0, errors
    assert "correct horse" not in errors
    assert b"apple" not in (tmp_path / "atelier.db").read_bytes()
    for wrong in ({}, {"ATELIER_DATABASE_KEY": "battery staple"}):
        code, _, errors = await run(*picture, **wrong)
        assert code == 1
        assert "If it is encrypted, check its key, in ATELIER_DATABASE_KEY or" in errors
        assert "battery staple" not in errors
        assert "Traceback" not in errors
    code, output, _ = await run("doctor", "--data", tmp_path, **key)
    assert code == 0
    assert "encrypted" in output


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_try_serves_its_page_and_ends_cleanly_with_its_engine(tmp_path: Path, ending: signal.Signals) -> None:
    async with atelier("try", "--no-browser", "--data", tmp_path) as process:
        url = await opened(process)
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                assert answer.status == 200
                assert "<html" in await answer.text()
            # A page that is open listens; it does not hold up the end.
            async with session.get(f"{url}feed") as listening:
                assert (await listening.content.readline()).startswith(b"data: ")
                children = psutil.Process(process.pid).children(recursive=True)
                assert len(children) == 1, "the engine process"
                process.send_signal(ending)
                async with asyncio.timeout(120):
                    output, errors = await process.communicate()

        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 0}[ending]
        assert f"kept in {tmp_path}" in output.decode()
        assert output.decode().endswith("\nAtelier has ended.\n")
        assert b"Traceback" not in errors
        _, alive = psutil.wait_procs(children, timeout=60)
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
    assert output.endswith("\nReady.\n")


async def test_doctor_changes_nothing_of_an_older_database_and_says_what_the_next_start_does(tmp_path: Path) -> None:
    path = tmp_path / "atelier.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(schema_scripts()[0] + "PRAGMA user_version = 1;")
    before = path.read_bytes()
    code, output, errors = await run("doctor", "--data", tmp_path)
    words = " ".join(output.split())

    assert code == 0, errors
    assert re.search(r"• Database: .*atelier.db, requests: 0, schema 1, not encrypted, SQLite 3\.\d+\.\d+", words)
    assert f"The next start backs it up and migrates it to schema {len(schema_scripts())}." in words
    assert "• Integrity: not fully checked yet" in words
    assert "• Backups: none in" in words
    assert path.read_bytes() == before


async def test_doctor_names_a_missing_model_and_its_remedy(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[models]]\nname = "gone"\nsource = "./nowhere"\n')
    code, output, _ = await run("doctor", "--data", tmp_path, "--config", config)

    assert code == 1
    assert "✗ Model gone: " in output
    assert "→ Correct the entry in config.toml." in output
    assert output.endswith("\nNot ready: 1 thing to do, marked with ✗.\n")


async def test_the_command_line_says_its_version_and_helps() -> None:
    assert await run("--version") == (0, f"atelier {metadata.version('atelier-bot')}\n", "")
    for arguments in (("-h",), ("imagine", "-h")):
        code, output, _ = await run(*arguments)
        assert (code, "Usage:" in output) == (0, True)


async def opened(process: asyncio.subprocess.Process) -> str:
    """Wait for the page; returns its address with the secret."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if found := re.search(rb"http://127\.0\.0\.1:\d+/\S+/", line):
                return found[0].decode()
    raise AssertionError("the page never opened")


async def test_a_host_deletes_what_is_kept_about_a_person_by_their_id(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert (await run("forget", "7", "--yes", "--data", data))[::2] == (
        1,
        f"atelier: {data / 'atelier.db'} does not exist: there is nothing to delete.\n",
    )
    assert (await run("forget", "0", "--data", data))[0] == 2, "0 is not a person"
    assert (await run("forget", f"{2**63}", "--data", data))[0] == 2, "no id is as long"
    async with open_database(data / "atelier.db") as database:
        await database.execute("INSERT INTO preferences (user_id, model) VALUES (7, 'emoji')")
    code, output, _ = await run("forget", "7", "--data", data)
    assert (code, "Delete everything that is kept about person 7?" in output) == (1, True), "nobody answered"
    code, output, errors = await run("forget", "7", "--yes", "--data", data)
    assert code == 0, errors
    assert output.startswith("Deleted: requests 0, pictures 0, ratings 0.")
    code, output, errors = await run("forget", "7", "-y", "--data", data)
    assert (code, output) == (0, "The database has nothing about person 7. Backups were searched, too.\n"), errors


async def test_doctor_paints_with_each_model_and_says_what_ran(tmp_path: Path) -> None:
    code, output, errors = await run("doctor", "--paint", "--data", tmp_path)
    words = " ".join(output.split())

    assert code == 0, errors
    assert re.search(r"✓ Painting with emoji: 128×128, 8 steps: \d+\.\d\d s .* GiB at most", words)
    assert "unet: forwards: 8 as they are; attention: flash on the CPU" in words
    assert "decode: forwards: 1 as they are" in words
