"""The Discord client: loads the cogs, keeps Discord's list of commands current, and turns errors into words."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable

import discord
from discord import app_commands
from discord.ext import commands

from bot.app import App
from bot.errors import Rejected, StorageError, UserError
from bot.jobs import JobId

log = logging.getLogger(__name__)

EXTENSIONS = ("cogs.create", "cogs.results", "cogs.queue", "cogs.quota", "cogs.feedback", "cogs.limits", "cogs.stats")

INTENTS = discord.Intents(guilds=True, guild_reactions=True)
"""None of these is privileged: nothing has to be switched on in the developer portal."""

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
    add_reactions=True,
)
"""What the bot needs in a channel to deliver there."""

ButtonAction = Callable[[discord.Interaction["Client"], JobId], Awaitable[None]]

_PROMPT_BACK = 1200


class Client(commands.Bot):
    """One bot account, serving the app it is given."""

    def __init__(self, app: App, *, always_sync: bool = False) -> None:
        # Nobody speaks here: spare every log two warnings about voice libraries.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=INTENTS,
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
        )
        self.app = app
        self.buttons: dict[str, ButtonAction] = {}
        """What a button does, by the action in its custom id; cogs add theirs."""
        self._always_sync = always_sync

    async def setup_hook(self) -> None:
        """Load the cogs and tell Discord about the commands if they changed."""
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        await self._sync()

    async def on_ready(self) -> None:
        """Say so in the log."""
        log.info("ready for commands as %s in %d servers", self.user, len(self.guilds))

    async def explain(self, interaction: discord.Interaction, error: BaseException) -> None:
        """Tell the person, and only them, what went wrong; the one place where errors become words."""
        if isinstance(error, app_commands.CommandInvokeError):
            error = error.original
        words = _words(error)
        prompt = getattr(interaction.namespace, "prompt", None)
        if isinstance(error, UserError) and isinstance(prompt, str) and prompt.strip():
            words += f"\nYour prompt, to copy:\n```\n{prompt.replace('```', '`​``')[:_PROMPT_BACK]}\n```"
        try:
            if interaction.response.is_done():
                await interaction.followup.send(words, ephemeral=True)
            else:
                await interaction.response.send_message(words, ephemeral=True)
        except discord.HTTPException as failure:
            log.warning("a person could not be told what went wrong: %s", failure)

    async def _sync(self) -> None:
        """Upload the commands when they differ from what Discord has: uploads are rationed."""
        payload = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        name = f"commands of {self.application_id}"
        if self._always_sync or await self.app.database.recall(name) != digest:
            await self.tree.sync()
            await self.app.database.remember(name, digest)


class Tree(app_commands.CommandTree[Client]):
    """The command tree, with `Client.explain` as its error handler."""

    async def on_error(self, interaction: discord.Interaction[Client], error: app_commands.AppCommandError) -> None:
        """Explain what went wrong."""
        await self.client.explain(interaction, error)


def _words(error: BaseException) -> str:
    if isinstance(error, Rejected):
        words = str(error)
        if error.retry_at is not None:
            words += f" It will work <t:{int(error.retry_at.timestamp()) + 1}:R>."
        if error.rule in ("depth", "quota"):
            words += " Moderators change this with `/limits set`."
        return words
    if isinstance(error, (UserError, StorageError)):
        return str(error)
    if isinstance(error, app_commands.CommandSignatureMismatch):
        return "This command has just changed. Wait a minute, reload Discord, and try again."
    if isinstance(error, app_commands.TransformerError):
        return f"“{error.value}” is not something this option understands."
    reference = secrets.token_hex(3)
    log.error("a bug, reference %s", reference, exc_info=error)
    return f"Something broke inside Atelier. Whoever hosts it finds it in the log as {reference}."
