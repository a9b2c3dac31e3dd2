"""What the moderators' rules and the host's defaults allow one person.

`ruling` reads a server's rules and resolves the limits once; the later checks of the same request take its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import aiosqlite

from bot.config import LimitsConfig
from bot.errors import Rejected, quoted
from bot.jobs import (
    Book,
    ChannelId,
    Clock,
    GenerationRequest,
    GuildId,
    Job,
    PictureLimits,
    Requester,
    Scope,
    Subject,
)
from bot.language import Language, lasting, sentence
from bot.money import NOTHING, Micros
from bot.policy.language import language_of
from bot.policy.limits import (
    BLOCKED,
    NEGLIGIBLE,
    QUOTA_WINDOW,
    SERVER,
    Block,
    Limits,
    Origin,
    block_of,
    counted_from,
    fits_at,
    named,
    pause_of,
    resolve,
)
from bot.policy.objections import objection, place_refused, quota_objection
from bot.policy.picture_limits import picture_limits
from bot.policy.purse import Purse, purse_of
from bot.policy.words import ServerTerms, check_hard_block
from bot.storage.rules import Rules
from bot.storage.spending import Spending, spent_in
from bot.storage.usage import Usage, spent_by, waiting_of

_LONGEST_REASON = 200
"""Characters of a moderator's reason that the person reads."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say now about one person in one channel."""

    requester: Requester
    where: tuple[ChannelId, ...]
    limits: Limits
    block: Block | None
    paused: Subject | None
    counted_from: datetime
    """Since when the GPU time that the person used counts."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A person's quota of painting time in 24 hours, and `spent`: when they asked for what; both in seconds."""

    quota: float
    origin: Origin
    spent: tuple[tuple[datetime, float], ...]

    @property
    def used(self) -> float:
        """GPU seconds of the quota that are used or held now."""
        return sum(seconds for _, seconds in self.spent)

    @property
    def left(self) -> float:
        """GPU seconds of the quota that are left."""
        return max(self.quota - self.used, 0.0)

    def fits_at(self, seconds: float) -> datetime | None:
        """When that many GPU seconds will fit into the quota; None if they fit now, or never."""
        return fits_at(self.quota, seconds, self.spent)


