"""Where a result comes from and what came of it, and whether it can be painted again with the same pixels."""

from __future__ import annotations

import asyncio
import io

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import sheet
from bot.charts.sheet import Arrow, Node
from bot.client import Client
from bot.errors import StorageError
from bot.jobs import JobId, PictureRef
from bot.language import Language, Listed, say, speaking
from bot.requests import edits
from bot.storage.lineage import Family, Lineage
from bot.storage.queue import Queue
from cogs import _controls, _people, _requests, _targets, _words
from cogs._buttons import add_cog, pressed
from cogs._pictures import is_hidden
from cogs.details import NUMBER
from cogs.intake import Intake

AT_ONCE = 1
"""How many trees are drawn at the same time: another process decodes up to sixty pictures for each."""


MOST_BYTES = 64 * 2**20
"""Bytes of all pictures of a tree; after them, requests are drawn without a picture."""


class FamilyCog(commands.Cog, name="Family"):
    """Draws family trees, and paints results again."""

    def __init__(self, intake: Intake, queue: Queue, lineage: Lineage) -> None:
        self._intake = intake
        self._queue = queue
        self._lineage = lineage
        self._drawing = asyncio.Semaphore(AT_ONCE)

    @pressed("family")
    async def family_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Draw the family tree of a result for the person alone."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        family = await self._lineage.family(job.id, job.requester.guild_id)
        shown = [each for each in family.jobs if each.id == job.id or _targets.may_show(each, interaction)]
        family = Family(tuple(shown), family.links)
        await responses.defer(interaction, ephemeral=True)
        if len(family.jobs) == 1:
            words = say("This result began with words, and nothing was made of it yet.")
            await interaction.followup.send(words, ephemeral=True)
            return
        async with self._drawing:
            png = await sheet.family_tree(await self._nodes(family, job.id), _arrows(family))
        count = len(family.jobs)
        words = say(
            "The family of request {request}: {requests}, from left to right.",
            request=job.id,
            requests=_words.requests(count),
        )
        hidden = [await is_hidden(interaction, each, await self._queue.pictures(each.id)) for each in family.jobs]
        name = f"atelier-{job.id}-family.png"
        file = discord.File(io.BytesIO(png), name, description=_alt(family), spoiler=any(hidden))
        view = discord.ui.View(timeout=None)
        before, after = (
            [each for each in some if _targets.may_show(each, interaction)]
            for some in (family.sources_of(job.id), family.results_of(job.id))
        )
        if (menu := _controls.relatives_menu(job.id, before, after)) is not None:
            view.add_item(menu)
        await interaction.followup.send(words, file=file, view=view, ephemeral=True)

    async def _nodes(self, family: Family, marked: JobId) -> list[Node]:
        """The requests with their pictures: of several, the one that something was made of, or else the first."""
        used = {link.source.job_id: link.source.number for link in family.links if link.source.number}
        nodes: list[Node] = []
        for job in family.jobs:
            pictures = await self._queue.pictures(job.id)
            number = used.get(job.id, 1)
            png, absent = b"", "deleted"
            if sum(len(node.picture) for node in nodes) > MOST_BYTES:
                absent = "not shown"
            elif 1 <= number <= len(pictures):
                try:
                    (image,) = await self._queue.read([pictures[number - 1]])
                    png = image.png
                except StorageError:
                    png = b""
            # What is drawn stays English: the font of charts lacks other scripts.
            with speaking(Language.ENGLISH):
                operation = _requests.operation(job.request)
            nodes.append(Node(job.id, operation, png, absent, marked=job.id == marked))
        return nodes

    @app_commands.command(description="Paint a result again from what is stored, and see whether the pixels are equal")
    @app_commands.guild_only()
    @app_commands.rename(number="id")
    @app_commands.describe(number="The number of the request, which its info shows")
    async def reproduce(self, interaction: discord.Interaction[Client], number: NUMBER) -> None:
        """Make the same request again, with the same seed."""
        job, _ = await _targets.result(self._queue, interaction, JobId(number))
        _targets.check_shown(job, interaction)
        await self._intake.take(interaction, edits.options_of(job.request, await self._lineage.repeated(job.id)))


def _arrows(family: Family) -> list[Arrow]:
    known = {job.id for job in family.jobs}
    return [
        Arrow(link.source.job_id, link.job_id, f"picture {link.source.number}" if link.source.number else "words")
        for link in family.links
        if link.source.job_id in known and link.job_id in known
    ]


def _alt(family: Family) -> str:
    """The tree in words, for people who cannot see it."""
    lines = []
    for job in family.jobs:
        sources = [str(link.source.job_id) for link in family.links if link.job_id == job.id]
        line = f"{job.id}: {_requests.operation(job.request)}"
        lines.append(say("{request} from {sources}", request=line, sources=Listed(sources)) if sources else line)
    return "; ".join(lines)[:1000]


async def setup(client: Client) -> None:
    """Add the cog, its command and its button."""
    app = client.app
    cog = FamilyCog(Intake.of(client), app.queue, app.lineage)
    _people.open_to_messages(client, cog.reproduce)
    await add_cog(client, cog)
