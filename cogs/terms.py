"""/mod terms: the list of words and phrases that a server's moderators do not allow in requests."""

from __future__ import annotations

import io

import discord
from discord import app_commands

from bot import responses
from bot.client import Client
from bot.language import mark, say, say_many
from bot.policy.limits import SERVER
from bot.policy.words import check_room, parse_terms, terms_of
from bot.responses import MESSAGE, units
from bot.storage.cases import Cases
from bot.storage.rules import Rules
from cogs import _cases, _people, _words
from cogs._lists import LONGEST, MOST, Choices
from cogs.series_posts import SeriesPosts

Typed = app_commands.Range[str, 1, 6000]
Reason = app_commands.Range[str, 1, 300]

_NO_TERMS = mark(
    "This server has no terms of its own. `/mod terms add` makes a list. Some requests are refused on every server."
)


class TermsGroup(app_commands.Group):
    """The commands that change the list of a server. A change holds at once, also for requests that wait."""

    def __init__(self, rules: Rules, cases: Cases) -> None:
        super().__init__(name="terms", description="Words and phrases that requests here may not have")
        self._rules = rules
        self._cases = cases

    @app_commands.command(description="Refuse requests with these words or phrases, however they are spelled")
    @app_commands.describe(terms="With commas between them, like: spam, some phrase", reason="Why; kept with the case")
    async def add(self, interaction: discord.Interaction[Client], terms: Typed, reason: Reason | None = None) -> None:
        """Put terms on the list."""
        by = _people.by(interaction, reason)
        values = parse_terms(terms)
        posts = SeriesPosts.of(interaction.client)
        before = await posts.shown_titles(by.guild_id)
        case = await self._cases.change(by, "terms add", SERVER, values, check=check_room)
        await responses.send(
            interaction, _cases.said(case, say("These terms are on the list already.")), ephemeral=True
        )
        await posts.mask(before)

    @app_commands.command(description="Allow words or phrases again")
    @app_commands.describe(terms="With commas between them, or one from the list", reason="Why; kept with the case")
    async def remove(
        self, interaction: discord.Interaction[Client], terms: Typed, reason: Reason | None = None
    ) -> None:
        """Take terms off the list."""
        by = _people.by(interaction, reason)
        case = await self._cases.change(by, "terms remove", SERVER, {}, parse_terms(terms))
        otherwise = say("The list has none of these terms. `/mod terms list` shows it.")
        await responses.send(interaction, _cases.said(case, otherwise), ephemeral=True)

    @remove.autocomplete("terms")
    async def _listed(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if interaction.guild_id is None or not _people.is_moderator(interaction):
            return []
        terms = terms_of(await self._rules.book(_people.moderated(interaction)))
        found = [term for term in terms if typed.strip().casefold() in term.casefold() and len(term) <= LONGEST]
        return [app_commands.Choice(name=term, value=term) for term in found][:MOST]

    @app_commands.command(name="list", description="Show the words and phrases that requests here may not have")
    async def show(self, interaction: discord.Interaction[Client]) -> None:
        """Show the list, behind spoilers; a long one comes as a file."""
        terms = terms_of(await self._rules.book(_people.moderated(interaction)))
        count = say_many("1 term", "{count:,} terms", len(terms))
        words = _words.pair(f"**{count}**", ", ".join(map(_words.hidden, terms))) if terms else say(_NO_TERMS)
        files = []
        if units(words) > MESSAGE:
            words = say_many("**{count:,} term** is in the file.", "**{count:,} terms** are in the file.", len(terms))
            files = [discord.File(io.BytesIO("\n".join(terms).encode()), "terms.txt", spoiler=True)]
        await responses.send(interaction, words, files=files, ephemeral=True)


async def setup(client: Client) -> None:
    """Add the group to /mod."""
    group = client.tree.get_command("mod")
    assert isinstance(group, app_commands.Group)  # noqa: S101 - its cog is loaded before
    group.add_command(TermsGroup(client.app.rules, client.app.cases))
