"""What is different in a request that a provider paints: it takes fewer options, and some sizes only. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.config import ModelConfig
from bot.engine.images_api.capabilities import Capabilities, nearest_size
from bot.errors import Rejected
from bot.language import Listed, mark, say, sentence
from bot.policy.limits import Limit
from bot.requests.options import Options

_CALLED = {
    "steps": mark("steps"),
    "guidance_scale": mark("guidance"),
    "sampler": mark("samplers"),
    "seed": mark("seeds"),
    "strength": mark("strength"),
    "negative_prompt": mark("negative prompts"),
}
"""The options that a provider may lack, by what people call them."""


def lacking_of(able: Capabilities | None) -> frozenset[str]:
    """The options that a model does not take, because a provider paints with it; none for a model of this machine."""
    return frozenset() if able is None else frozenset(_CALLED) - able.options


def without_lacking(
    options: Options, read: Options, model: ModelConfig, able: Capabilities, notes: list[str]
) -> Options:
    """The options without those that a model of a provider does not take; one note names those that the person typed.

    `read` is what the person typed; what a control copied from another result is left out without a word. A seed stays,
    because it tells the pictures apart here.
    """
    lacking = [name for name in _CALLED if name in lacking_of(able)]
    typed = [_CALLED[name] for name in lacking if getattr(read, name) is not None] if read.edit is None else []
    if typed:
        notes.append(
            say(
                "{provider} paints {model} without {names}, so that was left out",
                provider=model.provider,
                model=model.name,
                names=Listed([sentence(name) for name in typed]),
            )
        )
    changes: dict[str, Any] = {name: None for name in lacking if name != "seed"}
    return replace(options, **changes)


def fitted_size(
    width: int, height: int, model: ModelConfig, able: Capabilities, limit: Limit[int] | None, notes: list[str]
) -> tuple[int, int]:
    """The nearest size that a model of a provider paints. Raises Rejected if that has more pixels than are allowed."""
    size = nearest_size(able, width, height)
    if limit is not None and size[0] * size[1] > limit.value:
        raise Rejected(
            sentence(
                "Pictures may have up to {most:,} pixels here ({origin}), and the model {model} paints {size}.",
                most=limit.value,
                origin=limit.origin.reference,
                model=model.name,
                size=f"{size[0]}×{size[1]}",
            ),
            rule="pixels",
            origin=str(limit.origin),
            asked=size[0] * size[1],
            allowed=limit.value,
        )
    if size != (width, height):
        notes.append(
            say(
                "size {asked} became {size}, the nearest that {model} paints",
                asked=f"{width}×{height}",
                size=f"{size[0]}×{size[1]}",
                model=model.name,
            )
        )
    return size


def most_images(able: Capabilities | None, bounds: Sequence[int]) -> tuple[int, int]:
    """The fewest and the most pictures of one request."""
    return bounds[0], bounds[1] if able is None else min(bounds[1], able.images)
