"""The messages of one channel that are to be deleted: their words were deleted, or another message replaced them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from bot.delivery.gate import Gate, pause
from bot.delivery.poster import in_time
from bot.errors import DeliveryError, TryLater
from bot.jobs import Job, JobId
from bot.storage.database import insist
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

REMOVALS = 25
REMOVALS_SECONDS = 120.0
"""The most messages deleted in a channel in this time: of old ones Discord takes 30, and delays the next."""

REMOVAL_TIMEOUT_SECONDS = 30.0
"""How long a deletion may take, with the search of the channel that may come before it."""

Remove = Callable[[Job], Awaitable[None]]
"""Deletes the messages about a job with the current poster, as `Poster.remove` does."""


class Removals:
    """Jobs whose message is deleted when no other news waits in the channel."""

    def __init__(self, gate: Gate, queue: Queue, remove: Remove) -> None:
        self._gate, self._queue, self._remove = gate, queue, remove
        self._jobs: OrderedDict[JobId, None] = OrderedDict()
        self._removed_at: deque[float] = deque(maxlen=REMOVALS)
        self._pause_until = -math.inf

    def __len__(self) -> int:
        """How many jobs wait for the deletion of a message."""
        return len(self._jobs)

    def __contains__(self, job_id: JobId) -> bool:
        """Whether the message of a job waits to be deleted."""
        return job_id in self._jobs

    def add(self, job_id: JobId) -> None:
        """Have the message of a job deleted."""
        self._jobs.setdefault(job_id)

    def due_at(self) -> float:
        """When the next message may be deleted; infinity when none waits."""
        if not self._jobs:
            return math.inf
        full = len(self._removed_at) == self._removed_at.maxlen
        rested = self._removed_at[0] + REMOVALS_SECONDS if full else -math.inf
        return max(self._pause_until, self._gate.closed_until, rested)

    async def remove_next(self) -> JobId | None:
        """Delete the message of the job that was forgotten first; returns the job unless it must be tried again."""
        job_id = next(iter(self._jobs))
        # It may have been done since this was read, and a new message may have replaced its message.
        _, owed = await insist(self._queue.owed, {job_id})
        job = await insist(self._queue.get, job_id) if owed else None
        async with self._gate.throttle:
            self._removed_at.append(asyncio.get_running_loop().time())
            try:
                if job is not None:
                    await in_time(self._remove(job), REMOVAL_TIMEOUT_SECONDS)
            except TryLater as error:
                log.warning("the message of job %d cannot be deleted now: %s", job_id, error)
                self._jobs.move_to_end(job_id)
                self._pause_until = asyncio.get_running_loop().time() + pause(math.inf)
                return None
            except DeliveryError:
                # Do not log the error: Discord's text may quote the message.
                log.warning("the message of job %d cannot be deleted: its channel is out of reach", job_id)
                self._gate.refuse()
            except Exception as error:  # noqa: BLE001 - it is logged
                log.error("job %d: its message was not deleted, because of a bug: %s", job_id, type(error).__name__)  # noqa: TRY400
            else:
                self._gate.accept()
        if job is not None:
            await insist(self._queue.removed, job)
        self._jobs.pop(job_id)
        return job_id
