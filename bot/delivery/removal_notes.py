"""Lets the messages of removed results say so, also after a crash: a message owes this note until it is there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from bot.delivery.gate import pause
from bot.delivery.poster import in_time, log_bug
from bot.errors import DeliveryError, TryLater
from bot.jobs import Job, JobStatus
from bot.storage.database import insist
from bot.storage.removals import Removals

AT_ONCE = 8
"""The most edits at a time."""
NOTE_SECONDS = 10.0
"""How long one edit may take."""
log = logging.getLogger(__name__)


class RemovalPoster(Protocol):
    """What a surface implements to say that a result was removed."""

    async def say_removed(self, job: Job, *, by_requester: bool) -> None:
        """Let the job's message say who removed the result, and show nothing else.

        Raises TryLater when it may work later, and another DeliveryError when it never will.
        """
        ...


class RemovalNotes:
    """Edits the messages of removed results. The task `run` owns it."""

    def __init__(self, removals: Removals) -> None:
        self._removals = removals
        self._poster: RemovalPoster | None = None
        self._attached = asyncio.Event()
        self._looking = asyncio.Lock()
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def attach(self, poster: RemovalPoster) -> None:
        """Use `poster` from now on."""
        self._poster = poster
        self._attached.set()

    async def run(self) -> None:
        """Note removals, first those of an earlier run, until cancelled."""
        tries = 0
        while True:
            self._removals.owing.clear()
            tries = 0 if await self.catch_up() else tries + 1
            with suppress(TimeoutError):
                async with asyncio.timeout(pause(tries) if tries else None):
                    await self._removals.owing.wait()

    async def catch_up(self) -> bool:
        """Let all messages say it that do not yet; False if one must be tried again."""
        await self._attached.wait()
        assert self._poster is not None  # noqa: S101 - it is attached
        # One look at a time. One message that Discord does not take holds up no other of the same look.
        async with self._looking, asyncio.TaskGroup() as notes:
            tasks = [notes.create_task(self._note(self._poster, job)) for job in await insist(self._removals.owed)]
        return all(task.result() for task in tasks)

    async def _note(self, poster: RemovalPoster, job: Job) -> bool:
        """Let one message say it; False if that must be tried again."""
        by_requester = await insist(self._removals.is_by_requester, job)
        try:
            async with self._at_once:
                await in_time(poster.say_removed(job, by_requester=by_requester), NOTE_SECONDS)
        except TryLater as error:
            log.warning("the message of job %d does not say yet that it was removed: %s", job.id, error)
            return False
        except DeliveryError as error:
            log.info("the message of job %d cannot say that it was removed: %s", job.id, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(job, "its message does not say that it was removed", error)
            return False
        await insist(self._removals.noted, job)
        return job.status is not JobStatus.RENDERED
