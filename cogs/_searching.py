"""A person who searches, as `bot/search/visibility.py` knows them, and the words about what was found."""

from __future__ import annotations

from collections.abc import Iterable

import discord

from bot.client import Client
from bot.errors import UserError
from bot.jobs import Job
from bot.language import mark, say, say_many
from bot.search.client import Answer, Search
from bot.search.visibility import Scope, Seer
from bot.search.wire import Hit
from cogs import _people, _words
from cogs._links import link

NOT_THE_HOST = mark("Only the host of this bot can search all servers. Choose another place.")
_NOTHING = {
    Scope.MINE: mark("None of your results here is like that."),
    Scope.PUBLIC: mark("No result that you may see on this server is like that."),
    Scope.SERVER: mark("No result of this server is like that."),
    Scope.ALL: mark("No result is like that."),
}
_SHOWN_PROMPT = 160
_SHOWN_WORDS = 5


async def seer_of(interaction: discord.Interaction[Client], search: Search, scope: Scope) -> Seer:
    """The person of an interaction, with the channels that have results. Raises UserError if they may not search there.

    In direct messages there are only a person's own results.
    """
    client, guild, member = interaction.client, interaction.guild, interaction.user
    place = _people.place(interaction)
    if guild is None and scope is not Scope.ALL:
        return Seer(member.id, place, Scope.MINE)
    if scope is Scope.SERVER and not _people.is_moderator(interaction):
        raise UserError(_people.NOT_A_MODERATOR)
    is_host = scope is Scope.ALL and await client.is_owner(member)
    if scope is Scope.ALL and not is_host:
        raise UserError(NOT_THE_HOST)
    readable, adult, gone = set(), set(), set()
    for channel_id, parent_id in await search.channels(None if scope is Scope.ALL else place):
        channel = _channel(client, channel_id)
        parent = channel if parent_id is None else _channel(client, parent_id)
        if channel is None:
            gone.add(channel_id)
        if (known := channel or parent) is not None and is_adult(known):
            adult.add(channel_id)
        if channel is not None and isinstance(member, discord.Member) and may_read(channel, member):
            readable.add(channel_id)
    here = interaction.channel
    return Seer(
        member.id,
        place,
        scope,
        frozenset(readable),
        frozenset(adult),
        frozenset(gone),
        is_moderator=guild is not None and _people.is_moderator(interaction),
        is_host=is_host,
        here_is_adult=is_adult(here),
    )


def may_read(channel: discord.abc.GuildChannel | discord.Thread, member: discord.Member) -> bool:
    """Whether a member may read the messages of a channel or a thread.

    Of a private thread, whose members the bot is not told, only its owner and those who manage threads are sure to.
    """
    rights = channel.permissions_for(member)
    if not (rights.view_channel and rights.read_message_history):
        return False
    if isinstance(channel, discord.Thread) and channel.is_private():
        return rights.manage_threads or channel.owner_id == member.id
    return True


def _channel(client: Client, channel_id: int) -> discord.abc.GuildChannel | discord.Thread | None:
    channel = client.get_channel(channel_id)
    return channel if isinstance(channel, discord.abc.GuildChannel | discord.Thread) else None


def is_adult(channel: object) -> bool:
    """Whether a channel is age-restricted."""
    is_nsfw = getattr(channel, "is_nsfw", None)
    return bool(is_nsfw and is_nsfw())


def why(hit: Hit) -> str:
    """Why a result is there."""
    reasons = []
    if hit.words:
        reasons.append(say("has {words}", words=_quoted(hit.words)))
    if hit.parts:
        reasons.append(say("has {words} in a word", words=_quoted(hit.parts)))
    if hit.related:
        reasons.append(say("has {words}, a related word", words=_quoted(hit.related)))
    if hit.bits is not None:
        reasons.append(say("nearly the same picture"))
    elif hit.likeness:
        reasons.append(say("looks similar ({share:.0%})", share=hit.likeness))
    if hit.meaning:
        reasons.append(say("similar meaning ({share:.0%})", share=hit.meaning))
    return ", ".join(reasons) or say("passes the filters")


def _quoted(words: tuple[str, ...]) -> str:
    shown = ", ".join(f"“{_words.inert(word, 40)}”" for word in words[:_SHOWN_WORDS])
    more = len(words) - _SHOWN_WORDS
    return say("{listed} and {count} more", listed=shown, count=more) if more > 0 else shown


def line(client: discord.Client, number: int, job: Job, hit: Hit) -> str:
    """One result of a page: its prompt, who asked and when, why it is there, and where it is."""
    facts = [f"<@{job.requester.user_id}>, {_words.past(job.asked_at)}", why(hit)]
    if hit.likes or hit.dislikes:
        facts.append(f"👍 {hit.likes} 👎 {hit.dislikes}")
    if where := link(client, job):
        facts.append(where)
    return f"**{number}.** {_words.inert(job.request.title, _SHOWN_PROMPT)}\n-# {' · '.join(facts)}"


def notes(answer: Answer, *, by_picture: bool = False) -> list[str]:
    """What people should know about the index."""
    found = []
    if answer.is_building:
        building = say(
            "-# The search index is being built ({done:.0%}), so results may be missing. Try again later.",
            done=answer.progress,
        )
        found.append(building)
    if by_picture and answer.unseen:
        unseen = say_many(
            "-# One picture has not been looked at yet, so results may be missing.",
            "-# {count:,} pictures have not been looked at yet, so results may be missing.",
            answer.unseen,
        )
        found.append(unseen)
    if not by_picture and not answer.has_meaning:
        found.append(say("-# This host finds results by words only, because wordllama is not installed."))
    return found


def nothing(scope: Scope) -> str:
    """The sentence where nothing was found."""
    hint = say(
        "Try other words, or fewer filters. Results from age-restricted channels are found only in such channels."
    )
    return f"{say(_NOTHING[scope])} {hint}"


def alt(jobs: Iterable[Job]) -> str:
    """The pictures of a page in words."""
    return "; ".join(f"{number}: {job.request.prompt[:180]}" for number, job in enumerate(jobs, start=1))[:1000]
