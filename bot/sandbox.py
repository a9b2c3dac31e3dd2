"""`atelier try`: the same client, cogs, queue, engine and database against an in-process Discord, in a browser.

simcord replaces Discord below the real discord.py, and serves a local page that looks like Discord. Its clock is
virtual, and its page shows only what was published. So a task moves the clock in real time and publishes the page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.app import open_app
from bot.client import PERMISSIONS, Client
from bot.config import Config
from bot.errors import AtelierError, ConfigError
from bot.jobs import Surface

_PUMP_SECONDS = 0.5
"""The time between two moves of simcord's clock."""

_WELCOME = (
    "**Welcome to the workshop.** Type `/{command}`, describe a picture and send it: *a red apple on a blue "
    "background*, *a penguin*, *a rocket --images 4 --seed 7*.\n"
    "`/queue` shows the waiting requests; the buttons under a picture change it, 👍 and 👎 rate it. "
    "“Viewing as” at the top lets you act as another person. "
    "The moderator can also use `/limits`, `/mod` and `/stats`."
)


async def run_sandbox(config: Config, port: int, opened: Callable[[str], None]) -> None:
    """Serve the sandbox until it is closed in the page or this task is cancelled; `opened` is called with its URL.

    Raises ConfigError when the extra packages are missing or the port is taken.
    """
    simcord = _simcord()

    async with open_app(config, Surface.SANDBOX) as app:
        client = Client(app, always_sync=True)
        env = simcord.Env(client, check_errors=False)
        # simcord's time starts in January 2026; ids and time stamps should be today's.
        env.backend.clock._epoch = datetime.now(UTC)
        env.backend.bot_user.name = "Atelier"
        _hide_refusals(env)
        await env.start()
        try:
            channel, viewers = _set_up_server(env)
            await client.get_partial_messageable(channel.id).send(_WELCOME.format(command=config.discord.command))
            preview = env.preview(channel, viewers=viewers, layout="channel", port=port)
            lock = asyncio.Lock()
            _serialize(preview, lock)
            async with preview:
                opened(preview.url)
                pump = asyncio.create_task(_pump(env, preview, lock), name="sandbox clock")
                closed = asyncio.create_task(preview.wait_closed(), name="sandbox page")
                try:
                    await asyncio.wait((pump, closed), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    closed.cancel()
                    pump.cancel()
                    await asyncio.gather(pump, closed, return_exceptions=True)
                if not pump.cancelled():
                    pump.result()
        except simcord.SetupError as error:
            raise ConfigError(f"The page cannot be served: {error}.") from error
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
        import simcord.preview
    except ImportError as error:
        raise ConfigError(
            "`atelier try` needs the packages of the extra 'try': pip install 'atelier-bot[try]'"
        ) from error
    finally:
        chatter.disabled, chatter.propagate = False, True
    return simcord


def _hide_refusals(env: Any) -> None:
    """Hide refusals from simcord's page, which would show each of them as a crash of the bot."""
    record = env._record_error

    def record_bugs(error: BaseException) -> None:
        if not isinstance(getattr(error, "original", error), AtelierError):
            record(error)

    env._record_error = record_bugs


def _set_up_server(env: Any) -> tuple[Any, list[Any]]:
    """Make a small server; returns its channel and its members: a moderator and two others."""
    import discord

    guild = env.create_guild("The Workshop")
    members = discord.Permissions(PERMISSIONS.value)
    members.use_application_commands = True
    everyone = guild.create_role("painters", permissions=members)
    keys = guild.create_role("moderators", permissions=discord.Permissions(manage_guild=True, manage_messages=True))
    channel = guild.create_text_channel("easel", topic="Where all members paint")
    viewers = [
        guild.add_member(env.create_user("you", global_name="You (moderator)"), roles=[everyone, keys]),
        guild.add_member(env.create_user("ada", global_name="Ada"), roles=[everyone]),
        guild.add_member(env.create_user("grace", global_name="Grace"), roles=[everyone]),
    ]
    return channel, viewers


def _serialize(preview: Any, lock: asyncio.Lock) -> None:
    """Make clicks and the pump wait for each other, because simcord refuses actions that overlap.

    simcord also refuses an action on a page that was published again meanwhile, which happens all the time here. It
    looks up what was clicked or typed anew anyway, so each action is taken as an action on the newest page.
    """
    act = preview._action

    async def action(context_id: Any, body: Mapping[str, Any]) -> Any:
        async with lock:
            page = preview._pages.get(context_id)
            if page is not None and "published_revision" in body:
                body = {**body, "published_revision": page.revision}
            return await act(context_id, body)

    preview._action = action


async def _pump(env: Any, preview: Any, lock: asyncio.Lock) -> None:
    """Move simcord's clock with the real one, and publish what the bot did since."""
    loop = asyncio.get_running_loop()
    then = loop.time()
    while True:
        await asyncio.sleep(_PUMP_SECONDS)
        async with lock:
            now = loop.time()
            await env.advance_time(now - then)
            then = now
            if env.http_requests:
                # Otherwise these logs would grow without end.
                env.backend.http_requests.clear()
                env.backend.transcript.clear()
                await preview.refresh()