class Policy:
    """Answers what a person may ask for, what is left of their quota, and why a request is refused."""

    def __init__(
        self,
        rules: Rules,
        usage: Usage,
        spending: Spending,
        defaults: LimitsConfig,
        usual_seconds: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._usage = usage
        self._spending = spending
        self._clock = clock
        self._terms = ServerTerms()
        self.defaults = defaults
        self.usual_seconds = usual_seconds
        """GPU seconds of one usual picture, as far as is known now."""
        self.is_age_restricted: Callable[[GuildId, Sequence[ChannelId]], bool] = lambda _guild, _where: False
        """Whether a channel is age-restricted now, which only the surface knows; until it says so, none is."""
        self.usual_language: Callable[[GuildId], Language | None] = lambda _guild: None
        """The language of a server without a rule, as far as the surface knows one."""

    async def language(self, guild_id: GuildId) -> Language:
        """The language of a server: the moderators' choice, or else the surface's, or else English."""
        chosen = language_of(await self._rules.book(guild_id))
        return chosen or self.usual_language(guild_id) or Language.ENGLISH

    async def picture_limits(self, guild_id: GuildId, where: Sequence[ChannelId]) -> PictureLimits:
        """How explicit a picture may be in a channel now."""
        book = await self._rules.book(guild_id)
        restricted = self.is_age_restricted(guild_id, where)
        return picture_limits(self.defaults, book, where, is_age_restricted=restricted)

    async def is_hidden(self, job: Job, scores: Iterable[float | None]) -> bool:
        """Whether pictures with these scores are shown only behind a spoiler where their job was asked for."""
        limits = await self.picture_limits(job.requester.guild_id, job.destination.channels)
        return any(limits.hides(score) for score in scores)

    async def books(self) -> Mapping[GuildId, Book]:
        """The rules of all servers; the same object until a rule changes."""
        return await self._rules.books()

    def limits_in(self, book: Book, requester: Requester, where: Sequence[ChannelId] = ()) -> Limits:
        """The limits that a server's rules give a person in a channel."""
        return resolve(self.defaults, book, requester, where)

    async def limits(self, requester: Requester, where: Sequence[ChannelId] = ()) -> Limits:
        """The limits that hold for a person in a channel now, and who set them."""
        return self.limits_in(await self._rules.book(requester.guild_id), requester, where)

    async def ruling(self, requester: Requester, where: Sequence[ChannelId] = ()) -> Ruling:
        """Everything that the rules say about a person in a channel now."""
        return await self._ruling(requester, where, self._clock())

    async def _ruling(self, requester: Requester, where: Sequence[ChannelId], now: datetime) -> Ruling:
        book = await self._rules.book(requester.guild_id)
        if block := block_of(book, requester, now):
            subject = (Scope.PERSON, requester.user_id)
            block = replace(block, reason=await self._rules.reason(requester.guild_id, subject, BLOCKED))
        return Ruling(
            requester,
            tuple(where),
            self.limits_in(book, requester, where),
            block,
            pause_of(book, where),
            counted_from(book, requester, now),
        )

    async def allowance(self, ruling: Ruling) -> Allowance:
        """What the person used of their quota, and what is left."""
        return self._allowance(ruling, await self._usage.spent(ruling.requester, ruling.counted_from))

    def _allowance(self, ruling: Ruling, spent: Sequence[tuple[datetime, float]]) -> Allowance:
        quota = ruling.limits.quota
        return Allowance(quota.value, quota.origin, tuple(spent))

    async def purse(self, ruling: Ruling) -> Purse:
        """What the person may spend on providers now."""
        since = self._clock() - QUOTA_WINDOW
        spent = await self._spending.spent(ruling.requester, ruling.counted_from, since)
        return purse_of(ruling.limits, self.defaults, spent)

    def check(self, ruling: Ruling) -> None:
        """Raise Rejected where a moderator paused painting, blocked the person or closed the channel."""
        self.check_block(ruling)
        if paused := ruling.paused:
            words = sentence("A moderator paused painting for this server. Waiting requests keep their places.")
            if paused != SERVER:
                words = sentence(
                    "A moderator paused painting for {place}. Waiting requests keep their places.", place=named(paused)
                )
            raise Rejected(
                words,
                rule="pause",
                origin=str(Origin(*paused)),
            )
        if refused := place_refused(ruling.limits, ruling.where):
            raise Rejected(refused, rule="channels", origin=str(ruling.limits.channels.origin))

    def check_block(self, ruling: Ruling) -> None:
        """Raise Rejected where a moderator blocked the person."""
        if block := ruling.block:
            words = sentence("A moderator blocked you on this server.")
            if block.reason:
                reason = quoted(block.reason, _LONGEST_REASON)
                words = sentence("A moderator blocked you on this server. Reason: {reason}", reason=reason)
            raise Rejected(
                words,
                rule="block",
                retry_at=block.until,
                origin=str(Origin(Scope.PERSON, ruling.requester.user_id)),
            )

    async def check_words(self, guild_id: GuildId, request: GenerationRequest, book: Book | None = None) -> None:
        """Raise Rejected if any words of a request that reach a model may not be painted on a server.

        `book` are the rules of the server, if they were read already.

        Every request comes here once its words are final, and again when its turn has come.
        """
        # Frames between two prompts show both.
        check_hard_block(", ".join(filter(None, [request.prompt, request.end_prompt])), request.negative_prompt)
        book = await self._rules.book(guild_id) if book is None else book
        await self._terms.check(guild_id, book, request.texts)

    async def check_title(self, guild_id: GuildId, title: str) -> None:
        """Raise Rejected if a title may not be shown on a server, by the same rules as the words of a request."""
        check_hard_block(title, "")
        await self._terms.check(guild_id, await self._rules.book(guild_id), (title,))

    async def check_room(
        self, connection: aiosqlite.Connection, ruling: Ruling, seconds: float, micros: Micros = NOTHING
    ) -> None:
        """Raise Rejected unless one more request that takes so much time and money fits; for use in a transaction."""
        depth = await waiting_of(connection, ruling.requester)
        if depth >= ruling.limits.depth.value:
            raise _queue_is_full(depth, ruling.limits)
        spent = await spent_by(connection, ruling.requester, ruling.counted_from)
        self.check_quota(self._allowance(ruling, spent), seconds)
        if micros:
            since = self._clock() - QUOTA_WINDOW
            paid = await spent_in(connection, ruling.requester, ruling.counted_from, since)
            self.check_money(purse_of(ruling.limits, self.defaults, paid), micros)

    @staticmethod
    def check_money(purse: Purse, micros: Micros) -> None:
        """Raise Rejected, with the time when it will work, unless that much more money may be spent."""
        if refusal := purse.refusal(micros):
            raise refusal

    @staticmethod
    def check_quota(allowance: Allowance, seconds: float) -> None:
        """Raise Rejected, with the time when it will work, unless that many more GPU seconds fit into the quota."""
        if allowance.used + seconds <= allowance.quota + NEGLIGIBLE:
            return
        known = {
            "time": lasting(seconds, math.ceil),
            "quota": lasting(allowance.quota, math.floor),
            "origin": allowance.origin.reference,
        }
        if seconds > allowance.quota + NEGLIGIBLE:
            raise Rejected(
                sentence(
                    "This takes about {time} of painting time, more than your quota of {quota} in 24 hours ({origin}): "
                    "ask for fewer or smaller pictures, or for fewer steps.",
                    **known,
                ),
                rule="quota",
                origin=str(allowance.origin),
                asked=math.ceil(seconds),
                allowed=allowance.quota,
            )
        raise Rejected(
            sentence(
                "Not enough of your quota is left: this takes about {time} of painting time, and {left} of {quota} in "
                "24 hours is left ({origin}).",
                left=lasting(allowance.left, math.floor),
                **known,
            ),
            rule="quota",
            retry_at=allowance.fits_at(seconds),
            origin=str(allowance.origin),
            asked=math.ceil(allowance.used + seconds),
            allowed=allowance.quota,
        )

    async def objection(self, job: Job) -> Rejected | None:
        """Why the limits and the terms as they are now forbid an accepted job; None if they do not.

        The job's message says it in the language of the server.
        """
        refusal = await self._objection(job)
        if refusal is not None:
            refusal.language = await self.language(job.requester.guild_id)
        return refusal

    async def _objection(self, job: Job) -> Rejected | None:
        try:
            await self.check_words(job.requester.guild_id, job.request)
        except Rejected as refused:
            return refused
        # If the clock was set back, use the time of the request: otherwise older usage would count again.
        now = max(self._clock(), job.asked_at)
        ruling = await self._ruling(job.requester, job.destination.channels, now)
        if refusal := objection(job.request, ruling.limits, ruling.where):
            return refusal
        before = await self._usage.spent_before(job, ruling.counted_from)
        if refusal := quota_objection(ruling.limits, await self._usage.held(job), before):
            return refusal
        if not job.held_micros:
            return None
        # Those that were asked for earlier were accepted first.
        spent = await self._spending.spent(job.requester, ruling.counted_from, now - QUOTA_WINDOW, job.id)
        return purse_of(ruling.limits, self.defaults, spent).refusal(job.held_micros)


def _queue_is_full(depth: int, limits: Limits) -> Rejected:
    return Rejected(
        sentence(
            "Your queue is full: {depth} of {most} requests wait ({origin}).",
            depth=depth,
            most=limits.depth.value,
            origin=limits.depth.origin.reference,
        ),
        rule="depth",
        origin=str(limits.depth.origin),
        asked=depth + 1,
        allowed=limits.depth.value,
    )
