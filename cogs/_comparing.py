"""What the messages of a comparison say and show: nothing that tells which setting is which, until it has ended."""

from __future__ import annotations

import io
from collections.abc import Sequence

import discord

from bot.charts import sheet
from bot.jobs import Image, Job, JobId, News, Painting, PictureRef
from bot.language import mark, say, say_many
from bot.requests.verdict import ERROR, LEAST_PEOPLE, MOST_MORE, Outcome, Verdict
from bot.storage.comparisons import Comparison
from cogs import _words
from cogs._buttons import button

LEFT, RIGHT = 0, 1
SETTINGS = 200
"""Characters of a setting that are shown."""
USUAL = mark("as usual")
"""What a setting without flags is called."""


def headline(comparison: Comparison) -> str:
    """The first line: the prompt as it was typed, without what a setting adds."""
    return say(
        "**Comparison {number}: {prompt}** — {person}",
        number=comparison.id,
        prompt=_words.inert(comparison.prompt),
        person=f"<@{comparison.user_id}>",
    )


def waiting(comparison: Comparison, news: News | None = None) -> str:
    """The message of a request that has not ended."""
    if isinstance(news, Painting):
        return f"{headline(comparison)}\n{say('🖌️ One of two settings is being painted.')}"
    return f"{headline(comparison)}\n{say('🕓 One of two settings waits.')}"


def painted(comparison: Comparison) -> str:
    """The message of the request that ended first; its pictures are shown with those of the other one."""
    begins = say("One of two settings is painted. The vote begins below, when the other one is.")
    return f"{headline(comparison)}\n{begins}"


def ballot(comparison: Comparison) -> str:
    """The message with the pictures of both settings."""
    question = say(
        "Which picture of a pair do you like better? Each pair has its own order. Nobody sees who voted for what. "
        "Press a button again to take a vote back."
    )
    return f"{headline(comparison)}\n{question}"


async def drawn(comparison: Comparison, job_id: JobId, images: Sequence[Image], others: Sequence[Image]) -> bytes:
    """The pictures of the request `job_id` and those of the other one, in the order of the ballot. Raises PlotError."""
    first, second = (images, others) if job_id == comparison.first_id else (others, images)
    pairs = []
    for pair, (one, other) in enumerate(zip(first, second, strict=False), start=1):
        pairs.append((other.png, one.png) if comparison.is_swapped(pair) else (one.png, other.png))
    return await sheet.side_by_side(pairs)


def file(png: bytes, is_hidden: bool) -> discord.File:
    """The pictures of a ballot; neither its name nor its text tells which is which."""
    return discord.File(io.BytesIO(png), "comparison.png", description=say("Pairs of pictures"), spoiler=is_hidden)


def alone(comparison: Comparison, other: Job) -> str:
    """The line under a request that failed, about the other one."""
    words = say(
        "-# Comparison {number} cannot be made. `/show id:{other}` shows the request that it was compared with.",
        number=comparison.id,
        other=other.id,
    )
    return f"\n{words}"


def voted(votes: dict[int, bool], comparison: Comparison) -> str:
    """A person's own votes, for them alone."""
    if not votes:
        return say("You have no vote in this comparison now.")
    sides = [
        say("pair {pair}: left", pair=pair)
        if second is comparison.is_swapped(pair)
        else say("pair {pair}: right", pair=pair)
        for pair, second in votes.items()
    ]
    return say("Your votes: {votes}. You can change them until the comparison ends.", votes=", ".join(sides))


def ask_to_end(people: int) -> str:
    """What the person who ends a comparison is asked; nobody is told what leads, or they would choose when to stop."""
    sentences = [say_many("1 person has voted.", "{count} people have voted.", people)]
    if people < LEAST_PEOPLE:
        sentences.append(say("With fewer than {least} people there is no verdict.", least=LEAST_PEOPLE))
    return " ".join([*sentences, say("The verdict is given once, after the end. End it now?")])


def setting(text: str) -> str:
    """A setting as it was typed."""
    return f"“{_words.inert(text, SETTINGS)}”" if text else say(USUAL)


def ended(comparison: Comparison, verdict: Verdict, pairs: int) -> str:
    """The message after the end: the verdict, and which picture was which."""
    lines = [headline(comparison), *outcome(comparison, verdict)]
    left = ", ".join(str(pair) for pair in range(1, pairs + 1) if not comparison.is_swapped(pair))
    right = ", ".join(str(pair) for pair in range(1, pairs + 1) if comparison.is_swapped(pair))
    first = setting(comparison.first)
    if left and right:
        where = say("{setting} was left in {left} and right in {right}.", setting=first, left=left, right=right)
    elif left:
        where = say("{setting} was left in {pairs}.", setting=first, pairs=left)
    else:
        where = say("{setting} was right in {pairs}.", setting=first, pairs=right)
    show = say(
        "`/show id:{first}` and `/show id:{second}` show both requests.",
        first=comparison.first_id,
        second=comparison.second_id,
    )
    lines.append(f"-# {where} {show}")
    return _words.fitting(lines)


def outcome(comparison: Comparison, verdict: Verdict) -> list[str]:
    """A verdict in words."""
    first, second = setting(comparison.first), setting(comparison.second)
    if verdict.outcome is Outcome.TOO_FEW:
        return [say("Fewer than {least} people voted, so nothing is said about what they like.", least=LEAST_PEOPLE)]
    of = say(
        "Of those with a preference, {low:.0%} to {high:.0%} would choose {first} over {second} (95 % credible, "
        "uniform prior).",
        low=verdict.low,
        high=verdict.high,
        first=first,
        second=second,
    )
    if verdict.outcome is Outcome.UNDECIDED:
        if verdict.more is None:
            undecided = say(
                "**Undecided** after the votes of {people} people; even {more:,} more votes like these would not "
                "decide: they are about equally good.",
                people=verdict.people,
                more=MOST_MORE,
            )
        else:
            undecided = say(
                "**Undecided** after the votes of {people} people; about {more:,} more votes like these would decide.",
                people=verdict.people,
                more=verdict.more,
            )
        return [undecided, f"-# {of}"]
    wins = first if verdict.outcome is Outcome.FIRST else second
    sure = say(
        "**{setting} is liked better**, {sure:.1%} sure after the votes of {people} people.",
        setting=wins,
        sure=verdict.sure,
        people=verdict.people,
    )
    error = say("Of two equal settings, one would be named in at most {error:.0%} of such votes.", error=ERROR)
    return [sure, f"-# {of} {error}"]


def ballot_view(comparison: Comparison, pairs: int) -> discord.ui.View:
    """The buttons under the pictures of a comparison: a row for each pair."""
    view = discord.ui.View(timeout=None)
    for pair in range(1, pairs + 1):
        for side, name in ((LEFT, say("Left")), (RIGHT, say("Right"))):
            about = PictureRef(JobId(comparison.id), 2 * pair + side)
            view.add_item(button("vote", about, f"{pair}: {name}" if pairs > 1 else name, row=pair - 1))
    view.add_item(button("endvote", PictureRef(JobId(comparison.id)), say("End the vote"), row=pairs))
    return view
