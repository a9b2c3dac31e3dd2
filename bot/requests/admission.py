"""The gate: a request comes in, a job or a reasoned refusal comes out.

`quote` resolves the request once and says what it would cost; `admit` makes a job of what was quoted, in one
transaction that checks the queue depth and the quota again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import aiosqlite

from bot.config import BillConfig, ModelConfig
from bot.engine import Engine
from bot.errors import Rejected
from bot.jobs import Clock, Destination, GenerationRequest, Job, JobStatus, Queued, Requester
from bot.logs import hide
from bot.policy.limits import NEGLIGIBLE
from bot.policy.policy import Allowance, Policy, Ruling
from bot.queue.forecast import statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn, seconds_of
from bot.requests.options import Options
from bot.requests.resolve import resolve
from bot.requests.vocabulary import Vocabulary
from bot.storage.queue import Queue
from bot.storage.refusals import Refusals
from bot.storage.uploads import UploadFolder


@dataclass(frozen=True, slots=True)
class Quote:
    """A request with every value resolved, what it would cost, and the rules it was resolved by. Nothing is held."""

    requester: Requester
    destination: Destination
    options: Options
    """What was asked for, with the seed of `request`: another quote for them is about the same pictures."""
    request: GenerationRequest
    notes: tuple[str, ...]
    seconds: float
    ruling: Ruling
    allowance: Allowance
    thresholds: BillConfig

    @property
    def fits(self) -> bool:
        """Whether the quota has room for it now."""
        return self.seconds <= self.allowance.left + NEGLIGIBLE

    @property
    def is_big(self) -> bool:
        """Whether the person should see the cost first."""
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
    """What the person is told of the place and the start."""


class Admission:
    """Decides whether a request becomes a job."""

    def __init__(
        self,
        queue: Queue,
        uploads: UploadFolder,
        policy: Policy,
        refusals: Refusals,
        line: Line,
        engine: Engine,
        models: Sequence[ModelConfig],
        samplers: Sequence[str],
        vocabularies: Mapping[str, Vocabulary],
        thresholds: BillConfig,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._uploads = uploads
        self._policy = policy
        self._refusals = refusals
        self._line = line
        self._engine = engine
        self._clock = clock
        self._thresholds = thresholds
        self._vocabularies = vocabularies
        self.models = models
        self.samplers = samplers

    async def quote(self, requester: Requester, options: Options, destination: Destination) -> Quote:
        """Resolve a request without admitting it; of its uploads only the sizes are looked at.

        Raises UserError for a request that makes no sense and Rejected for one that a moderator's rule forbids, or
        while the engine is in trouble.
        """
        hide(*options.texts)
        async with self._noting(requester):
            ruling = await self._policy.ruling(requester, destination.channels)
            self._policy.check(ruling)
            resolved = resolve(options, self.models, self.samplers, ruling.limits)
            request = resolved.request
            for model in ("", request.model):
                if words := self._engine.troubles.get(model):
                    raise Rejected(f"Painting is unavailable: {words}", rule="engine")
            return Quote(
                requester=requester,
                destination=destination,
                options=replace(options, seed=request.seed),
                request=request,
                notes=resolved.notes,
                seconds=seconds_of(request.work, self._engine.timings),
                ruling=ruling,
                allowance=await self._policy.allowance(ruling),
                thresholds=self._thresholds,
            )

    async def admit(self, quote: Quote, *, interaction_id: int | None = None) -> Admitted | None:
        """Accept what was quoted as a job, durably, and so the pictures it builds on.

        Raises Rejected where the depth or the quota has no room for it. Returns None when Discord delivered the same
        interaction before.
        """
        async with self._noting(quote.requester):
            job = await self._kept(quote, interaction_id)
        if job is None:
            return None
        vocabulary = self._vocabularies.get(job.request.model)
        notes = (*quote.notes, *(vocabulary.notes(job.request.prompt) if vocabulary else ()))
        place, turn = await self._line.place(job.id) or (1, Turn(job.id, job.requester.user_id, self._clock()))
        said = statement(place, turn.starts_at, self._clock())
        await self._queue.promise(job.id, turn.starts_at, said)
        return Admitted(job, notes, place, turn.starts_at, said)

    async def _kept(self, quote: Quote, interaction_id: int | None) -> Job | None:
        """The job as it was written, after its uploads were kept; None for an interaction that made one before."""

        async def check(connection: aiosqlite.Connection) -> None:
            await self._policy.check_room(connection, quote.ruling, quote.seconds)

        with self._uploads.held(quote.options.uploads):
            for upload in quote.options.uploads:
                await self._uploads.keep(upload)
            try:
                return await self._queue.enqueue(
                    quote.requester,
                    quote.destination,
                    quote.request,
                    interaction_id=interaction_id,
                    admit=check,
                    seconds=quote.seconds,
                )
            except Rejected as refusal:
                # Only a refusal says when a place frees: in a long line that takes a while to find out.
                if refusal.rule == "depth":
                    refusal.retry_at = await self._place_frees_at(quote.requester, quote.ruling.limits.depth.value)
                raise

    @asynccontextmanager
    async def _noting(self, requester: Requester) -> AsyncIterator[None]:
        """Note a refusal, for moderators who are asked about it later."""
        try:
            yield
        except Rejected as refusal:
            await self._refusals.note(requester, refusal)
            raise

    async def _place_frees_at(self, requester: Requester, most: int) -> datetime | None:
        """When enough of a person's requests have started for one more to wait; None where that cannot be foreseen."""
        waiting = {job.id for job in await self._queue.of_person(requester) if job.status is JobStatus.QUEUED}
        starts = sorted(turn.starts_at for turn in await self._line.turns() if turn.job_id in waiting)
        over = len(waiting) - most
        return starts[max(over, 0)] if over < len(starts) else None
