"""`atelier try`: the same client, cogs, queue, engine and database against an in-process Discord, in a browser.

simcord replaces Discord below the real discord.py; `bot/try_page/` is the page that shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from bot.app import open_app
from bot.client import Client
from bot.config import Config
from bot.errors import ConfigError
from bot.jobs import Surface

NAME = "Atelier"
"""What the bot is called on the page."""


async def run_sandbox(config: Config, port: int, opened: Callable[[str], None]) -> None:
    """Serve the page until this task is cancelled; `opened` is called with its address.

    Raises ConfigError when the extra packages are missing or the port is taken.
    """
    simcord = _simcord()
    from bot.try_page.place import Place
    from bot.try_page.sample import show_sample
    from bot.try_page.web import TryPage

    async with open_app(config, Surface.SANDBOX) as app:
        client = Client(app, always_sync=True)
        env = simcord.Env(client, check_errors=False)
        place = Place(env, NAME, config.discord.command)
        await env.start()
        try:
            place.open()
            await show_sample(app, client, place)
            async with TryPage(place).serving(port) as address:
                opened(address)
                await place.keep_time()
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
