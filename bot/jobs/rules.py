"""The rules of a server: values by what they apply to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """What a moderator's rule applies to."""

    SERVER = "server"
    CHANNEL = "channel"
    ROLE = "role"
    PERSON = "person"


Subject = tuple[Scope, int]
"""A scope and the id of the channel, role or person; the id 0 is the whole server."""

RuleValue = int | str | bool | tuple[int, ...] | tuple[str, ...] | None
"""A number, a time, or a list of what is allowed; None allows everything."""

Book = Mapping[Subject, Mapping[str, RuleValue]]
"""The rules of one server, by subject, then by name."""
