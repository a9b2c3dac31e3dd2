"""Storyboards: two to eight panels from one text, which share a look and a seed."""

from __future__ import annotations

import re

from bot.errors import UserError
from bot.language import sentence_many
from bot.requests.wording import clean

PANELS = (2, 8)
"""The fewest and the most panels."""
_BLANK = re.compile(r"\n[^\S\n]*\n")


def panels_of(text: str) -> tuple[str, ...]:
    """The words of each panel: the parts between blank lines, or if there are none, the lines.

    Raises UserError for too few or too many panels.
    """
    parts = _BLANK.split(text.strip()) if _BLANK.search(text.strip()) else text.split("\n")
    panels = tuple(filter(None, map(clean, parts)))
    low, high = PANELS
    if not low <= len(panels) <= high:
        raise UserError(
            "A storyboard has {low} to {high} panels, and this text has {panels}. Write one line for each panel, or "
            "put a blank line between longer ones.",
            low=low,
            high=high,
            panels=sentence_many("1 panel", "{count} panels", len(panels)),
        )
    return panels


def prompt_of(words: str, look: str) -> str:
    """The prompt of a panel: its words, with the words and flags that all panels share."""
    look = clean(look)
    if not look:
        return words
    return f"{words} {look}" if look.startswith(("--", "—", "–")) else f"{words}, {look}"
