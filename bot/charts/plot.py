"""Charts as pictures, drawn by `draw.py` in another process, because the bot process does not load matplotlib."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bot import child
from bot.child import ChildFailed
from bot.errors import PlotError

SECONDS = 30.0
"""How long a chart may take on a small machine that also paints; half a second is usual."""

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each step of the chart; None if there is nothing to show."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of a chart: stacked bars, or lines with dots."""

    title: str
    series: Sequence[Series]
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels below each other, with the same steps."""

    title: str
    steps: Sequence[str]
    """The label of each step; as many are shown as fit."""
    panels: Sequence[Panel]
    none: str = "none"
    """What a panel without values says."""


async def draw(chart: Chart) -> bytes:
    """Draw a chart as PNG. Raises PlotError when that fails."""
    try:
        png = await child.run("bot.charts.draw", json.dumps(asdict(chart)).encode(), SECONDS)
    except ChildFailed as failure:
        raise PlotError("The chart could not be drawn. {reason}", reason=failure.reason) from failure
    if not png.startswith(_PNG):
        raise PlotError("The chart could not be drawn. {reason}", reason=child.LOGGED)
    return png
