"""/dedup: groups of pictures of a server that are the same, but for compression and size. For moderators."""

from __future__ import annotations

from collections.abc import Sequence

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.jobs import Job, JobId, PictureRef
from bot.language import mark, say, say_many
from bot.search.client import Search
from bot.search.visibility import Facts, Scope, Seer, may_see
from bot.storage.queue import Queue
from cogs import _people, _searching, _words
from cogs._buttons import add_cog, button, pressed
from cogs._gallery import Gallery, Remembered
from cogs._links import link

PAGE = 4
"""Groups of a page."""

LINKS = 5
"""Pictures of a group that are named; a message has 2,000 characters."""

NONE = mark("No two pictures that you may see on this server are the same.")
LEFT_OUT = mark("-# Data sets leave out what is the same as an older picture of theirs.")

Groups = Sequence[Sequence[PictureRef]]


class Dedup(commands.Cog):
    """Shows which pictures are duplicates; what becomes of them is for people to decide."""

    def __init__(self, search: Search, queue: Queue, gallery: Gallery) -> None:
        self._search = search
        self._queue = queue
        self._gallery = gallery
        self._answers = Remembered[Groups]()

    @app_commands.command(description="Show groups of pictures on this server that are the same")
    @app_commands.guild_only()
    @app_commands.default_permissions(manage_guild=True)
    async def dedup(self, interaction: discord.Interaction[Client]) -> None:
        """Show the first page of groups."""
        _people.moderated(interaction)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        seer = await _searching.seer_of(interaction, self._search, Scope.SERVER)
        groups = await self._search.same(seer)
        number = self._answers.add(interaction.user.id, groups)
        await self._show(interaction, number, groups, 0, seer)

    @pressed("samepage")
    async def page_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Turn to another page; the number of the control's job is that of the answer."""
        _people.moderated(interaction)
        groups = self._answers.of(interaction.user.id, about.job_id)
        await responses.defer(interaction)
        seer = await _searching.seer_of(interaction, self._search, Scope.SERVER)
        await self._show(interaction, about.job_id, groups, about.number, seer)

    async def _show(
        self, interaction: discord.Interaction[Client], number: JobId, groups: Groups, page: int, seer: Seer
    ) -> None:
        """Put a page in the place of the answer, without what was deleted or may not be seen any more."""
        if not groups:
            await responses.edit_deferred(interaction, say(NONE))
            return
        first, pages = page * PAGE + 1, -(-len(groups) // PAGE)
        copies = sum(len(group) - 1 for group in groups)
        lines = [
            say(
                "**{groups}** with {copies}, page {page} of {of}",
                groups=say_many(
                    "{count:,} group of pictures that are the same",
                    "{count:,} groups of pictures that are the same",
                    len(groups),
                ),
                copies=say_many("{count:,} unneeded copy", "{count:,} unneeded copies", copies),
                page=page + 1,
                of=pages,
            )
        ]
        shown: list[tuple[Job, int]] = []
        for at, group in enumerate(groups[first - 1 : first - 1 + PAGE], start=first):
            there = [(job, ref.number) for ref in group if (job := await self._visible(ref.job_id, seer)) is not None]
            lines.append(_line(interaction.client, at, there, len(group)))
            if there:
                shown.append(there[0])
        lines.append(say(LEFT_OUT))
        view = discord.ui.View(timeout=None)
        if page:
            view.add_item(button("samepage", PictureRef(number, page - 1), say("◀ Back")))
        if page + 1 < pages:
            view.add_item(button("samepage", PictureRef(number, page + 1), say("More ▶")))
        files = await self._gallery.drawn(interaction, shown, first) if len(shown) == len(lines) - 2 else []
        await responses.edit_deferred(interaction, _words.fitting(lines), view=view, attachments=files)

    async def _visible(self, job_id: JobId, seer: Seer) -> Job | None:
        """A result, if the person may see it now."""
        job = await self._queue.get(job_id)
        if job is None:
            return None
        has_pictures, is_replaced = await self._queue.has_images(job_id), await self._queue.is_replaced(job_id)
        facts = Facts.of(job, has_pictures=has_pictures, is_replaced=is_replaced)
        return job if may_see(facts, seer) else None


def _line(client: Client, number: int, there: Sequence[tuple[Job, int]], before: int) -> str:
    """A group: how many pictures it has, and where they are; there were so many when the command was given."""
    if len(there) < 2:
        return say(
            "**{number}.** {pictures}, of which at most one is left.", number=number, pictures=_words.pictures(before)
        )
    shown = [
        say("request {request} picture {number} {link}", request=job.id, number=at, link=link(client, job))
        for job, at in there[:LINKS]
    ]
    more = [] if len(there) <= LINKS else [say("and {count} more", count=len(there) - LINKS)]
    head = say(
        "**{number}.** {pictures}, the oldest from “{words}”",
        number=number,
        pictures=_words.pictures(len(there)),
        words=_words.inert(there[0][0].request.prompt, 60),
    )
    return f"{head}\n-# {' · '.join([*shown, *more])}"


async def setup(client: Client) -> None:
    """Add the cog, its command and its button."""
    app = client.app
    await add_cog(client, Dedup(app.search, app.queue, Gallery(app.queue, app.preferences)))
