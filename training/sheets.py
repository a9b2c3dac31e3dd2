"""Contact sheets: many pictures in one, each with its caption."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def sheet(pictures: Tensor, captions: Sequence[str], across: int = 6) -> Image.Image:
    """Return pictures [n, 3, h, w] in rows of `across`, each with its caption below."""
    side, line, room = pictures.shape[-1], 12, 8
    font = ImageFont.load_default(size=10)
    cell, tall = side + room, side + 2 * line + room
    board = Image.new("RGB", (across * cell + room, math.ceil(len(pictures) / across) * tall + room), "white")
    pen = ImageDraw.Draw(board)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = room + number % across * cell, room + number // across * tall
        values = (picture.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
        board.paste(Image.fromarray(np.ascontiguousarray(values)), (x, y))
        pen.rectangle((x - 1, y - 1, x + side, y + side), outline=(225, 225, 225))
        for row, words in enumerate(_lines(caption, lambda text: pen.textlength(text, font=font) <= side)[:2]):
            pen.text((x + side / 2, y + side + 2 + row * line), words, fill=(40, 40, 40), font=font, anchor="ma")
    return board


def _lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Return a text in lines that fit, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer) or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
