"""A process that draws a graph: JSON in, a PNG or an SVG out.

`bot/charts/network.py` starts it as `python -m bot.charts.draw_graph`. The places of the nodes are those of ForceAtlas2
(Jacomy et al., PLOS ONE 9, 2014, https://doi.org/10.1371/journal.pone.0098679), as networkx computes them. The same
graph gives the same drawing.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any, BinaryIO

import matplotlib as mpl
import networkx as nx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_INCHES, _DPI = 16, 120
_GROUND, _INK, _FAINT = "#1e1f22", "#f2f3f5", "#8a8d95"
# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = {"request": "#56b4e9", "prompt": "#8a8d95", "model": "#e69f00", "style": "#cc79a7", "server": "#009e73"}
_SIZES = {"request": 60, "prompt": 25, "model": 500, "style": 350, "server": 500}
_LETTERS = {"request": 9, "prompt": 9, "model": 16, "style": 12, "server": 13}
_SEED = 4
_ROUNDS = 400
_LABELLED = 150
"""The most nodes of which requests and prompts have their words beside them; more would cover each other."""
_CHARACTERS = 28


def figure(graph: dict[str, Any]) -> Figure:
    """Draw a graph as `bot/datasets/graph.py` writes it in JSON."""
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    known = nx.Graph()
    known.add_nodes_from(kinds)
    for edge in graph["edges"]:
        # What came of a request stands near it.
        known.add_edge(edge["source"], edge["target"], pull=3.0 if edge["kind"] == "became" else 1.0)
    places = nx.forceatlas2_layout(known, max_iter=_ROUNDS, scaling_ratio=3.0, gravity=1.5, weight="pull", seed=_SEED)
    drawn = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI, facecolor=_GROUND)
    axes = drawn.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_axis_off()
    for edge in graph["edges"]:
        start, end = places[edge["source"]], places[edge["target"]]
        if edge["kind"] == "became":
            style = {"arrowstyle": "-|>", "color": _INK, "linewidth": 1.6, "shrinkA": 4, "shrinkB": 5}
        else:
            style = {"arrowstyle": "-", "color": _FAINT, "linewidth": 0.5, "alpha": 0.5}
        axes.annotate("", end, start, arrowprops=style, annotation_clip=False)
    for kind, colour in _COLOURS.items():
        names = [name for name, of in kinds.items() if of == kind]
        if names:
            x, y = zip(*(places[name] for name in names), strict=True)
            axes.scatter(x, y, s=_SIZES[kind], c=colour, label=f"{kind} ({len(names)})", zorder=3, linewidths=0)
    for node in graph["nodes"]:
        kind = node["kind"]
        if kind in ("request", "prompt") and len(kinds) > _LABELLED:
            continue
        x, y = places[node["id"]]
        axes.annotate(
            _label(node),
            (x, y),
            xytext=(0, -4 - _SIZES[kind] ** 0.5 / 2),
            textcoords="offset points",
            color=_INK if kind != "prompt" else _FAINT,
            fontsize=_LETTERS[kind],
            ha="center",
            va="top",
            zorder=4,
            # A prompt may have the signs of formulas.
            parse_math=False,
        )
    legend = axes.legend(loc="lower left", frameon=False, labelcolor=_INK, fontsize=13)
    for handle in legend.legend_handles:
        handle.set_sizes([90])  # type: ignore[union-attr]
    return drawn


def _label(node: dict[str, Any]) -> str:
    words = str(node.get("text") or node["id"].partition(" ")[2])
    if node["kind"] == "style":
        words = words.partition(",")[0]
    return words if len(words) <= _CHARACTERS else f"{words[: _CHARACTERS - 1]}…"


def write(graph: dict[str, Any], form: str, output: BinaryIO) -> None:
    """Write the drawing of a graph as `png` or `svg`."""
    drawn = figure(graph)
    # Neither the time nor chance goes into the file.
    mpl.rcParams["svg.hashsalt"] = "atelier"
    if form == "svg":
        FigureCanvasSVG(drawn)
        drawn.savefig(output, format="svg", facecolor=_GROUND, metadata={"Date": None})
    else:
        FigureCanvasAgg(drawn)
        drawn.savefig(output, format="png", facecolor=_GROUND)


def main() -> None:
    """Read one graph and write its drawing."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # A prompt in a script that the font lacks is drawn as boxes.
    warnings.filterwarnings("ignore", message="Glyph")
    order = json.load(sys.stdin)
    with output:
        write(order["graph"], order["format"], output)


if __name__ == "__main__":
    main()
