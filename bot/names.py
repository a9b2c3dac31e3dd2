"""Which of the names that exist a person probably meant."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 60
"""A name of more characters resembles none."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name with the fewest typing errors between it and `name`; None if no name is near.

    A letter that is missing, added, wrong or exchanged with its neighbour is one error. As rustc does, one error is
    allowed for each three letters of the longer name, and always one.
    """
    typed = name.lower()
    if len(typed) > _LONGEST:
        return None
    ranked = [(errors(typed, each.lower()), number, each) for number, each in enumerate(known)]
    near = [entry for entry in ranked if entry[0] <= max(len(typed), 3) // 3]
    return min(near)[2] if near else None


def errors(one: str, other: str) -> int:
    """The optimal string alignment distance between two names, in time of the product of their lengths."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one):
        earlier, before, row = before, row, [index + 1]
        for at, its in enumerate(other):
            row.append(min(before[at + 1] + 1, row[at] + 1, before[at] + (letter != its)))
            if index and at and letter == other[at - 1] and one[index - 1] == its:
                row[-1] = min(row[-1], earlier[at - 1] + 1)
    return row[-1]
