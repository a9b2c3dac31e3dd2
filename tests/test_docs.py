"""The documents: their links lead to files, their commands exist, and CI runs the same commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import cli

DOCUMENTS = [
    Path("README.md"),
    Path("CONTRIBUTING.md"),
    Path("PRIVACY.md"),
    *Path("docs").glob("*.md"),
    *Path("bot/models").rglob("*.md"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_opens_with_the_commands_to_try_and_to_test() -> None:
    blocks = re.findall(r"^```sh\n(.*?)\n```$", Path("README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [len(block.splitlines()) for block in blocks[:2]] == [1, 1]
    assert blocks[0].endswith("atelier try")
    assert blocks[1].endswith("pytest")
    assert "README.md" in Path(".ci/run").read_text(encoding="utf-8"), "CI takes its command from there"


@pytest.mark.parametrize("command", ["try", "run", "imagine", "doctor", "backup", "restore", "forget"])
def test_every_command_takes_the_options_the_readme_names(command: str) -> None:
    assert f"`atelier {command}" in Path("README.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(cli, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    assert "--config" in shown.output
    assert "--data" in shown.output
