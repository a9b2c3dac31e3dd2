"""Posts how the jobs of one channel ended, until each post is confirmed or given up."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from bot.delivery.film import film_of
from bot.delivery.gate import Gate, pause
from bot.delivery.poster import Show, Shown, in_time, log_bug
from bot.delivery.removals import Removals
from bot.delivery.smaller import smaller
from bot.engine.signing import Signing
from bot.errors import DeliveryError, EngineError, NotUnderstood, StorageError, TooLarge, TryLater, Unreachable
from bot.jobs import Cancelled, Failed, Job, JobId, JobStatus, News, Painted, UserId
from bot.language import sentence
from bot.language.reasons import Reason
from bot.logs import without_words
from bot.storage.database import insist
from bot.storage.queue import Queue

log = logging.getLogger(__name__)

_READ_TRIES = 3
"""How many times the bot tries to read finished pictures before it shows their job as failed."""

SHOW_SECONDS = 4.0
"""How long the first try of a post may take. Each further try may take twice as long, since pictures may be large and
the network slow, and a channel remembers how long its last post took."""
LONGEST_SHOW_SECONDS = 120.0

RETRY_SECONDS = 1.0
"""The least time between a failed post and the next post in the same channel."""


@dataclass(slots=True)
class _Ending:
    """A job whose ending waits, with the tries so far, and when the next one is due."""

    job: Job
    tries: int = 0
    due_at: float = -math.inf
    film: bytes | None = None
    """The animation as MP4, once it was made; it is empty if that failed."""


class Endings:
    """The jobs of one channel that have ended and whose message does not say so yet.

    Each person's are posted in order. A job whose post fails steps aside until its next try, so other people's go on.
    """

    def __init__(
        self,
        gate: Gate,
        removals: Removals,
        queue: Queue,
        show: Show,
        decorate: Callable[[Job], None],
        signing: Signing | None,
    ) -> None:
        """`decorate` starts what is added to a result once it counts as delivered; `signing` is for its MP4."""
        self._gate, self._removals, self._queue, self._show, self._decorate = gate, removals, queue, show, decorate
        self._signing = signing
        self._endings: OrderedDict[JobId, _Ending] = OrderedDict()
        self._rests_until = -math.inf
        self._took_seconds = 0.0

    def __bool__(self) -> bool:
        """Whether an ending waits."""
        return bool(self._endings)

    def __contains__(self, job_id: JobId) -> bool:
        """Whether the ending of a job waits."""
        return job_id in self._endings

    def add(self, job: Job) -> None:
        """Have the ending of a job posted."""
        self._endings.setdefault(job.id, _Ending(job))

    def drop(self, job_id: JobId) -> None:
        """Post nothing about a job any more."""
        self._endings.pop(job_id, None)

    def due_at(self) -> float:
        """When the next ending may be posted; infinity when none waits."""
        following = self._next()
        return math.inf if following is None else max(following.due_at, self._rests_until)

    def _next(self) -> _Ending | None:
        """The first ending of a person that is due; of several, one that was tried less often."""
        now = asyncio.get_running_loop().time()
        people: set[UserId] = set()
        best: _Ending | None = None
        for ending in self._endings.values():
            who = ending.job.requester.user_id
            if who in people:
                continue
            people.add(who)
            if not ending.tries:
                return ending
            if best is None or (max(ending.due_at, now), ending.tries) < (max(best.due_at, now), best.tries):
                best = ending
        return best

    async def post_next(self) -> JobId | None:
        """Try to post the ending that is due first; returns its job if it is posted or given up."""
        ending = self._next()
        if ending is None:
            return None
        job = ending.job
        if not await self._try(ending):
            now = asyncio.get_running_loop().time()
            ending.tries += 1
            ending.due_at, self._rests_until = now + pause(ending.tries), now + RETRY_SECONDS
            return None
        self._endings.pop(job.id, None)
        return job.id

    async def _try(self, ending: _Ending) -> bool:
        """Post how a job ended; False if that must be tried again."""
        job = ending.job
        if job.id in self._removals:
            return True
        if self._gate.is_closed:
            await insist(self._queue.give_up, job, Reason("Discord refuses every post in this channel."))
            return True
        news = await self._ending(job)
        if isinstance(news, Painted) and job.request.frames:
            # That may take longer than a post, and Discord does not wait for it.
            if ending.film is None:
                ending.film = await film_of(news.images[0].png, self._signing)
            news = replace(news, film=ending.film)
        if (ending.tries or ending.film is not None) and not await insist(self._queue.is_unposted, job):
            # The person had their data deleted meanwhile.
            return True
        try:
            allowed = max(SHOW_SECONDS, 4 * self._took_seconds) * 2.0 ** min(ending.tries, 10)
            return await self._post(job, news, min(allowed, LONGEST_SHOW_SECONDS))
        except TryLater as error:
            log.warning("job %d cannot be posted now (%s)", job.id, error)
            return False

    async def _post(self, job: Job, news: News, seconds: float) -> bool:
        """Show how a job ended and note that; True also if it can never be shown. Raises TryLater."""
        async with self._gate.throttle:
            began = asyncio.get_running_loop().time()
            try:
                shown = await in_time(self._show(job, news), seconds)
            except TryLater:
                raise
            except TooLarge as error:
                too_large = error
            except Unreachable as error:
                log.warning("job %d cannot be delivered: %s", job.id, without_words(str(error), *job.request.texts))
                self._gate.refuse()
                await self._give_up(job, news, error.reason)
                return True
            except NotUnderstood as error:
                log.error("job %d cannot be delivered, because of a bug: %s", job.id, error)  # noqa: TRY400
                await self._give_up(job, news, error.reason)
                return True
            except Exception as error:  # noqa: BLE001 - it is logged
                # A bug with one message must not stop every channel, now and after each restart.
                log_bug(job, "it cannot be delivered", error)
                reason = Reason(sentence("It could not be delivered ({error}).", error=type(error).__name__))
                await self._give_up(job, news, reason)
                return True
            else:
                self._took_seconds = asyncio.get_running_loop().time() - began
                await self._note(job, news, shown)
                return True
        return await self._post_smaller(job, news, too_large, seconds)

    async def _post_smaller(self, job: Job, news: News, error: TooLarge, seconds: float) -> bool:
        """Post pictures that are too large for the channel once more, encoded smaller."""
        if not isinstance(news, Painted) or news.webp:
            await self._give_up(job, news, error.reason)
            return True
        try:
            files = await smaller(news.images, error.limit)
        except EngineError as failure:
            log.warning("job %d: %s", job.id, failure)
            await self._give_up(job, news, error.reason)
            return True
        return await self._post(job, replace(news, webp=files.files, lossless=files.lossless), seconds)

    async def _note(self, job: Job, news: News, shown: Shown) -> None:
        self._gate.accept()
        unpainted = news.reason if isinstance(news, Failed) else None
        await insist(self._queue.posted, job, shown.message_id, unpainted, shown.left)
        if isinstance(news, Painted):
            # Whatever becomes of that: the result is delivered.
            message_id = shown.message_id or job.destination.message_id
            self._decorate(replace(job, destination=replace(job.destination, message_id=message_id)))

    async def _give_up(self, job: Job, news: News, reason: Reason) -> None:
        """End a job whose news cannot be shown; if the pictures are refused, the text may still be taken."""
        if isinstance(news, Painted):
            try:
                await in_time(self._show(job, Failed(reason)), SHOW_SECONDS)
            except DeliveryError:
                log.warning("job %d: the failure could not be shown either", job.id)
            except Exception as error:  # noqa: BLE001 - it is logged
                log_bug(job, "the failure could not be shown either", error)
        await insist(self._queue.give_up, job, reason)

    async def _ending(self, job: Job) -> News:
        if job.status is JobStatus.CANCELLED:
            return Cancelled()
        if job.status is JobStatus.FAILED:
            return Failed(job.reason or Reason("It could not be painted."))
        try:
            # Pictures that cannot be read now may be readable in a moment; if they are gone, do not wait long.
            images = await insist(self._queue.images, job.id, tries=_READ_TRIES)
        except StorageError as error:
            return Failed(error.reason)
        return Painted(images) if images else Failed(Reason("A moderator removed the pictures."))
