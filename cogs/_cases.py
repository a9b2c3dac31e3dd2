"""Cases in words: who did what in `/mod`, when and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import discord

from bot.language import say
from bot.responses import MESSAGE
from bot.storage.cases import Case
from cogs import _words

_MENTION = re.compile(r"<(@&|@|#)(\d+)>|<t:(\d+)(?::\w)?>")
SHOWN = 10
"""Cases in one message."""


def page(cases: Sequence[Case]) -> str:
    """As many cases as one message holds, and the way to the older ones."""
    for count in range(len(cases), 0, -1):
        lines = [_line(case) for case in cases[:count]]
        last = cases[count - 1].number
        more = last > 1 and (count < len(cases) or count == SHOWN)
        older = "\n" + say("-# Older ones: `/mod cases before:{case}`", case=last) if more else ""
        room = MESSAGE - len(older)
        if count == 1 or len("\n".join(lines)) <= room:
            return _words.fitting(lines, room) + older
    return say("There are no such cases.")


def _line(case: Case) -> str:
    reason = f" — {_words.inert(case.reason, 300)}" if case.reason else ""
    return f"**{case.number}** {_words.past(case.at)} <@{case.by}>: {_words.change(case)}{reason}"


def plain(words: str, guild: discord.Guild | None) -> str:
    """What a case changed, without Discord's mark-up, which no list of choices reads; spoilers stay shut."""

    def name(found: re.Match[str]) -> str:
        kind, number, at = found[1], int(found[2] or 0), found[3]
        if at is not None:
            return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M UTC")
        if guild is None:
            return found[0]
        if kind == "@":
            # Without the privileged intent, Discord tells nobody's name.
            there: discord.abc.Snowflake | None = guild.get_member(number)
            if there is None:
                return say("a member")
        else:
            there = guild.get_role(number) if kind == "@&" else guild.get_channel_or_thread(number)
        shown = getattr(there, "display_name", None) or getattr(there, "name", number)
        return f"{kind[0]}{shown}"

    words = re.sub(r"\|\|.*?\|\|", "…", words)
    return re.sub(r"\\(?=\W)|`", "", _MENTION.sub(name, words))
