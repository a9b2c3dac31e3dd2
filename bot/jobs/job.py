"""A job: an accepted request, who asked, where the answer goes, and how far it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from bot.jobs.ids import ChannelId, GuildId, JobId, MessageId, RoleId, UserId
from bot.jobs.request import GenerationRequest
from bot.jobs.rows import Row
from bot.jobs.times import from_text
from bot.language.reasons import Reason, unpacked
from bot.money import NOTHING, Micros


class JobStatus(StrEnum):
    """The state of a job: queued → running → rendered → delivered, or failed, or cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Surface(StrEnum):
    """The program through which people ask. One process serves one surface and never touches the jobs of another."""

    DISCORD = "discord"
    SANDBOX = "sandbox"
    TERMINAL = "terminal"

    @property
    def outlives_process(self) -> bool:
        """Whether a job of this surface can still be delivered after a restart."""
        return self is Surface.DISCORD


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked, in which server, and with which roles, the highest first, because limits may depend on them."""

    user_id: UserId
    guild_id: GuildId
    roles: tuple[RoleId, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes. The message `message_id` is edited until it holds the result."""

    channel_id: ChannelId
    message_id: MessageId | None = None
    parent_id: ChannelId | None = None
    """The parent channel, if the channel is a thread."""

    @property
    def channels(self) -> tuple[ChannelId, ...]:
        """The channels whose rules apply: a thread before its parent channel."""
        return (self.channel_id,) if self.parent_id is None else (self.channel_id, self.parent_id)


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request and its state; a row of the table `jobs`."""

    id: JobId
    requester: Requester
    destination: Destination
    request: GenerationRequest
    status: JobStatus
    attempt: int
    asked_at: datetime
    started_at: datetime | None = None
    painted_at: datetime | None = None
    posted_at: datetime | None = None
    reason: Reason | None = None
    deaths: int = 0
    """How many attempts ended because the engine died; an attempt that a restart of the bot ended does not count."""
    reposted_at: datetime | None = None
    """When the bot first began to post a new message because the old one was gone."""
    left_message_id: MessageId | None = None
    """A message that a new one has replaced and that is still to be deleted."""
    forgotten_at: datetime | None = None
    """When its words were deleted, because the person had their data deleted."""
    is_withheld: bool = False
    """Whether its message shows no prompt, because the prompt may not be painted."""
    post_id: int = 0
    """The message that shows it, by its number in the database; several jobs may have the same one."""
    series_id: int | None = None
    """The series that it belongs to, such as the prompts that one prompt with choices stands for."""
    label: str = ""
    """What it is called within its series."""
    follows: JobId | None = None
    """The job from whose picture it starts and for which it waits."""
    held_micros: Micros = NOTHING
    """What it was taken to cost in money when it was accepted."""
    billed_micros: Micros | None = None
    """What its provider billed, as far as it said so."""
    is_sent: bool = False
    """Whether a provider was asked for it."""

    @property
    def is_unposted(self) -> bool:
        """Whether the job has ended and its message still has to say how."""
        ended = self.status in (JobStatus.RENDERED, JobStatus.FAILED, JobStatus.CANCELLED)
        return ended and self.posted_at is None and self.forgotten_at is None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build a job from a row of the view `jobs_with_post`."""
        asked_at = from_text(row["asked_at"])
        assert asked_at is not None  # noqa: S101 - the column is NOT NULL
        message_id = row["message_id"]
        return cls(
            id=JobId(row["id"]),
            requester=Requester(
                UserId(row["user_id"]), GuildId(row["guild_id"]), tuple(map(RoleId, json.loads(row["roles"])))
            ),
            destination=Destination(
                ChannelId(row["channel_id"]),
                None if message_id is None else MessageId(message_id),
                None if row["parent_id"] is None else ChannelId(row["parent_id"]),
            ),
            request=GenerationRequest.from_fields(json.loads(row["request"])),
            status=JobStatus(row["status"]),
            attempt=row["attempt"],
            deaths=row["deaths"],
            asked_at=asked_at,
            started_at=from_text(row["started_at"]),
            painted_at=from_text(row["painted_at"]),
            posted_at=from_text(row["posted_at"]),
            reposted_at=from_text(row["reposted_at"]),
            left_message_id=None if row["left_message_id"] is None else MessageId(row["left_message_id"]),
            forgotten_at=from_text(row["forgotten_at"]),
            reason=None if row["reason"] is None else unpacked(row["reason"]),
            is_withheld=bool(row["withheld"]),
            post_id=row["post_id"],
            series_id=row["series_id"],
            label=row["label"],
            follows=None if row["follows"] is None else JobId(row["follows"]),
            held_micros=Micros(row["held_micros"]),
            billed_micros=None if row["billed_micros"] is None else Micros(row["billed_micros"]),
            is_sent=row["sent_at"] is not None,
        )
