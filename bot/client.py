"""The Discord client: loads the cogs, uploads the list of commands to Discord, and explains errors to people."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot import language, responses
from bot.app import App
from bot.errors import EngineError, Rejected, StorageError, UserError
from bot.jobs import ChannelId, GuildId, PictureRef, from_text, to_text, utcnow
from bot.language import Language, catalogues, say, speaking
from bot.logs import hide, traced
from bot.option_values import NUMBER, fits, is_number, leaves, misfit
from bot.policy.objections import told
from bot.responses import LOST, MESSAGE, OLD_SECONDS, Ages, InDoubt, NotTaken, fitted, units
from bot.storage.database import insist
from bot.translator import CommandTranslator

log = logging.getLogger(__name__)

EXTENSIONS = (
    "cogs.forms",
    "cogs.intake",
    "cogs.series_posts",
    "cogs.series",
    "cogs.storyboards",
    "cogs.create",
    "cogs.blend",
    "cogs.animate",
    "cogs.variants",
    "cogs.describe",
    "cogs.results",
    "cogs.edits",
    "cogs.verify",
    "cogs.details",
    "cogs.family",
    "cogs.queue",
    "cogs.quota",
    "cogs.feedback",
    "cogs.limits",
    "cogs.language",
    "cogs.moderation",
    "cogs.terms",
    "cogs.wildcards",
    "cogs.reports",
    "cogs.side_messages",
    "cogs.stats",
    "cogs.host",
    "cogs.history",
    "cogs.search",
    "cogs.dedup",
    "cogs.tags",
    "cogs.styles",
    "cogs.compare",
    "cogs.contests",
    "cogs.improve",
    "cogs.presets",
    "cogs.dataset",
    "cogs.privacy",
    "cogs.help",
    "cogs.greeting",
    "cogs.settings",
)

INTENTS = discord.Intents(guilds=True, guild_reactions=True, guild_messages=True)
"""None of these is privileged, so the host need not switch on any in the developer portal.

