"""What the messages of a contest say: no names and no counts before the end."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot.jobs import Job, JobId, PictureRef
from bot.language import mark, say, say_many
from bot.responses import MESSAGE, units
from bot.storage.contests import Contest, Entry, State
from cogs import _words
from cogs._buttons import button

THEME = 200
"""The most characters of a theme."""
PAGE = 20
"""Pictures that are shown at once to choose from."""
ROW = 5
_LINKED, _NAMED = 10, 55
"""The most winners of a tie that are named with links, and without: each takes up to 120 and 24 characters of 2,000."""

Winners = Sequence[tuple[Entry, Job]]
"""The winning entries that are still there, and their results."""

PARTS = {
    State.ENTRIES: mark("{contest} in {channel} takes entries until {entries}, then votes until {votes}."),
    State.VOTING: mark("{contest} in {channel} takes votes until {votes}."),
    State.COUNTED: mark("{contest} in {channel} is over."),
    State.CANCELLED: mark("{contest} in {channel} was cancelled."),
}


def headline(contest: Contest) -> str:
    """The first line of every message of a contest."""
    return say("**Contest {number}: {theme}**", number=contest.id, theme=_words.inert(contest.theme, THEME))


def listed(contest: Contest) -> str:
    """A line about a contest, for anybody."""
    return say(
        PARTS[contest.state],
        contest=headline(contest),
        channel=f"<#{contest.channel_id}>",
        entries=_words.moment(contest.entries_until),
        votes=_words.moment(contest.votes_until),
    )


def words(contest: Contest, winners: Winners) -> str:
    """The message of a contest."""
    match contest.state:
        case State.ENTRIES:
            lines = [
                say(
                    "Enter one of your pictures until {until}. A later entry takes the place of yours, and you can "
                    "withdraw it.",
                    until=_words.moment(contest.entries_until),
                ),
                say(
                    "After that, people vote until {until}. Nobody sees names or counts before the end.",
                    until=_words.moment(contest.votes_until),
                ),
            ]
        case State.VOTING:
            lines = [
                say(
                    "Entries are closed. Vote until {until}: each person has one vote, can change it, and sees the "
                    "pictures in another order. Nobody sees names or counts before the end.",
                    until=_words.moment(contest.votes_until),
                ),
            ]
        case State.COUNTED:
            lines = outcome(contest, winners)
        case State.CANCELLED:
            lines = [say("🚫 A moderator cancelled this contest.")]
    return _words.fitting([headline(contest), *lines])


def outcome(contest: Contest, winners: Winners) -> list[str]:
    """Who won, in words."""
    if not contest.winners:
        if contest.entrants:
            return [say("Nobody voted, so there is no winner.")]
        return [say("Nobody entered a picture, so there is no winner.")]
    lines = []
    if not contest.voters:
        lines.append(say("🏆 Only one picture was entered, so it wins without a vote."))
    else:
        share = say_many("{best} of {count} vote", "{best} of {count} votes", contest.voters, best=contest.best)
        if contest.winners > 1:
            lines.append(
                say_many(
                    "🏆 A tie: {count} picture shares the first place, with {share} each.",
                    "🏆 A tie: {count} pictures share the first place, with {share} each.",
                    contest.winners,
                    share=share,
                )
            )
        else:
            lines.append(say("🏆 One picture won, with {share}.", share=share))
    lines += _named(winners)
    if gone := contest.winners - len(winners):
        lines.append(
            say_many("-# One of these pictures was deleted.", "-# {count} of these pictures were deleted.", gone)
        )
    return lines


def _named(winners: Winners) -> list[str]:
    """The winners with links to their results; of many the names alone, so that as many as possible are pinged."""
    if len(winners) <= _LINKED:
        return [f"<@{entry.user_id}>: {_link(entry, job)}" for entry, job in winners]
    lines = [", ".join(f"<@{entry.user_id}>" for entry, _ in winners[:_NAMED])]
    if len(winners) > _NAMED:
        lines.append(say("-# and {count} more", count=len(winners) - _NAMED))
    return lines


def news(contest: Contest, winners: Winners) -> str:
    """The message that names the winners."""
    end = "\n" + say("-# The contest is over. Congratulations!")
    return _words.fitting([headline(contest), *outcome(contest, winners)], MESSAGE - units(end)) + end


def view(contest: Contest) -> discord.ui.View | None:
    """The buttons under the message of a contest that is open."""
    controls = discord.ui.View(timeout=None)
    about = PictureRef(JobId(contest.id))
    if contest.state is State.ENTRIES:
        controls.add_item(button("contestenter", about, say("Enter a picture"), discord.ButtonStyle.primary))
    elif contest.state is State.VOTING:
        controls.add_item(button("contestballot", about, say("Vote"), discord.ButtonStyle.primary))
    else:
        return None
    controls.add_item(button("contestleave", about, say("Withdraw my picture")))
    return controls


def ballot(contest: Contest, count: int, first: int, last: int, vote: int | None, hidden: int) -> str:
    """What stands over the pictures that a person chooses from; `vote` is the number of their choice so far."""
    lines = [
        headline(contest),
        say("Pictures {first} to {last} of {all}, in an order for you alone.", first=first, last=last, all=count)
        if count > last - first + 1
        else say("The pictures, in an order for you alone."),
        say("You have not voted yet.")
        if vote is None
        else say("Your vote is for picture {number}. Press it again to take it back.", number=vote),
    ]
    if hidden:
        lines.append(
            say_many(
                "-# {count} more picture cannot be shown in this channel, because it is not age-restricted.",
                "-# {count} more pictures cannot be shown in this channel, because it is not age-restricted.",
                hidden,
            )
        )
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
        controls.add_item(button("contestpage", PictureRef(JobId(contest.id), page - 1), say("◀ Back"), row=row))
    if len(entries) > (page + 1) * PAGE:
        controls.add_item(button("contestpage", PictureRef(JobId(contest.id), page + 1), say("More ▶"), row=row))
    return controls


def _link(entry: Entry, job: Job) -> str:
    place = f"{job.requester.guild_id}/{job.destination.channel_id}/{job.destination.message_id}"
    link = f"https://discord.com/channels/{place}"
    if job.request.num_images_per_prompt > 1:
        return say("picture {number} of {link}", number=entry.ref.number, link=link)
    return link
