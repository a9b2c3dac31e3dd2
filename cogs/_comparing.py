"""What the messages of a comparison say and show: nothing that tells which setting is which, until it has ended."""

from __future__ import annotations

import io
from collections.abc import Sequence

import discord

from bot.charts import sheet
from bot.jobs import Image, Job, JobId, News, Painting, PictureRef
from bot.requests.verdict import ERROR, LEAST_PEOPLE, MOST_MORE, Outcome, Verdict
from bot.storage.comparisons import Comparison
from cogs import _words
from cogs._buttons import button

LEFT, RIGHT = 0, 1
SETTINGS = 200
"""Characters of a setting that are shown."""
USUAL = "as usual"
"""What a setting without flags is called."""


def headline(comparison: Comparison) -> str:
    """The first line: the prompt as it was typed, without what a setting adds."""
    return f"**Comparison {comparison.id}: {_words.inert(comparison.prompt)}** — <@{comparison.user_id}>"


def waiting(comparison: Comparison, news: News | None = None) -> str:
    """The message of a request that has not ended."""
    how = "🖌️ One of two settings is being painted." if isinstance(news, Painting) else "🕓 One of two settings waits."
    return f"{headline(comparison)}\n{how}"


def painted(comparison: Comparison) -> str:
    """The message of the request that ended first; its pictures are shown with those of the other one."""
    return f"{headline(comparison)}\nOne of two settings is painted. The vote begins below, when the other one is."


def ballot(comparison: Comparison) -> str:
    """The message with the pictures of both settings."""
    return (
        f"{headline(comparison)}\nWhich picture of a pair do you like better? Each pair has its own order. Nobody sees "
        "who voted for what. Press a button again to take a vote back."
    )


async def drawn(comparison: Comparison, job_id: JobId, images: Sequence[Image], others: Sequence[Image]) -> bytes:
    """The pictures of the request `job_id` and those of the other one, in the order of the ballot. Raises PlotError."""
    first, second = (images, others) if job_id == comparison.first_id else (others, images)
    pairs = []
    for pair, (one, other) in enumerate(zip(first, second, strict=False), start=1):
        pairs.append((other.png, one.png) if comparison.is_swapped(pair) else (one.png, other.png))
    return await sheet.side_by_side(pairs)


def file(png: bytes, is_hidden: bool) -> discord.File:
    """The pictures of a ballot; neither its name nor its text tells which is which."""
    return discord.File(io.BytesIO(png), "comparison.png", description="Pairs of pictures", spoiler=is_hidden)


def alone(comparison: Comparison, other: Job) -> str:
    """The line under a request that failed, about the other one."""
    return (
        f"\n-# Comparison {comparison.id} cannot be made. `/show id:{other.id}` shows the request that it was "
        "compared with."
    )


def voted(votes: dict[int, bool], comparison: Comparison) -> str:
    """A person's own votes, for them alone."""
    if not votes:
        return "You have no vote in this comparison now."
    sides = (
        f"pair {pair}: {'left' if second is comparison.is_swapped(pair) else 'right'}" for pair, second in votes.items()
    )
    return f"Your votes: {', '.join(sides)}. You can change them until the comparison ends."


def ask_to_end(people: int) -> str:
    """What the person who ends a comparison is asked; nobody is told what leads, or they would choose when to stop."""
    who = "1 person has voted" if people == 1 else f"{people} people have voted"
    few = f" Of fewer than {LEAST_PEOPLE} people, nothing is said." if people < LEAST_PEOPLE else ""
    return f"{who}.{few} The verdict is given once, after the end. End it now?"


def setting(text: str) -> str:
    """A setting as it was typed."""
    return f"“{_words.inert(text, SETTINGS)}”" if text else USUAL


def ended(comparison: Comparison, verdict: Verdict, pairs: int) -> str:
    """The message after the end: the verdict, and which picture was which."""
    lines = [headline(comparison), *outcome(comparison, verdict)]
    first_left = [str(pair) for pair in range(1, pairs + 1) if not comparison.is_swapped(pair)]
    first_right = [str(pair) for pair in range(1, pairs + 1) if comparison.is_swapped(pair)]
    sides = ("left", first_left), ("right", first_right)
    places = [f"{side} in {', '.join(where)}" for side, where in sides if where]
    lines.append(
        f"-# {setting(comparison.first)} was {' and '.join(places)}. `/show id:{comparison.first_id}` and "
        f"`/show id:{comparison.second_id}` show both requests."
    )
    return _words.fitting(lines)


def outcome(comparison: Comparison, verdict: Verdict) -> list[str]:
    """A verdict in words."""
    first, second = setting(comparison.first), setting(comparison.second)
    if verdict.outcome is Outcome.TOO_FEW:
        return [f"Fewer than {LEAST_PEOPLE} people voted, so nothing is said about what they like."]
    share = f"{verdict.low:.0%} to {verdict.high:.0%}"
    of = f"Of those with a preference, {share} would choose {first} over {second} (95 % credible, uniform prior)."
    if verdict.outcome is Outcome.UNDECIDED:
        more = (
            f"about {verdict.more:,} more votes like these would decide"
            if verdict.more is not None
            else f"even {MOST_MORE:,} more votes like these would not decide: they are about equally good"
        )
        return [f"**Undecided** after the votes of {verdict.people} people; {more}.", f"-# {of}"]
    wins = first if verdict.outcome is Outcome.FIRST else second
    return [
        f"**{wins} is liked better**, {verdict.sure:.1%} sure after the votes of {verdict.people} people.",
        f"-# {of} Of two equal settings, one would be named in at most {ERROR:.0%} of such votes.",
    ]


def ballot_view(comparison: Comparison, pairs: int) -> discord.ui.View:
    """The buttons under the pictures of a comparison: a row for each pair."""
    view = discord.ui.View(timeout=None)
    for pair in range(1, pairs + 1):
        for side, name in ((LEFT, "left"), (RIGHT, "right")):
            about = PictureRef(JobId(comparison.id), 2 * pair + side)
            label = f"{pair}: {name}" if pairs > 1 else name.capitalize()
            view.add_item(button("vote", about, label, row=pair - 1))
    view.add_item(button("endvote", PictureRef(JobId(comparison.id)), "End the vote", row=pairs))
    return view
