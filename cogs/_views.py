"""What messages carry: files, and rows of buttons."""

from __future__ import annotations

import io
from collections.abc import Sequence

import discord

from bot.delivery.film import beside
from bot.jobs import Job, JobId, Painted, PictureRef
from bot.language import say
from bot.responses import fitted
from cogs import _requests
from cogs._buttons import button

ALT_TEXT = 1024
"""The most characters of a prompt in the description of its picture, which screen readers read."""


def bill_view(number: JobId) -> discord.ui.View:
    """The buttons under a bill; `number` is the bill's number in place of a job's, because there is no job yet."""
    view = discord.ui.View(timeout=None)
    view.add_item(button("accept", PictureRef(number), say("Paint it"), discord.ButtonStyle.primary))
    view.add_item(button("decline", PictureRef(number), say("Cancel")))
    return view


def offer_view(number: JobId, *, may_compare: bool) -> discord.ui.View:
    """The buttons under what would improve a prompt; `number` is the offer's."""
    about = PictureRef(number)
    view = discord.ui.View(timeout=None)
    view.add_item(button("change", about, say("Show the improved prompt"), discord.ButtonStyle.primary))
    view.add_item(button("astyped", about, say("Paint as typed")))
    if may_compare:
        view.add_item(button("both", about, say("Compare both")))
    return view


def cancel_view(job_id: JobId) -> discord.ui.View:
    """The red button under a request that has not ended."""
    view = discord.ui.View(timeout=None)
    view.add_item(button("cancel", PictureRef(job_id), say("Cancel"), discord.ButtonStyle.danger))
    return view


def result_files(job: Job, pictures: Sequence[bytes], first: int = 1, *, spoiler: bool = False) -> list[discord.File]:
    """Fresh uploads of PNGs or WebPs, numbered from `first`, with the prompt as alt text."""
    return [
        discord.File(
            io.BytesIO(picture),
            filename=f"atelier-{job.id}-{number}.{'webp' if picture.startswith(b'RIFF') else 'png'}",
            description=fitted(_requests.alt(job.request), ALT_TEXT),
            spoiler=spoiler,
        )
        for number, picture in enumerate(pictures, start=first)
    ]


def painted_files(job: Job, news: Painted, file_limit: int, *, spoiler: bool) -> list[discord.File]:
    """Fresh uploads of everything that a result is posted with, where a file may have so many bytes."""
    pictures = news.webp or [image.png for image in news.images]
    film = beside(pictures[0], news.film, file_limit) if news.film else b""
    return [*result_files(job, pictures, spoiler=spoiler), *_film_file(job, film, spoiler=spoiler)]


def _film_file(job: Job, film: bytes, *, spoiler: bool) -> list[discord.File]:
    """A fresh upload of an animation as MP4; nothing without one."""
    if not film:
        return []
    words = fitted(_requests.alt(job.request), ALT_TEXT)
    return [discord.File(io.BytesIO(film), f"atelier-{job.id}.mp4", description=words, spoiler=spoiler)]
