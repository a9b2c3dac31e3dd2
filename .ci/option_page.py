"""Print the page docs/options.md from the code: `python .ci/option_page.py > docs/options.md`. A test compares both."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from discord import app_commands
from typer.main import get_command

from bot.__main__ import cli
from bot.app import open_app
from bot.client import EXTENSIONS, Client
from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.jobs import Surface

INTRODUCTION = """\
# Every option

`python .ci/option_page.py` prints this page from the code, and a test compares both. [Commands](commands.md) says what
each command is for.

"""
HEAD = ["| option | what it is |", "| --- | --- |"]


async def page() -> str:
    """The page."""
    lines = ["## On Discord", ""]
    with tempfile.TemporaryDirectory() as folder:
        async with open_app(Config(data=Path(folder)), Surface.DISCORD, engine=FakeEngine()) as app:
            client = Client(app)
            for extension in EXTENSIONS:
                await client.load_extension(extension)
            commands = [each for each in client.tree.walk_commands() if isinstance(each, app_commands.Command)]
            for command in sorted(commands, key=lambda each: each.qualified_name):
                lines += _section(f"/{command.qualified_name}", command.description, _options(command))
            for extension in EXTENSIONS:
                await client.unload_extension(extension)
    lines += ["## On the command line", ""]
    for name, command in get_command(cli).commands.items():  # type: ignore[attr-defined]
        rows = [(", ".join(sorted([*each.opts, *each.secondary_opts])), each.help or "") for each in command.params]
        lines += _section(f"atelier {name}", command.help.rstrip("."), rows)
    return INTRODUCTION + "\n".join(lines)


def _options(command: app_commands.Command) -> Iterator[tuple[str, str]]:
    for option in command.parameters:
        words = str(option.description)
        if option.choices:
            words += f": {', '.join(choice.name for choice in option.choices)}"
        yield option.name, words


def _section(title: str, about: str, options: Iterable[tuple[str, str]]) -> list[str]:
    rows = [f"| `{name}` | {words.rstrip('.').replace('|', '/')} |" for name, words in options]
    return [f"### {title}", "", f"{about}.", "", *([*HEAD, *rows, ""] if rows else [])]


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(page()).rstrip() + "\n")
