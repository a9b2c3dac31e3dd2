"""The documents: links lead to files, every command and setting is there, shell blocks run, CI runs the same."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import blocks
import option_page
import pytest
from pydantic import BaseModel
from typer.main import get_command
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.config import Config, ControlNetConfig, LoraConfig, ModelConfig
from bot.policy.limits import LimitName
from bot.policy.rights import doors
from bot.provider_config import ApiConfig, ProviderConfig

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


ATELIER = get_command(cli).commands  # type: ignore[attr-defined]
SHELL = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(SHELL.findall(document.read_text(encoding="utf-8")), start=1)
]


def _cells(page: str, heading: str) -> list[tuple[set[str], str]]:
    """The names in the first column, and the second column, of the table under a heading."""
    text = Path(f"docs/{page}").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return [(set(re.findall(r"`([^`]+)`", row[0])), row[1]) for row in rows[2:]]


def test_the_page_of_commands_has_every_command_on_discord_once() -> None:
    rows = [row for heading in ("Everybody", "Moderators") for row in _cells("commands.md", heading)]
    listed = [name for names, _ in rows for name in names]
    assert sorted(listed) == sorted(f"/{door}" for door in doors() if ":" not in door)


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_every_command_of_the_command_line_is_listed(page: str) -> None:
    listed = re.findall(r"^\| (.*?) \|", Path(page).read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for cell in listed for name in re.findall(r"`atelier ([a-z]+)", cell)} == set(ATELIER)


def _within(section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections of a section."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation
            yield from ((f"{name}.{inner}", kind) for inner, kind in _within(field.annotation))


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    yield from _within(Config)
    yield from {"At the top": Config, "models": ModelConfig}.items()
    yield from {"loras of a model": LoraConfig, "controlnets of a model": ControlNetConfig}.items()
    yield from {"providers": ProviderConfig, "api of a model": ApiConfig}.items()


@pytest.mark.parametrize(("heading", "section"), list(_sections()))
def test_every_setting_is_on_its_page_with_its_default(heading: str, section: type[BaseModel]) -> None:
    # What a model has in sections of its own is in its table, too.
    of_their_own = set() if section is ModelConfig else {name for name, _ in _within(section)}
    of_their_own |= {"models", "providers"} if section is Config else set()
    fields = {name: field for name, field in section.model_fields.items() if name not in of_their_own}
    listed = [(name, default) for names, default in _cells("settings.md", heading) for name in names]
    assert sorted(name for name, _ in listed) == sorted(fields)
    for name, shown in listed:
        default = None if fields[name].is_required() else fields[name].default
        default = default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else default
        value = tomllib.loads(f"it = {shown.strip('`')}")["it"] if shown else None
        assert value == (str(default) if isinstance(default, Path) else list(default) if default == () else default), (
            name
        )


@pytest.mark.parametrize("block", BLOCKS)
def test_every_shell_block_is_correct_and_its_commands_and_options_exist(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        for place in [number for number, word in enumerate(words) if word.endswith("bin/atelier")]:
            name, *rest = words[place + 1 :]
            if name == "--version":
                continue
            known = [option for each in ATELIER[name].params for option in (*each.opts, *each.secondary_opts)]
            assert [word for word in rest if word.startswith("-") and word not in known] == []


def test_the_shell_blocks_of_the_tutorial_make_what_a_host_begins_with(tmp_path: Path) -> None:
    blocks = SHELL.findall(Path("docs/tutorial.md").read_text(encoding="utf-8"))
    token, begin = (
        next(block for block in blocks if mark in block) for mark in ("touch discord.token", "atelier init")
    )
    program = shlex.quote(str(Path(sys.executable).with_name("atelier")))
    subprocess.run(["bash", "-ec", token], cwd=tmp_path, check=True)
    assert (tmp_path / "discord.token").stat().st_mode & 0o077 == 0
    (tmp_path / "discord.token").write_text("a-token")
    subprocess.run(["bash", "-ec", begin.replace(".venv/bin/atelier", program)], cwd=tmp_path, check=True)
    made = tomllib.loads((tmp_path / "host" / "config.toml").read_text())
    assert made["models"][0]["source"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert (tmp_path / "host" / "discord.token").read_text().strip() == "a-token"


def test_a_block_that_takes_too_long_fails_and_ends_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SECONDS", 1.5)
    lines = ["echo begun", "(sleep 60; echo still here) &", "wait"]
    assert blocks.ran(lines, tmp_path) == (blocks.TIMED_OUT, "begun\n")
    assert blocks.ran(["exit 3"], tmp_path)[0] == 3


def test_every_line_of_a_shell_block_is_run_by_the_ci_or_left_out_for_a_reason_that_is_needed() -> None:
    known = [line for document in blocks.documents() for block in blocks.lines(document) for line in block]
    assert "atelier imagine" in "".join(line for line in known if blocks.reason(line) is None)
    unneeded = {pattern for pattern in blocks.REASONS if not any(re.search(pattern, line) for line in known)}
    assert unneeded == set()
    assert ".ci/blocks.py" in Path(".ci/run").read_text(encoding="utf-8")


async def test_the_page_of_options_has_all_commands_with_their_options_as_they_are() -> None:
    text = (await option_page.page()).rstrip() + "\n"
    assert text == Path("docs/options.md").read_text(encoding="utf-8"), (
        "python .ci/option_page.py > docs/options.md brings it up to date"
    )


@pytest.mark.parametrize("name", list(LimitName))
def test_every_limit_is_on_the_page_for_moderators(name: LimitName) -> None:
    assert f"`{name.value}`" in Path("docs/moderation.md").read_text(encoding="utf-8")


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:  # type: ignore[attr-defined]
            yield from _pages(each)


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    nav = tomllib.loads(Path("docs/zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(_pages(nav)) == sorted(path.name for path in Path("docs").glob("*.md"))
    assert "zensical build --clean --strict" in Path(".ci/run").read_text(encoding="utf-8")
