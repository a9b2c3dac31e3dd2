"""Storyboards: two to eight panels of one text, which share a look and a seed, and may start from one picture. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bot.errors import UserError, quoted
from bot.jobs import GenerationRequest, Operation, Upload
from bot.language import sentence_many
from bot.requests.options import Edit, Options
from bot.requests.wording import clean, number_of

PANELS = (2, 8)
"""The fewest and the most panels."""
STRENGTHS = (0.3, 0.95)
"""How much of the first panel's picture the others may paint over: with less they all look like it, with more nothing
of it is left."""
SECONDS = (0.1, 30.0)
"""How long an animation may show each panel: the shortest time that all viewers of GIFs keep to, and a long one."""
USUAL_SECONDS = 2.0
_NUMBER = re.compile(r"\d{1,4}(?:[.,]\d{0,4})?|[.,]\d{1,4}")
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


@dataclass(frozen=True, slots=True)
class Following:
    """How a panel starts from the picture of another one, which may not be painted yet."""

    strength: float
    """How much of it is painted over."""
    width: int
    height: int

    @classmethod
    def of(cls, lead: GenerationRequest, strength: float) -> Following:
        """How panels follow the request of the lead."""
        return cls(strength, lead.width, lead.height)

    def added_to(self, options: Options) -> Options:
        """The options of a panel, with a picture that stands for the one that is still to be painted.

        It has no name yet: the row of the job gets that when the picture is there.
        """
        aspect = options.aspect or f"{self.width}x{self.height}"
        image = Upload(b"", self.width, self.height, "")
        edit = options.edit
        if edit is not None:
            edit = Edit(edit.sources, Operation.IMAGE2IMAGE, style=edit.style)
        return replace(options, aspect=aspect, image=image, strength=self.strength, edit=edit)


def alone(options: Options) -> Options:
    """The options of a panel that is painted from its words alone, because the picture that it started from is gone."""
    edit = options.edit
    if edit is not None:
        edit = Edit(edit.sources, Operation.TEXT2IMAGE, style=edit.style)
    return replace(options, image=None, strength=None, edit=edit)


def strength_of(text: str) -> float | None:
    """The strength that a person typed; None if they typed nothing. Raises UserError for anything else."""
    typed = text.strip()
    if not typed:
        return None
    low, high = STRENGTHS
    strength = number_of(typed)
    if strength is None or not low <= strength <= high:
        raise UserError(
            "{typed} is no strength at which panels can follow the first one: it goes from {low} to {high}, and with "
            "less they look more like it. Leave the field empty, and no panel follows.",
            typed=quoted(typed),
            low=low,
            high=high,
        )
    return strength


def seconds_of(text: str) -> float:
    """How long an animation shows each panel, as a person typed it. Raises UserError if that is no such time."""
    typed = text.strip()
    if not typed:
        return USUAL_SECONDS
    low, high = SECONDS
    if not _NUMBER.fullmatch(typed) or not low <= (seconds := float(typed.replace(",", "."))) <= high:
        raise UserError(
            "An animation shows each panel for {low:g} to {high:g} seconds, and you asked for {typed}. Write a number, "
            "like 1.5.",
            low=low,
            high=high,
            typed=quoted(typed),
        )
    return seconds


def prompt_of(words: str, look: str) -> str:
    """The prompt of a panel: its words, with the words and flags that all panels share."""
    look = clean(look)
    if not look:
        return words
    return f"{words} {look}" if look.startswith(("--", "—", "–")) else f"{words}, {look}"
