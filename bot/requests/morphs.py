"""Animations from one prompt or seed to another: how many frames, and what the last one shows. Pure."""

from __future__ import annotations

from dataclasses import replace

from bot.errors import Rejected, UserError
from bot.policy.limits import Limit
from bot.requests.flags import Names, with_flags
from bot.requests.options import Morph, Options
from bot.requests.wording import clean

FRAMES = (2, 24)
"""The fewest and the most frames."""
USUAL_FRAMES = 12


def read_end(options: Options, names: Names | None = None) -> Options:
    """The options of an animation with the flags of its last prompt read; a seed among them is that of the last frame.

    Raises UserError for an animation that makes no sense, and what `with_flags` raises.
    """
    morph = options.morph
    assert morph is not None  # noqa: S101 - it is an animation
    if options.edit is None:
        end = with_flags(replace(options, prompt=morph.prompt, seed=None), None, names)
        seed = morph.seed if end.seed is None else end.seed
        options = replace(end, prompt=options.prompt, seed=options.seed, morph=Morph(morph.frames, end.prompt, seed))
    low, high = FRAMES
    if morph.frames is not None and not low <= morph.frames <= high:
        count = "1 frame" if morph.frames == 1 else f"{morph.frames} frames"
        raise UserError(f"An animation has {low} to {high} frames, and you asked for {count}.")
    if (options.images or 1) != 1 and options.edit is None:
        raise UserError("An animation is one file. Leave out --images and --repeat, and say how many frames it has.")
    return replace(options, images=None)


def ends(morph: Morph, prompt: str, end_prompt: str, seed: int) -> tuple[str, int | None]:
    """The prompt and the seed of the last frame, as a request has them.

    With another prompt the seed stays the same unless the person said one; otherwise it is the next one. Raises
    UserError if nothing would move.
    """
    other = "" if end_prompt == clean(prompt) else end_prompt
    last = morph.seed if morph.seed is not None or other else (seed + 1) % 2**32
    if not other and last == seed:
        raise UserError(
            "Both ends of this animation are the same picture. Say another prompt or another seed for its last frame."
        )
    return other, None if last == seed else last


def frames_of(morph: Morph, size: tuple[int, int], limit: Limit[int] | None, notes: list[str]) -> int:
    """How many frames an animation has, at most as many as the limit of their pixels allows.

    Raises Rejected if not even two frames of this size are allowed.
    """
    asked = USUAL_FRAMES if morph.frames is None else morph.frames
    pixels = size[0] * size[1]
    if limit is None or asked * pixels <= limit.value:
        return asked
    fitting = limit.value // pixels
    if fitting < FRAMES[0]:
        raise Rejected(
            f"The frames of an animation may have up to {limit.value:,} pixels together here "
            f"({limit.origin.reference}), and two of {size[0]}×{size[1]} have {2 * pixels:,}. Ask for a smaller size, "
            "like --ar 128x128.",
            rule="animation",
            origin=str(limit.origin),
            asked=2 * pixels,
            allowed=limit.value,
        )
    notes.append(
        f"frames {asked} became {fitting} (up to {limit.value:,} pixels in all frames: {limit.origin.reference})"
    )
    return fitting
