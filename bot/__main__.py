"""The command line: try, init, run, imagine, doctor, rights, and the commands about what is kept."""

from __future__ import annotations

import getpass
import inspect
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from bot.command import Commands, ConfigOption, DataOption, fail, importing, load_settings, run_to_end
from bot.config import EMBEDDED, Config
from bot.errors import AtelierError, ConfigError
from bot.jobs import Surface
from bot.keeping import commands
from bot.requests.options import PROMPT_HELP, Option, Options, table
from bot.secrets import check_token, read_secret, read_token

T = TypeVar("T")

cli = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
_AUTHENTICATION_FAILED = 4004


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atelier {metadata.version('atelier-bot')}")
        raise typer.Exit


@cli.callback()
def atelier(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A Discord bot that turns one GPU into a workshop for a whole community."""


@cli.command("try")
def try_(
    config: ConfigOption = None,
    data: DataOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of the page; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Try everything in the browser, without a Discord account or a GPU."""
    with importing():
        from bot.sandbox import run_sandbox

    settings = load_settings(config, data, quiet=True)

    is_open = False

    def opened(url: str) -> None:
        nonlocal is_open
        is_open = True
        typer.echo(
            f"\nAtelier is open at {url}\nType /{settings.discord.command} there. Ctrl-C ends it.\n"
            f"Each start opens a new server. What you paint is kept in {settings.data.absolute()}; you may delete that "
            "folder afterwards.\n"
        )
        if browser:
            # Some browsers block the calling thread until they are closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    try:
        run_to_end(run_sandbox(settings, port, opened), serves=True)
    finally:
        if is_open:
            typer.echo("\nAtelier has ended.")


@cli.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the files are written.")] = Path(),
    model: Annotated[
        str,
        typer.Option(prompt="Model: a .safetensors file, a diffusers folder, a hub id like org/name, or embedded"),
    ] = EMBEDDED,
    data: Annotated[Path, typer.Option(prompt="Folder for the database and the pictures")] = Path("data"),
    unit: Annotated[bool, typer.Option(prompt="Write a systemd unit, to start with the machine?")] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the bot's token; without it you are asked.")
    ] = None,
) -> None:
    """Ask for what a new host has to decide, and write config.toml and what belongs to it."""
    from bot import beginning

    try:
        if token_file is None:
            question = "The bot's token, from discord.com/developers (it is not shown; empty: set it later)"
            token = typer.prompt(question, default="", hide_input=True, show_default=False).strip()
        else:
            token = read_secret(token_file, "the bot's token")
        source = str(Path(model).resolve()) if Path(model).exists() else model.strip()
        answers = beginning.Answers(source, data, check_token(token, "The token") if token else "", unit)
        folder = folder.resolve()
        program = Path(sys.executable).with_name("atelier")
        wanted = beginning.files(answers, folder, program, getpass.getuser())
        beginning.write(wanted)
    except ConfigError as error:
        fail(error)
    for path in wanted:
        typer.echo(f"Written: {path}")
    typer.echo("\n" + "\n".join(beginning.next_steps(answers, folder)))


@cli.command()
def run(config: ConfigOption = None, data: DataOption = None) -> None:
    """Run the bot on Discord; the token comes from DISCORD_TOKEN."""
    settings = load_settings(config, data)
    run_to_end(_serve(settings), serves=True)


def _imagine(
    prompt: str, output: Path | None, yes: bool, config: Path | None, data: Path | None, given: Mapping[str, Any]
) -> None:
    """Paint one picture here, without Discord."""
    from bot.requests.uploads import UPLOAD_NAMES
    from bot.terminal import imagine as paint

    options = Options(prompt, **{name: value for name, value in given.items() if name not in UPLOAD_NAMES})
    files = {role: given[role] for role in UPLOAD_NAMES if given.get(role) is not None}
    settings = load_settings(config, data, quiet=True)
    painting = paint(settings, options, files, output, Console(stderr=True), asks=not yes)
    paths = run_to_end(painting)
    for path in paths or ():
        typer.echo(path)


