"""Pictures that belong together as one file: a grid, a sheet, a PDF or an animation. Another process draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot import child
from bot.child import ChildFailed
from bot.engine import framing
from bot.engine.signing import Signing
from bot.errors import PlotError

SECONDS = 60.0
"""How long a file may take on a small machine that also paints."""


class Kind(StrEnum):
    """The kinds of files."""

    GRID = "grid"
    """A small PNG with the panels and their numbers."""
    SHEET = "sheet"
    """A PNG with the title, the panels and their words."""
    PDF = "pdf"
    """A page for each panel, with its words."""
    WEBP = "webp"
    """An animation of the panels."""
    GIF = "gif"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel to draw: its number, its words, and its encoded picture, which is empty if the panel has none."""

    number: int
    words: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """What makes a file get a manifest: where the secrets are, and the names of the models that painted."""

    signing: Signing
    models: Sequence[str]


async def draw(
    kind: Kind, title: str, panels: Sequence[Drawn], seconds: float = 2.0, signed: Signed | None = None
) -> bytes:
    """The file of some pictures; `seconds` is how long an animation shows each of them. Raises PlotError.

    With `signed` it has a manifest, but for a PDF, which cannot be signed here.
    """
    header = {
        "kind": kind,
        "title": title,
        "numbers": [panel.number for panel in panels],
        "words": [panel.words for panel in panels],
        "sizes": [len(panel.picture) for panel in panels],
        "seconds": seconds,
        "signing": None if signed is None else signed.signing.order(),
        "model": "" if signed is None else ", ".join(signed.models),
    }
    try:
        made = await child.run("bot.worker.board", framing.pack(header, b"".join(p.picture for p in panels)), SECONDS)
    except ChildFailed as failure:
        raise PlotError("The file could not be drawn. {reason}", reason=failure.reason) from failure
    if not made:
        raise PlotError("The file could not be drawn.")
    return made
