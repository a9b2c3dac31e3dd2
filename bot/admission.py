"""The gate: a request comes in, a job or a reasoned refusal comes out, in one transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import aiosqlite

from bot.config import ModelConfig
from bot.engine import Engine
from bot.errors import Rejected
from bot.jobs import Clock, Destination, Job, Requester
from bot.limits import Limits
from bot.line import Line
from bot.options import Options, Resolved, resolve
from bot.scheduler import Turn, seconds_of
from bot.storage.queue import Queue
from bot.storage.uploads import UploadFolder
from bot.storage.usage import Usage, spent_by, waiting_of
from bot.vocabulary import Vocabulary

QUOTA_WINDOW = timedelta(hours=24)


_BIG_SHARE = 0.25
"""A request that takes more than this of what is left of the quota is confirmed first,"""
_BIG_SECONDS = 30.0
"""and so is one that takes more GPU seconds than this."""
_SMALL_SECONDS = 5.0
"""What is quick is never worth a question."""
_NOTHING = 1e-6


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
        over = self.used + seconds - self.quota
        if over <= _NOTHING or seconds > self.quota + _NOTHING:
            return None
        for asked_at, amount in self.spent:
            over -= amount
            if over <= _NOTHING:
                return asked_at + QUOTA_WINDOW
        return None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a request would cost, before anything is held for it."""

    images: int
    seconds: float
    allowance: Allowance

    @property
    def fits(self) -> bool:
        """Whether the quota has room for it now."""
        return self.seconds <= self.allowance.left + _NOTHING

    @property
    def is_big(self) -> bool:
        """Whether whoever asks should see it first."""
        share = self.seconds > _BIG_SHARE * self.allowance.left and self.seconds > _SMALL_SECONDS
        return share or self.seconds > _BIG_SECONDS


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
        usage: Usage,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._usage = usage
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

    async def allowance(self, requester: Requester) -> Allowance:
        """What a person used of their quota in a server, and what is left."""
        limits = await self._line.limits(requester)
        spent = await self._usage.spent(requester, self._clock() - QUOTA_WINDOW)
        return self._allowance(limits, spent)

    async def bill(self, requester: Requester, options: Options) -> Bill:
        """What a request would cost. Raises UserError for one that makes no sense; nothing is held."""
        request = self.check(options).request
        seconds = seconds_of(request.work, self._engine.timings)
        return Bill(request.num_images_per_prompt, seconds, await self.allowance(requester))

    def _allowance(self, limits: Limits, spent: Sequence[tuple[datetime, float]]) -> Allowance:
        picture = self._usual_picture()
        return Allowance(quota_seconds(limits, picture), limits.quota.origin, tuple(spent), picture)

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
        resolved = self.check(options)
        request = resolved.request
        seconds = seconds_of(request.work, self._engine.timings)
        limits = await self._line.limits(requester)
        turns = {turn.job_id: turn for turn in await self._line.turns()}
        mine = [turns[job.id].starts_at for job in await self._queue.of_person(requester) if job.id in turns]

        async def check(connection: aiosqlite.Connection) -> None:
            depth = await waiting_of(connection, requester)
            if depth >= limits.depth.value:
                raise _queue_is_full(depth, limits, min(mine, default=None))
            spent = await spent_by(connection, requester, self._clock() - QUOTA_WINDOW)
            _check_quota(self._allowance(limits, spent), seconds)

        for upload in options.uploads:
            await self._uploads.keep(upload)
        job = await self._queue.enqueue(
            requester, destination, request, interaction_id=interaction_id, admit=check, seconds=seconds
        )
        if job is None:
            return None
        vocabulary = self._vocabularies.get(request.model)
        notes = (*resolved.notes, *(vocabulary.notes(request.prompt) if vocabulary else ()))
        place, turn = await self._line.place(job.id) or (1, Turn(job.id, requester.user_id, self._clock()))
        await self._queue.promise(job.id, turn.starts_at)
        return Admitted(job, notes, place, turn.starts_at)


def _queue_is_full(depth: int, limits: Limits, frees_at: datetime | None) -> Rejected:
    return Rejected(
        f"Your queue is full: {depth} of {limits.depth.value} requests wait ({limits.depth.origin}).",
        rule="depth",
        retry_at=frees_at,
    )


def quota_seconds(limits: Limits, picture: float) -> float:
    """The quota in GPU seconds; the limit says how many usual pictures that is."""
    return limits.quota.value * picture


def _check_quota(allowance: Allowance, seconds: float) -> None:
    """Raise Rejected unless so many GPU seconds more fit into the day's quota; says when they will."""
    if allowance.used + seconds <= allowance.quota + _NOTHING:
        return
    most, asked = allowance.pictures(allowance.quota), math.ceil(seconds / allowance.picture - _NOTHING)
    if seconds > allowance.quota + _NOTHING:
        raise Rejected(
            f"This takes as much GPU time as about {asked} usual pictures, more than your quota of {most} in 24 hours "
            f"({allowance.origin}): ask for fewer or smaller ones, or fewer steps.",
            rule="quota",
        )
    raise Rejected(
        f"Your quota is used up: {allowance.pictures(allowance.used)} of {most} pictures in 24 hours "
        f"({allowance.origin}), and this takes as much GPU time as {asked} more.",
        rule="quota",
        retry_at=allowance.fits_at(seconds),
    )
