"""What is offered while a person types a list with commas: only what is accepted when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from discord import app_commands

Choices = list[app_commands.Choice[str]]

MOST = 25
"""Choices that Discord shows at once."""
LONGEST = 100
"""Characters of a choice's name, and of its value."""


def next_of_list(names: Iterable[str], typed: str, accepts: Callable[[str], bool], most: int | None = None) -> Choices:
    """Choices that add one more name to the list, or finish its last one.

    Nothing is offered after an entry that `accepts` would refuse, and no more than `most` entries. A list that is too
    long for a choice is offered without its blanks, and where that is too long as well it is not offered.
    """
    *before, last = (entry.strip() for entry in typed.split(","))
    before = [entry for entry in before if entry]
    if not all(map(accepts, before)) or (most is not None and len(before) >= most):
        return []
    choices: Choices = []
    for name in names:
        if last.lower() not in name:
            continue
        values = (joint.join([*before, name]) for joint in (", ", ","))
        value = next((value for value in values if len(value) <= LONGEST), None)
        if value is not None:
            choices.append(app_commands.Choice(name=value, value=value))
    return choices[:MOST]
