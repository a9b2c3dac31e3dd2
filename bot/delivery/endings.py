"""The endings of one channel: how its jobs ended, posted in order until they are known to be posted or given up."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from bot.delivery.gate import Gate, pause
from bot.delivery.poster import Show, log_bug
from bot.delivery.removals import Removals
from bot.delivery.smaller import smaller
from bot.errors import DeliveryError, EngineError, NotUnderstood, StorageError, TooLarge, TryLater, Unreachable
from bot.jobs import Cancelled, Failed, Job, JobId, JobStatus, News, Painted
from bot.logs import without_words
from bot.storage.database import insist
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

_READ_TRIES = 3
"""How many times the bot tries to read finished pictures before it shows their job as failed."""


class Endings:
    """The jobs of one channel that have ended and whose message does not say so yet, in order."""

    def __init__(self, gate: Gate, removals: Removals, queue: Queue, show: Show) -> None:
        self._gate, self._removals, self._queue, self._show = gate, removals, queue, show
        self._jobs: OrderedDict[JobId, Job] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether an ending waits."""
        return bool(self._jobs)

    def __contains__(self, job_id: JobId) -> bool:
        """Whether the ending of a job waits."""
        return job_id in self._jobs

    def add(self, job: Job) -> None:
        """Have the ending of a job posted."""
        self._jobs.setdefault(job.id, job)

    def drop(self, job_id: JobId) -> None:
        """Post nothing about a job any more."""
        self._jobs.pop(job_id, None)

    async def post_next(self) -> JobId:
        """Post how the first job ended, and repeat until it is posted or given up; returns the job."""
        job_id, job = next(iter(self._jobs.items()))
        await self._post(job)
        self._jobs.pop(job_id, None)
        return job_id

    async def _post(self, job: Job) -> None:
        if self._gate.is_closed:
            await insist(self._queue.give_up, job, "Discord refuses every post in this channel.")
            return
        news = await self._ending(job)
        tries = 0
        while job.id not in self._removals:
            async with self._gate.throttle:
                try:
                    message_id = await self._show(job, news)
                except TryLater as error:
                    tries += 1
                    log.warning("job %d cannot be posted now (%s); again in %.0f s", job.id, error, pause(tries))
                except TooLarge as error:
                    if not isinstance(news, Painted) or news.webp:
                        await self._give_up(job, news, str(error))
                        return
                    try:
                        files = await smaller(news.images, error.limit)
                    except EngineError as failure:
                        log.warning("job %d: %s", job.id, failure)
                        await self._give_up(job, news, str(error))
                        return
                    news = Painted(news.images, files.files, files.lossless)
                    continue
                except Unreachable as error:
                    log.warning("job %d cannot be delivered: %s", job.id, without_words(str(error), *job.request.texts))
                    self._gate.refuse()
                    await self._give_up(job, news, str(error))
                    return
                except NotUnderstood as error:
                    log.error("job %d cannot be delivered, because of a bug: %s", job.id, error)  # noqa: TRY400
                    await self._give_up(job, news, str(error))
                    return
                except Exception as error:  # noqa: BLE001 - it is logged
                    # A bug with one message must not stop every channel, now and after each restart.
                    log_bug(job, "it cannot be delivered", error)
                    await self._give_up(job, news, f"It could not be delivered ({type(error).__name__}).")
                    return
                else:
                    self._gate.accept()
                    unpainted = news.reason if isinstance(news, Failed) else None
                    await insist(self._queue.posted, job, message_id, unpainted)
                    return
            await asyncio.sleep(pause(tries))

    async def _give_up(self, job: Job, news: News, reason: str) -> None:
        """End a job whose news cannot be shown; if the pictures are refused, the text may still be taken."""
        if isinstance(news, Painted):
            try:
                await self._show(job, Failed(reason))
            except DeliveryError:
                log.warning("job %d: the failure could not be shown either", job.id)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(job, "the failure could not be shown either", error)
        await insist(self._queue.give_up, job, reason)

    async def _ending(self, job: Job) -> News:
        if job.status is JobStatus.CANCELLED:
            return Cancelled()
        if job.status is JobStatus.FAILED:
            return Failed(job.reason or "It could not be painted.")
        try:
            # Pictures that cannot be read now may be readable in a moment; if they are gone, do not wait long.
            return Painted(await insist(self._queue.images, job.id, tries=_READ_TRIES))
        except StorageError as error:
            return Failed(str(error))
