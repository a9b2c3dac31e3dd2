"""A process that draws one sheet of results: a grid over a picture, a family tree, or small pictures with names.

`bot/charts/sheet.py` starts it as `python -m bot.worker.sheet`, because the bot decodes no pictures.
"""

from __future__ import annotations

import io
from collections import defaultdict
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from bot.engine import framing
from bot.worker.answering import serve
from bot.worker.source_type import png_info

_GROUND, _FRAME, _INK, _FAINT, _MARK = "#1e1f22", "#404249", "#f2f3f5", "#a5a8b0", "#56b4e9"
"""The colours of the charts, which look the same in Discord's dark and light themes."""

_GRID_SIDE = 768
"""The longest side of a picture with a grid: large enough to see the cells on a phone."""
_TILE, _ACROSS, _DOWN, _CAPTION, _EDGE = 160, 150, 30, 44, 24
"""Pixels: the side of a picture in a tree, the gaps to its neighbours, the height of its caption, and the border."""
_LETTERS = 18
_PAIRED = 512
"""The longest side of a picture that is compared with another one."""


def grid(picture: PIL.Image.Image, cells: int) -> PIL.Image.Image:
    """The picture with lines between its cells; each cell has its name in its corner, as A1 or D4."""
    scale = _GRID_SIDE / max(picture.size)
    drawn = picture.resize((round(picture.width * scale), round(picture.height * scale)), PIL.Image.Resampling.LANCZOS)
    draw = PIL.ImageDraw.Draw(drawn)
    font = PIL.ImageFont.load_default(max(_LETTERS, drawn.height // 24))
    for row in range(cells):
        for column in range(cells):
            left, top = column * drawn.width // cells, row * drawn.height // cells
            right, bottom = (column + 1) * drawn.width // cells, (row + 1) * drawn.height // cells
            draw.rectangle((left, top, right, bottom), outline="black", width=3)
            draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline="white", width=1)
            name = f"{chr(ord('A') + row)}{column + 1}"
            draw.text((left + 8, top + 6), name, fill="white", font=font, stroke_width=3, stroke_fill="black")
    return drawn


def tree(nodes: list[dict[str, Any]], arrows: list[dict[str, Any]], pictures: list[bytes]) -> PIL.Image.Image:
    """The family: each request stands right of all that it came from, with its picture, its number and its words."""
    columns = _generations([node["number"] for node in nodes], arrows)
    rows: dict[int, int] = defaultdict(int)
    places = {}
    for node in nodes:
        column = columns[node["number"]]
        places[node["number"]] = (
            _EDGE + column * (_TILE + _ACROSS),
            _EDGE + rows[column] * (_TILE + _CAPTION + _DOWN),
        )
        rows[column] += 1
    width = 2 * _EDGE + (max(columns.values()) + 1) * (_TILE + _ACROSS) - _ACROSS
    height = 2 * _EDGE + max(rows.values()) * (_TILE + _CAPTION + _DOWN) - _DOWN
    drawn = PIL.Image.new("RGB", (width, height), _GROUND)
    draw = PIL.ImageDraw.Draw(drawn)
    font, small = PIL.ImageFont.load_default(_LETTERS), PIL.ImageFont.load_default(_LETTERS - 4)
    for arrow in arrows:
        (left, top), (right, bottom) = places[arrow["source"]], places[arrow["result"]]
        start, end = (left + _TILE, top + _TILE // 2), (right, bottom + _TILE // 2)
        middle = (start[0] + _ACROSS // 2, start[1]), (end[0] - _ACROSS // 2, end[1])
        draw.line((start, *middle, end), fill=_FAINT, width=3, joint="curve")
        draw.polygon((end, (end[0] - 12, end[1] - 7), (end[0] - 12, end[1] + 7)), fill=_FAINT)
        draw.text((end[0] - _ACROSS // 2 + 8, end[1] - 22), arrow["words"], fill=_FAINT, font=small)
    for node, picture in zip(nodes, pictures, strict=True):
        left, top = places[node["number"]]
        box = (left, top, left + _TILE, top + _TILE)
        if not picture:
            draw.rectangle(box, fill=_FRAME)
            draw.text((left + _TILE / 2, top + _TILE / 2), node["absent"], fill=_FAINT, font=font, anchor="mm")
        else:
            # One at a time: sixty large pictures do not fit into memory together.
            shown = _open(picture)
            shown.thumbnail((_TILE, _TILE), PIL.Image.Resampling.LANCZOS)
            drawn.paste(shown, (left + (_TILE - shown.width) // 2, top + (_TILE - shown.height) // 2))
        if node["marked"]:
            draw.rectangle((left - 5, top - 5, left + _TILE + 4, top + _TILE + 4), outline=_MARK, width=4)
        draw.text((left, top + _TILE + 6), f"#{node['number']}", fill=_INK, font=font)
        draw.text((left, top + _TILE + 26), node["words"], fill=_FAINT, font=small)
    return drawn


def contact(names: list[str], pictures: list[bytes]) -> PIL.Image.Image:
    """Small pictures in a row, each with its name in its corner."""
    gap = _EDGE // 3
    drawn = PIL.Image.new("RGB", (len(names) * (_TILE + gap) - gap, _TILE), _GROUND)
    draw = PIL.ImageDraw.Draw(drawn)
    font = PIL.ImageFont.load_default(_LETTERS + 6)
    for at, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        left = at * (_TILE + gap)
        if picture:
            shown = _open(picture)
            shown.thumbnail((_TILE, _TILE), PIL.Image.Resampling.LANCZOS)
            drawn.paste(shown, (left + (_TILE - shown.width) // 2, (_TILE - shown.height) // 2))
        else:
            draw.rectangle((left, 0, left + _TILE, _TILE), fill=_FRAME)
        draw.text((left + 8, 6), name, fill="white", font=font, stroke_width=3, stroke_fill="black")
    return drawn


def pairs(pictures: list[bytes]) -> PIL.Image.Image:
    """Two pictures in each row, as large as a phone shows them, with the number of the row between them."""
    rows = len(pictures) // 2
    drawn = PIL.Image.new("RGB", (2 * _PAIRED + _EDGE, rows * (_PAIRED + _EDGE) - _EDGE), _GROUND)
    draw = PIL.ImageDraw.Draw(drawn)
    font = PIL.ImageFont.load_default(2 * _LETTERS)
    for at, picture in enumerate(pictures):
        left, top = at % 2 * (_PAIRED + _EDGE), at // 2 * (_PAIRED + _EDGE)
        shown = _open(picture)
        scale = _PAIRED / max(shown.size)
        shown = shown.resize((round(shown.width * scale), round(shown.height * scale)), PIL.Image.Resampling.LANCZOS)
        drawn.paste(shown, (left + (_PAIRED - shown.width) // 2, top + (_PAIRED - shown.height) // 2))
        if rows > 1:
            name = f"{at // 2 + 1}"
            draw.text((left + 10, top + 6), name, fill="white", font=font, stroke_width=3, stroke_fill="black")
    return drawn


def _generations(numbers: list[int], arrows: list[dict[str, Any]]) -> dict[int, int]:
    """The column of each request: one more than that of its latest source. A source has a smaller number."""
    sources: dict[int, list[int]] = defaultdict(list)
    for arrow in arrows:
        sources[arrow["result"]].append(arrow["source"])
    columns: dict[int, int] = {}
    for number in sorted(numbers):
        columns[number] = max((columns[source] + 1 for source in sources[number]), default=0)
    return columns


def _open(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    """The sheet that was asked for, as PNG."""
    pictures = framing.split(body, order["sizes"])
    if order["kind"] == "grid":
        drawn = grid(_open(pictures[0]), order["cells"])
    elif order["kind"] == "pairs":
        drawn = pairs(pictures)
    elif order["kind"] == "contact":
        drawn = contact(order["names"], pictures)
    else:
        drawn = tree(order["nodes"], order["arrows"], pictures)
    png = io.BytesIO()
    drawn.save(png, "PNG", pnginfo=png_info())
    return png.getvalue()


if __name__ == "__main__":
    serve(_answer)
