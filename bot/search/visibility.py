"""Who may find which result: one decision, which `entries.py` makes for all results at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from bot.jobs import Job, JobStatus


class Scope(StrEnum):
    """Among which results a person searches."""

    MINE = "mine"
    PUBLIC = "public"
    SERVER = "server"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides who may find a result; the ids are Discord's."""

    guild_id: int
    channel_id: int
    user_id: int
    is_posted: bool
    """Whether its message shows it."""
    is_there: bool = True
    """Whether its pictures and its words are there: neither was deleted."""

    @classmethod
    def of(cls, job: Job, *, has_pictures: bool, is_replaced: bool) -> Self:
        """The facts of a job as it is now; `is_replaced` is whether its message shows another in its place."""
        return cls(
            job.requester.guild_id,
            job.destination.channel_id,
            job.requester.user_id,
            job.status is JobStatus.DELIVERED and not is_replaced,
            has_pictures and job.forgotten_at is None,
        )


@dataclass(frozen=True, slots=True)
class Seer:
    """A person who searches, what they may read, and where they search."""

    user_id: int
    guild_id: int
    scope: Scope = Scope.PUBLIC
    readable: frozenset[int] = frozenset()
    """The channels and threads of the server whose messages the person may read."""
    adult: frozenset[int] = frozenset()
    """The channels and threads that are age-restricted."""
    gone: frozenset[int] = frozenset()
    """The channels and threads that the bot does not know any more."""
    is_moderator: bool = False
    is_host: bool = False
    here_is_adult: bool = False
    """Whether the person searches in an age-restricted channel."""

    def as_data(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "user_id": self.user_id,
            "guild_id": self.guild_id,
            "scope": self.scope,
            "readable": sorted(self.readable),
            "adult": sorted(self.adult),
            "gone": sorted(self.gone),
            "is_moderator": self.is_moderator,
            "is_host": self.is_host,
            "here_is_adult": self.here_is_adult,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The opposite of `as_data`."""
        sets = {name: frozenset(data[name]) for name in ("readable", "adult", "gone")}
        return cls(**{**data, **sets, "scope": Scope(data["scope"])})


def may_see(facts: Facts, seer: Seer) -> bool:
    """Whether a search of this person may return this result.

    What was deleted is never found. What comes from an age-restricted channel is found only in such a channel. Other
    people's results are found once they are posted, in channels that the person may read. Moderators also find those
    of channels that are gone; since it is not known whether such a channel was age-restricted, these are found only
    where age-restricted results are.
    """
    if not facts.is_there or (facts.channel_id in seer.adult and not seer.here_is_adult):
        return False
    if seer.scope is Scope.MINE:
        return facts.user_id == seer.user_id and facts.guild_id == seer.guild_id
    if not facts.is_posted or (facts.channel_id in seer.gone and not seer.here_is_adult):
        return False
    if seer.scope is Scope.ALL:
        return seer.is_host
    if facts.guild_id != seer.guild_id:
        return False
    if seer.scope is Scope.SERVER:
        return seer.is_moderator and (facts.channel_id in seer.readable or facts.channel_id in seer.gone)
    return facts.channel_id in seer.readable
