"""Presets that a server's ratings choose: which one a request is painted with, and whether that helps.

A preset is a style without words: it sets the sampler, the steps or the guidance. If moderators let ratings choose,
a request that leaves all of these open is painted with one of the presets or with the usual settings, by Thompson
sampling: for each of them a share of likes is drawn from its posterior, and the largest one wins. So what is liked
better is painted more often, and what is little known is still tried. From W. R. Thompson, Biometrika 25 (1933),
https://doi.org/10.1093/biomet/25.3-4.285; as here in Russo et al., https://arxiv.org/abs/1707.02038, algorithm 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from bot.jobs import Book
from bot.language import mark
from bot.policy.limits import SERVER
from bot.requests.options import Choice, Options
from bot.search.quality import interval
from bot.storage.presets import Arm, Received
from bot.storage.styles import PLACE, Style

RULE = "presets"
"""The name of the rule that lets ratings choose; its value are the names of the presets."""
MOST = 8
"""Presets among which ratings choose: more are not told apart in a reasonable time."""
CONTROL = 0.2
"""The share of requests that get the usual settings by lot, so that the statistics can say whether choosing helps."""

SETS = ("sampler", "steps", "guidance_scale")
"""What a preset may set."""
_LEFT_OPEN = (*SETS, "seed", "style", "lora", "image", "control", "draft")
"""What a person leaves open where ratings choose: a request with a seed is meant to be painted as before."""


@dataclass(frozen=True, slots=True)
class Presets:
    """The presets of a server, and how the results that were chosen by lot are liked, by model and preset."""

    names: tuple[str, ...] = ()
    received: Mapping[tuple[str, Arm], Received] = field(default_factory=dict)


NO_PRESETS = Presets()


def presets_of(book: Book) -> tuple[str, ...]:
    """The names of the presets among which a server's ratings choose; none if that is off."""
    names = book.get(SERVER, {}).get(RULE)
    return tuple(map(str, names)) if isinstance(names, tuple) else ()


def objection(style: Style) -> str | None:
    """Why a style is no preset, as a message with the fields `style` and `preset`; None if it is one."""
    if style.prompt != PLACE or style.negative_prompt:
        return mark(
            "The style {style} has words, and ratings never change the words of a request. {preset} Nothing was "
            "changed."
        )
    if style.aspect is not None or style.lora is not None:
        return mark(
            "The style {style} sets a shape or LoRAs, which change what people asked for. {preset} Nothing was changed."
        )
    if all(getattr(style, name) is None for name in SETS):
        return mark("The style {style} sets neither a sampler, nor steps, nor guidance. {preset} Nothing was changed.")
    return None


def choose(
    presets: Presets, options: Options, styles: Mapping[str, Style], model: str, rng: Random | None = None
) -> Choice | None:
    """How a request by a model is painted; None if nothing is chosen for it.

    `options` are what the person typed. A request that is quoted a second time keeps its choice.
    """
    arms = [
        styles[name]
        for name in presets.names
        if name in styles and objection(styles[name]) is None and styles[name].model in (None, model)
    ]
    if not arms or options.edit is not None or options.blended:
        return None
    if options.choice is not None:
        return options.choice if options.choice.style in ("", *(style.name for style in arms)) else None
    if any(getattr(options, name) not in (None, False) for name in _LEFT_OPEN):
        return None
    rng = rng or Random()
    if rng.random() < CONTROL:
        return Choice("", is_control=True)
    known = [Arm(), *(Arm(style.name, style.version) for style in arms)]
    return Choice(draw({arm: presets.received.get((model, arm), Received()) for arm in known}, rng).style)


def draw(arms: Mapping[Arm, Received], rng: Random) -> Arm:
    """One step of Thompson sampling: the arm with the largest draw of its posterior Beta(1 + likes, 1 + dislikes)."""
    return max(arms, key=lambda arm: rng.betavariate(1 + arms[arm].likes, 1 + arms[arm].dislikes))


def difference(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares, each with the number of its people.

    Newcombe's hybrid score interval, method 10 of R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890. A person
    may be in both groups; what they have in common makes the interval wider than needed.
    """
    (low1, high1), (low2, high2) = interval(*one), interval(*other)
    middle = one[0] - other[0]
    below = math.hypot(one[0] - low1, high2 - other[0])
    above = math.hypot(high1 - one[0], other[0] - low2)
    return middle - below, middle + above


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """Names that a moderator typed, each once, in order."""
    return tuple(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
