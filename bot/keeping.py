"""The commands about what is kept: backups, encryption, deletion, data sets, the index, and whether the bot is well."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bot.command import ConfigOption, DataOption, fail, load_settings, run_to_end
from bot.config import Config
from bot.errors import ConfigError, StorageError

commands = typer.Typer()


@commands.command()
def backup(
    file: Annotated[
        Path | None, typer.Argument(help="A new file; by default one in the data folder's backups.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Copy the database, whether Atelier runs or not; the pictures are files in the data folder."""
    typer.echo(run_to_end(_back_up(load_settings(config, data, quiet=True), file)))


@commands.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `atelier backup` made.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Replace the database with a backup and keep the old one; Atelier must be stopped."""
    typer.echo(run_to_end(_restore(load_settings(config, data, quiet=True), file)))


@commands.command()
def encrypt(config: ConfigOption = None, data: DataOption = None) -> None:
    """Encrypt the database and its backups; Atelier must be stopped."""
    typer.echo(run_to_end(_encrypt(load_settings(config, data, quiet=True), again=False)))


@commands.command()
def rekey(config: ConfigOption = None, data: DataOption = None) -> None:
    """Encrypt the database and its backups again, with a new key; Atelier must be stopped."""
    typer.echo(run_to_end(_encrypt(load_settings(config, data, quiet=True), again=True)))


async def _encrypt(config: Config, *, again: bool) -> str:
    """Encrypt the database, for the first time or again, and say where its key is."""
    from bot.offline import encrypt_database

    return await encrypt_database(config, again=again)


@commands.command()
def health(config: ConfigOption = None, data: DataOption = None) -> None:
    """Say whether the running bot works: exit code 0 if it does, otherwise 1."""
    from bot.app import heartbeat_of
    from bot.heartbeat import health as ask

    found = ask(heartbeat_of(load_settings(config, data, quiet=True).data), time.time())
    typer.echo(found.words)
    if not found.works:
        raise typer.Exit(1)


@commands.command()
def engines(
    drain: Annotated[str, typer.Option(help="Give this one nothing new; it finishes what it has.")] = "",
    bring_back: Annotated[str, typer.Option(help="Give this one new requests again.")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Show the engines, drain one or bring it back; a running bot obeys within two seconds."""
    typer.echo(run_to_end(_engines(load_settings(config, data, quiet=True), drain, bring_back)))


async def _engines(config: Config, drain: str, bring_back: str) -> str:
    """Change what was asked for, and say how each lane is."""
    from bot.app import database_of, heartbeat_of
    from bot.heartbeat import last_lanes
    from bot.storage import encryption
    from bot.storage.lanes import store_drained, stored_lanes

    path = database_of(config.data)
    if not path.exists():
        raise StorageError(f"{path} does not exist: start Atelier once, then it knows its engines.")
    key = encryption.find_key(path)
    for name, is_drained in ((drain, True), (bring_back, False)):
        if name and not await asyncio.to_thread(partial(store_drained, path, key, name, is_drained=is_drained)):
            known = ", ".join(lane.name for lane in await asyncio.to_thread(stored_lanes, path, key)) or "none"
            raise ConfigError(f"There is no engine called {name!r}. There is: {known}.")
    now = {state.name: state for state in last_lanes(heartbeat_of(config.data), time.time())}
    lines = []
    for lane in await asyncio.to_thread(stored_lanes, path, key):
        state = now.get(lane.name)
        if state is None:
            why = "the bot that runs does not have it" if now else "the bot does not run"
            lines.append(f"{lane.name}: {'drained' if lane.is_drained else 'not drained'}; {why}.")
            continue
        state = replace(state, is_drained=lane.is_drained)
        lines += [f"{lane.name}: {state.words}", f"  {state.details}", *(f"  {words}" for words in state.reasons)]
    return "\n".join(lines)


@commands.command()
def accept(
    model: Annotated[str, typer.Argument(help="Its name in config.toml, or upscaler for the host's upscaler.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Accept the files of a model as they are now, after they changed; Atelier may run."""
    from bot.app import known_files_of
    from bot.engine.model_files.known_files import KnownFiles
    from bot.errors import UnusableFiles

    settings = load_settings(config, data, quiet=True)
    try:
        accepted = KnownFiles(known_files_of(settings.data)).accept(model)
    except (StorageError, UnusableFiles) as error:
        fail(error)
    if not accepted:
        fail(ConfigError(f"No files of {model!r} were used here before, so there is nothing to accept."))
    typer.echo(f"Accepted: {', '.join(accepted)}. Their hashes are noted when they are used next.")


@commands.command()
def forget(
    user_id: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The person's id on Discord.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Delete what is kept about a person, as their /privacy delete does; Atelier must be stopped."""
    if not yes:
        typer.confirm(f"Delete everything that is kept about person {user_id}? Nobody can undo that.", abort=True)
    typer.echo(run_to_end(_forget(load_settings(config, data, quiet=True), user_id)))


@commands.command()
def dataset(
    folder: Annotated[Path, typer.Argument(help="Where its versions are kept: v1, v2 and so on.")],
    name: Annotated[str, typer.Option(help="What it is called.")] = "atelier-pictures",
    server: Annotated[int | None, typer.Option(help="The id of one server; all servers if you name none.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Write the next version of a data set of results of people who agreed, whether Atelier runs or not."""
    typer.echo(run_to_end(_dataset(load_settings(config, data, quiet=True), folder, name, server)))


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
    left = (
        f"Left out: started from a picture {counts.from_pictures:,}, animations and films {counts.moving:,}, "
        f"painted by a provider {counts.remote:,}, words of people who did not join "
        f"{counts.borrowed:,}, duplicates {counts.equal + counts.near:,}."
    )
    return f"{words} {left}" if done.is_new else f"Nothing changed since the last version. {words}"


@commands.command()
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
    typer.echo(run_to_end(_graph(load_settings(config, data, quiet=True), file, server, draw)))


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


@commands.command()
def reindex(config: ConfigOption = None, data: DataOption = None) -> None:
    """Build the search index anew from the database; Atelier must be stopped."""
    typer.echo(run_to_end(_reindex(load_settings(config, data, quiet=True))))


async def _reindex(config: Config) -> str:
    """Build the search index anew and say how much it has."""
    from bot.offline import rebuild_index

    return f"The search index has {await rebuild_index(config)} results now."


async def _forget(config: Config, user_id: int) -> str:
    """Delete what is kept about a person and say what that was."""
    from bot.jobs import UserId
    from bot.offline import forget_person

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
