"""Which limits hold for a person in a channel, and who decided them: pure functions over a server's rules.

A person's own rule beats those of their roles, of which the highest role with a rule wins; a role's beats the
channel's, where a thread comes before the channel it hangs on; the channel's beats the server's, and that the host's
default. Every limit is decided by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from bot.config import IMAGES, STEPS, LimitsConfig
from bot.errors import Refers, Rejected, UserError, refer
from bot.jobs import Book, ChannelId, GenerationRequest, Requester, RuleValue, Scope, Subject, from_text

T_co = TypeVar("T_co", covariant=True)


class LimitName(StrEnum):
    """What can be limited."""

    PACE = "pace"
    DEPTH = "depth"
    QUOTA = "quota"
    PIXELS = "pixels"
    STEPS = "steps"
    IMAGES = "images"
    MODELS = "models"
    WEIGHT = "weight"
    CHANNELS = "channels"


MEANING = {
    LimitName.PACE: "images per minute",
    LimitName.DEPTH: "requests waiting at a time",
    LimitName.QUOTA: "GPU seconds in 24 hours",
    LimitName.PIXELS: "pixels of a picture",
    LimitName.STEPS: "denoising steps",
    LimitName.IMAGES: "pictures of one request",
    LimitName.MODELS: "models to choose from",
    LimitName.WEIGHT: "share of the GPU when many wait, 100 being usual",
    LimitName.CHANNELS: "channels to ask in",
}

BOUNDS = {
    LimitName.PACE: (1, 10_000),
    LimitName.DEPTH: (1, 10_000),
    LimitName.QUOTA: (1, 1_000_000),
    LimitName.PIXELS: (64, 2**26),
    LimitName.STEPS: STEPS,
    LimitName.IMAGES: IMAGES,
    LimitName.WEIGHT: (1, 10_000),
}
"""Of the limits that are numbers: the least and the most that can be set."""

QUOTA_WINDOW = timedelta(hours=24)
NEGLIGIBLE = 1e-6
"""Sums of seconds that differ by less count as equal: floating point rounds."""

_NEVER = datetime.min.replace(tzinfo=UTC)

PAUSED = "paused"
"""The name of a server's or channel's rule that nothing is started there."""
BLOCKED = "blocked"
"""The name of a person's rule that they may not ask: until a time, or None for as long as it stands."""
QUOTA_FROM = "quota_from"
"""The name of a person's rule that what they used before that time does not count."""

_REMEDIES = {"pause": "mod resume", "block": "mod unblock"}
"""The command that changes a rule which is no limit."""

SERVER: Subject = (Scope.SERVER, 0)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who decided a value: the rule of a subject, or the host where there is no scope."""

    scope: Scope | None = None
    subject_id: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote."""
        if text == _HOST:
            return cls()
        scope, _, subject_id = text.partition(":")
        return cls(Scope(scope), int(subject_id or 0))

    def __str__(self) -> str:
        """As it is stored: `host`, `server`, `channel:1`, `role:1` or `person:1`."""
        if self.scope is None:
            return _HOST
        return self.scope.value if self.scope is Scope.SERVER else f"{self.scope}:{self.subject_id}"

    @property
    def reference(self) -> str:
        """A reference to it within a sentence."""
        return refer(Refers.ORIGIN, self)


_HOST = "host"
HOST = Origin()


def named(subject: Subject) -> str:
    """A reference to what a rule is about, within a sentence."""
    return refer(Refers.SUBJECT, Origin(*subject))


