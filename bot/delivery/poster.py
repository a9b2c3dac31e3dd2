"""The place where news of jobs is shown: messages on Discord, or lines in a terminal."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from bot.jobs import Job, MessageId, News
from bot.logs import traced

log = logging.getLogger(__name__)

Repost = Callable[[], Awaitable[datetime | None]]
"""Notes that a new message is about to be posted for a job. Returns when one was first begun: it may exist already."""

Show = Callable[[Job, News], Awaitable[MessageId | None]]
"""Shows news with the poster of now, as `Poster.show` does."""


class Poster(Protocol):
    """Shows news to people: a cog on Discord, a progress bar in a terminal."""

    async def show(self, job: Job, news: News, repost: Repost) -> MessageId | None:
        """Make the job's message say `news`; returns the message's id if it changed.

        If the message is gone, `repost` is awaited before a new one is posted.
        Raises Unreachable when this can never work in the channel, NotUnderstood when it would work nowhere, TooLarge
        when Discord may take smaller files, TryLater when it may work later.
        """
        ...

    async def remove(self, job: Job) -> None:
        """Delete the messages about a job whose words are deleted; raises as `show` does."""
        ...


def log_bug(job: Job, what: str, error: Exception) -> None:
    """Log that showing a job failed because of a bug, without its words."""
    log.error("job %d: %s, because of a bug\n%s", job.id, what, traced(error, *job.request.texts))
