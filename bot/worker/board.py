"""A process that draws one file of a storyboard: a grid, a sheet with words, a PDF, or an animation.

`bot/charts/board.py` starts it as `python -m bot.worker.board`, because the bot decodes no pictures.
"""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps

from bot.engine import framing
from bot.worker.answering import serve
from bot.worker.lettering import font, lines_of
from bot.worker.source_type import NOTE, XMP, png_info

_GROUND, _FRAME, _INK, _FAINT = "#1e1f22", "#404249", "#f2f3f5", "#a5a8b0"
_CELL, _GAP, _LETTERS = 320, 12, 18
"""Pixels: the longest side of a panel in a grid, the gap between panels, and the height of letters."""
_LINES = 3
"""The most lines of words under a panel."""
_PAGE = 1000
"""The longest side of a panel in a file with one panel at a time."""


def grid(panels: list[tuple[int, str, bytes]], title: str = "", *, with_words: bool = False) -> PIL.Image.Image:
    """The panels in rows, each with its number; with words below them and the title above, if that is wanted."""
    columns = min(len(panels), 2 if len(panels) <= 4 else 3 if len(panels) <= 6 else 4)
    rows = -(-len(panels) // columns)
    pictures = [_fitting(picture, _CELL) for _, _, picture in panels]
    height = max((picture.height for picture in pictures if picture is not None), default=_CELL)
    caption = _LINES * (_LETTERS + 4) + 6 if with_words else 0
    head = 3 * _LETTERS if title else 0
    size = columns * (_CELL + _GAP) + _GAP, head + rows * (height + caption + _GAP) + _GAP
    drawn = PIL.Image.new("RGB", size, _GROUND)
    draw = PIL.ImageDraw.Draw(drawn)
    if title:
        letters = font(2 * _LETTERS - 8)
        line = "".join(lines_of(title, letters, size[0] - 2 * _GAP, 1))
        draw.text((_GAP, _GAP), line, fill=_INK, font=letters)
    for at, ((number, words, _), picture) in enumerate(zip(panels, pictures, strict=True)):
        left = _GAP + at % columns * (_CELL + _GAP)
        top = head + _GAP + at // columns * (height + caption + _GAP)
        if picture is None:
            draw.rectangle((left, top, left + _CELL, top + height), fill=_FRAME)
        else:
            drawn.paste(picture, (left + (_CELL - picture.width) // 2, top + (height - picture.height) // 2))
        place = (left + 10, top + 6)
        draw.text(place, f"{number}", fill="white", font=font(2 * _LETTERS), stroke_width=3, stroke_fill="black")
        if with_words:
            lines = lines_of(words, font(_LETTERS), _CELL, _LINES)
            draw.text((left, top + height + 4), "\n".join(lines), fill=_INK, font=font(_LETTERS), spacing=4)
    return drawn


def _page(number: int, words: str, picture: PIL.Image.Image) -> PIL.Image.Image:
    """One panel with its words below it, on white, for a PDF."""
    lines = lines_of(f"{number}. {words}", font(24), picture.width, 4)
    drawn = PIL.Image.new("RGB", (picture.width + 80, picture.height + 80 + 30 * len(lines)), "white")
    drawn.paste(picture, (40, 40))
    text = "\n".join(lines)
    PIL.ImageDraw.Draw(drawn).text((40, picture.height + 56), text, fill="black", font=font(24), spacing=6)
    return drawn


def _fitting(data: bytes, side: int) -> PIL.Image.Image | None:
    """A picture whose longer side has so many pixels; None if there is none."""
    if not data:
        return None
    picture = PIL.Image.open(io.BytesIO(data)).convert("RGB")
    scale = side / max(picture.size)
    return picture.resize(
        (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)), PIL.Image.Resampling.LANCZOS
    )


_MEDIA_TYPES = {"sheet": "image/png", "webp": "image/webp", "gif": "image/gif"}
"""What can be signed. c2pa writes no manifest into a PDF."""


def _answer(order: dict[str, Any], body: bytes) -> bytes:
    """The file that was asked for, signed if it can be."""
    made, kind = _drawn(order, body), _MEDIA_TYPES.get(order["kind"])
    if kind is None or order["signing"] is None:
        return made
    # It takes a moment to import.
    from bot.worker import manifest

    return manifest.signed(made, kind, order["signing"], order["model"], {})


def _drawn(order: dict[str, Any], body: bytes) -> bytes:
    pictures = framing.split(body, order["sizes"])
    panels = list(zip(order["numbers"], order["words"], pictures, strict=True))
    buffer, kind = io.BytesIO(), order["kind"]
    if kind in ("grid", "sheet"):
        drawn = grid(panels, order["title"], with_words=True) if kind == "sheet" else grid(panels)
        drawn.save(buffer, "PNG", pnginfo=png_info())
        return buffer.getvalue()
    shown = [(number, words, _fitting(data, _PAGE)) for number, words, data in panels if data]
    if kind == "pdf":
        pages = [_page(number, words, picture) for number, words, picture in shown if picture is not None]
        facts = {"title": order["title"], "creator": "Atelier", "keywords": NOTE}
        pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=100.0, **facts)
        return buffer.getvalue()
    # All frames have the size of the first; one of another shape gets bars at its sides.
    frames = [picture for _, _, picture in shown if picture is not None]
    size = frames[0].size if kind == "webp" else (frames[0].width // 2, frames[0].height // 2)
    frames = [PIL.ImageOps.pad(frame, size, color=_GROUND) for frame in frames]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "loop": 0}
    options |= {"xmp": XMP.encode()} if kind == "webp" else {"comment": NOTE}
    frames[0].save(buffer, kind.upper(), duration=round(1000 * order["seconds"]), **options)
    return buffer.getvalue()


if __name__ == "__main__":
    serve(_answer)
