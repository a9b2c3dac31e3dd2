"""Where the values of a request come from that its person did not type: their own defaults, then those of the place.

The order is flag, option, the style that one of them names, the person's own default, the channel's, the server's, the
model's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.jobs import Book, ChannelId, RuleValue, Scope, Subject
from bot.language import mark, say
from bot.policy.limits import SERVER
from bot.requests.options import Options, table

NAMES = ("images", "aspect", "model")
"""What can have a default."""
RULES = {name: f"default_{name}" for name in NAMES}
"""The name of the rule that gives a server or a channel each default."""


class Source(StrEnum):
    """Where a value comes from."""

    FLAG = "flag"
    OPTION = "option"
    STYLE = "style"
    LEARNED = "learned"
    """The ratings of the server chose it."""
    CONTROL = "control"
    """The lot chose it, to compare with what ratings choose."""
    MINE = "mine"
    CHANNEL = "channel"
    SERVER = "server"
    MODEL = "model"
    """The model's default, or chance for the seed."""


_UNUSABLE = {
    Source.MINE: mark("your default model {model} cannot be used here now"),
    Source.CHANNEL: mark("the channel's default model {model} cannot be used here now"),
    Source.SERVER: mark("the server's default model {model} cannot be used here now"),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What one source gives where the person typed nothing; None where it says nothing."""

    source: Source
    images: int | None = None
    aspect: str | None = None
    model: str | None = None


def of_place(book: Book, where: Sequence[ChannelId]) -> list[Defaults]:
    """What the moderators' rules give in a channel, the strongest first: the thread, its channel, the server."""
    places: list[Subject] = [*((Scope.CHANNEL, channel_id) for channel_id in where), SERVER]
    return [_read(subject, book[subject]) for subject in places if subject in book]


def _read(subject: Subject, rules: Mapping[str, RuleValue]) -> Defaults:
    images, aspect, model = (rules.get(RULES[name]) for name in NAMES)
    return Defaults(
        Source.SERVER if subject == SERVER else Source.CHANNEL,
        images if isinstance(images, int) else None,
        aspect if isinstance(aspect, str) else None,
        model if isinstance(model, str) else None,
    )


def with_defaults(
    options: Options, layers: Sequence[Defaults], models: Collection[str]
) -> tuple[Options, dict[str, Source], list[str]]:
    """The options filled from `layers`, the first of which wins; the sources of what was filled; and notes.

    A default model that is not among `models` is left out, and a note says so. A picture to start from decides the
    shape, so then no default does. What a control under a picture asks for is filled by nothing.
    """
    filled: dict[str, Source] = {}
    notes: list[str] = []
    if options.edit is not None:
        return options, filled, notes
    is_shaped = options.image is not None or options.control is not None
    for layer in layers:
        for name in NAMES:
            value = getattr(layer, name)
            if value is None or getattr(options, name) is not None or (name == "aspect" and is_shaped):
                continue
            if name == "model" and value not in models:
                notes.append(say(_UNUSABLE[layer.source], model=value))
                continue
            options = replace(options, **{name: value})
            filled[name] = layer.source
    return options, filled, notes


def sources(given: Options, read: Options, filled: dict[str, Source]) -> dict[str, Source]:
    """Where the value of each option comes from.

    `given` are the options before the flags in the prompt were read, `read` those after it, without defaults.
    """
    found = {}
    for option in table(type(given)):
        before, after = getattr(given, option.name), getattr(read, option.name)
        if option.name in filled:
            found[option.name] = filled[option.name]
        elif after is None:
            found[option.name] = Source.MODEL
        else:
            found[option.name] = Source.OPTION if after == before else Source.FLAG
    return found
