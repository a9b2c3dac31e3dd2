"""The command line: try, init, run, imagine, doctor, backup, restore, encrypt, rekey, forget, reindex, rights."""

from __future__ import annotations

import asyncio
import getpass
import inspect
import logging
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from bot.config import EMBEDDED, Config
from bot.config_file import load_config
from bot.errors import EX_CONFIG, AtelierError, ConfigError, StorageError
from bot.jobs import Surface
from bot.logs import setup_logging
from bot.requests.options import PROMPT_HELP, Option, Options, table
from bot.secrets import check_token, read_secret, read_token

T = TypeVar("T")

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
_AUTHENTICATION_FAILED = 4004

_SIGNALLED = 128
"""A command that a signal ended has this exit code plus the number of the signal: 130 after Ctrl-C."""

DEFAULT_CONFIG = Path("config.toml")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The settings; ./config.toml if it exists, otherwise the defaults.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The folder for the database and the pictures; ./data by default.")
]


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
    from bot.sandbox import run_sandbox

    def opened(url: str) -> None:
        typer.echo(f"\nAtelier is open at {url}\nType /imagine there. Ctrl-C ends it.\n")
        if browser:
            # Some browsers block the calling thread until they are closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    _run(run_sandbox(_settings(config, data, quiet=True), port, opened), serves=True)


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
        _fail(error)
    for path in wanted:
        typer.echo(f"Written: {path}")
    typer.echo("\n" + "\n".join(beginning.next_steps(answers, folder)))


@cli.command()
def run(config: ConfigOption = None, data: DataOption = None) -> None:
    """Run the bot on Discord; the token comes from DISCORD_TOKEN."""
    settings = _settings(config, data)
    _run(_serve(settings), serves=True)


def _imagine(
    prompt: str, output: Path | None, config: Path | None, data: Path | None, given: Mapping[str, Any]
) -> None:
    """Paint one picture here, without Discord."""
    from bot.requests.uploads import UPLOAD_NAMES
    from bot.terminal import imagine as paint

    options = Options(prompt, **{name: value for name, value in given.items() if name not in UPLOAD_NAMES})
    files = {role: given[role] for role in UPLOAD_NAMES if given.get(role) is not None}
    painting = paint(_settings(config, data, quiet=True), options, files, output, Console(stderr=True))
    paths = _run(painting)
    for path in paths or ():
        typer.echo(path)


def imagine_command(options: Sequence[Option]) -> Callable[..., None]:
    """The function of `atelier imagine`, which takes a prompt, these options and where to read and write."""

    def imagine(
        prompt: str,
        output: Path | None = None,
        config: Path | None = None,
        data: Path | None = None,
        **given: Any,
    ) -> None:
        _imagine(prompt, output, config, data, given)

    taken = {
        "prompt": Annotated[str, typer.Argument(help=f"{PROMPT_HELP}.")],
        "output": Annotated[Path | None, typer.Option("-o", "--output", help="Where to write the picture.")],
        **{option.name: _annotation(option) for option in options},
        "config": ConfigOption,
        "data": DataOption,
    }
    imagine.__doc__ = _imagine.__doc__
    imagine.__annotations__ = taken
    keyword, required = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    imagine.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, keyword, annotation=annotation, default=required if name == "prompt" else None)
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
    if not _run(_examine(_settings(config, data, quiet=True), paint=paint)):
        raise typer.Exit(1)