@dataclass(frozen=True, slots=True)
class Limit(Generic[T_co]):
    """One value and who decided it."""

    value: T_co
    origin: Origin


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that holds for one person in one place. A list names what is allowed; None in its place is all."""

    pace: Limit[int]
    depth: Limit[int]
    quota: Limit[int]
    pixels: Limit[int]
    steps: Limit[int]
    images: Limit[int]
    models: Limit[tuple[str, ...] | None]
    weight: Limit[int]
    channels: Limit[tuple[int, ...] | None]

    def __getitem__(self, name: LimitName) -> Limit[Any]:
        limit: Limit[Any] = getattr(self, name)
        return limit


def subjects(who: Requester, where: Sequence[ChannelId] = ()) -> list[Subject]:
    """Every subject whose rules apply to a person in a channel, in the order of precedence."""
    return [
        (Scope.PERSON, who.user_id),
        *((Scope.ROLE, role_id) for role_id in who.roles),
        *((Scope.CHANNEL, channel_id) for channel_id in where),
        SERVER,
    ]


def candidates(
    defaults: LimitsConfig, book: Book, who: Requester, where: Sequence[ChannelId] = ()
) -> dict[LimitName, list[Limit[Any]]]:
    """For each limit every value that applies to a person there: the one that holds first, the host's default last."""
    bearing = [subject for subject in subjects(who, where) if subject in book]
    decided = {}
    for name in LimitName:
        limits = [Limit(book[subject][name], Origin(*subject)) for subject in bearing if name in book[subject]]
        default = getattr(defaults, name)
        decided[name] = [*limits, Limit(None if default == "all" else default, HOST)]
    return decided


def resolve(defaults: LimitsConfig, book: Book, who: Requester, where: Sequence[ChannelId] = ()) -> Limits:
    """Tell what holds for a person in a channel, given by its id and, for a thread, its channel's; see above."""
    return Limits(**{name: limits[0] for name, limits in candidates(defaults, book, who, where).items()})


def greatest_weight(defaults: LimitsConfig, book: Book) -> int:
    """The greatest weight that a server gives to a person, by a rule or by the host's default."""
    given = (rules.get(LimitName.WEIGHT) for rules in book.values())
    return max([defaults.weight, *(weight for weight in given if isinstance(weight, int))])


def share_of(weight: int, greatest: int) -> float:
    """What part of the usual share a weight is, among all servers; `greatest` is the server's own.

    A server's weights divide only its own share: they take nothing from the people of another server.
    """
    return weight / greatest


def is_paused(book: Book, where: Sequence[ChannelId]) -> bool:
    """Whether nothing may start in a channel, or in the whole server."""
    return pause_of(book, where) is not None


def pause_of(book: Book, where: Sequence[ChannelId]) -> Subject | None:
    """What a moderator paused, if that holds in a channel: the server or the channel."""
    places: list[Subject] = [SERVER, *((Scope.CHANNEL, channel_id) for channel_id in where)]
    return next((place for place in places if PAUSED in book.get(place, {})), None)


@dataclass(frozen=True, slots=True)
class Block:
    """A person may not ask, until a time or as long as it stands."""

    until: datetime | None


def block_of(book: Book, who: Requester, now: datetime) -> Block | None:
    """What keeps a person from asking, if anything does now."""
    rules = book.get((Scope.PERSON, who.user_id), {})
    if BLOCKED not in rules:
        return None
    until = _time(rules[BLOCKED])
    return None if until is not None and until <= now else Block(until)


def quota_from(book: Book, who: Requester) -> datetime | None:
    """Since when what a person uses counts, if a moderator reset their quota."""
    return _time(book.get((Scope.PERSON, who.user_id), {}).get(QUOTA_FROM))


def _time(value: RuleValue) -> datetime | None:
    return from_text(value) if isinstance(value, str) else None


def check_values(scope: Scope, values: Mapping[LimitName, RuleValue]) -> None:
    """Raise UserError unless every value is one that can be enforced in a scope."""
    for name, value in values.items():
        if name is LimitName.CHANNELS and scope is Scope.CHANNEL:
            raise UserError(
                "Channels to ask in are set for the server, a role or a person, not for a channel. Nothing was changed."
            )
        if name not in BOUNDS:
            continue
        low, high = BOUNDS[name]
        if not isinstance(value, int) or not low <= value <= high:
            said = f"{value:,}" if isinstance(value, int) else "that"
            raise UserError(
                f"{name} ({MEANING[name]}) goes from {low:,} to {high:,}; {said} is outside. Nothing was changed."
            )


def place_refused(limits: Limits, where: Sequence[ChannelId]) -> str | None:
    """Why people may not ask in a channel, as a sentence; None where they may."""
    allowed = limits.channels.value
    if allowed is None or any(channel_id in allowed for channel_id in where):
        return None
    if not allowed:
        return f"Pictures may be asked for in no channel ({limits.channels.origin.reference})."
    places = ", ".join(named((Scope.CHANNEL, channel_id)) for channel_id in allowed)
    return f"Pictures may not be asked for in this channel ({limits.channels.origin.reference}), but in {places}."


