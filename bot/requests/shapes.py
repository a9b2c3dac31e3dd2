"""The width and the height of what is painted: from an aspect, a size or a picture, within the limits. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from bot.config import ModelConfig
from bot.errors import Rejected, UserError, quoted
from bot.jobs import Upload
from bot.language import say, sentence
from bot.policy.limits import Limit
from bot.requests.options import Options

RATIOS = (0.25, 4.0)
ASPECTS = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16")
_SHAPE_AT_MOST = 40
"""No picture is so small: 16x9 is meant as the shape 16:9."""
_SIZE = re.compile(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", re.IGNORECASE)
_BARE = re.compile(r"(?<![\w.:/×-])(\d{1,4})\s?([x×:])\s?(\d{1,4})(?![\w:/×-]|\.\w)", re.IGNORECASE)
_EDGES = ",;.()[]，、。"
"""What a phrase of a prompt stands between."""
_LEAST_BARE = 256
"""Numbers among words that are as large as this are a size; less may be the number of some things."""
_ASPECT = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)\s*:\s*(\d{1,4}(?:\.\d{1,4})?)")


def check_aspect(aspect: str, model: ModelConfig) -> None:
    """Raise UserError if `aspect` is neither a shape such as 16:9 nor a size such as 768x512."""
    if not _SIZE.fullmatch(aspect.strip()):
        aspect_size(aspect, model)


def aspect_size(aspect: str, model: ModelConfig) -> tuple[int, int]:
    """Width and height in pixels of an aspect such as 16:9, with about the area that the model paints best.

    Raises UserError if `aspect` is not an aspect.
    """
    return _shaped(_ratio(aspect, model), model)


def _shaped(ratio: float, model: ModelConfig) -> tuple[int, int]:
    ratio = min(max(ratio, RATIOS[0]), RATIOS[1])
    area = model.width * model.height
    # Large models were trained on multiples of 64; a small one would have no shapes left to choose from.
    grid = 64 if min(model.width, model.height) >= 512 else 8
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    return tuple(max(grid, round(side / grid) * grid) for side in (width, height))  # type: ignore[return-value]


def _ratio(aspect: str, model: ModelConfig) -> float:
    match = _ASPECT.fullmatch(aspect.strip())
    if not match or not all(float(part) for part in match.groups()):
        raise UserError(
            "{typed} is neither a shape like 16:9 nor a size like {width}x{height}.",
            typed=quoted(aspect),
            width=model.width,
            height=model.height,
        )
    return float(match[1]) / float(match[2])


def bare_shape(prompt: str) -> str:
    """A shape or a size that stands among the words of a prompt, where it changes nothing; empty without one."""
    for match in _BARE.finditer(prompt):
        width, sign, height = match.groups()
        shape = f"{width}:{height}"
        # 9:16 may be a time, 3:2 a verse or a score.
        is_meant = sign != ":" or shape == "16:9" or _is_alone(prompt, match)
        if is_meant and shape in ASPECTS and width != height:
            return shape
        if min(int(width), int(height)) >= _LEAST_BARE:
            return f"{width}x{height}"
    return ""


def _is_alone(prompt: str, match: re.Match[str]) -> bool:
    """Whether what was found is a whole phrase of a prompt, or comes after the word "ratio"."""
    before, after = prompt[: match.start()].rstrip(), prompt[match.end() :].lstrip()
    return before.lower().endswith("ratio") or (before[-1:] in _EDGES and after[:1] in _EDGES)


def size_of(options: Options, model: ModelConfig, notes: list[str]) -> tuple[int, int]:
    """The size of a request: as it was asked for, as its picture has it, or the usual one of the model.

    Raises UserError for an aspect that cannot be understood, or a picture that would become too long.
    """
    aspect, guide = options.aspect, options.image or options.control
    if aspect is None:
        return (model.width, model.height) if guide is None else _shaped(_canvas_ratio(options, guide), model)
    match = _SIZE.fullmatch(aspect.strip())
    if match is None:
        width, height = aspect_size(aspect, model)
        if not RATIOS[0] <= _ratio(aspect, model) <= RATIOS[1]:
            notes.append(
                say(
                    "shape {shape} became {width}×{height} (shapes go from 1:4 to 4:1)",
                    shape=aspect.strip(),
                    width=width,
                    height=height,
                )
            )
        return width, height
    asked = int(match[1]), int(match[2])
    if min(asked) > 0 and max(asked) <= _SHAPE_AT_MOST:
        return size_of(replace(options, aspect=f"{asked[0]}:{asked[1]}"), model, notes)
    native = max(model.width, model.height)
    low, high = max(8, native // 2 // 8 * 8), native * 2
    # A size from elsewhere keeps its shape as far as possible.
    scale = min(1.0, high / max(*asked, 1))
    scale = max(scale, low / max(min(asked), 1)) if scale == 1 else scale
    width, height = (min(max(round(side * scale / 8) * 8, low), high) for side in asked)
    if (width, height) != asked:
        notes.append(
            say(
                "size {asked} became {width}×{height} (the model {model} paints sides of {low} to {high} pixels, in "
                "steps of 8)",
                asked=f"{asked[0]}×{asked[1]}",
                width=width,
                height=height,
                model=model.name,
                low=low,
                high=high,
            )
        )
    return width, height


def _canvas_ratio(options: Options, guide: Upload) -> float:
    """The width by the height of what is painted: of the guiding picture, with what is added around it."""
    left, upper, right, lower = options.edit.margins if options.edit else (0.0, 0.0, 0.0, 0.0)
    ratio = guide.width * (1 + left + right) / (guide.height * (1 + upper + lower))
    if options.edit and any(options.edit.margins) and not RATIOS[0] <= ratio <= RATIOS[1]:
        raise UserError("The picture would become too long: shapes go only from 1:4 to 4:1. Extend another side.")
    return ratio


def smaller(width: int, height: int, model: ModelConfig, limit: Limit[int], notes: list[str]) -> tuple[int, int]:
    """The size, scaled down to the limit of pixels. Raises Rejected if the model cannot paint that small."""
    if width * height <= limit.value:
        return width, height
    scale = math.sqrt(limit.value / (width * height))
    small = [int(side * scale) // 8 * 8 for side in (width, height)]
    least = max(8, min(model.width, model.height) // 4 // 8 * 8)
    if min(small) < least:
        raise Rejected(
            sentence(
                "Pictures may have up to {most:,} pixels here ({origin}), and the model {model} cannot paint such "
                "small ones.",
                most=limit.value,
                origin=limit.origin.reference,
                model=model.name,
            ),
            rule="pixels",
            origin=str(limit.origin),
            asked=width * height,
            allowed=limit.value,
        )
    notes.append(
        say(
            "size {asked} became {width}×{height} (up to {most:,} pixels: {origin})",
            asked=f"{width}×{height}",
            width=small[0],
            height=small[1],
            most=limit.value,
            origin=limit.origin.reference,
        )
    )
    return small[0], small[1]
