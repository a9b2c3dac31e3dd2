"""What the messages of a series say and show: its requests with the values of each in words, and their pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import discord

from bot.charts.board import Drawn, Signed
from bot.engine.signing import Signing
from bot.jobs import DRAINED, Failed, Image, Job, JobId, JobStatus, News, Painting, PictureRef, Queued
from bot.language import lasting, say
from bot.requests.series import FIRST, PERMUTATIONS, VARIANTS, SeriesQuote
from bot.responses import MESSAGE, fitted, units
from bot.storage.panels import Panel
from cogs import _bills, _requests, _views, _words
from cogs._buttons import button

_LABEL = 80
"""Characters of what was chosen for a request."""
_REASON = 200
_LABELS = 12
"""How many requests a bill names."""


@dataclass(frozen=True, slots=True)
class Post:
    """One message of a series: its jobs with their numbers in the series, from 1, and their pictures that are there."""

    title: str
    jobs: Sequence[Job]
    numbers: Mapping[JobId, int]
    images: Mapping[JobId, Sequence[Image]]
    is_open: bool
    """Whether a request of this message has not ended. When the last one ends, the message is made anew."""
    series_id: int
    user_id: int
    first: JobId
    """The first job of the message, which its buttons name."""
    ids: frozenset[JobId]
    """All jobs of the message, also those of a panel that was painted again."""
    is_withheld: bool
    """Whether the words of any request of the series may not be painted; then the prompt is shown nowhere."""
    panels: Sequence[Panel] = ()
    """The panels of a storyboard, in their order; their jobs are `jobs`."""
    lead: int = 0
    """The number of the panel whose picture the others start from; 0 if they do not."""
    strength: float = 1.0
    """How much of that picture they paint over."""
    kind: str = PERMUTATIONS


def bill(series: SeriesQuote) -> str:
    """The question before a series is accepted: how many pictures, what they cost, what is left, and what each is."""
    lines = _prices(series)
    if series.panels:
        return _words.fitting([*lines, *panels_of(series.panels), *_following(series)])
    labels = [member.label for member in series.members]
    if any(labels):
        lines += [f"-# {number}. {_words.inert(label, _LABEL)}" for number, label in enumerate(labels[:_LABELS], 1)]
        if len(labels) > _LABELS:
            lines.append(say("-# and {count} more", count=len(labels) - _LABELS))
    if series.kind == PERMUTATIONS and "{" in series.title:
        lines.append(
            say("-# Each brace with commas is a choice. A backslash before a brace or a comma keeps it as it is.")
        )
    return _words.fitting(lines)


def _prices(series: SeriesQuote) -> list[str]:
    """What a series costs in painting time and in money, what is left of both, and what fits."""
    if len(series.members) == 1 and series.fits:
        return [_bills.bill(series.first, is_big=False)]
    needed, left = series.seconds, series.first.allowance.left
    known: dict[str, object] = {
        "pictures": _words.pictures(series.pictures),
        "seconds": lasting(needed),
        "left": lasting(left),
        "question": say("Paint them?"),
    }
    if not series.fits:
        # What is too much must not look like what is left.
        known |= {"seconds": lasting(needed, math.ceil), "left": lasting(left, math.floor)}
        known["question"] = say("The first {count} fit.", count=len(series.beginning(FIRST).members))
    time = say("{pictures}, about {seconds} of your {left} of painting time. {question}", **known)
    if not series.fits:
        time = say(
            "{pictures} would take about {seconds} of painting time, and {left} of your quota is left. {question}",
            **known,
        )
    if series.purse is None:
        return [time]
    known["money"] = _bills.estimated([member.quote for member in series.members])
    known["purse"] = _bills.money_left(series.purse)
    if series.seconds:
        return [
            say(
                "{pictures}, about {seconds} of your {left} of painting time, and in money {money} {purse} {question}",
                **known,
            )
        ]
    return [say("{pictures}, {money} {purse} {question}", **known)]


def panels_of(panels: Sequence[Panel]) -> list[str]:
    """A line for each panel of a storyboard: its words, or why they were refused."""
    lines = []
    for panel in panels:
        said = f"❌ {_words.said(panel.refusal)}" if panel.refusal else _words.inert(panel.words, _LABEL)
        lines.append(f"-# {panel.number}. {said}")
    return lines


def _following(series: SeriesQuote) -> list[str]:
    """A line that says from which panel the others of a storyboard start, if they do."""
    if series.strength is None or len(series.members) < 2:
        return []
    lead = next(panel.number for panel in series.panels if not panel.refusal)
    return [
        say(
            "-# The other panels start from the picture of panel {number}, at strength {strength:g}, and wait for it.",
            number=lead,
            strength=series.strength,
        )
    ]


def bill_view(number: JobId, series: SeriesQuote) -> discord.ui.View:
    """The buttons under a bill: all, the first few of many, the prompt with its braces as they are, or nothing."""
    view = discord.ui.View(timeout=None)
    about = PictureRef(number)
    if series.fits:
        view.add_item(button("seriesall", about, say("Paint all"), discord.ButtonStyle.primary))
    if not series.panels and len(series.members) > FIRST:
        view.add_item(button("seriesfirst", about, say("First four")))
    if series.kind == PERMUTATIONS:
        view.add_item(button("seriesplain", about, say("As it is written")))
    view.add_item(button("seriesno", about, say("Cancel")))
    return view


def words(post: Post, about: JobId | None = None, news: News | None = None, said: Queued | None = None) -> str:
    """The message: a line for each request. `news` is what is known of the request `about` beyond its row.

    `said` is when the first request of the message starts.
    """
    whose = f"<@{post.user_id}>"
    title = (
        say("**A request** — {person}", person=whose)
        if post.is_withheld
        else f"**{_words.inert(post.title)}** — {whose}"
    )
    lines = [title]
    for job in post.jobs:
        label = "" if job.is_withheld else _words.inert(job.label, _LABEL)
        known = state(job, post.images.get(job.id, ()), news if job.id == about else None)
        lines.append(line(post.numbers[job.id], label, known))
    if said == DRAINED:
        lines.append(f"-# ⏸️ {say(_requests.ALL_DRAINED)}")
    elif said is not None:
        if said.starts_at is None:
            lines.append(say("-# The first of these starts in a moment."))
        else:
            lines.append(say("-# The first of these starts {when}.", when=_words.relative(said.starts_at)))
    done = [job for job in post.jobs if post.images.get(job.id)]
    if done:
        lines.append(f"-# {common(done)}")
    return _words.fitting(lines)


def line(number: int, label: str, known: str) -> str:
    """The line of one request: its number, what it is called, and how far it is."""
    return f"{number}. {label} · {known}" if label else f"{number}. {known}"


def state(job: Job, images: Sequence[Image], news: News | None) -> str:
    """How far a request is, or how it ended, in a few words."""
    match news:
        case Painting(step, of):
            return say("🖌️ {share:.0%}", share=step / max(of, 1))
        case Failed(reason):
            return f"❌ {fitted(_words.said(reason), _REASON)}"
    match job.status:
        case JobStatus.QUEUED:
            return say("🕓 waits")
        case JobStatus.RUNNING:
            return say("🖌️ is being painted")
        case JobStatus.CANCELLED:
            if job.is_sent and (cost := _requests.price(job)):
                asked = job.request.provider
                return say("🚫 cancelled; {provider} had been asked already: {cost}", provider=asked, cost=cost)
            return say("🚫 cancelled")
        case JobStatus.FAILED:
            return f"❌ {fitted(_words.said(job.reason or say('It could not be painted.')), _REASON)}"
    if not images:
        return say("🗑️ deleted")
    known = say("seed `{seed}` · `/show id:{id}`", seed=job.request.seed, id=job.id)
    if job.request.provider:
        known = f"`/show id:{job.id}`"
    return " · ".join(fact for fact in (known, _requests.fewer(job, len(images)), _requests.price(job)) if fact)


def common(done: Sequence[Job]) -> str:
    """The values that all finished requests share; the seed and what differs are in their lines."""
    # One seed for all, so that it can be left out in every language.
    requests = [replace(job.request, seed=0, num_images_per_prompt=1) for job in done]
    alike = [_requests.parameters(request).split(" · ") for request in requests]
    shared = set(alike[0]).intersection(*alike)
    seed = say("seed `{seed}`", seed=0)
    return " · ".join(fact for fact in alike[0] if fact in shared and fact != seed)


def view(post: Post) -> discord.ui.View | None:
    """A button for each picture, which shows it alone with its controls; and one that cancels what has not ended."""
    controls = discord.ui.View(timeout=None)
    for job in post.jobs:
        images = post.images.get(job.id, ())
        for number in range(1, len(images) + 1):
            name = f"{post.numbers[job.id]}" if len(images) == 1 else f"{post.numbers[job.id]}.{number}"
            controls.add_item(button("single", PictureRef(job.id, number), name))
    if post.kind == VARIANTS and any(post.images.values()):
        controls.add_item(button("seriessheet", PictureRef(post.first), say("Sheet")))
    if post.is_open:
        about = PictureRef(post.first)
        controls.add_item(button("stopseries", about, say("Cancel the rest"), discord.ButtonStyle.danger))
    return controls if controls.children else None


def files(post: Post, pictures: Mapping[JobId, Sequence[bytes]], *, spoiler: bool) -> list[discord.File]:
    """Fresh uploads of the pictures, PNG or WebP; the text of each says which one it is, and its prompt."""
    made = []
    for job in post.jobs:
        for number, picture in enumerate(pictures.get(job.id, ()), start=1):
            ending = "webp" if picture.startswith(b"RIFF") else "png"
            alt = f"{post.numbers[job.id]}. {job.label}: {job.request.prompt}" if job.label else job.request.prompt
            made.append(
                discord.File(
                    io.BytesIO(picture),
                    filename=f"atelier-{job.id}-{number}.{ending}",
                    description=fitted(alt, _views.ALT_TEXT),
                    spoiler=spoiler,
                )
            )
    return made


def drawn(post: Post) -> list[Drawn]:
    """The pictures of a message for a sheet, each with its number and what was chosen for it."""
    tiles = []
    for job in post.jobs:
        label = "" if job.is_withheld else job.label
        tiles += [Drawn(post.numbers[job.id], label, image.png) for image in post.images.get(job.id, ())]
    return tiles


def signed(post: Post, signing: Signing) -> Signed:
    """What makes a file of the pictures of a message get a manifest."""
    return Signed(signing, sorted({job.request.model for job in post.jobs if post.images.get(job.id)}))


def smaller(content: str, lossless: bool) -> str:
    """The message with the note that its pictures were sent as WebP."""
    end = f"\n{_requests.smaller(lossless)}"
    return fitted(content, MESSAGE - units(end)) + end
