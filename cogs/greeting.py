"""Says hello once on a new server, and answers when the bot is mentioned: both point to /help."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import discord
from discord.ext import commands

from bot.client import Client
from bot.errors import StorageError
from bot.jobs import GuildId
from bot.language import say
from bot.responses import LOST
from bot.storage.database import Database
from cogs import _words

log = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0
"""The time between two answers to mentions in a channel."""
REMEMBERED = 1000
"""How many channels are remembered for that."""

Writable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread


class Greeting(commands.Cog):
    """Introduces the bot."""

    def __init__(
        self, client: Client, database: Database, command: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._database = database
        self._now = now
        self._answered: OrderedDict[int, float] = OrderedDict()
        """When a mention was last answered, by channel; the oldest first."""
        self._command = command

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Say hello in the system channel, or else in the first channel that the bot may write in."""
        # discord.py sends this event only for servers that were not there before, also not after an outage. The note
        # is for the case that Discord sends a server twice.
        name = f"joined {guild.id}"
        try:
            if await self._database.recall(name) is not None:
                return
            await self._database.remember(name, "yes")
        except StorageError as error:
            log.warning("server %d is not greeted: %s", guild.id, error)
            return
        candidates = [guild.system_channel, *guild.text_channels]
        channel = next((each for each in candidates if each is not None and _may_write(each, guild.me)), None)
        if channel is not None:
            async with self._client.speaking_to(GuildId(guild.id)):
                moderators = say("Moderators set limits with `/limits` and `/mod`.")
                words = f"{say('Hello!')} {self._introduction()} {moderators}"
            await _say(channel, words)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a person who mentions the bot, at most once a minute in a channel."""
        guild, user, channel = message.guild, self._client.user, message.channel
        if guild is None or user is None or message.author.bot or message.webhook_id is not None:
            return
        # A reply to one of the bot's messages mentions it, too, but not in its text.
        if user.id not in message.raw_mentions or not isinstance(channel, Writable):
            return
        if not _may_write(channel, guild.me) or not self._is_time(channel.id):
            return
        async with self._client.speaking_to(GuildId(guild.id)):
            words = self._introduction()
        await _say(channel, words)

    def _introduction(self) -> str:
        example = f"`/{_words.command_name(self._command)} {_words.option('prompt')}: {say('a red fox')}`"
        return say("I paint what you describe: {example}. `/help` shows what you can do here.", example=example)

    def _is_time(self, channel_id: int) -> bool:
        """Whether a mention in a channel is answered now; notes it if so."""
        now = self._now()
        last = self._answered.pop(channel_id, None)
        is_time = last is None or now - last >= PAUSE_SECONDS
        self._answered[channel_id] = now if is_time or last is None else last
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        return is_time


def _may_write(channel: Writable, me: discord.Member) -> bool:
    granted = channel.permissions_for(me)
    writes = granted.send_messages_in_threads if isinstance(channel, discord.Thread) else granted.send_messages
    return granted.view_channel and writes


async def _say(channel: Writable, words: str) -> None:
    try:
        await channel.send(words)
    except (discord.HTTPException, *LOST) as error:
        log.warning("an introduction in channel %d was not sent: %s", channel.id, type(error).__name__)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(Greeting(client, client.app.database, client.app.config.discord.command))
