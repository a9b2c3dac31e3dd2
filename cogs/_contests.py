"""What the messages of a contest say: no names and no counts before the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import discord

from bot.jobs import Job, JobId, PictureRef
from bot.responses import MESSAGE, fitted
from bot.storage.contests import Contest, Entry, State
from cogs import _words
from cogs._buttons import button

THEME = 200
"""The most characters of a theme."""
PAGE = 20
"""Pictures that are shown at once to choose from."""
ROW = 5

Winners = Sequence[tuple[Entry, Job]]
"""The winning entries that are still there, and their results."""

PARTS = {
    State.ENTRIES: "takes entries until {entries}, then votes until {votes}",
    State.VOTING: "takes votes until {votes}",
    State.COUNTED: "is over",
    State.CANCELLED: "was cancelled",
}


def headline(contest: Contest) -> str:
    """The first line of every message of a contest."""
    return f"**Contest {contest.id}: {_words.inert(contest.theme, THEME)}**"


def listed(contest: Contest) -> str:
    """A line about a contest, for anybody."""
    times = {"entries": _words.relative(contest.entries_until), "votes": _words.relative(contest.votes_until)}
    return f"{headline(contest)} in <#{contest.channel_id}> {PARTS[contest.state].format(**times)}."


def words(contest: Contest, winners: Winners) -> str:
    """The message of a contest."""
    match contest.state:
        case State.ENTRIES:
            lines = [
                f"Enter one of your pictures until {_when(contest.entries_until)}. A later entry takes the place of "
                "yours, and you can withdraw it.",
                f"After that, people vote until {_when(contest.votes_until)}. Nobody sees names or counts before the "
                "end.",
            ]
        case State.VOTING:
            lines = [
                f"Entries are closed. Vote until {_when(contest.votes_until)}: each person has one vote, can change "
                "it, and sees the pictures in another order. Nobody sees names or counts before the end.",
            ]
        case State.COUNTED:
            lines = outcome(contest, winners)
        case State.CANCELLED:
            lines = ["🚫 A moderator cancelled this contest."]
    return _words.fitting([headline(contest), *lines])


def outcome(contest: Contest, winners: Winners) -> list[str]:
    """Who won, in words."""
    if not contest.winners:
        why = "Nobody voted" if contest.entrants else "Nobody entered a picture"
        return [f"{why}, so there is no winner."]
    lines = []
    if not contest.voters:
        lines.append("🏆 Only one picture was entered, so it wins without a vote.")
    else:
        of = f"{contest.best} of {contest.voters} vote{'' if contest.voters == 1 else 's'}"
        if contest.winners > 1:
            lines.append(f"🏆 A tie: {contest.winners} pictures share the first place, with {of} each.")
        else:
            lines.append(f"🏆 One picture won, with {of}.")
    lines += [f"<@{entry.user_id}>: {_link(entry, job)}" for entry, job in winners]
    if gone := contest.winners - len(winners):
        lines.append(f"-# {'One' if gone == 1 else gone} of these pictures {'was' if gone == 1 else 'were'} deleted.")
    return lines


def news(contest: Contest, winners: Winners) -> str:
    """The message that names the winners."""
    end = "\n-# The contest is over. Congratulations!"
    return fitted("\n".join([headline(contest), *outcome(contest, winners)]), MESSAGE - len(end)) + end


def view(contest: Contest) -> discord.ui.View | None:
    """The buttons under the message of a contest that is open."""
    controls = discord.ui.View(timeout=None)
    about = PictureRef(JobId(contest.id))
    if contest.state is State.ENTRIES:
        controls.add_item(button("contestenter", about, "Enter a picture", discord.ButtonStyle.primary))
    elif contest.state is State.VOTING:
        controls.add_item(button("contestballot", about, "Vote", discord.ButtonStyle.primary))
    else:
        return None
    controls.add_item(button("contestleave", about, "Withdraw my picture"))
    return controls


def ballot(contest: Contest, count: int, first: int, last: int, vote: int | None, hidden: int) -> str:
    """What stands over the pictures that a person chooses from; `vote` is the number of their choice so far."""
    lines = [
        headline(contest),
        f"Pictures {first} to {last} of {count}, in an order for you alone."
        if count > last - first + 1
        else "The pictures, in an order for you alone.",
        "You have not voted yet."
        if vote is None
        else f"Your vote is for picture {vote}. Press it again to take it back.",
    ]
    if hidden:
        lines.append(f"-# {hidden} more cannot be shown in this channel, because it is not age-restricted.")
    return _words.fitting(lines)


def ballot_view(contest: Contest, entries: Sequence[Entry], page: int, vote: int | None) -> discord.ui.View:
    """A button for each picture of a page, and those that turn it."""
    controls = discord.ui.View(timeout=None)
    for at, entry in enumerate(entries[page * PAGE : (page + 1) * PAGE]):
        number = page * PAGE + at + 1
        style = discord.ButtonStyle.success if entry.id == vote else discord.ButtonStyle.secondary
        about = PictureRef(JobId(entry.id), number)
        controls.add_item(button("contestvote", about, str(number), style, row=at // ROW))
    row = PAGE // ROW
    if page:
        controls.add_item(button("contestpage", PictureRef(JobId(contest.id), page - 1), "Before", row=row))
    if len(entries) > (page + 1) * PAGE:
        controls.add_item(button("contestpage", PictureRef(JobId(contest.id), page + 1), "More", row=row))
    return controls


def _link(entry: Entry, job: Job) -> str:
    place = f"{job.requester.guild_id}/{job.destination.channel_id}/{job.destination.message_id}"
    which = f"picture {entry.ref.number} of " if job.request.num_images_per_prompt > 1 else ""
    return f"{which}https://discord.com/channels/{place}"


def _when(at: datetime) -> str:
    return f"<t:{int(at.timestamp())}:f> ({_words.relative(at)})"
