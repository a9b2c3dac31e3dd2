"""/mod wildcards: lists of a server from which `__name__` in a prompt draws an entry."""

from __future__ import annotations

import io

import discord
from discord import app_commands

from bot import responses
from bot.client import Client
from bot.jobs import UserId
from bot.language import mark, say, say_many
from bot.policy.limits import SERVER
from bot.policy.wildcards import WILDCARD, added, entries_of, parse_entries, parse_name, wildcards_of, without
from bot.responses import MESSAGE, units
from bot.storage.cases import By, Cases
from bot.storage.rules import Rules
from cogs import _cases, _people, _words
from cogs._lists import MOST, Choices

Name = app_commands.Range[str, 1, 60]
Typed = app_commands.Range[str, 1, 6000]
Reason = app_commands.Range[str, 1, 300]

_NONE = mark("This server has no wildcards. `/mod wildcards add` makes one.")


class WildcardsGroup(app_commands.Group):
    """The commands that change the lists of a server. A change holds for the next request."""

    def __init__(self, rules: Rules, cases: Cases) -> None:
        super().__init__(name="wildcards", description="Lists from which __name__ in a prompt draws an entry")
        self._rules = rules
        self._cases = cases

    @app_commands.command(description="Make a list, or add entries to it")
    @app_commands.describe(
        name="What people write between two underscores on each side, like: animal",
        words="With commas between them, like: cat, dog, red fox",
        reason="Why; kept with the case",
    )
    async def add(
        self, interaction: discord.Interaction[Client], name: Name, words: Typed, reason: Reason | None = None
    ) -> None:
        """Put entries on a list."""
        by = By(_people.moderated(interaction), UserId(interaction.user.id), reason or "")
        rule = added(await self._rules.book(by.guild_id), parse_name(name), parse_entries(words))
        case = await self._cases.change(by, "wildcards add", SERVER, rule)
        said = say("The list has these entries already.") if case is None else _cases.receipt(case)
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(description="Take entries off a list, or delete the list")
    @app_commands.describe(
        name="The name of the list", words="Leave it open to delete the whole list", reason="Why; kept with the case"
    )
    async def remove(
        self,
        interaction: discord.Interaction[Client],
        name: Name,
        words: Typed | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Take entries off a list; without entries, all of them."""
        by = By(_people.moderated(interaction), UserId(interaction.user.id), reason or "")
        book, known = await self._rules.book(by.guild_id), parse_name(name)
        rule = without(book, known, parse_entries(words) if words else entries_of(book, known))
        case = await self._cases.change(by, "wildcards remove", SERVER, rule, () if rule else [WILDCARD + known])
        said = say("The list has none of these entries.") if case is None else _cases.receipt(case)
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(name="list", description="Show the lists, or the entries of one")
    @app_commands.describe(name="The name of a list; leave it open for all")
    async def show(self, interaction: discord.Interaction[Client], name: Name | None = None) -> None:
        """Show the lists of the server; what is too long for a message comes as a file."""
        book = await self._rules.book(_people.moderated(interaction))
        lists = wildcards_of(book) if name is None else {parse_name(name): entries_of(book, parse_name(name))}
        lines = [f"`__{each}__`: {_words.inert(', '.join(entries), 10**4)}" for each, entries in lists.items()]
        words = "\n".join(lines) or say(_NONE)
        files = []
        if units(words) > MESSAGE:
            text = "\n".join(f"__{each}__: {', '.join(entries)}" for each, entries in lists.items())
            words = say_many("{count} wildcard, in the file.", "{count} wildcards, in the file.", len(lists))
            files = [discord.File(io.BytesIO(text.encode()), "wildcards.txt")]
        await responses.send(interaction, words, files=files, ephemeral=True)

    @add.autocomplete("name")
    @remove.autocomplete("name")
    @show.autocomplete("name")
    async def _names(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if interaction.guild_id is None or not _people.is_moderator(interaction):
            return []
        names = wildcards_of(await self._rules.book(_people.moderated(interaction)))
        found = [name for name in names if typed.strip("_ ").lower() in name]
        return [app_commands.Choice(name=name, value=name) for name in found][:MOST]


async def setup(client: Client) -> None:
    """Add the group to /mod."""
    group = client.tree.get_command("mod")
    assert isinstance(group, app_commands.Group)  # noqa: S101 - its cog is loaded before
    group.add_command(WildcardsGroup(client.app.rules, client.app.cases))
