"""`atelier dataset` and `atelier graph` on a folder of the bot, whose database is encrypted or not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.app import open_app
from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.jobs import Surface
from tests.bot.datasets.test_export import joined
from tests.bot.storage.conftest import ADA, open_store


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    return done.exit_code, done.output


def test_a_data_set_and_a_graph_are_written_and_told(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()

    async def painted() -> None:
        async with open_store(data) as store:
            await joined(store, ADA)
            await store.delivered(ADA, prompt="a fox")

    asyncio.run(painted())
    code, words = run("dataset", str(out), "--data", str(data))
    left = (
        "Left out: started from a picture 0, animations and films 0, painted by a provider 0, words of people who "
        "did not join 0, duplicates 0."
    )
    assert (code, words) == (0, f"{out}/v1: pictures 1, people 1. {left}\n")
    assert run("dataset", str(out), "--data", str(data))[1].startswith("Nothing changed since the last version.")
    code, words = run("graph", str(tmp_path / "links.json"), "--data", str(data))
    assert (code, words) == (0, f"{tmp_path}/links.json: nodes 4, links 3.\n")
    code, words = run("graph", str(tmp_path / "links.json"), "--data", str(data), "--draw", str(tmp_path / "links.svg"))
    assert words.endswith(f"links 3. {tmp_path}/links.svg: the newest 3 nodes.\n")
    assert (tmp_path / "links.svg").read_bytes().startswith(b"<?xml")
    assert "a fox" in (tmp_path / "links.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["dataset", "graph"])
def test_without_a_database_a_sentence_says_so(tmp_path: Path, command: str) -> None:
    code, words = run(command, str(tmp_path / "x.json"), "--data", str(tmp_path / "none"))
    assert code == 1
    assert "there is nothing to export" in words


def test_the_database_that_the_bot_made_is_read(tmp_path: Path) -> None:
    async def opened() -> None:
        async with open_app(Config(data=tmp_path / "data"), Surface.DISCORD, engine=FakeEngine()):
            pass

    asyncio.run(opened())
    code, words = run("dataset", str(tmp_path / "out"), "--data", str(tmp_path / "data"))
    assert code == 1
    assert "no result of a person who joined" in words
    assert run("graph", str(tmp_path / "links.json"), "--data", str(tmp_path / "data"))[0] == 0
    assert json.loads((tmp_path / "links.json").read_text(encoding="utf-8"))["nodes"] == []
