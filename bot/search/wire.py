"""What goes through the pipe between the bot and the process that searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from bot.search.queries import Condition, Query


@dataclass(frozen=True, slots=True)
class Hit:
    """A result that was found, and why."""

    job_id: int
    words: tuple[str, ...] = ()
    """Words of the query that are in its prompt or its tags."""
    parts: tuple[str, ...] = ()
    """Those that are only parts of words there."""
    related: tuple[str, ...] = ()
    """Words there that are related to a word of the query."""
    meaning: float = 0.0
    """How near its meaning is, as a cosine; 0 if it was not found by that."""
    likes: int = 0
    dislikes: int = 0
    picture: int = 1
    """The number of the picture that was found."""
    bits: int | None = None
    """In how many bits of 64 the hash of that picture differs, if these are few."""
    likeness: float = 0.0
    """How near that picture looks, as a cosine; 0 if it was not found by that."""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The opposite of `as_data`."""
        values: dict[str, Any] = dict(data)
        return cls(**values | {name: tuple(data[name]) for name in ("words", "parts", "related")})

    def as_data(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def query_as_data(query: Query) -> dict[str, Any]:
    """A query as JSON can hold it."""
    return asdict(query)


def query_from_data(data: dict[str, Any]) -> Query:
    """The opposite of `query_as_data`."""
    return Query(
        data["text"],
        tuple(data["terms"]),
        tuple(data["phrases"]),
        tuple(data["without"]),
        tuple(Condition(**condition) for condition in data["conditions"]),
    )
