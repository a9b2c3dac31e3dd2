"""/tag: words that people put on results, by which search finds them."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import ChannelId, JobId, UserId
from bot.language import mark, say
from bot.storage.queue import Queue
from bot.storage.tags import LONGEST_TAG, MOST_TAGS, Tags, as_tag
from cogs import _lists, _people, _targets, _words
from cogs._lists import Choices
from cogs.details import NUMBER

_NOT_YOURS = mark("Only the person who asked for a result can tag it, and moderators can.")

Typed = app_commands.Range[str, 1, MOST_TAGS * (LONGEST_TAG + 2)]


@app_commands.guild_only()
class TagCog(commands.GroupCog, name="Tags", group_name="tag", group_description="Words to find results by"):
    """Puts tags on results: everybody on their own, moderators on any that they may see."""

    def __init__(self, queue: Queue, tags: Tags) -> None:
        self._queue = queue
        self._tags = tags

    @app_commands.command(description="Put tags on a result, so that a search finds it")
    @app_commands.rename(number="id")
    @app_commands.describe(number="The number of the request, which its info shows", tags="Tags, with commas between")
    async def add(self, interaction: discord.Interaction[Client], number: NUMBER, tags: Typed) -> None:
        """Add tags."""
        job_id = await self._mine(interaction, JobId(number))
        now = await self._tags.add(job_id, UserId(interaction.user.id), _listed(tags))
        await responses.send(interaction, _told(job_id, now), ephemeral=True)

    @app_commands.command(description="Take tags off a result")
    @app_commands.rename(number="id")
    @app_commands.describe(number="The number of the request, which its info shows", tags="Tags, with commas between")
    async def remove(self, interaction: discord.Interaction[Client], number: NUMBER, tags: Typed) -> None:
        """Remove tags."""
        job_id = await self._mine(interaction, JobId(number))
        wanted = _listed(tags)
        missing = sorted(set(wanted) - set(await self._tags.of(job_id)))
        if missing:
            names = ", ".join(f"`{tag}`" for tag in missing)
            now = _told(job_id, await self._tags.of(job_id))
            raise UserError("Request {request} has no tag {tags}. {now}", request=job_id, tags=names, now=now)
        await responses.send(interaction, _told(job_id, await self._tags.remove(job_id, wanted)), ephemeral=True)

    @add.autocomplete("tags")
    @remove.autocomplete("tags")
    async def offer(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        """Offer tags that are used where the person may see them."""
        last = typed.rpartition(",")[2].strip()
        offered = await self._tags.offered(
            _people.place(interaction),
            UserId(interaction.user.id),
            ChannelId(interaction.channel_id or 0),
            last,
            _lists.MOST,
        )
        return _lists.next_of_list(offered, typed, lambda tag: len(tag) <= LONGEST_TAG, MOST_TAGS)

    async def _mine(self, interaction: discord.Interaction[Client], job_id: JobId) -> JobId:
        """The number of a result that the person may tag. Raises UserError if there is none."""
        job, _ = await _targets.result(self._queue, interaction, job_id)
        if not _targets.may_see(job, interaction):
            raise UserError(_targets.NO_RESULT)
        if job.requester.user_id != interaction.user.id and not _people.is_moderator(interaction):
            raise UserError(_NOT_YOURS)
        return job.id


def _listed(typed: str) -> list[str]:
    """Tags with commas between; a # before one is left out."""
    tags = [as_tag(part.strip().removeprefix("#")) for part in typed.split(",") if part.strip()]
    if not tags:
        raise UserError("Name at least one tag, such as `old castle`.")
    return list(dict.fromkeys(tags))


def _told(job_id: JobId, tags: list[str]) -> str:
    if not tags:
        return say("Request {request} has no tags.", request=job_id)
    listed = ", ".join(_words.inert(tag, LONGEST_TAG) for tag in tags)
    return say("Tags of request {request}: {tags}.", request=job_id, tags=listed)


async def setup(client: Client) -> None:
    """Add the cog."""
    await client.add_cog(TagCog(client.app.queue, client.app.tags))
