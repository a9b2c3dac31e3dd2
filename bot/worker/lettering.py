"""Letters on sheets: a font for the languages of Europe, and words in lines of so many pixels."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import PIL.ImageFont

Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """A font whose letters are so many pixels high.

    It is DejaVu Sans, which comes with matplotlib: it has the letters of Latin, Greek, Cyrillic and more. Pillow's own
    font has those of English alone. Neither has those of Chinese, Japanese and Korean.
    """
    # Found and not imported: that takes long.
    matplotlib = importlib.util.find_spec("matplotlib")
    folder = Path() if matplotlib is None or matplotlib.origin is None else Path(matplotlib.origin).parent
    file = folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return PIL.ImageFont.truetype(file, size) if file.is_file() else PIL.ImageFont.load_default(size)


def lines_of(text: str, letters: Font, width: float, most: int) -> list[str]:
    """A text in at most so many lines of at most `width` pixels; where more would be needed, the last ends in "…"."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < most:
        count = _fitting(rest, letters, width)
        if count < len(rest) and (blank := rest.rfind(" ", 0, count + 1)) > 0:
            count = blank
        lines.append(rest[:count])
        rest = rest[count:].lstrip()
    if rest:
        while len(lines[-1]) > 1 and letters.getlength(f"{lines[-1]} …") > width:
            lines[-1] = lines[-1][:-1].rstrip()
        lines[-1] += " …"
    return lines


def _fitting(text: str, letters: Font, width: float) -> int:
    """How many characters of a text fit into so many pixels, at least one."""
    length, count = 0.0, 0
    for count, letter in enumerate(text):
        length += letters.getlength(letter)
        if length > width:
            return max(count, 1)
    return count + 1
