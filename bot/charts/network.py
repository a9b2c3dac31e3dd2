"""Graphs as pictures, drawn by `draw_graph.py` in another process."""

from __future__ import annotations

import json
from typing import Any

from bot import child
from bot.child import ChildFailed
from bot.errors import PlotError

FORMATS = ("svg", "png")
SECONDS = 120.0
"""How long a drawing may take; some seconds are usual."""


async def draw(graph: dict[str, Any], form: str) -> bytes:
    """Draw a graph of nodes and edges, as JSON has it, in one of FORMATS. Raises PlotError when that fails."""
    try:
        drawn = await child.run("bot.charts.draw_graph", json.dumps({"graph": graph, "format": form}).encode(), SECONDS)
    except ChildFailed as failure:
        raise PlotError("The graph could not be drawn. {reason}", reason=failure.reason) from failure
    if not drawn:
        raise PlotError("The graph could not be drawn. {reason}", reason=child.LOGGED)
    return drawn
