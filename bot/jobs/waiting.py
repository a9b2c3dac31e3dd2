"""What the scheduler knows of the jobs that wait and of those that have started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.jobs.ids import NO_GUILD, ChannelId, GuildId, JobId, RoleId, UserId
from bot.jobs.news import Queued
from bot.jobs.request import Work

TURN_MEMORY = timedelta(hours=1)
"""How long the scheduler remembers the GPU time that a person used."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queued job as the scheduler sees it, without the prompt."""

    job_id: JobId
    user_id: UserId
    guild_id: GuildId
    asked_at: datetime
    images: int
    work: Work
    seconds: float = 1.0
    """GPU seconds that the job is expected to take."""
    roles: tuple[RoleId, ...] = ()
    """The roles that the person had when they asked, the highest first."""
    channels: tuple[ChannelId, ...] = ()
    """Where they asked: the channel and, for a thread, its parent channel."""
    acknowledged: bool = True
    """Whether the person has seen that the request was accepted, and the picture that it starts from is there.

    The job may not start before.
    """
    again: bool = False
    """Whether an earlier attempt was interrupted; then the job goes first, because it had its turn already."""
    said: Queued | None = None
    """What the job's message says about its wait; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Start:
    """A job that was started: by whom, when, and with how many images, which count for the pace."""

    job_id: JobId
    user_id: UserId
    at: datetime
    images: int
    seconds: float = 0.0
    """GPU seconds that the job used, or until that is known, is expected to use."""
    turn: float = 0.0
    """The virtual time at which it started."""
    clock: float = 0.0
    """The scheduler's virtual time at that moment."""
    settled: bool = True
    """Whether `seconds` is final."""
    guild_id: GuildId = NO_GUILD
    """The server of the request; the start counts for the person's pace there."""
