"""What messages carry: files, and rows of buttons."""

from __future__ import annotations

import io
from collections.abc import Sequence

import discord

from bot.jobs import Job, JobId, PictureRef
from bot.responses import fitted
from cogs._buttons import button

ALT_TEXT = 1024
"""The most characters of a prompt in the description of its picture, which screen readers read."""


def bill_view(number: JobId) -> discord.ui.View:
    """The buttons under a bill; `number` is the bill's number in place of a job's, because there is no job yet."""
    view = discord.ui.View(timeout=None)
    view.add_item(button("accept", PictureRef(number), "Paint it", discord.ButtonStyle.primary))
    view.add_item(button("decline", PictureRef(number), "No"))
    return view


def cancel_view(job_id: JobId) -> discord.ui.View:
    """The red button under a request that has not ended."""
    view = discord.ui.View(timeout=None)
    view.add_item(button("cancel", PictureRef(job_id), "Cancel", discord.ButtonStyle.danger))
    return view


def result_files(job: Job, pictures: Sequence[bytes], spoiler: bool = False) -> list[discord.File]:
    """Fresh uploads of PNGs or WebPs, with the prompt as alt text; a `spoiler` is hidden until it is clicked."""
    return [
        discord.File(
            io.BytesIO(picture),
            filename=f"atelier-{job.id}-{number}.{'webp' if picture.startswith(b'RIFF') else 'png'}",
            description=fitted(job.request.prompt, ALT_TEXT),
            spoiler=spoiler,
        )
        for number, picture in enumerate(pictures, start=1)
    ]
