"""A table in Markdown and charts in SVG, written by hand: two small functions instead of a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

Points = Sequence[tuple[float, float]]

_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#9c6b4e")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 460, 300, 56, 44, 34


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)])


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines and dots over two axes that start at zero."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    dots: Mapping[str, Points] = field(default_factory=dict)


def svg(charts: Sequence[Chart]) -> str:
    """The charts side by side, as one SVG file."""
    width = _WIDTH * len(charts)
    drawn = "".join(f'<g transform="translate({_WIDTH * n},0)">{_draw(chart)}</g>' for n, chart in enumerate(charts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>{drawn}</svg>\n'
    )


def _draw(chart: Chart) -> str:
    series = [*chart.lines.items(), *chart.dots.items()]
    points = [point for _, some in series for point in some] or [(1.0, 1.0)]
    right, top = (_round_up(max(point[axis] for point in points)) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (_WIDTH - _LEFT - 16) * x / right,
            _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * y / top,
        )

    parts = [_words(_WIDTH / 2, 18, chart.title, "middle"), _words(_WIDTH / 2, _HEIGHT - 8, chart.x, "middle")]
    parts.append(f'<g transform="rotate(-90 12 {_HEIGHT / 2})">{_words(12, _HEIGHT / 2, chart.y, "middle")}</g>')
    for quarter in range(5):
        (x, _), (_, y) = place(right * quarter / 4, 0), place(0, top * quarter / 4)
        parts += [_path([(x, _TOP), (x, _HEIGHT - _BOTTOM)], "#ddd"), _path([(_LEFT, y), (_WIDTH - 16, y)], "#ddd")]
        parts.append(_words(x, _HEIGHT - _BOTTOM + 14, f"{right * quarter / 4:g}", "middle"))
        parts.append(_words(_LEFT - 6, y + 4, f"{top * quarter / 4:g}", "end"))
    for number, (name, some) in enumerate(series):
        colour, places = _COLOURS[number % len(_COLOURS)], [place(x, y) for x, y in some]
        if name in chart.lines:
            parts.append(_path(places, colour))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places if len(some) < 20]
        parts.append(_words(_WIDTH - 20, _TOP + 12 + 14 * number, name, "end", colour))
    return "".join(parts)


def _round_up(value: float) -> float:
    """The next number above that reads well on an axis."""
    unit = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= value)


def _path(places: Points, colour: str) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none" stroke="{colour}"/>'


def _words(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
