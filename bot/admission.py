"""The gate: a request comes in, a job or a reasoned refusal comes out, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiosqlite

from bot.config import ModelConfig
from bot.engine import Engine
from bot.errors import Rejected, StorageError
from bot.jobs import Book, ChannelId, Clock, Destination, Job, Requester, Scope
from bot.limits import Limits, Origin, block_of, named, pause_of, place_refused, quota_from
from bot.line import Line
from bot.options import Options, Resolved, resolve
from bot.scheduler import Turn
from bot.storage.queue import Queue
from bot.storage.refusals import Refusals
from bot.storage.rules import Rules
from bot.storage.uploads import UploadFolder
from bot.storage.usage import spent_by, waiting_of
from bot.vocabulary import Vocabulary

log = logging.getLogger(__name__)

QUOTA_WINDOW = timedelta(hours=24)

_NEVER = datetime.min.replace(tzinfo=UTC)


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
        rules: Rules,
        refusals: Refusals,
        line: Line,
        engine: Engine,
        models: Sequence[ModelConfig],
        samplers: Sequence[str],
        vocabularies: Mapping[str, Vocabulary],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._uploads = uploads
        self._rules = rules
        self._refusals = refusals
        self._line = line
        self._engine = engine
        self._clock = clock
        self._vocabularies = vocabularies
        self.models = models
        self.samplers = samplers

    async def check(self, requester: Requester, options: Options, destination: Destination) -> Resolved:
        """Resolve a request without admitting it, by the sizes of its uploads alone.

        Raises UserError for a request that makes no sense and Rejected for one that a moderator's rule forbids, or
        while the engine is in trouble.
        """
        async with self._noting(requester):
            return await self._resolved(requester, options, destination)

    async def _resolved(self, requester: Requester, options: Options, destination: Destination) -> Resolved:
        where = destination.channels
        book = await self._rules.book(requester.guild_id)
        _check_decisions(book, requester, where, self._clock())
        limits = await self._line.limits(requester, where)
        if words := place_refused(limits, where):
            raise Rejected(words, rule="channels", origin=str(limits.channels.origin))
        resolved = resolve(options, self.models, self.samplers, limits)
        for model in ("", resolved.request.model):
            if words := self._engine.troubles.get(model):
                raise Rejected(f"Painting is unavailable: {words}", rule="engine")
        return resolved

    @asynccontextmanager
    async def _noting(self, requester: Requester) -> AsyncIterator[None]:
        """Note a refusal, for whoever is asked about it later."""
        try:
            yield
        except Rejected as refusal:
            try:
                await self._refusals.add(requester, refusal)
            except StorageError as error:
                # The person hears of it all the same.
                log.warning("a refusal was not noted: %s", error)
            raise

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
        async with self._noting(requester):
            return await self._admit(requester, options, destination, interaction_id)

    async def _admit(
        self, requester: Requester, options: Options, destination: Destination, interaction_id: int | None
    ) -> Admitted | None:
        resolved = await self._resolved(requester, options, destination)
        request = resolved.request
        limits = await self._line.limits(requester, destination.channels)
        reset_at = quota_from(await self._rules.book(requester.guild_id), requester)
        mine: list[datetime] = []
        open_ = {job.id for job in await self._queue.of_person(requester)}
        # Only a refusal says when a place frees, and in a long line that takes a while to find out.
        if len(open_) >= limits.depth.value:
            mine = [turn.starts_at for turn in await self._line.turns() if turn.job_id in open_]

        async def check(connection: aiosqlite.Connection) -> None:
            depth = await waiting_of(connection, requester)
            if depth >= limits.depth.value:
                raise _queue_is_full(depth, limits, min(mine, default=None))
            window = max(self._clock() - QUOTA_WINDOW, reset_at or _NEVER)
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


def _check_decisions(book: Book, requester: Requester, where: Sequence[ChannelId], now: datetime) -> None:
    """Raise Rejected where a moderator lets nobody ask, or not this person."""
    if block := block_of(book, requester, now):
        raise Rejected(
            "A moderator does not let you ask for pictures on this server.",
            rule="block",
            retry_at=block.until,
            origin=str(Origin(Scope.PERSON, requester.user_id)),
        )
    if paused := pause_of(book, where):
        raise Rejected(
            f"A moderator paused painting for {named(paused)}. What waits keeps its place.",
            rule="pause",
            origin=str(Origin(*paused)),
        )


def _queue_is_full(depth: int, limits: Limits, frees_at: datetime | None) -> Rejected:
    return Rejected(
        f"Your queue is full: {depth} of {limits.depth.value} requests wait ({limits.depth.origin}).",
        rule="depth",
        retry_at=frees_at,
        origin=str(limits.depth.origin),
        asked=depth + 1,
        allowed=limits.depth.value,
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
            origin=str(limits.quota.origin),
            asked=images,
            allowed=quota,
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
        origin=str(limits.quota.origin),
        asked=used + images,
        allowed=quota,
    )
