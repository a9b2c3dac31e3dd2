"""One table of options feeds the slash command, the flags, the command line and the help."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

import discord
import pytest
import typer
from discord import app_commands
from typer.testing import CliRunner

from bot.__main__ import cli, imagine_command
from bot.errors import UserError
from bot.jobs import Upload
from bot.requests.flags import with_flags
from bot.requests.options import PROMPT_HELP, Option, Options, table
from bot.requests.uploads import UPLOAD_NAMES
from cogs.create import Create, taking


@dataclass(frozen=True, slots=True)
class MoreOptions(Options):
    """The table with two more lines."""

    hue: Annotated[int | None, Option("The colour of everything", ("hue", "tint"), "120")] = None
    texture: Annotated[Upload | None, Option("What it is made of", called="texture")] = None


async def paint(interaction: discord.Interaction, **given: Any) -> None:
    """What a command does with it is its own affair."""


def test_the_annotations_are_read_once() -> None:
    assert table() is table(Options)
    assert table(MoreOptions) is table(MoreOptions)


def test_a_line_of_the_table_is_an_option_of_the_slash_command() -> None:
    command = app_commands.command(name="paint", description="Paint")(taking(table(MoreOptions))(paint))
    *_, hue, texture = command.parameters
    assert (hue.name, hue.description, hue.required) == ("hue", "The colour of everything", False)
    assert (hue.type, texture.type) == (discord.AppCommandOptionType.integer, discord.AppCommandOptionType.attachment)


def test_a_line_of_the_table_is_a_flag() -> None:
    assert with_flags(MoreOptions("a cat --hue 120 --steps 5")) == MoreOptions("a cat", hue=120, steps=5)
    assert with_flags(MoreOptions("a cat \u2014tint=7")).hue == 7, "also after a phone's dash"
    with pytest.raises(UserError, match="--hue needs a whole number, like --hue 120; “red” is not a whole number"):
        with_flags(MoreOptions("a cat --hue red"))
    notes: list[str] = []
    assert with_flags(Options("a cat --hue 120"), notes) == Options("a cat")
    assert notes == ["--hue “120” has no effect here"]


def test_a_line_of_the_table_is_an_option_of_the_command_line() -> None:
    app = typer.Typer()
    app.command()(imagine_command(table(MoreOptions)))
    help_ = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for words in ("--hue,--tint", "The colour of everything.", "--texture", "What it is made of."):
        assert words in help_


def test_a_picture_of_the_table_is_an_upload() -> None:
    image, texture = Upload(b"", 8, 8, "a"), Upload(b"", 8, 8, "b")
    assert MoreOptions("a cat").with_uploads({"image": image, "texture": texture}).uploads == (image, texture)


def test_every_way_to_ask_takes_the_whole_table_and_nothing_else() -> None:
    names = [field.name for field in fields(Options) if not field.kw_only]
    assert ["prompt", *(option.name for option in table())] == names
    assert [parameter.name for parameter in Create.imagine.parameters] == names
    help_ = CliRunner().invoke(cli, ["imagine", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert PROMPT_HELP in help_
    for option in table():
        assert f"{option.help}." in help_
        for name in option.flags or (option.name,):
            assert f"--{name}" in help_


def test_every_option_says_how_it_is_used() -> None:
    for option in table():
        assert len(option.help) <= 100, "Discord takes no longer description"
        assert bool(option.flags) == bool(option.example) == (not option.is_upload)
    flags = [flag for option in table() for flag in option.flags]
    assert len(set(flags)) == len(flags)
    assert UPLOAD_NAMES == {"image": "image", "mask": "mask", "control": "control picture"}
