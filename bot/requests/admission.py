"""Admission: a request becomes a job, or is refused with a reason.

`quote` resolves the request and calculates its cost; `admit` makes a job of the quote, in one transaction that checks
the queue depth and the quota again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import aiosqlite

from bot.config import BillConfig, ModelConfig
from bot.engine import Engine
from bot.engine.catalog import SAMPLERS, Catalog
from bot.engine.images_api.prices import estimate
from bot.errors import Reference, Rejected, UserError, refer
from bot.jobs import (
    DRAINED,
    Book,
    Clock,
    Destination,
    GenerationRequest,
    GuildId,
    Job,
    JobStatus,
    Operation,
    Queued,
    Requester,
)
from bot.language import say, say_many
from bot.language.reasons import Reason
from bot.logs import hide
from bot.money import NOTHING, Micros, micros_of_cents, roughly
from bot.policy.limits import NEGLIGIBLE, Limit
from bot.policy.policy import Allowance, Policy, Ruling
from bot.policy.purse import Purse
from bot.queue.engine_forecast import seconds_of
from bot.queue.forecast import statement
from bot.queue.line import Line
from bot.queue.scheduler import Turn
from bot.requests import defaults
from bot.requests.abilities import Enlarging, refusal
from bot.requests.defaults import Defaults, Source
from bot.requests.options import Options
from bot.requests.presets import NO_PRESETS, Presets, presets_of
from bot.requests.remote import lacking_of
from bot.requests.resolve import delivered_size, resolve
from bot.requests.shapes import ASPECTS
from bot.requests.vocabulary import Vocabulary
from bot.requests.wording import one_line
from bot.storage.pictures import Pictures
from bot.storage.preferences import PreferenceStore
from bot.storage.presets import PresetRatings
from bot.storage.queue import Queue
from bot.storage.refusals import Refusals
from bot.storage.styles import Styles


@dataclass(frozen=True, slots=True)
class Quote:
    """A request with every value resolved, its cost, and the rules that applied. No quota is held for it."""

    requester: Requester
    destination: Destination
    options: Options
    """The person's options, with the seed of `request`, so that a second quote for them is about the same pictures."""
    request: GenerationRequest
    notes: tuple[str, ...]
    seconds: float
    """GPU seconds that the request is expected to take; a provider's take none."""
    ruling: Ruling
    allowance: Allowance
    thresholds: BillConfig
    origins: Mapping[str, Source] = field(default_factory=dict)
    """Where the value of each option comes from, by the option's name."""
    read: Options | None = None
    """The person's options after the flags in the prompt were read."""
    enhance: bool = False
    """Whether the person wants to see first what would improve the prompt."""
    micros: Micros = NOTHING
    """What the request is expected to cost in money: an estimate."""
    purse: Purse | None = None
    """What may be spent now, if the request costs money."""

    @property
    def fits(self) -> bool:
        """Whether enough of the quota is left now, and enough money."""
        return self.seconds <= self.allowance.left + NEGLIGIBLE and (
            self.purse is None or self.micros <= self.purse.left
        )

    @property
    def is_big(self) -> bool:
        """Whether the person should confirm the cost first."""
        big = self.thresholds
        share = self.seconds > big.share * self.allowance.left and self.seconds > big.at_least
        return share or self.seconds > big.seconds or self.micros > micros_of_cents(big.money)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An accepted request: its job, at most one line of notes for the requester, its place (from 1) and its start."""

    job: Job
    notes: tuple[str, ...]
    place: int
    starts_at: datetime
    said: Queued
    """What the message says about the place and the start."""


class Admission:
    """Decides whether a request becomes a job."""

    def __init__(
        self,
        queue: Queue,
        pictures: Pictures,
        policy: Policy,
        refusals: Refusals,
        line: Line,
        engine: Engine,
        models: Sequence[ModelConfig],
        catalog: Catalog,
        vocabularies: Mapping[str, Vocabulary],
        thresholds: BillConfig,
        clock: Clock,
        preferences: PreferenceStore | None = None,
        styles: Styles | None = None,
        preset_ratings: PresetRatings | None = None,
    ) -> None:
        self._preset_ratings = preset_ratings
        self._preferences = preferences
        self._styles = styles
        self._queue = queue
        self._pictures = pictures
        self._policy = policy
        self._refusals = refusals
        self._line = line
        self._engine = engine
        self._clock = clock
        self._thresholds = thresholds
        self._vocabularies = vocabularies
        self._catalog = catalog
        self.models = models

    def samplers(self, model: str) -> Sequence[str]:
        """The samplers that a model can use."""
        return self._catalog.samplers(model)

    def operations(self, model: str) -> frozenset[Operation]:
        """What can be done with a model."""
        return self._catalog.operations(model)

    def lacking(self, model: str) -> frozenset[str]:
        """The options that a model does not take, because a provider paints with it."""
        return lacking_of(self._catalog.capabilities(model))

    def enlarging(self, model: str) -> Enlarging:
        """What the button that enlarges a picture of a model does."""
        if self._catalog.has_own_upscaler(model):
            return Enlarging.OWN
        return Enlarging.HOST if Operation.UPSCALE in self.operations(model) else Enlarging.REPAINT

    async def quote(self, requester: Requester, options: Options, destination: Destination) -> Quote:
        """Resolve a request without admitting it; only the sizes of its uploads are read.

        Raises UserError for a request that makes no sense, and Rejected if a moderator's rule forbids it or the engine
        cannot paint it now.
        """
        hide(*options.texts)
        async with self.noting(requester):
            ruling = await self._policy.ruling(requester, destination.channels)
            self._policy.check(ruling)
            book = (await self._policy.books()).get(requester.guild_id, {})
            resolved = resolve(
                options,
                self.models,
                tuple(SAMPLERS),
                ruling.limits,
                self._catalog.samplings,
                await self._defaults(requester, destination, book),
                [model.name for model in self.models if self._trouble(model.name) or not self._is_served(model.name)],
                {} if self._styles is None else await self._styles.of_book(requester.guild_id, book),
                await self._presets(requester.guild_id, book),
            )
            request = resolved.request
            hide(*request.texts)
            await self._policy.check_words(requester.guild_id, request, book)
            for model in ("", request.model):
                if words := self._trouble(model):
                    raise Rejected("Painting is unavailable: {trouble}", rule="engine", trouble=Reason(words))
            self._check_operation(request, ruling)
            await self._check_stored(options)
            if not self._is_served(request.model):
                raise Rejected(
                    "No engine has the model {model}. Choose another one.", rule="engine", model=request.model
                )
            able = self._catalog.capabilities(request.model)
            micros = NOTHING if able is None else estimate(request, able)
            return Quote(
                requester=requester,
                destination=destination,
                options=replace(options, seed=request.seed, choice=resolved.choice),
                request=request,
                notes=resolved.notes,
                seconds=seconds_of(request.work, self._line.speed_for(request.work)) if able is None else 0.0,
                micros=micros,
                purse=await self._policy.purse(ruling) if micros else None,
                ruling=ruling,
                allowance=await self._policy.allowance(ruling),
                thresholds=self._thresholds,
                origins=resolved.origins,
                read=replace(resolved.read, seed=request.seed, choice=resolved.choice),
                enhance=resolved.enhance,
            )

    def _trouble(self, model: str) -> str | None:
        """Why a model does not work now, or with "" the engine."""
        return self._engine.troubles.get(model) or self._catalog.troubles.get(model)

    def _is_served(self, model: str) -> bool:
        """Whether any engine has a model."""
        return any(lane.has(model) for lane in self._engine.lanes)

    async def _defaults(self, requester: Requester, destination: Destination, book: Book) -> list[Defaults]:
        """What fills in the options that a person left out, the strongest first."""
        of_place = defaults.of_place(book, destination.channels)
        if self._preferences is None:
            return of_place
        mine = await self._preferences.of(requester.user_id)
        return [Defaults(Source.MINE, mine.images, mine.aspect, mine.model), *of_place]

    async def _presets(self, guild_id: GuildId, book: Book) -> Presets:
        """The presets among which a server's ratings choose."""
        names = presets_of(book)
        if not names or self._preset_ratings is None:
            return NO_PRESETS
        return Presets(names, await self._preset_ratings.of(guild_id))

    def _check_operation(self, request: GenerationRequest, ruling: Ruling) -> None:
        """Raise UserError for an operation that the request's model lacks."""
        abilities = self.operations(request.model)
        if request.operation in abilities:
            return
        allowed = ruling.limits.models.value
        others = [
            model.name
            for model in self.models
            if request.operation in self.operations(model.name) and (allowed is None or model.name in allowed)
        ]
        raise UserError(refusal(request.model, request.operation, abilities, others))

    async def usable_models(self, requester: Requester, destination: Destination) -> Sequence[ModelConfig]:
        """The models that a person may use there now, and that work, in order."""
        allowed = (await self._policy.limits(requester, destination.channels)).models.value
        return [
            model
            for model in self.models
            if (allowed is None or model.name in allowed) and model.name not in self._engine.troubles
        ]

    async def delivered_sizes(
        self, requester: Requester, destination: Destination, model: ModelConfig
    ) -> dict[str, tuple[int, int]]:
        """The shapes that a person may ask for there, and the sizes in pixels in which a model's pictures come."""
        limit = (await self._policy.limits(requester, destination.channels)).pixels
        sizes = {aspect: delivered_size(aspect, model, limit) for aspect in ASPECTS}
        return {aspect: size for aspect, size in sizes.items() if size is not None}

    async def admit(self, quote: Quote, *, interaction_id: int | None = None) -> Admitted | None:
        """Make a job of a quote, and store it durably with its uploads.

        Raises Rejected if it is over the queue depth or the quota. Returns None if Discord delivered the same
        interaction before.
        """
        job = await self._store(quote, interaction_id)
        if job is None:
            return None
        admitted = await self.promise(job, self.notes(quote))
        if admitted.said.starts_at is None or not self._line.paces(
            Turn(job.id, quote.requester.user_id, admitted.starts_at)
        ):
            return admitted
        paced = _paced(admitted.said.starts_at, quote.ruling.limits.pace, moves=job.request.frames > 0)
        return replace(admitted, notes=one_line((*admitted.notes, paced)))

    def notes(self, quote: Quote) -> tuple[str, ...]:
        """What the requester should know, in one line: values that were changed, and what the model cannot draw."""
        request = quote.request
        vocabulary = self._vocabularies.get(request.model)
        # To enlarge a picture is not to draw its words.
        drawn = () if request.operation is Operation.UPSCALE else (request.prompt, request.end_prompt)
        if quote.micros and not quote.is_big:
            price = say(
                "about {money}, an estimate; {provider} decides what it costs",
                money=roughly(quote.micros),
                provider=quote.request.provider,
            )
            return one_line((*quote.notes, price))
        unknown = [note for words in drawn for note in vocabulary.notes(words)] if vocabulary else []
        return one_line((*quote.notes, *dict.fromkeys(unknown)))

    def known_by(self, model: str) -> str:
        """What a small model can draw, as a sentence; empty for a model that knows most words."""
        vocabulary = self._vocabularies.get(model)
        return vocabulary.known(model) if vocabulary is not None and vocabulary.names else ""

    async def promise(self, job: Job, notes: tuple[str, ...]) -> Admitted:
        """Find the place of a new job and when it starts, and note that the requester is told so."""
        place, turn = await self._line.place(job.id) or (1, Turn(job.id, job.requester.user_id, self._clock()))
        drained = self._line.is_drained(job.request.model)
        said = DRAINED if drained else statement(place, turn.starts_at, self._clock())
        await self._queue.promise(job.id, None if drained else turn.starts_at, said)
        return Admitted(job, notes, place, turn.starts_at, said)

    async def _store(self, quote: Quote, interaction_id: int | None) -> Job | None:
        """Store the uploads and write the job's row; None if the same interaction made a job before."""

        async def check(connection: aiosqlite.Connection) -> None:
            await self._policy.check_room(connection, quote.ruling, quote.seconds, quote.micros)

        async with self.storing(quote):
            return await self._queue.enqueue(
                quote.requester,
                quote.destination,
                quote.request,
                interaction_id=interaction_id,
                admit=check,
                seconds=quote.seconds,
                micros=quote.micros,
                sources=quote.options.edit.sources if quote.options.edit else (),
                value_sources=None if quote.options.edit else quote.origins,
            )

    @asynccontextmanager
    async def storing(self, quote: Quote) -> AsyncIterator[None]:
        """Keep the uploads of a request while the body writes its rows, and note a refusal by the limits."""
        # What has no bytes here is in the folder already.
        sent = {upload.sha256: upload.data for upload in quote.options.uploads if upload.data}
        async with self.noting(quote.requester), self._pictures.kept(sent):
            try:
                yield
            except Rejected as refusal:
                # Calculate this only for a refusal, because it takes a while in a long queue.
                if refusal.rule == "depth":
                    refusal.retry_at = await self._place_frees_at(quote.requester, quote.ruling.limits.depth.value)
                raise

    async def _check_stored(self, options: Options) -> None:
        """Raise UserError if a stored picture that a request starts from was deleted."""
        stored = [upload.sha256 for upload in options.uploads if upload.sha256 and not upload.data]
        if stored and not await self._pictures.has(stored):
            raise UserError("The picture that this starts from was deleted. Start from another one.")

    @asynccontextmanager
    async def noting(self, requester: Requester) -> AsyncIterator[None]:
        """Record a Rejected error of the body, so that moderators can explain it later."""
        try:
            yield
        except Rejected as refusal:
            await self._refusals.note(requester, refusal)
            raise

    async def _place_frees_at(self, requester: Requester, most: int) -> datetime | None:
        """When enough of a person's requests will have started for one more to wait; None if that is not known."""
        # What waits of a series counts as one request, until the last of it has started.
        waiting = {
            job.id: ("series", job.series_id) if job.series_id is not None else ("job", job.id)
            for job in await self._queue.of_person(requester)
            if job.status is JobStatus.QUEUED
        }
        starts_of: dict[tuple[str, int], datetime] = {}
        for turn in await self._line.turns():
            if turn.job_id in waiting:
                starts_of[waiting[turn.job_id]] = turn.starts_at
        starts = sorted(starts_of.values())
        over = len(set(waiting.values())) - most
        return starts[max(over, 0)] if over < len(starts) else None


def _paced(starts_at: datetime, pace: Limit[int], *, moves: bool) -> str:
    """Why a request waits for its person's pace, and until when."""
    words = say_many(
        "Your pace is {count} picture a minute ({origin}), so this request starts {when}.",
        "Your pace is {count} pictures a minute ({origin}), so this request starts {when}.",
        pace.value,
        when=refer(Reference.TIME, starts_at.isoformat()),
        origin=pace.origin.reference,
    )
    return f"{words} {say('Each frame counts as a picture.')}" if moves else words
