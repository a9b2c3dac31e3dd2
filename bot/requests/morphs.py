"""Animations from one prompt or seed to another, and films: how many frames, and what the last one shows. Pure."""

from __future__ import annotations

from dataclasses import replace

from bot.errors import Rejected, UserError
from bot.language import say, sentence, sentence_many
from bot.policy.limits import Limit
from bot.requests.flags import Names, with_flags
from bot.requests.options import Morph, Options
from bot.requests.wording import clean

FRAMES = (2, 24)
"""The fewest and the most frames."""
USUAL_FRAMES = 12
FILM_FRAMES = (9, 121)
"""The fewest and the most frames of a film by a model for videos."""
USUAL_FILM_FRAMES = 25
_GROUP = 8
"""The models for videos paint so many frames in one latent, and the first one alone, so films have 8n + 1 frames."""
_SIDE = 32
"""The sides of a film are multiples of this: of the pixels of a patch of the coarsest of these models."""


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
        asked = sentence_many("1 frame", "{count} frames", morph.frames)
        raise UserError(
            "An animation has {low} to {high} frames, and you asked for {asked}.", low=low, high=high, asked=asked
        )
    return one_file(options)


def one_file(options: Options) -> Options:
    """The options of an animation or a film without a number of pictures; raises UserError if the person gave one."""
    if (options.images or 1) != 1:
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


def film_size(width: int, height: int) -> tuple[int, int]:
    """The size of a film, near the one that was asked for: its sides are multiples of 32."""
    return max(width // _SIDE, 1) * _SIDE, max(height // _SIDE, 1) * _SIDE


def film_frames(asked: int, size: tuple[int, int], limit: Limit[int] | None, notes: list[str]) -> int:
    """How many frames a film has: 8n + 1 near what was asked for, and at most as many as the limit allows.

    Raises UserError for a number that is out of range, and Rejected as `frames_of` does.
    """
    low, high = FILM_FRAMES
    if asked and not low <= asked <= high:
        raise UserError(
            "A film has {low} to {high} frames, and you asked for {asked}.", low=low, high=high, asked=asked
        )
    wanted = asked or USUAL_FILM_FRAMES
    frames = round((wanted - 1) / _GROUP) * _GROUP + 1
    if frames != wanted:
        notes.append(
            say("frames {asked} became {frames} (films have 9, 17, 25 and so on)", asked=wanted, frames=frames)
        )
    fitting = _fitting(frames, size, limit, low, notes)
    return (fitting - 1) // _GROUP * _GROUP + 1


def frames_of(morph: Morph, size: tuple[int, int], limit: Limit[int] | None, notes: list[str]) -> int:
    """How many frames an animation has, at most as many as the limit of their pixels allows.

    Raises Rejected if not even the fewest frames of this size are allowed.
    """
    return _fitting(USUAL_FRAMES if morph.frames is None else morph.frames, size, limit, FRAMES[0], notes)


def _fitting(asked: int, size: tuple[int, int], limit: Limit[int] | None, fewest: int, notes: list[str]) -> int:
    pixels = size[0] * size[1]
    if limit is None or asked * pixels <= limit.value:
        return asked
    fitting = limit.value // pixels
    if fitting < fewest:
        raise Rejected(
            sentence(
                "The frames of an animation may have up to {most:,} pixels together here ({origin}), and {fewest} of "
                "{size} have {pixels:,}. Ask for a smaller size, like --ar 128x128.",
                most=limit.value,
                origin=limit.origin.reference,
                fewest=fewest,
                size=f"{size[0]}×{size[1]}",
                pixels=fewest * pixels,
            ),
            rule="animation",
            origin=str(limit.origin),
            asked=fewest * pixels,
            allowed=limit.value,
        )
    notes.append(
        say(
            "frames {asked} became {frames} (up to {most:,} pixels in all frames: {origin})",
            asked=asked,
            frames=fitting,
            most=limit.value,
            origin=limit.origin.reference,
        )
    )
    return fitting
