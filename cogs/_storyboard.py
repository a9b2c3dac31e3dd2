"""What the message of a storyboard says and shows, and the menus for its panels and its files."""

from __future__ import annotations

import io

import discord

from bot.charts import board
from bot.charts.board import Drawn, Kind
from bot.jobs import JobId, JobStatus, News, Operation, PictureRef
from bot.language import Listed, mark, say, say_many
from bot.responses import fitted
from bot.storage.panels import Panel
from cogs import _views, _words
from cogs._buttons import button, select
from cogs._series import Post, common, line, state

_WORDS = 90
"""Characters of the words of a panel that are shown."""
_REFUSED = mark("(refused)")
"""What stands where the words of a panel may not be shown."""


def shown(post: Post, panel: Panel) -> str:
    """The words of a panel for everybody to read; those that may not be painted are left out."""
    job = next((each for each in post.jobs if each.id == panel.job_id), None)
    return say(_REFUSED) if job is None or job.is_withheld else panel.words


def words(post: Post, about: JobId | None = None, news: News | None = None) -> str:
    """The message: the title, and a line for each panel in the order of the story."""
    whose = f"<@{post.user_id}>"
    jobs = {job.id: job for job in post.jobs}
    title = say("Storyboard: {title}", title=_words.inert(post.title)) if post.title else say("Storyboard")
    lines = [f"**{title}** — {whose}"]
    for place, panel in enumerate(post.panels, start=1):
        job = None if panel.job_id is None else jobs.get(panel.job_id)
        if job is None:
            # Its words may not be painted, so they are not shown.
            why = panel.refusal or say("It has no request.")
            lines.append(f"{place}. ❌ {fitted(_words.said(why), 200)}")
            continue
        label = _words.inert(shown(post, panel), _WORDS)
        known = state(job, post.images.get(job.id, ()), news if job.id == about else None)
        if job.follows is not None and job.status is JobStatus.QUEUED:
            known = say("🕓 waits for panel {number}", number=_lead(post))
        lines.append(line(place, label, known))
    lines += _following(post)
    done = [job for job in post.jobs if post.images.get(job.id)]
    if done:
        lines.append(f"-# {common(done)}")
    return _words.fitting(lines)


def _lead(post: Post) -> int:
    """The place in the story of the panel whose picture the others start from; 0 if they do not."""
    return next((place for place, panel in enumerate(post.panels, start=1) if panel.number == post.lead), 0)


def _following(post: Post) -> list[str]:
    """A line that says which panels start from the picture of the lead, or why none does."""
    place = _lead(post)
    jobs = {job.id: job for job in post.jobs}
    others = {
        at: jobs[panel.job_id]
        for at, panel in enumerate(post.panels, start=1)
        if at != place and panel.job_id is not None and panel.job_id in jobs
    }
    if not place or not others:
        return []
    led = [str(at) for at, job in others.items() if job.request.operation is Operation.IMAGE2IMAGE]
    lead = jobs.get(post.panels[place - 1].job_id or JobId(0))
    if not led and lead is not None and lead.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return [
            say("-# Panel {number} has no picture, so the others are painted from their words alone.", number=place)
        ]
    if not led:
        return [
            say(
                "-# Panel {number} had no picture when the others were painted, so they are painted from their words "
                "alone.",
                number=place,
            )
        ]
    if len(led) == len(others):
        return [
            say(
                "-# The others start from the picture of panel {number}, at strength {strength:g}.",
                number=place,
                strength=post.strength,
            )
        ]
    return [
        say_many(
            "-# Panel {panels} starts from the picture of panel {number}, at strength {strength:g}.",
            "-# Panels {panels} start from the picture of panel {number}, at strength {strength:g}.",
            len(led),
            panels=Listed(led),
            number=place,
            strength=post.strength,
        )
    ]


def view(post: Post) -> discord.ui.View:
    """A menu of the panels, the files, and a button that cancels what has not ended."""
    controls = discord.ui.View(timeout=None)
    about = PictureRef(post.first)
    options = [
        discord.SelectOption(label=fitted(f"{place}. {shown(post, panel)}", 100), value=str(panel.number))
        for place, panel in enumerate(post.panels, start=1)
    ]
    controls.add_item(select("panel", about, say("Change a panel"), options))
    if any(post.images.values()):
        for kind, name in ((Kind.SHEET, say("Sheet")), (Kind.PDF, "PDF"), (Kind.WEBP, "WebP"), (Kind.GIF, "GIF")):
            controls.add_item(button(f"board{kind}", about, name))
    if post.is_open:
        controls.add_item(button("stopseries", about, say("Cancel the rest"), discord.ButtonStyle.danger))
    return controls


def panel_view(first: JobId, number: int, *, has_picture: bool) -> discord.ui.View:
    """What can be done with one panel, for the person who asked for the storyboard.

    The controls name the panel and not its picture, which may be another one by the time one of them is pressed.
    """
    controls = discord.ui.View(timeout=None)
    about = PictureRef(first, number)
    if has_picture:
        controls.add_item(button("panelagain", about, say("Paint again")))
        controls.add_item(button("panelvary", about, say("Vary")))
    controls.add_item(button("panelwords", about, say("Edit words")))
    controls.add_item(button("panelearlier", about, say("Earlier"), row=1))
    controls.add_item(button("panellater", about, say("Later"), row=1))
    if has_picture:
        controls.add_item(button("panelpicture", about, say("Picture"), row=1))
    return controls


def drawn(post: Post) -> list[Drawn]:
    """The panels to draw, in the order of the story."""
    panels = []
    for place, panel in enumerate(post.panels, start=1):
        images = () if panel.job_id is None else post.images.get(panel.job_id, ())
        panels.append(Drawn(place, shown(post, panel), images[0].png if images else b""))
    return panels


async def grid(post: Post) -> bytes:
    """The numbered panels as one PNG, with empty frames for those that are not painted. Raises PlotError."""
    return await board.draw(Kind.GRID, post.title, drawn(post))


def grid_file(post: Post, png: bytes, *, spoiler: bool) -> discord.File:
    """The grid as a file, with the words of all panels as its text for screen readers."""
    panels = [f"{place}. {shown(post, panel)}" for place, panel in enumerate(post.panels, start=1)]
    alt = say("Storyboard: {title}. {panels}", title=post.title or say("untitled"), panels=" ".join(panels))
    return discord.File(
        io.BytesIO(png), f"storyboard-{post.series_id}.png", description=fitted(alt, _views.ALT_TEXT), spoiler=spoiler
    )
