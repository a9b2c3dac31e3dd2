"""/dataset: a person's consent to data sets, and the channels from which a server lets results go into them."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.jobs import Requester, Scope, UserId
from bot.language import mark, say
from bot.storage.cases import By, Cases
from bot.storage.consents import CHANNEL, Consents
from bot.storage.rules import Rules
from cogs import _cases, _people, _words
from cogs._people import Place

TERMS = mark(
    "What may go into a data set: pictures that you ask for **from now on** in channels that this server allows for "
    "it, with their prompts and settings, but never pictures that you send, and nothing that starts from a picture. "
    "You stand in it as a random name, and of the time only the day is kept. The host may publish it under CC0 1.0, so "
    "anybody may use it for anything, such as training models. `/dataset leave` takes all of yours out of every later "
    "version; copies of an earlier version that others have stay with them."
)
_NOT_JOINED = mark("You are not in the data sets of this server. `/dataset join` changes that.")


_LEFT = mark(
    "You left. The next version has nothing of yours, and its list of changes names what to delete from the last one. "
    "Copies that others have stay with them."
)


@app_commands.guild_only()
class DatasetCog(commands.GroupCog, name="Dataset", group_name="dataset", group_description="Data sets of results"):
    """Records consent."""

    def __init__(self, consents: Consents, cases: Cases, rules: Rules) -> None:
        self._consents = consents
        self._cases = cases
        self._rules = rules

    @app_commands.command(description="Let your results on this server go into data sets from now on; see the terms")
    @app_commands.describe(agree="Choose True after you have read the terms; without it they are shown")
    async def join(self, interaction: discord.Interaction[Client], agree: bool = False) -> None:
        """Show the terms, or record that the person agrees."""
        if not agree:
            words = f"{say(TERMS)}\n{say('If you agree: `/dataset join agree:True`. Nothing was changed.')}"
        elif await self._consents.join(_people.requester(interaction)):
            words = f"{say('You joined.')}\n{say(TERMS)}"
        else:
            words = say("You joined before, so nothing was changed.")
        await responses.send(interaction, words, ephemeral=True)

    @app_commands.command(description="Take your results out of all later versions of data sets")
    async def leave(self, interaction: discord.Interaction[Client]) -> None:
        """Record that the person agrees no more."""
        left = await self._consents.leave(_people.requester(interaction))
        await responses.send(interaction, say(_LEFT if left else _NOT_JOINED), ephemeral=True)

    @app_commands.command(description="Whether your results go into data sets, and from which channels")
    async def status(self, interaction: discord.Interaction[Client]) -> None:
        """Show what the person decided, and the channels."""
        who: Requester = _people.requester(interaction)
        last = await self._consents.last(who)
        if last is None:
            lines = [say(_NOT_JOINED)]
        elif last.left_at is None:
            lines = [say("You joined {when}.", when=_words.past(last.joined_at))]
        else:
            lines = [f"{say('You left {when}.', when=_words.past(last.left_at))} {say(_NOT_JOINED)}"]
        book = await self._rules.book(who.guild_id)
        channels = [
            f"<#{key}>" for (scope, key), rules in book.items() if scope is Scope.CHANNEL and rules.get(CHANNEL)
        ]
        if channels:
            lines.append(say("Channels that this server allows: {channels}.", channels=", ".join(channels)))
        else:
            lines.append(say("This server allows no channel, so no result of it goes into a data set."))
        await responses.send(interaction, _words.fitting(lines), ephemeral=True)

    @app_commands.command(description="Let results of a channel go into data sets, or no more (moderators)")
    @app_commands.describe(
        channel="The channel; threads of it count only if they are named themselves",
        allowed="Whether results of people who joined may go into data sets",
        reason="Why; kept with the case",
    )
    async def channel(
        self,
        interaction: discord.Interaction[Client],
        channel: Place,
        allowed: bool = True,
        reason: app_commands.Range[str, 1, 300] | None = None,
    ) -> None:
        """Set whether a channel counts."""
        by = By(_people.moderated(interaction), UserId(interaction.user.id), reason or "")
        subject = (Scope.CHANNEL, channel.id)
        values = {CHANNEL: True} if allowed else {}
        case = await self._cases.change(by, "dataset channel", subject, values, [] if allowed else [CHANNEL])
        said = say("That is so already.") if case is None else _cases.receipt(case)
        await responses.send(interaction, said, ephemeral=True)


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(DatasetCog(app.consents, app.cases, app.rules))