def imagine_command(options: Sequence[Option]) -> Callable[..., None]:
    """The function of `atelier imagine`, which takes a prompt, these options and where to read and write."""

    def imagine(
        prompt: str,
        output: Path | None = None,
        yes: bool = False,
        config: Path | None = None,
        data: Path | None = None,
        **given: Any,
    ) -> None:
        _imagine(prompt, output, yes, config, data, given)

    taken = {
        "prompt": Annotated[str, typer.Argument(help=f"{PROMPT_HELP}.")],
        "output": Annotated[Path | None, typer.Option("-o", "--output", help="Where to write the picture.")],
        "yes": Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something dear.")],
        **{option.name: _annotation(option) for option in options},
        "config": ConfigOption,
        "data": DataOption,
    }
    imagine.__doc__ = _imagine.__doc__
    imagine.__annotations__ = taken
    keyword, defaults = inspect.Parameter.KEYWORD_ONLY, {"prompt": inspect.Parameter.empty, "yes": False}
    imagine.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, keyword, annotation=annotation, default=defaults.get(name))
            for name, annotation in taken.items()
        ]
    )
    return imagine


def _annotation(option: Option) -> Any:
    """The type under which typer asks for an option, with its names and its help."""
    names = [f"--{flag}" for flag in option.flags or (option.name,)]
    taken = Path if option.is_upload else option.type
    return Annotated[taken | None, typer.Option(*names, help=f"{option.help}.")]


cli.command()(imagine_command(table()))


@cli.command()
def doctor(
    config: ConfigOption = None,
    data: DataOption = None,
    paint: Annotated[
        bool, typer.Option("--paint", help="Also paint with each model; Atelier must be stopped.")
    ] = False,
) -> None:
    """Check Python, torch, GPU, models, database, disk and Discord, and name a remedy for each problem."""
    if not run_to_end(_examine(load_settings(config, data, quiet=True), paint=paint)):
        raise typer.Exit(1)


async def _examine(config: Config, *, paint: bool) -> bool:
    """Print every finding; False when there is a problem."""
    from bot.doctor import examine
    from bot.findings import CheckStatus

    marks = {CheckStatus.GOOD: "[green]✓[/]", CheckStatus.NOTE: "[yellow]•[/]", CheckStatus.BAD: "[red]✗[/]"}
    console = Console(highlight=False)
    problems = 0
    async for finding in examine(config, paint=paint):
        problems += finding.status is CheckStatus.BAD
        console.print(f"{marks[finding.status]} [bold]{finding.what}[/]: ", end="")
        console.print(finding.words, markup=False)
        if finding.remedy:
            console.print(f"    → {finding.remedy}", markup=False)
    things = "1 thing" if problems == 1 else f"{problems} things"
    console.print(f"Not ready: {things} to do, marked with ✗." if problems else "Ready.")
    return not problems


async def _serve(config: Config) -> None:
    """Serve Discord until stopped. Raises ConfigError when Discord refuses the token."""
    with importing():
        import aiohttp
        import discord

        from bot.app import heartbeat_of, open_app
        from bot.client import Client
        from bot.heartbeat import beating

    token = read_token()
    async with open_app(config, Surface.DISCORD) as app, Client(app) as client, AsyncExitStack() as stack:
        path = heartbeat_of(config.data)
        beat = beating(path, lambda: client.is_connected, lambda: app.engine.troubles, app.lane_states)
        await stack.enter_async_context(beat)
        if config.metrics.listen:
            from bot.metrics import serving

            await stack.enter_async_context(
                serving(app, config.metrics.listen, lambda: client.latency, lambda: client.late)
            )
        try:
            await client.start(token)
        except (discord.LoginFailure, discord.ConnectionClosed) as error:
            if isinstance(error, discord.ConnectionClosed) and error.code != _AUTHENTICATION_FAILED:
                raise AtelierError(f"Discord closed the connection (code {error.code}). Start again.") from error
            raise ConfigError(
                "Discord refuses the token in DISCORD_TOKEN. Copy it again from your application's Bot page "
                "on discord.com/developers; Reset Token makes a new one."
            ) from error
        except discord.HTTPException as error:
            raise AtelierError(f"Discord answered {error.status} to the bot's start: {error.text[:200]}") from error
        except (OSError, aiohttp.ClientError) as error:
            raise AtelierError(f"Discord cannot be reached: {error}. Check the network and start again.") from error
        except AttributeError as error:
            # discord.py 2.7.1 logs why its first connection failed, then uses its socket, which is still None.
            if client.ws is not None:
                raise
            raise AtelierError("Discord's gateway cannot be reached. Check the network and start again.") from error


@cli.command()
def rights() -> None:
    """Print who may do what, as docs/rights.md shows it."""
    from bot.policy.rights import page

    typer.echo(page(), nl=False)


cli.add_typer(commands)


def main() -> None:
    """Entry point of the console script."""
    cli()


if __name__ == "__main__":
    main()