With `guild_messages`, Discord announces every message in the channels that the bot sees, but sends the text only of
those that mention the bot. Reading such an announcement takes about 0.1 ms.
"""

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
    add_reactions=True,
)
"""The permissions that the bot needs in a channel to deliver pictures there."""

_SPARE = 100
"""UTF-16 units that are kept free for what follows the words of an error."""

ButtonAction = Callable[[discord.Interaction["Client"], PictureRef], Awaitable[None]]


FREE_IDENTIFIES = 20
"""How many times in IDENTIFY_WINDOW the bot may identify (open a session at the gateway) without a pause."""
IDENTIFY_WINDOW = timedelta(hours=1)
LONGEST_IDENTIFY_PAUSE = 300.0
"""Seconds. A crash loop identifies about 600 times a day with this pause; Discord resets the token after a thousand."""

SEEN_INTERACTIONS = 10_000
"""How many interactions are remembered: a RESUME repeats events of the last few minutes at most."""

NOTE_SECONDS = 10.0
"""How long an identify waits until its time is stored; discord.py allows a minute for all of it."""

_IDENTIFIES = "identifies"

_MOST_ALONE = 10_000
"""People in direct messages whose language is remembered."""


class Client(commands.Bot):
    """One bot account that serves an app to the people on Discord."""

    def __init__(self, app: App, *, on_try_page: bool = False) -> None:
        # The bot uses no voice: without this, discord.py logs two warnings about voice libraries.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=INTENTS | discord.Intents(dm_reactions=app.config.discord.direct_messages),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
        )
        self.app = app
        self.said: Callable[[str], str] = str
        """Formats the references of a sentence for Discord; a cog sets this."""
        self.buttons: dict[str, ButtonAction] = {}
        """The function of each button, by the action in its custom id; each cog adds its own."""
        self.forms: dict[str, Callable[..., Awaitable[None]]] = {}
        """The function of each form, by the action in its custom id; each cog adds its own."""
        self._on_try_page = on_try_page
        self._ages = Ages()
        self.late = 0
        """How many interactions could not be answered in time."""
        self._seen: OrderedDict[int, None] = OrderedDict()
        """The last interactions, by their ids."""
        self._alone: OrderedDict[int, Language] = OrderedDict()
        """The languages in which people last used direct messages, by the channels."""
        self._identifies: list[str] = []
        """The times within the last hour at which this process and those before it identified."""

    def note_arrival(self, interaction: discord.Interaction) -> bool:
        """Note that an interaction has come; returns False if it came before, or too late for a response.

        From now on its task speaks the language of the person.
        """
        language.speak(self._language_of(interaction))
        if interaction.id in self._seen:
            log.info("interaction %d was delivered twice", interaction.id)
            return False
        self._seen[interaction.id] = None
        if len(self._seen) > SEEN_INTERACTIONS:
            self._seen.popitem(last=False)
        age = self.age_of(interaction)
        responses.note_age(interaction, age)
        if age > OLD_SECONDS:
            self.late += 1
            return False
        return True

    def age_of(self, interaction: discord.Interaction) -> float:
        """How old an interaction is that comes now, in seconds."""
        return self._ages.of(interaction.id, time.time())

    def _language_of(self, interaction: discord.Interaction) -> Language:
        """The language of the person who started an interaction."""
        spoken = language.of_locale(interaction.locale.value) or Language.ENGLISH
        if interaction.guild_id is None and interaction.channel_id is not None:
            self._alone[interaction.channel_id] = spoken
            self._alone.move_to_end(interaction.channel_id)
            if len(self._alone) > _MOST_ALONE:
                self._alone.popitem(last=False)
        return spoken

    @asynccontextmanager
    async def speaking_to(self, guild_id: GuildId) -> AsyncIterator[None]:
        """Speak the language of a server in the body, for what everyone there reads."""
        with speaking(await insist(self.app.policy.language, guild_id)):
            yield

    def _usual_language(self, guild_id: GuildId) -> Language | None:
        """The language that a server has in Discord's settings, or that a person last used in direct messages."""
        guild = self.get_guild(guild_id)
        # The rules of direct messages are kept under the id of their channel.
        return self._alone.get(guild_id) if guild is None else language.of_locale(guild.preferred_locale.value)

    async def setup_hook(self) -> None:
        """Load the cogs and tell Discord about the commands if they changed."""
        self.app.policy.is_age_restricted = self._is_age_restricted
        self.app.policy.usual_language = self._usual_language
        if not self._on_try_page:
            # The page is in English alone, and reading every language takes a while.
            await self.tree.set_translator(CommandTranslator())
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        await self._sync()

    def _is_age_restricted(self, guild_id: GuildId, where: Sequence[ChannelId]) -> bool:
        """Whether a channel, or a thread's parent channel, is age-restricted. One that is not known counts as not."""
        guild = self.get_guild(guild_id)
        found = [] if guild is None else [guild.get_channel_or_thread(channel_id) for channel_id in where]
        channel = next(filter(None, found), None)
        is_nsfw = getattr(channel, "is_nsfw", None)
        return bool(is_nsfw is not None and is_nsfw())

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until the bot may identify to the gateway, and store the time, so that a crash loop counts."""
        await super().before_identify_hook(shard_id, initial=initial)
        noted: Counter[str] = Counter(json.loads(await self.app.database.recall(_IDENTIFIES) or "[]"))
        # Times that could not be stored count as well.
        texts = sorted(Counter(noted | Counter(self._identifies)).elements())
        earlier = [at for at in map(from_text, texts) if at is not None]
        # discord.py gives a connection a minute to identify; then it calls this again.
        if pause := identify_pause(earlier, utcnow()):
            log.warning("identified %d times within an hour; waiting %.0f s before the next", len(earlier), pause)
            await asyncio.sleep(pause)
        self._identifies = [to_text(at) for at in (*earlier, utcnow()) if at > utcnow() - IDENTIFY_WINDOW]
        try:
            async with asyncio.timeout(NOTE_SECONDS):
                await insist(self.app.database.remember, _IDENTIFIES, json.dumps(self._identifies))
        except TimeoutError:
            # Go on: the bot must be online to tell people that the storage is full.
            log.warning("this identify could not be noted on the disk; it counts until a restart")

    async def close(self) -> None:
        """Disconnect, and end a task that discord.py leaves behind: its wait for the list of servers."""
        self._end_ready()
        await super().close()
        self._end_ready()

    def _end_ready(self) -> None:
        # A private name of discord.py: if another version changes it, the task is not ended here.
        if isinstance(task := getattr(self._connection, "_ready_task", None), asyncio.Task):
            task.cancel()

    @property
    def is_connected(self) -> bool:
        """Whether events of Discord arrive now."""
        # discord.py has no socket before the first connection, and keeps a closed one until it has another.
        return self.is_ready() and self.ws is not None and self.ws.open

    async def on_ready(self) -> None:
        """Log that the bot is online."""
        log.info("ready for commands as %s in %d servers", self.user, len(self.guilds))

    async def on_message(self, message: discord.Message, /) -> None:
        """Do nothing: there are no commands in messages, and discord.py would look for some."""

    async def explain(
        self,
        interaction: discord.Interaction,
        error: BaseException,
        prompt: str | None = None,
        view: discord.ui.View | None = None,
    ) -> None:
        """Tell the person, and only them, what went wrong; this is the one place that explains errors.

        The answer returns the prompt that they typed, whatever the error is. A button has no such option, so its
        caller gives the prompt. `view` has the buttons under the answer.
        """
        if isinstance(error, app_commands.CommandInvokeError):
            error = error.original
        if responses.is_too_late(error):
            # The person was told by Discord that there was no response, and can be told nothing more.
            self.late += 1
            return
        typed = {option["name"]: option["value"] for option in leaves(interaction) if isinstance(option["value"], str)}
        hide(*typed.values())
        words = fitted(self.said(_words(error, list(typed.values()))), MESSAGE - _SPARE)
        files: list[discord.File] = []
        if (prompt := prompt or typed.get("prompt", "")).strip():
            back, files = prompt_back(prompt, MESSAGE - 1 - units(words))
            words += f"\n{back}"
        buttons: dict[str, Any] = {} if view is None else {"view": view}
        try:
            if interaction.response.is_done():
                await interaction.followup.send(words, files=files, ephemeral=True, **buttons)
            else:
                await responses.send(interaction, words, files=files, ephemeral=True, **buttons)
        except (NotTaken, InDoubt):
            self.late += 1
        except discord.HTTPException as failure:
            if responses.is_too_late(failure):
                self.late += 1
                return
            # Do not log its text: it quotes the form, which contains the prompt.
            log.warning(
                "a person could not be told what went wrong: Discord answered %d (code %d)",
                failure.status,
                failure.code,
            )
        except (aiohttp.ClientError, OSError) as failure:
            log.warning("a person could not be told what went wrong: %s", type(failure).__name__)

    async def _sync(self) -> None:
        """Upload the commands if they differ from what Discord has, because Discord limits uploads."""
        if self._on_try_page:
            # The page knows no commands from an earlier start.
            await self.tree.sync()
            return
        payload = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        texts = [json.dumps(payload, sort_keys=True), await asyncio.to_thread(catalogues.digest)]
        digest = hashlib.sha256("".join(texts).encode()).hexdigest()
        name = f"commands of {self.application_id}"
        if await self.app.database.recall(name) != digest:
            await asyncio.to_thread(catalogues.preload)
            await self.tree.sync()
            try:
                await self.app.database.remember(name, digest)
            except StorageError as error:
                # The bot can go online without this note.
                log.warning("%s The commands are uploaded again at the next start.", error)


class Tree(app_commands.CommandTree[Client]):
    """The command tree, with `Client.explain` as its error handler."""

    async def interaction_check(self, interaction: discord.Interaction[Client], /) -> bool:
        """Whether every option of a command has a value of its type; if not, tell the person which has none.

        Discord checks that for commands it knows. It may know an older version of one.
        """
        if not self.client.note_arrival(interaction):
            return False
        if interaction.type is discord.InteractionType.autocomplete:
            # Discord does not check values that are still being typed, and discord.py fails on one that is no number.
            if all(is_number(option["value"]) for option in leaves(interaction) if option["type"] == NUMBER):
                return True
            await interaction.response.autocomplete([])
            return False
        parameters = getattr(interaction.command, "parameters", ())
        known = {parameter.display_name: parameter for parameter in parameters}
        for option in leaves(interaction):
            parameter = known.get(option["name"])
            if parameter is not None and not fits(option["value"], parameter, interaction):
                await self.client.explain(interaction, misfit(option["value"], parameter))
                return False
        return True

    async def on_error(self, interaction: discord.Interaction[Client], error: app_commands.AppCommandError) -> None:
        """Explain to the person what went wrong."""
        await self.client.explain(interaction, error)


def prompt_back(prompt: str, room: int = MESSAGE - _SPARE) -> tuple[str, list[discord.File]]:
    """A prompt to copy, whole: within `room` UTF-16 units of a message, or else as a file beside the message."""
    inert = prompt.replace("``", "`\u200b`")
    framed = say("Your prompt, to copy:") + f"\n```\n{inert}\n```"
    if units(framed) <= room:
        return framed, []
    data = io.BytesIO(prompt.encode("utf-8", "replace"))
    return say("Your prompt is in the file."), [discord.File(data, filename="prompt.txt")]


def identify_pause(earlier: Sequence[datetime], now: datetime) -> float:
    """Seconds until the bot may identify again: none for the first few times in an hour, then longer and longer."""
    # If the clock was set back, ignore times in the future.
    recent = [at for at in earlier if now - IDENTIFY_WINDOW < at <= now]
    over = len(recent) - FREE_IDENTIFIES
    if over < 0:
        return 0.0
    pause = min(5.0 * 2.0**over, LONGEST_IDENTIFY_PAUSE)
    return max(0.0, pause - (now - max(recent)).total_seconds())


def _words(error: BaseException, private: Sequence[str]) -> str:
    """The message for a person; the texts in `private` do not go into the log."""
    if isinstance(error, Rejected):
        return told(error)
    if isinstance(error, UserError | EngineError | StorageError):
        return str(error)
    if isinstance(error, app_commands.CommandSignatureMismatch):
        return say("This command has just changed. Wait a minute, reload Discord, and try again.")
    if isinstance(error, app_commands.TransformerError):
        return say("This option does not understand “{value}”.", value=error.value)
    if isinstance(error, LOST) or (isinstance(error, discord.HTTPException) and not responses.is_final(error)):
        log.warning("Discord did not answer a request: %s", type(error).__name__)
        return say("Discord did not answer me. Look whether it was done before you try again.")
    reference = secrets.token_hex(3)
    quoted = [error.text] if isinstance(error, discord.HTTPException) else []
    log.error("a bug, reference %s\n%s", reference, traced(error, *private, *quoted))
    return say("Something broke inside Atelier. The host can find it in the log as {reference}.", reference=reference)
