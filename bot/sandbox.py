"""`atelier try`: the same client, cogs, queue, engine and database against an in-process Discord, in a browser.

simcord replaces Discord below the real discord.py; `bot/try_page/` is the page that shows it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bot.app import App, open_app
from bot.client import Client
from bot.config import Config
from bot.errors import ConfigError
from bot.jobs import Surface


async def run_sandbox(config: Config, port: int, opened: Callable[[str], None]) -> None:
    """Serve the page until this task is cancelled; `opened` is called with its address.

    Raises ConfigError when the extra packages are missing or the port is taken.
    """
    _simcord()
    async with open_app(config, Surface.SANDBOX) as app, try_page(app, port) as (place, address):
        opened(address)
        await place.keep_time()


@asynccontextmanager
async def try_page(app: App, port: int = 0) -> AsyncIterator[tuple[Any, str]]:
    """Serve the page of an app while the body runs; gives its Place, whose time the body keeps, and its address."""
    simcord = _simcord()
    from bot.try_page.place import Place
    from bot.try_page.sample import set_gallery, show_sample
    from bot.try_page.web import TryPage

    client = Client(app, on_try_page=True)
    env = simcord.Env(client, check_errors=False)
    place = Place(env, app.config.discord.command)
    await env.start()
    try:
        place.open()
        await set_gallery(app, place)
        await show_sample(app, client, place)
        async with TryPage(place).serving(port) as address:
            yield place, address
    finally:
        await env.shutdown()
        await client.close()


def _simcord() -> Any:
    """The package simcord; raises ConfigError when it is missing."""
    # On import simcord makes clients only to inspect them, and discord.py warns about each.
    chatter = logging.getLogger("discord")
    chatter.disabled, chatter.propagate = True, False
    try:
        import simcord
    except ImportError as error:
        raise ConfigError(
            "`atelier try` needs the packages of the extra 'try': pip install 'atelier-bot[try]'"
        ) from error
    finally:
        chatter.disabled, chatter.propagate = False, True
    return simcord
