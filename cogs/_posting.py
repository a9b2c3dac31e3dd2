"""What every cog needs that posts by itself: Discord's refusals as the delivery's errors, own messages, deletion."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import aiohttp
import discord

from bot.client import Client
from bot.errors import DeliveryError, NotUnderstood, TooLarge, TryLater, Unreachable
from bot.jobs import GuildId
from cogs._verdicts import UNKNOWN_MESSAGE, Verdict, classify

LOOK_BACK = 1000
"""Messages of a channel that are looked through for one that may be ours."""
CLOCKS_DIFFER = timedelta(minutes=2)
"""Also how long an answer that began with a download may be older than its job."""

QUOTED = 200
"""Characters of Discord's reason that are repeated to a person."""


@contextmanager
def translated(client: Client, guild_id: GuildId) -> Iterator[None]:
    """Turn what Discord refuses in a server into the delivery's errors."""
    try:
        yield
    except discord.HTTPException as error:
        raise delivery_error(error, file_limit(client, guild_id)) from error
    except (TimeoutError, OSError, aiohttp.ClientError) as error:
        raise TryLater(f"Discord cannot be reached: {error}") from error
    except RuntimeError as error:
        # This is aiohttp's error for a client that was closed: the next run says what this one cannot.
        if not client.is_closed():
            raise
        raise TryLater("Atelier is stopping.") from error


def file_limit(client: Client, guild_id: GuildId) -> int:
    """How many bytes a file may have in a server."""
    guild = client.get_guild(guild_id)
    return discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES if guild is None else guild.filesize_limit


async def delete(message: discord.Message | discord.PartialMessage) -> None:
    """Delete a message that may be gone already."""
    try:
        await message.delete()
    except discord.HTTPException as error:
        if error.code != UNKNOWN_MESSAGE:
            raise


async def own_messages(
    client: Client, channel: discord.abc.Messageable, since: datetime
) -> AsyncIterator[discord.Message]:
    """What we posted in a channel since then, oldest first; Discord's clock and ours may differ."""
    async for message in channel.history(limit=LOOK_BACK, after=since - CLOCKS_DIFFER, oldest_first=True):
        if client.user is not None and message.author.id == client.user.id:
            yield message


def delivery_error(error: discord.HTTPException, file_limit: int) -> DeliveryError:
    """The DeliveryError for an error of Discord."""
    match classify(error):
        case Verdict.LATER:
            return TryLater(f"Discord answered {error.status}")
        case Verdict.TOO_LARGE:
            return TooLarge(
                "These pictures are too large for Discord in this channel. "
                "Ask for a smaller size, or for fewer pictures or frames.",
                limit=file_limit,
            )
        case Verdict.BUG:
            # Its text quotes the form, and so the prompt.
            return NotUnderstood(
                "Discord answered {status} (code {code}): This is an error of Atelier, not yours.",
                status=error.status,
                code=error.code,
            )
        case _:
            # Only Discord's own words are repeated, and not many of them.
            return Unreachable(
                "Discord answered {status}: {error} (code {code})",
                status=error.status,
                error=error.text[:QUOTED],
                code=error.code,
            )
