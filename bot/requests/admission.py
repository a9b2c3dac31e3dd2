"""The gate: a request comes in, a job or a reasoned refusal comes out, in one transaction."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import aiosqlite

from bot.config import BillConfig, ModelConfig
from bot.engine import Engine
from bot.errors import Rejected
from bot.jobs import Book, ChannelId, Clock, Destination, Job, JobStatus, Queued, Requester, Scope
from bot.policy.limits import (
    NEGLIGIBLE,
    Limits,
    Origin,
    block_of,
    counted_from,
    fits_at,
    named,
    pause_of,
    place_refused,
)
from bot.queue.forecast import statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn, seconds_of
from bot.requests.options import Options, Resolved, resolve
from bot.requests.vocabulary import Vocabulary
from bot.storage.queue import Queue
from bot.storage.refusals import Refusals
from bot.storage.rules import Rules
from bot.storage.uploads import UploadFolder
from bot.storage.usage import Usage, spent_by, waiting_of


@dataclass(frozen=True, slots=True)
class Allowance:
    """A person's quota of GPU time in 24 hours: what of it is used or held, by when they asked for it."""

    quota: float
    origin: str
    spent: tuple[tuple[datetime, float], ...]
    picture: float
    """Seconds of a usual picture, to speak of the others in."""

    @property
    def used(self) -> float:
        """Seconds that count now."""
        return sum(seconds for _, seconds in self.spent)

    @property
    def left(self) -> float:
        """Seconds that may still be asked for."""
        return max(self.quota - self.used, 0.0)

    def pictures(self, seconds: float) -> int:
        """How many usual pictures that is."""
        return round(seconds / self.picture)

    def fits_at(self, seconds: float) -> datetime | None:
        """When so much will fit; None when it never does or does now."""
        return fits_at(self.quota, seconds, self.spent)


@dataclass(frozen=True, slots=True)
class Bill:
    """What a request would cost, before anything is held for it."""

    images: int
    seconds: float
    allowance: Allowance
    thresholds: BillConfig

    @property
    def fits(self) -> bool:
        """Whether the quota has room for it now."""
        return self.seconds <= self.allowance.left + NEGLIGIBLE

    @property
    def is_big(self) -> bool:
        """Whether whoever asks should see it first."""
        big = self.thresholds
        share = self.seconds > big.share * self.allowance.left and self.seconds > big.at_least
        return share or self.seconds > big.seconds


