"""Cases in words: who did what in `/mod`, when and why."""

from __future__ import annotations

from collections.abc import Sequence

from bot.language import say
from bot.responses import MESSAGE
from bot.storage.cases import Case
from cogs import _words

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
