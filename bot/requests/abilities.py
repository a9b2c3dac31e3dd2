"""What a model can do with a picture, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from bot.jobs import Operation


class Enlarging(Enum):
    """The three ways to enlarge a picture, the best first; the first that is there is taken."""

    OWN = "the model's own network"
    HOST = "the host's network"
    REPAINT = "painting it over at twice the size"


_WORDS: Mapping[Operation, str] = {
    Operation.TEXT2IMAGE: "paint from words alone",
    Operation.IMAGE2IMAGE: "start from a picture",
    Operation.BLEND: "blend pictures",
    Operation.INPAINT: "repaint a part of a picture",
    Operation.OUTPAINT: "continue a picture beyond its edges",
    Operation.UPSCALE: "enlarge a picture",
    Operation.MORPH: "animate from one prompt to another",
    Operation.FILM: "paint films from words",
    Operation.IMAGE2FILM: "paint films that begin with a picture",
}


def refusal(model: str, operation: Operation, abilities: Collection[Operation], others: Sequence[str]) -> str:
    """Why a request is refused for an operation that its model lacks: what the model can do, and which others can."""
    able = [words for each, words in _WORDS.items() if each in abilities]
    there_is = f"It can {_listed(able)}." if able else "It can do nothing that is known."
    instead = f"These can: {', '.join(others)}." if others else "No other model here can."
    return f"The model {model} cannot {_WORDS[operation]}. {there_is} {instead}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