@cli.command()
def backup(
    file: Annotated[
        Path | None, typer.Argument(help="A new file; by default one in the data folder's backups.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Copy the database, whether Atelier runs or not; the pictures are plain files in the data folder."""
    typer.echo(_run(_back_up(_settings(config, data, quiet=True), file)))


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `atelier backup` made.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Replace the database with a backup and keep the old one; Atelier must be stopped."""
    typer.echo(_run(_restore(_settings(config, data, quiet=True), file)))


@cli.command()
def encrypt(config: ConfigOption = None, data: DataOption = None) -> None:
    """Encrypt the database and its backups; Atelier must be stopped."""
    typer.echo(_run(_encrypt(_settings(config, data, quiet=True), again=False)))


@cli.command()
def rekey(config: ConfigOption = None, data: DataOption = None) -> None:
    """Encrypt the database and its backups again, with a new key; Atelier must be stopped."""
    typer.echo(_run(_encrypt(_settings(config, data, quiet=True), again=True)))


async def _encrypt(config: Config, *, again: bool) -> str:
    """Encrypt the database, for the first time or again, and say where its key is."""
    from bot.app import encrypt_database

    return await encrypt_database(config, again=again)


@cli.command()
def health(config: ConfigOption = None, data: DataOption = None) -> None:
    """Say whether the running bot works: exit code 0 if it does, otherwise 1."""
    from bot.app import heartbeat_of
    from bot.heartbeat import health as ask

    found = ask(heartbeat_of(_settings(config, data, quiet=True).data), time.time())
    typer.echo(found.words)
    if not found.works:
        raise typer.Exit(1)


@cli.command()
def accept(
    model: Annotated[str, typer.Argument(help="Its name in config.toml, or upscaler for the host's upscaler.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Accept the files of a model as they are now, after they changed; Atelier may run."""
    from bot.app import known_files_of
    from bot.engine.model_files.known_files import KnownFiles
    from bot.errors import UnusableFiles

    settings = _settings(config, data, quiet=True)
    try:
        accepted = KnownFiles(known_files_of(settings.data)).accept(model)
    except (StorageError, UnusableFiles) as error:
        _fail(error)
    if not accepted:
        _fail(ConfigError(f"No files of {model!r} were used here before, so there is nothing to accept."))
    typer.echo(f"Accepted: {', '.join(accepted)}. Their hashes are noted when they are used next.")


@cli.command()
def rights() -> None:
    """Print who may do what, as docs/rights.md shows it."""
    from bot.policy.rights import page

    typer.echo(page(), nl=False)


@cli.command()
def forget(
    user_id: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The person's id on Discord.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Delete what is kept about a person, as their /privacy delete does; Atelier must be stopped."""
    if not yes:
        typer.confirm(f"Delete everything that is kept about person {user_id}? Nobody can undo that.", abort=True)
    typer.echo(_run(_forget(_settings(config, data, quiet=True), user_id)))


@cli.command()
def dataset(
    folder: Annotated[Path, typer.Argument(help="Where its versions are kept: v1, v2 and so on.")],
    name: Annotated[str, typer.Option(help="What it is called.")] = "atelier-pictures",
    server: Annotated[int | None, typer.Option(help="The id of one server; all servers if you name none.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Write the next version of a data set of results of people who agreed, whether Atelier runs or not."""
    typer.echo(_run(_dataset(_settings(config, data, quiet=True), folder, name, server)))


async def _dataset(config: Config, folder: Path, name: str, server: int | None) -> str:
    """Write a version and say what it has."""
    from bot.app import database_of
    from bot.datasets.export import export
    from bot.storage import encryption, sqlite
    from bot.storage.picture_folder import PictureFolder
    from bot.storage.sealing import seal_of

    database = database_of(config.data)
    if not database.exists():
        raise StorageError(f"{database} does not exist: there is nothing to export.")
    key = encryption.find_key(database)
    pictures = PictureFolder(config.data, await sqlite.in_thread(lambda _: seal_of(key)))
    done = await sqlite.in_thread(lambda _: export(database, key, pictures, folder, name, server))
    counts = done.chosen.counts
    words = f"{done.folder}: pictures {counts.kept:,}, people {counts.people:,}."
    left = f"Left out: started from a picture {counts.from_pictures:,}, duplicates {counts.equal + counts.near:,}."
    return f"{words} {left}" if done.is_new else f"Nothing changed since the last version. {words}"


@cli.command()
def graph(
    file: Annotated[Path, typer.Argument(help="Where to write it; ends with .graphml or .json.")],
    server: Annotated[int | None, typer.Option(help="The id of one server; all servers if you name none.")] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Also draw the newest part of it; ends with .svg or .png.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Write how results, prompts, models and styles are linked, whether Atelier runs or not."""
    typer.echo(_run(_graph(_settings(config, data, quiet=True), file, server, draw)))


async def _graph(config: Config, file: Path, server: int | None, drawing: Path | None) -> str:
    """Write the graph and say how large it is."""
    from bot.app import database_of
    from bot.datasets import graph as graphs
    from bot.storage import encryption, sqlite

    database = database_of(config.data)
    if not database.exists():
        raise StorageError(f"{database} does not exist: there is nothing to export.")
    key = encryption.find_key(database)
    graphs.check_endings(file, drawing)
    found = await sqlite.in_thread(lambda _: graphs.read(database, key, server))
    graphs.write(found, file)
    words = f"{file}: nodes {len(found.nodes):,}, links {len(found.edges):,}."
    if drawing is None:
        return words
    if not found.nodes:
        return f"{words} There is nothing to draw."
    return f"{words} {drawing}: the newest {await graphs.draw(found, drawing):,} nodes."


@cli.command()
def reindex(config: ConfigOption = None, data: DataOption = None) -> None:
    """Build the search index anew from the database; Atelier must be stopped."""
    typer.echo(_run(_reindex(_settings(config, data, quiet=True))))


async def _reindex(config: Config) -> str:
    """Build the search index anew and say how much it has."""
    from bot.app import rebuild_index

    return f"The search index has {await rebuild_index(config)} results now."


async def _forget(config: Config, user_id: int) -> str:
    """Delete what is kept about a person and say what that was."""
    from bot.app import forget_person
    from bot.jobs import UserId

    held = await forget_person(config, UserId(user_id))
    if held is None:
        return f"The database has nothing about person {user_id}. Backups were searched, too."
    return (
        f"Deleted: requests {held.requests}, pictures {held.pictures}, ratings {held.ratings}. "
        "The messages about them are deleted when Atelier runs again."
    )


async def _back_up(config: Config, file: Path | None) -> str:
    """Write a backup, check it, and say what it is."""
    from bot.app import database_of
    from bot.storage import backups, encryption, recovery, sqlite

    database = database_of(config.data)
    key = encryption.find_key(database)

    def work(stop: sqlite.Stop) -> str:
        if not database.exists():
            raise StorageError(f"{database} does not exist: there is nothing to back up.")
        if file is not None and file.exists():
            raise StorageError(f"{file} exists already. Name a new file.")
        if file is None:
            path = backups.back_up(database, key, stop)
        else:
            sqlite.copy(database, path := file, key, stop)
        return f"{path}: {path.stat().st_size / 1024:,.0f} KiB, requests: {recovery.check_backup(path, key, stop)}"

    return await sqlite.in_thread(work)


async def _restore(config: Config, file: Path) -> str:
    """Restore a backup and say where the former database is."""
    from bot.app import database_of, lock_folder
    from bot.storage import encryption, recovery, sqlite

    database = database_of(config.data)
    with lock_folder(config.data):
        key = await sqlite.in_thread(lambda _: encryption.prepare(database, encrypt=config.encrypt))
        restored = await sqlite.in_thread(lambda stop: recovery.restore(file, database, key, stop))
    former = f" The former one is kept as {restored.former}." if restored.former else ""
    return f"{database} is now as it was in {file} (requests: {restored.jobs}).{former}"


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
    import aiohttp
    import discord

    from bot.app import heartbeat_of, open_app
    from bot.client import Client
    from bot.heartbeat import beating

    token = read_token()
    async with open_app(config, Surface.DISCORD) as app, Client(app) as client, AsyncExitStack() as stack:
        beat = beating(heartbeat_of(config.data), lambda: client.is_connected, lambda: app.engine.troubles)
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


def _settings(config: Path | None, data: Path | None, *, quiet: bool = False) -> Config:
    """Load the settings and set up logging; exits with EX_CONFIG when they are wrong."""
    try:
        settings = load_config(config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None))
    except ConfigError as error:
        _fail(error)
    # A person watches this terminal: show only warnings and errors.
    level = "warning" if quiet and settings.log_level == "info" else settings.log_level
    setup_logging(level)
    changes: dict[str, object] = {"log_level": level}
    if data is not None:
        changes["data"] = data
    return settings.model_copy(update=changes)


def _run(main: Coroutine[Any, Any, T], *, serves: bool = False) -> T | None:
    """Run to the end; an AtelierError becomes a sentence and an exit code.

    SIGINT and SIGTERM cancel it. For a service a SIGTERM is the usual end, with the exit code 0.
    """
    received: list[signal.Signals] = []

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are running

        def cancel(name: signal.Signals) -> None:
            # Closing takes limited time, so later signals are ignored.
            if not received:
                task.cancel()
            received.append(name)

        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, cancel, name)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("stopped")
        ended = received[0] if received else signal.SIGINT
        code = 0 if serves and ended is signal.SIGTERM else _SIGNALLED + ended
        raise typer.Exit(code) from None
    except AtelierError as error:
        _fail(error)


def _fail(error: AtelierError) -> NoReturn:
    typer.echo(f"atelier: {error}", err=True)
    raise typer.Exit(EX_CONFIG if isinstance(error, ConfigError) else 1)


def main() -> None:
    """Entry point of the console script."""
    cli()


if __name__ == "__main__":
    main()
