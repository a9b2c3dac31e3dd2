"""/help: a short tour, with what a person may do in the channel where they ask."""

from __future__ import annotations

from collections.abc import Sequence

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import ModelConfig
from bot.errors import Rejected
from bot.jobs import Destination, Requester
from bot.language import lasting, mark, say, say_many
from bot.policy.objections import told
from bot.policy.policy import Allowance, Policy, Ruling
from bot.requests.admission import Admission
from cogs import _people, _words

_SHOWN = 4
"""How many models are named."""
_DESCRIPTION = 60
"""Characters of a model's description."""

_COMMANDS = {
    "animate": mark("a moving picture"),
    "storyboard": mark("a story"),
    "queue": mark("who waits, and when your pictures start"),
    "cancel": mark("stop a request"),
    "quota": mark("what you have left"),
    "history": mark("your pictures"),
    "search": mark("find pictures"),
    "compare": mark("two settings by a blind vote"),
    "contest": mark("contests"),
    "style": mark("looks with a name"),
    "tag": mark("your own words on pictures"),
    "dataset": mark("your pictures as training data"),
    "settings": mark("your own defaults"),
    "report": mark("what should not be here"),
    "privacy": mark("what is kept about you"),
}
_MODERATORS = ("limits", "mod", "stats", "dedup", "language")


class Help(commands.Cog):
    """Explains the bot in one screen of a phone."""

    def __init__(self, client: Client, admission: Admission, policy: Policy, command: str) -> None:
        self._client = client
        self._admission = admission
        self._policy = policy
        self._command = command

    @app_commands.command(description="A short tour: how to ask for pictures, and what you may use here")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    async def help(self, interaction: discord.Interaction[Client]) -> None:
        """Show the tour to the person who asks."""
        lines = [
            say("**I paint what you describe.**"),
            f"`/{_words.command_name(self._command)} {_words.option('prompt')}: {say('a red fox in the snow')}`",
            say("More options: the number of pictures, the shape, a picture to start from."),
            say(
                "Flags in the prompt do the same: `--ar 16:9 --images 2 --seed 7 --no fog`. Prompts from other bots "
                "work, too."
            ),
            say("Buttons under a result change it; 👍 and 👎 rate it."),
            *(await self._offered(interaction)),
            "",
            *self._commands(interaction),
        ]
        await responses.send(interaction, "\n".join(lines), ephemeral=True)

    async def _offered(self, interaction: discord.Interaction[Client]) -> list[str]:
        """What the person may use where they ask."""
        if not _people.is_served(interaction):
            return ["", say("I paint on servers: use the command in a channel of a server that we are both on.")]
        who, where = _people.requester(interaction), _people.destination(interaction)
        ruling = await self._policy.ruling(who, where.channels)
        try:
            self._policy.check(ruling)
        except Rejected as refusal:
            return ["", say("**Not now:** {reason}", reason=_words.said(told(refusal)))]
        return ["", say("**Here you may use**"), *await self._lines(who, where, ruling)]

    async def _lines(self, who: Requester, where: Destination, ruling: Ruling) -> list[str]:
        models = await self._admission.usable_models(who, where)
        if not models:
            return [say("no model at the moment; ask a moderator")]
        limits = ruling.limits
        return [
            *self._named(models),
            say_many(
                "- up to {pictures} with {count} step each",
                "- up to {pictures} with {count} steps each",
                limits.steps.value,
                pictures=_words.pictures(limits.images.value),
            ),
            _left(await self._policy.allowance(ruling), self._policy.usual_seconds()),
        ]

    def _named(self, models: Sequence[ModelConfig]) -> list[str]:
        """A line for each of the first few models."""
        lines = []
        for number, model in enumerate(models[:_SHOWN]):
            line = say("- the model `{model}`", model=model.name)
            if number == 0 and len(models) > 1:
                line = say("- the model `{model}` (if you name none)", model=model.name)
            if model.description:
                line = _words.pair(line, _words.inert(say(model.description), _DESCRIPTION))
            lines.append(line)
            if number == 0 and (known := self._admission.known_by(model.name)):
                lines.append(f"-# {known}")
        if len(models) > _SHOWN:
            lines.append(say_many("- and {count} more model", "- and {count} more models", len(models) - _SHOWN))
        return lines

    def _commands(self, interaction: discord.Interaction[Client]) -> list[str]:
        """The commands that exist, and those for moderators if the person is one."""
        known = {command.name for command in self._client.tree.get_commands()}
        lines = [f"{_words.command(name)} {say(words)}" for name, words in _COMMANDS.items() if name in known]
        if interaction.guild_id is not None and _people.is_moderator(interaction):
            theirs = ", ".join(_words.command(name) for name in _MODERATORS if name in known)
            lines.append(say("For moderators: {commands}", commands=theirs))
        return lines


def _left(allowance: Allowance, usual: float) -> str:
    """What is left of the quota, in a line; a usual picture takes `usual` seconds."""
    return say(
        "- {left} of {quota} of painting time is left: {pictures}",
        left=lasting(allowance.left),
        quota=lasting(allowance.quota),
        pictures=_words.usual_pictures(allowance.left, usual),
    )


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(Help(client, app.admission, app.policy, app.config.discord.command))