def objection(request: GenerationRequest, limits: Limits, where: Sequence[ChannelId]) -> Rejected | None:
    """Why a request that was accepted may not be painted by the limits of now; None if it may."""
    if refused := place_refused(limits, where):
        return _changed(LimitName.CHANNELS, limits, f". {refused}")
    if limits.models.value is not None and request.model not in limits.models.value:
        origin = limits.models.origin
        words = f": the model {request.model} may not be used here any more ({origin.reference})."
        return _changed(LimitName.MODELS, limits, words)
    asked = {
        LimitName.PIXELS: request.width * request.height,
        LimitName.STEPS: request.num_inference_steps,
        LimitName.IMAGES: request.num_images_per_prompt,
    }
    for name, count in asked.items():
        most, origin = limits[name].value, limits[name].origin
        if count > most:
            words = f": {most:,} {MEANING[name]} at most, not {count:,} ({origin.reference})."
            return _changed(name, limits, words, count, most)
    return None


def quota_objection(limits: Limits, seconds: float, before: Sequence[tuple[datetime, float, float]]) -> Rejected | None:
    """Why a request that was accepted is over the quota of now; None if it is not.

    `before` is what its person asked for earlier and had a turn for: when, what it cost, and what of that was held for
    it. What was held decides, for by that they were accepted: nothing is refused since others took longer than thought.
    """
    quota, origin = limits.quota.value, limits.quota.origin
    used = sum(held for _, _, held in before)
    if used + seconds <= quota + 2 * NEGLIGIBLE:
        return None
    asked = math.ceil(used + seconds)
    if seconds > quota + NEGLIGIBLE:
        words = (
            f": this takes {math.ceil(seconds):,} GPU seconds, "
            f"more than the {quota:,} in 24 hours ({origin.reference})."
        )
        return _changed(LimitName.QUOTA, limits, words, math.ceil(seconds), quota)
    words = f": {math.ceil(used):,} of {quota:,} GPU seconds in 24 hours are used, and this takes "
    refusal = _changed(
        LimitName.QUOTA, limits, f"{words}{math.ceil(seconds):,} more ({origin.reference}).", asked, quota
    )
    refusal.retry_at = fits_at(quota, seconds, [(asked_at, cost) for asked_at, cost, _ in before])
    return refusal


def fits_at(quota: float, seconds: float, spent: Sequence[tuple[datetime, float]]) -> datetime | None:
    """When `seconds` will fit into a quota of which `spent` is used; None when they never do or do now."""
    over = sum(amount for _, amount in spent) + seconds - quota
    if over <= NEGLIGIBLE or seconds > quota + NEGLIGIBLE:
        return None
    for asked_at, amount in spent:
        over -= amount
        if over <= NEGLIGIBLE:
            return asked_at + QUOTA_WINDOW
    return None


def counted_from(book: Book, who: Requester, now: datetime) -> datetime:
    """Since when what a person uses counts: for a day, or since a moderator let them start anew."""
    return max(now - QUOTA_WINDOW, quota_from(book, who) or _NEVER)


def _changed(
    name: LimitName, limits: Limits, words: str, asked: float | None = None, allowed: float | None = None
) -> Rejected:
    return Rejected(
        f"The limits have changed while this waited{words}",
        rule=name.value,
        origin=str(limits[name].origin),
        asked=asked,
        allowed=allowed,
    )


def told(refusal: Rejected) -> str:
    """All there is to say of a refusal to the person who asked: what, when it will work, and who can change it."""
    sentence = str(refusal)
    if refusal.retry_at is not None:
        sentence += f" It will work {refer(Refers.TIME, refusal.retry_at.isoformat())}."
    if remedy := _REMEDIES.get(refusal.rule, "limits set" if refusal.origin else None):
        sentence += f" Moderators change this with {refer(Refers.COMMAND, remedy)}."
    return sentence


def takes_away(before: Limits, after: Limits) -> list[LimitName]:
    """Which limits allow less than they did."""
    return [name for name in LimitName if _allows_less(before[name].value, after[name].value)]


def _allows_less(before: Any, after: Any) -> bool:
    if isinstance(after, int):
        return bool(after < before)
    if after is None:
        return False
    return before is None or not set(before) <= set(after)
