"""What a model can do with a picture, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from bot.jobs import Operation
from bot.language import Listed, Sentence, mark, sentence


class Enlarging(Enum):
    """The three ways to enlarge a picture, the best first; the first that is there is taken."""

    OWN = "the model's own network"
    HOST = "the host's network"
    REPAINT = "painting it over at twice the size"


_WORDS: Mapping[Operation, str] = {
    Operation.TEXT2IMAGE: mark("paint from words alone"),
    Operation.IMAGE2IMAGE: mark("start from a picture"),
    Operation.BLEND: mark("blend pictures"),
    Operation.INPAINT: mark("repaint a part of a picture"),
    Operation.OUTPAINT: mark("continue a picture beyond its edges"),
    Operation.UPSCALE: mark("enlarge a picture"),
    Operation.MORPH: mark("animate from one prompt to another"),
    Operation.FILM: mark("paint films from words"),
    Operation.IMAGE2FILM: mark("paint films that begin with a picture"),
}


def refusal(model: str, operation: Operation, abilities: Collection[Operation], others: Sequence[str]) -> Sentence:
    """Why a request is refused for an operation that its model lacks: what the model can do, and which others can."""
    able = [sentence(words) for each, words in _WORDS.items() if each in abilities]
    there_is = sentence("I know of nothing that this model can do.")
    if able:
        there_is = sentence("It can {abilities}.", abilities=Listed(able))
    instead = sentence("No other model here can.")
    if others:
        instead = sentence("These can: {models}.", models=", ".join(others))
    return sentence(
        "The model {model} cannot {operation}. {abilities} {others}",
        model=model,
        operation=sentence(_WORDS[operation]),
        abilities=there_is,
        others=instead,
    )