@dataclass(frozen=True, slots=True)
class Admitted:
    """An accepted request: its job, what the requester should know of it, and its place in the line."""

    job: Job
    notes: tuple[str, ...]
    place: int
    starts_at: datetime
    said: Queued
    """What they are told of that."""


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
        usage: Usage,
        thresholds: BillConfig,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._usage = usage
        self._uploads = uploads
        self._rules = rules
        self._refusals = refusals
        self._line = line
        self._engine = engine
        self._clock = clock
        self._thresholds = thresholds
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
            await self._refusals.note(requester, refusal)
            raise

    async def allowance(self, requester: Requester, destination: Destination) -> Allowance:
        """What a person used of their quota in a server, and what is left where they ask."""
        limits = await self._line.limits(requester, destination.channels)
        spent = await self._usage.spent(requester, await self._counted_from(requester))
        return self._allowance(limits, spent)

    async def bill(self, requester: Requester, options: Options, destination: Destination) -> Bill:
        """What a request would cost; raises what `check` raises. Nothing is held."""
        request = (await self.check(requester, options, destination)).request
        seconds = seconds_of(request.work, self._engine.timings)
        allowance = await self.allowance(requester, destination)
        return Bill(request.num_images_per_prompt, seconds, allowance, self._thresholds)

    async def _counted_from(self, requester: Requester) -> datetime:
        """Since when use counts."""
        return counted_from(await self._rules.book(requester.guild_id), requester, self._clock())

    def _allowance(self, limits: Limits, spent: Sequence[tuple[datetime, float]]) -> Allowance:
        picture = self._usual_picture()
        return Allowance(limits.quota.value, str(limits.quota.origin), tuple(spent), picture)

    def _usual_picture(self) -> float:
        """Seconds of one picture by the first model, as it is set up."""
        request = resolve(Options("a picture"), self.models, self.samplers).request
        return seconds_of(replace(request, num_images_per_prompt=1).work, self._engine.timings)

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
        seconds = seconds_of(request.work, self._engine.timings)
        limits = await self._line.limits(requester, destination.channels)
        counted_from = await self._counted_from(requester)

        async def check(connection: aiosqlite.Connection) -> None:
            depth = await waiting_of(connection, requester)
            if depth >= limits.depth.value:
                raise _queue_is_full(depth, limits)
            spent = await spent_by(connection, requester, counted_from)
            _check_quota(self._allowance(limits, spent), seconds)

        with self._uploads.held(options.uploads):
            for upload in options.uploads:
                await self._uploads.keep(upload)
            try:
                job = await self._queue.enqueue(
                    requester, destination, request, interaction_id=interaction_id, admit=check, seconds=seconds
                )
            except Rejected as refusal:
                # Only a refusal says when a place frees, and in a long line that takes a while to find out.
                if refusal.rule == "depth":
                    refusal.retry_at = await self._place_frees_at(requester, limits.depth.value)
                raise
        if job is None:
            return None
        vocabulary = self._vocabularies.get(request.model)
        notes = (*resolved.notes, *(vocabulary.notes(request.prompt) if vocabulary else ()))
        place, turn = await self._line.place(job.id) or (1, Turn(job.id, requester.user_id, self._clock()))
        said = statement(place, turn.starts_at, self._clock())
        await self._queue.promise(job.id, turn.starts_at, said)
        return Admitted(job, notes, place, turn.starts_at, said)

    async def _place_frees_at(self, requester: Requester, most: int) -> datetime | None:
        """When so many of a person's requests have started that one more may wait; None where that is not in sight."""
        waiting = {job.id for job in await self._queue.of_person(requester) if job.status is JobStatus.QUEUED}
        starts = sorted(turn.starts_at for turn in await self._line.turns() if turn.job_id in waiting)
        over = len(waiting) - most
        return starts[max(over, 0)] if over < len(starts) else None


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


def _queue_is_full(depth: int, limits: Limits) -> Rejected:
    return Rejected(
        f"Your queue is full: {depth} of {limits.depth.value} requests wait ({limits.depth.origin}).",
        rule="depth",
        origin=str(limits.depth.origin),
        asked=depth + 1,
        allowed=limits.depth.value,
    )


def _check_quota(allowance: Allowance, seconds: float) -> None:
    """Raise Rejected unless so many GPU seconds more fit into the day's quota; says when they will."""
    if allowance.used + seconds <= allowance.quota + NEGLIGIBLE:
        return
    most, asked = allowance.pictures(allowance.quota), math.ceil(seconds / allowance.picture - NEGLIGIBLE)
    if seconds > allowance.quota + NEGLIGIBLE:
        raise Rejected(
            f"This takes as much GPU time as about {asked} usual pictures, more than your quota of {most} in 24 hours "
            f"({allowance.origin}): ask for fewer or smaller ones, or fewer steps.",
            rule="quota",
            origin=allowance.origin,
            asked=math.ceil(seconds),
            allowed=allowance.quota,
        )
    raise Rejected(
        f"Your quota is used up: {allowance.pictures(allowance.used)} of {most} pictures in 24 hours "
        f"({allowance.origin}), and this takes as much GPU time as {asked} more.",
        rule="quota",
        retry_at=allowance.fits_at(seconds),
        origin=allowance.origin,
        asked=math.ceil(allowance.used + seconds),
        allowed=allowance.quota,
    )
