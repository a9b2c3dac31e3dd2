"""The gate: a request comes in, a job or a reasoned refusal comes out, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiosqlite

from bot.config import ModelConfig
from bot.engine import Engine
from bot.errors import Rejected
from bot.jobs import Clock, Destination, Job, Requester
from bot.limits import Limits
from bot.line import Line
from bot.options import Options, Resolved, resolve
from bot.scheduler import Turn
from bot.storage.queue import Queue
from bot.storage.uploads import UploadFolder
from bot.storage.usage import spent_by, waiting_of
from bot.vocabulary import Vocabulary

QUOTA_WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An accepted request: its job, what the requester should know of it, and its place in the line."""

    job: Job
    notes: tuple[str, ...]
    place: int
    starts_at: datetime


class Admission:
    """Decides whether a request becomes a job."""

    def __init__(
        self,
        queue: Queue,
        uploads: UploadFolder,
        line: Line,
        engine: Engine,
        models: Sequence[ModelConfig],
        samplers: Sequence[str],
        vocabularies: Mapping[str, Vocabulary],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._uploads = uploads
        self._line = line
        self._engine = engine
        self._clock = clock
        self._vocabularies = vocabularies
        self.models = models
        self.samplers = samplers

    def check(self, options: Options) -> Resolved:
        """Resolve a request without admitting it, by the sizes of its uploads alone.

        Raises UserError for a request that makes no sense and Rejected while the engine is in trouble.
        """
        resolved = resolve(options, self.models, self.samplers)
        for model in ("", resolved.request.model):
            if words := self._engine.troubles.get(model):
                raise Rejected(f"Painting is unavailable: {words}", rule="engine")
        return resolved

    async def admit(
        self,
        requester: Requester,
        options: Options,
        destination: Destination,
        *,
        interaction_id: int | None = None,
    ) -> Admitted | None:
        """Accept a request as a job, durably, and so the pictures it builds on.

        Raises UserError for a request that makes no sense and Rejected for one that a limit forbids. Returns
        None when Discord delivered the same interaction before.
        """
        resolved = self.check(options)
        request = resolved.request
        limits = await self._line.limits(requester)
        mine: list[datetime] = []
        open_ = {job.id for job in await self._queue.of_person(requester)}
        # Only a refusal says when a place frees, and in a long line that takes a while to find out.
        if len(open_) >= limits.depth.value:
            mine = [turn.starts_at for turn in await self._line.turns() if turn.job_id in open_]

        async def check(connection: aiosqlite.Connection) -> None:
            depth = await waiting_of(connection, requester)
            if depth >= limits.depth.value:
                raise _queue_is_full(depth, limits, min(mine, default=None))
            window = self._clock() - QUOTA_WINDOW
            spent = await spent_by(connection, requester, window)
            _check_quota(spent, request.num_images_per_prompt, limits)

        for upload in options.uploads:
            await self._uploads.keep(upload)
        job = await self._queue.enqueue(requester, destination, request, interaction_id=interaction_id, admit=check)
        if job is None:
            return None
        vocabulary = self._vocabularies.get(request.model)
        notes = (*resolved.notes, *(vocabulary.notes(request.prompt) if vocabulary else ()))
        place, turn = await self._line.place(job.id) or (1, Turn(job.id, requester.user_id, self._clock()))
        return Admitted(job, notes, place, turn.starts_at)


def _queue_is_full(depth: int, limits: Limits, frees_at: datetime | None) -> Rejected:
    return Rejected(
        f"Your queue is full: {depth} of {limits.depth.value} requests wait ({limits.depth.origin}).",
        rule="depth",
        retry_at=frees_at,
    )


def _check_quota(spent: Sequence[tuple[datetime, int]], images: int, limits: Limits) -> None:
    """Raise Rejected unless `images` more fit into the day's quota; says when they will."""
    quota = limits.quota.value
    used = sum(count for _, count in spent)
    if used + images <= quota:
        return
    if images > quota:
        raise Rejected(
            f"{images} images are more than your quota of {quota} in 24 hours ({limits.quota.origin}): "
            f"ask for {quota} or fewer.",
            rule="quota",
        )
    over, returns_at = used + images - quota, None
    for asked_at, count in spent:
        over -= count
        if over <= 0:
            returns_at = asked_at + QUOTA_WINDOW
            break
    raise Rejected(
        f"Your quota is used up: {used} of {quota} images in 24 hours ({limits.quota.origin}), "
        f"and you asked for {images} more.",
        rule="quota",
        retry_at=returns_at,
    )
