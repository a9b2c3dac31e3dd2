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
    grain: Annotated[int | None, Option("How coarse it is", ("grain",), "3", flag_only=True)] = None
    bare: Annotated[bool | None, Option("Without a frame", ("bare",), flag_only=True)] = None


def paint_command() -> Any:
    """A slash command with the whole table."""

    async def paint(interaction: discord.Interaction, **given: Any) -> None:
        """What a command does with it is its own affair."""

    return app_commands.command(name="paint", description="Paint")(taking(table(MoreOptions))(paint))


def test_the_annotations_are_read_once() -> None:
    assert table() is table(Options)
    assert table(MoreOptions) is table(MoreOptions)


def test_a_line_of_the_table_is_an_option_of_the_slash_command() -> None:
    command = paint_command()
    *_, hue, texture = command.parameters  # what is only a flag is not among them
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


def test_what_is_only_a_flag_is_no_option_of_the_slash_command() -> None:
    command = paint_command()
    assert not {"grain", "bare"} & {parameter.name for parameter in command.parameters}
    app = typer.Typer()
    app.command()(imagine_command(table(MoreOptions)))
    help_ = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "--grain" in help_
    assert "--bare" in help_
    assert "--no-bare" not in help_


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a cat --bare --grain 3", MoreOptions("a cat", grain=3, bare=True)),
        ("a cat --bare in the snow --steps 5", MoreOptions("a cat in the snow", steps=5, bare=True)),
        ("--bare a cat", MoreOptions("a cat", bare=True)),
        ("a cat --bare, in the snow", MoreOptions("a cat, in the snow", bare=True)),
        ("a cat --BARE --bare", MoreOptions("a cat", bare=True)),
        ("a cat --no fog --bare", MoreOptions("a cat", negative_prompt="fog", bare=True)),
        ("a cat --bare {red, blue}", MoreOptions("a cat {red, blue}", bare=True)),
        ("a cat \u2014steps 5 \u2014bare", MoreOptions("a cat", steps=5, bare=True)),
        ("a cat \u2014bare branches", MoreOptions("a cat \u2014bare branches")),
        ("a cat \u2014bare", MoreOptions("a cat \u2014bare")),
    ],
)
def test_a_flag_without_a_value_takes_no_word_of_the_prompt(typed: str, read: MoreOptions) -> None:
    notes: list[str] = []
    assert with_flags(MoreOptions(typed), notes) == read
    assert not any("again" in note or "no effect" in note for note in notes)


def test_a_misspelled_flag_without_a_value_is_named() -> None:
    with pytest.raises(UserError, match="Did you mean --draft"):
        with_flags(Options("a cat --draf"))


def test_a_picture_of_the_table_is_an_upload() -> None:
    image, texture = Upload(b"", 8, 8, "a"), Upload(b"", 8, 8, "b")
    assert MoreOptions("a cat").with_uploads({"image": image, "texture": texture}).uploads == (image, texture)


def test_every_way_to_ask_takes_the_whole_table_and_nothing_else() -> None:
    names = [field.name for field in fields(Options) if not field.kw_only]
    assert ["prompt", *(option.name for option in table())] == names
    only_flags = [option.name for option in table() if option.flag_only]
    assert only_flags == names[len(names) - len(only_flags) :]
    assert [parameter.name for parameter in Create.imagine.parameters] == names[: len(names) - len(only_flags)]
    assert len(Create.imagine.parameters) == 17, "of 25 that Discord allows"
    help_ = CliRunner().invoke(cli, ["imagine", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert PROMPT_HELP in help_
    for option in table():
        assert f"{option.help}." in help_
        for name in option.flags or (option.name,):
            assert f"--{name}" in help_


def test_every_option_says_how_it_is_used() -> None:
    for option in table():
        assert len(option.help) <= 100, "Discord takes no longer description"
        assert bool(option.flags) == (not option.is_upload)
        assert bool(option.example) == (not option.is_upload and not option.is_switch)
    flags = [flag for option in table() for flag in option.flags]
    assert len(set(flags)) == len(flags)
    assert UPLOAD_NAMES == {"image": "image", "mask": "mask", "control": "control picture"}
