"""A process that draws one chart: JSON in, a PNG out.

`plot.py` starts it as `python -m bot.charts.draw`. The chart has its own dark background, so that it looks the same in
Discord's dark and light themes, and letters that are large enough on a phone.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

_WIDTH, _PANEL_HEIGHT, _HEAD_HEIGHT = 6.4, 2.2, 0.6
"""Inches, of 150 pixels each: letters of 12 points are readable on a phone that shows the width in 400 pixels."""
_DPI = 150
_LABELS = 6
"""The most steps that get a label."""

_GROUND, _FRAME, _INK, _FAINT = "#1e1f22", "#2b2d31", "#f2f3f5", "#a5a8b0"
# Three of Okabe and Ito's colours, which colour-blind people can tell apart, that stand out on a dark background.
_COLOURS = ("#56b4e9", "#e69f00", "#cc79a7")


def figure(chart: dict[str, Any]) -> Figure:
    """Draw a chart: the `asdict` of a `bot.charts.plot.Chart`."""
    count = len(chart["panels"])
    height = _HEAD_HEIGHT + _PANEL_HEIGHT * count
    drawn = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor=_GROUND)
    FigureCanvasAgg(drawn)
    drawn.suptitle(chart["title"], color=_INK, fontsize=16, fontweight="bold", x=0.03, ha="left")
    drawn.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.12))
    all_axes = drawn.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    named: list[str] = []
    for axes, panel in zip(all_axes, chart["panels"], strict=True):
        _style(axes, panel["title"])
        known = [value for series in panel["series"] for value in series["values"] if value is not None]
        if panel["lines"]:
            _lines(axes, panel["series"])
        else:
            _bars(axes, panel["series"])
        names = [series["name"] for series in panel["series"]]
        if len(names) > 1 and names != named:
            # The names of the panel above hold for the panels below it.
            _legend(axes, len(names))
        named = names
        if not any(known):
            axes.text(
                0.5, 0.5, chart["none"], transform=axes.transAxes, color=_FAINT, fontsize=14, ha="center", va="center"
            )
        axes.set_ylim(0, None if any(known) else 1)
    _name_steps(all_axes[-1], chart["steps"])
    return drawn


def _style(axes: Axes, title: str) -> None:
    axes.set_facecolor(_FRAME)
    axes.set_title(title, color=_INK, fontsize=14, loc="left", pad=8)
    axes.tick_params(colors=_FAINT, labelsize=12, length=0)
    axes.grid(axis="y", color="#404249", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))
    axes.margins(y=0.12)
    axes.use_sticky_edges = False  # otherwise a bar without height would limit the top of the axis
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bars(axes: Axes, series: list[dict[str, Any]]) -> None:
    values = [[value or 0 for value in one["values"]] for one in series]
    ground = [0.0] * len(values[0])
    for one, heights, colour in zip(series, values, itertools.cycle(_COLOURS), strict=False):
        axes.bar(range(len(heights)), heights, bottom=ground, width=0.8, color=colour, label=one["name"])
        ground = [below + height for below, height in zip(ground, heights, strict=True)]
    if all(float(value).is_integer() for value in ground):
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def _lines(axes: Axes, series: list[dict[str, Any]]) -> None:
    for one, colour in zip(series, itertools.cycle(_COLOURS), strict=False):
        values = [float("nan") if value is None else value for value in one["values"]]
        axes.plot(range(len(values)), values, color=colour, linewidth=1.6, marker="o", markersize=4, label=one["name"])


def _legend(axes: Axes, columns: int) -> None:
    """Name the series beside the panel's title, where the names hide nothing."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=columns,
        frameon=False,
        labelcolor=_INK,
        fontsize=12,
        handlelength=1,
        columnspacing=1.2,
        borderpad=0.2,
    )


def _name_steps(axes: Axes, steps: list[str]) -> None:
    """Label the last step, and as many of the others as fit."""
    every = -(-len(steps) // _LABELS)
    shown = range((len(steps) - 1) % every, len(steps), every)
    axes.set_xticks(list(shown), [steps[number] for number in shown])
    axes.set_xlim(-0.6, len(steps) - 0.4)


def main() -> None:
    """Read one chart and write its PNG."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    drawn = figure(json.load(sys.stdin))
    with output:
        drawn.savefig(output, format="png", facecolor=_GROUND)


if __name__ == "__main__":
    main()
