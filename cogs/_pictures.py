"""Sends stored pictures of a result to the person who asks for them, and to nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot import responses
from bot.client import Client
from bot.delivery.smaller import smaller
from bot.errors import EngineError, StorageError, UserError
from bot.jobs import Job, Picture
from bot.language import mark
from bot.storage.queue import Queue
from cogs import _people, _requests, _views
from cogs._verdicts import Verdict, classify

NOT_KEPT = mark("The pictures of this request are no longer kept.")


async def is_hidden(interaction: discord.Interaction[Client], job: Job, pictures: Sequence[Picture]) -> bool:
    """Whether the safety check hides pictures of a result: where it was asked for, or where they are shown now."""
    policy, scores = interaction.client.app.policy, [picture.nsfw for picture in pictures]
    if await policy.is_hidden(job, scores):
        return True
    here = _people.destination(interaction).channels
    limits = await policy.picture_limits(job.requester.guild_id, here)
    return any(map(limits.hides, scores))


async def send_pictures(
    interaction: discord.Interaction[Client],
    queue: Queue,
    job: Job,
    pictures: Sequence[Picture],
    words: str,
    view: discord.ui.View | None = None,
) -> None:
    """Send pictures of a result with words and controls, smaller if Discord takes no larger files.

    Raises UserError if their files are gone or too large.
    """
    if not interaction.response.is_done():
        await responses.defer(interaction, ephemeral=True)
    hidden = await is_hidden(interaction, job, pictures)
    try:
        images = await queue.read(pictures)
    except StorageError:
        raise UserError(NOT_KEPT) from None
    first = pictures[0].ref.number
    controls = discord.utils.MISSING if view is None else view
    try:
        files = _views.result_files(job, [image.png for image in images], first, spoiler=hidden)
        await interaction.followup.send(words, files=files, ephemeral=True, view=controls)
    except discord.HTTPException as error:
        if classify(error) is not Verdict.TOO_LARGE:
            raise
        try:
            done = await smaller(images, interaction.filesize_limit)
        except EngineError as failure:
            raise UserError(str(failure)) from error
        words += f"\n{_requests.smaller(done.lossless, moves=bool(job.request.frames))}"
        files = _views.result_files(job, done.files, first, spoiler=hidden)
        await interaction.followup.send(words, files=files, ephemeral=True, view=controls)
