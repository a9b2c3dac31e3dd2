"""What every command of the command line has in common: its options, its settings, its errors and its exit codes."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from typer.core import TyperGroup

from bot.config import Config
from bot.config_errors import words_of
from bot.config_file import load_config
from bot.errors import EX_CONFIG, AtelierError, ConfigError
from bot.logs import setup_logging

T = TypeVar("T")

_SIGNALLED = 128
"""A command that a signal ended has this exit code plus the number of the signal: 130 after Ctrl-C."""

_KINDS = {"int_parsing": "a whole number", "float_parsing": "a number", "bool_parsing": "true or false"}

DEFAULT_CONFIG = Path("config.toml")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The settings; ./config.toml if it exists, otherwise the defaults.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The folder for the database and the pictures; ./data by default.")
]


class Commands(TyperGroup):
    """Commands that say in the words of the settings, instead of pydantic's, what is wrong with an argument."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(cause := error.__cause__, ValidationError):
                error.message = _wrong(cause.errors()[0])
            raise


def _wrong(error: ErrorDetails) -> str:
    """What is wrong with an argument and what would work."""
    if error["type"] in _KINDS:
        return f"{error['input']!r} is not {_KINDS[error['type']]}."
    return f"{words_of(error)}."


def load_settings(config: Path | None, data: Path | None, *, quiet: bool = False) -> Config:
    """Load the settings and set up logging; exits with EX_CONFIG when they are wrong."""
    try:
        settings = load_config(config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None))
    except ConfigError as error:
        fail(error)
    # A person watches this terminal: show only warnings and errors.
    level = "warning" if quiet and settings.log_level == "info" else settings.log_level
    setup_logging(level)
    changes: dict[str, object] = {"log_level": level}
    if data is not None:
        changes["data"] = data
    return settings.model_copy(update=changes)


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage while the body imports modules, and never again in what it made.

    Modules stay until the process ends, so looking through them frees nothing. It makes the start slower, and later it
    stops the event loop.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_to_end(main: Coroutine[Any, Any, T], *, serves: bool = False) -> T | None:
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
            try:
                loop.add_signal_handler(name, cancel, name)
            except NotImplementedError:
                # Windows: the handler runs between two instructions of the main thread, so the loop has to be woken.
                signal.signal(name, lambda number, _: loop.call_soon_threadsafe(cancel, signal.Signals(number)))
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("stopped")
        ended = received[0] if received else signal.SIGINT
        code = 0 if serves and ended is signal.SIGTERM else _SIGNALLED + ended
        raise typer.Exit(code) from None
    except AtelierError as error:
        fail(error)


def fail(error: AtelierError) -> NoReturn:
    """End with the sentence of an error and its exit code."""
    typer.echo(f"atelier: {error}", err=True)
    raise typer.Exit(EX_CONFIG if isinstance(error, ConfigError) else 1)
