"""The place where news of jobs is shown: messages on Discord, or lines in a terminal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from bot.errors import TryLater
from bot.jobs import Job, MessageId, News
from bot.logs import traced

log = logging.getLogger(__name__)

T = TypeVar("T")

Repost = Callable[[], Awaitable[datetime | None]]
"""Notes that a new message is about to be posted for a job. Returns when one was first begun: it may exist already."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Where news is shown: `message_id` if the message changed, `left` if the message before it is still there."""

    message_id: MessageId | None = None
    left: MessageId | None = None


Show = Callable[[Job, News], Awaitable[Shown]]
"""Shows news with the current poster, as `Poster.show` does."""


class Poster(Protocol):
    """Shows news to people: a cog on Discord, a progress bar in a terminal."""

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        """Make the job's message say `news`.

        If the message is gone or cannot be changed, `repost` is awaited before a new one is posted. It may be
        cancelled at any point and repeated.
        Raises Unreachable when this can never work in the channel, NotUnderstood when it would work nowhere, TooLarge
        when Discord may take smaller files, TryLater when it may work later.
        """
        ...

    async def decorate(self, job: Job) -> None:
        """Add to a result what goes with it, such as a ping. It is tried once, after the result counts as delivered."""
        ...

    async def remove(self, job: Job) -> None:
        """Delete the message that a job left behind, and all messages of a forgotten job; raises as `show` does."""
        ...


async def in_time(post: Awaitable[T], seconds: float) -> T:
    """Await a post for so long; raises TryLater if Discord did not answer by then."""
    try:
        async with asyncio.timeout(seconds):
            return await post
    except TimeoutError as error:
        raise TryLater(f"Discord did not answer within {seconds:.0f} s") from error


def log_bug(job: Job, what: str, error: Exception) -> None:
    """Log that showing a job failed because of a bug, without its words."""
    log.error("job %d: %s, because of a bug\n%s", job.id, what, traced(error, *job.request.texts))
