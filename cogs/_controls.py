"""The rows of controls under a result: what can be done with it, by any member, at any time later."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import discord

from bot.jobs import GRID, Job, JobId, Operation, PictureRef
from bot.language import mark, say
from bot.requests.abilities import Enlarging
from bot.requests.admission import Admission
from bot.requests.edits import cell_name
from bot.responses import fitted
from cogs import _requests
from cogs._buttons import JobControl, button, select

AGAIN = "🔁"
MORE = mark("More")
MOST_ENTRIES = 25
"""Entries of a menu."""

_PANS = {"left": "⬅️", "right": "➡️", "up": "⬆️", "down": "⬇️"}


_UPSCALE = {
    Enlarging.OWN: mark("Upscale"),
    Enlarging.HOST: mark("Upscale (host's model)"),
    Enlarging.REPAINT: mark("Upscale (repaint)"),
}


def controls_of(job: Job, count: int, admission: Admission) -> discord.ui.View:
    """What stands under a result with `count` pictures now."""
    model = job.request.model
    if job.request.frames:
        return _animation_controls(PictureRef(job.id, 1), draft=job.request.draft)
    can, enlarging = admission.operations(model), admission.enlarging(model)
    provider = bool(job.request.provider)
    return result_controls(job.id, count, can, enlarging, draft=job.request.draft, provider=provider)


def result_controls(
    job_id: JobId,
    count: int,
    can: Collection[Operation],
    enlarging: Enlarging,
    *,
    draft: bool = False,
    provider: bool = False,
) -> discord.ui.View:
    """What stands under a result, or a draft, with `count` pictures by a model that can do these operations."""
    if count == 1:
        return picture_controls(PictureRef(job_id, 1), can, enlarging, draft=draft, provider=provider)
    view = discord.ui.View(timeout=None)
    whole = PictureRef(job_id)
    refs = [PictureRef(job_id, number) for number in range(1, count + 1)]
    for ref in refs:
        view.add_item(button("single", ref, f"U{ref.number}", row=0))
    view.add_item(button("again", whole, AGAIN, row=0))
    if draft:
        for ref in refs:
            view.add_item(button("finish", ref, say("Finish {number}", number=ref.number), row=1))
    elif Operation.IMAGE2IMAGE in can:
        for ref in refs:
            view.add_item(button("vary", ref, f"V{ref.number}", row=1))
    view.add_item(button("more", whole, say(MORE), row=1))
    return view


def picture_controls(
    ref: PictureRef,
    can: Collection[Operation],
    enlarging: Enlarging,
    *,
    draft: bool = False,
    provider: bool = False,
) -> discord.ui.View:
    """What stands under a single picture, or a draft of one, by a model that can do these operations.

    A `provider` takes no strength, so there is one way to vary.
    """
    view = discord.ui.View(timeout=None)
    for control in _rows(ref, can, enlarging, draft, provider):
        view.add_item(control)
    return view


def _rows(
    ref: PictureRef, can: Collection[Operation], enlarging: Enlarging, draft: bool, provider: bool
) -> list[JobControl]:
    from_picture = Operation.IMAGE2IMAGE in can
    controls = [button("finish", ref, say("Finish"), row=0)] if draft else []
    if from_picture and provider:
        controls.append(button("vary", ref, say("Vary"), row=0))
    elif from_picture:
        controls.append(button("varysubtle", ref, say("Vary (subtle)"), row=0))
        controls.append(button("varystrong", ref, say("Vary (strong)"), row=0))
    if from_picture:
        controls.append(button("remix", ref, say("Remix"), row=0))
    if from_picture or enlarging is not Enlarging.REPAINT:
        controls.append(button("upscale", ref, say(_UPSCALE[enlarging]), row=0))
    if Operation.INPAINT in can:
        controls.append(button("region", ref, say("Edit region"), row=1))
    if Operation.OUTPAINT in can:
        controls += [
            button("zoomsome", ref, say("Zoom out 1.5×"), row=1),
            button("zoomfar", ref, say("Zoom out 2×"), row=1),
        ]
        controls += [button(f"pan{way}", ref, arrow, row=2) for way, arrow in _PANS.items()]
    # The first row has room for five controls.
    controls.append(button("again", ref, AGAIN, row=1 if draft else 0))
    controls.append(button("heart", ref, "❤️", row=2))
    controls.append(button("more", ref, say(MORE), row=1))
    return controls


def _animation_controls(ref: PictureRef, *, draft: bool) -> discord.ui.View:
    """What stands under an animation; other controls would be about its first frame alone."""
    view = discord.ui.View(timeout=None)
    if draft:
        view.add_item(button("finish", ref, say("Finish")))
    view.add_item(button("again", ref, AGAIN))
    view.add_item(button("heart", ref, "❤️"))
    view.add_item(button("more", ref, say(MORE)))
    return view


def relatives_menu(job_id: JobId, before: Sequence[Job], after: Sequence[Job]) -> JobControl | None:
    """The menu of the results that a result comes from, and of those that came of it; None if there are none.

    Discord shows 25 entries: the sources, then the newest that came of it.
    """
    relatives = [("←", job) for job in before[:MOST_ENTRIES]]
    relatives += [("→", job) for job in after[::-1][: MOST_ENTRIES - len(relatives)]]
    entries = [
        discord.SelectOption(
            label=f"{arrow} {job.id}: {fitted(job.request.prompt or _requests.operation(job.request), 80)}"[:100],
            value=str(job.id),
        )
        for arrow, job in relatives
    ]
    if not entries:
        return None
    return select("walk", PictureRef(job_id), say("Where this comes from (←), and what came of it (→)"), entries)


def region_menu(ref: PictureRef) -> discord.ui.View:
    """The menu of the cells of a picture."""
    view = discord.ui.View(timeout=None)
    cells = [discord.SelectOption(label=cell_name(cell), value=str(cell)) for cell in range(GRID**2)]
    view.add_item(select("cells", ref, say("Which cells to paint again"), cells, most=GRID**2))
    return view


def which_view(action: str, pictures: Sequence[tuple[str, PictureRef]]) -> discord.ui.View:
    """A button for each picture, with its number, for an action that is about one of them."""
    view = discord.ui.View(timeout=None)
    for number, ref in pictures:
        view.add_item(button(action, ref, number))
    return view


def more_menu(
    ref: PictureRef,
    *,
    may_delete: bool,
    has_own_message: bool = True,
    moderates: bool = False,
) -> discord.ui.View:
    """What is needed rarely, for the person who asked for it alone.

    A result of a series shares its message with others (`has_own_message` is False) and has no spoiler of its own.
    """
    view = discord.ui.View(timeout=None)
    view.add_item(button("original", ref, say("Original file")))
    view.add_item(button("prompt", ref, say("Prompt to copy")))
    view.add_item(button("family", ref, say("Where does this come from?")))
    view.add_item(button("alike", ref, say("Similar prompts")))
    view.add_item(button("lookalike", ref, say("Similar pictures")))
    view.add_item(button("improve", ref, say("Improve my prompt")))
    if may_delete and has_own_message:
        view.add_item(button("spoiler", ref, say("Spoiler on/off"), row=1))
    if may_delete:
        view.add_item(button("delete", ref, say("Delete"), discord.ButtonStyle.danger, row=1))
    if moderates:
        view.add_item(button("asstyle", ref, say("Use as style"), row=1))
    return view


def add_rare(
    view: discord.ui.View, ref: PictureRef, job: Job, can: Collection[Operation], *, in_server: bool, row: int
) -> None:
    """Add what else can be made of a picture: an animation, and in a server variants of the thing in it."""
    if job.request.operation is Operation.TEXT2IMAGE and Operation.MORPH in can:
        view.add_item(button("animate", ref, say("Animate"), row=row))
    if in_server and Operation.INPAINT in can and not job.request.frames:
        view.add_item(button("variants", ref, say("Paint variants"), row=row))
