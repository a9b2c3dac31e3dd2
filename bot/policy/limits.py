"""Which limits apply to a person in a channel, and who set them: pure functions over a server's rules.

The most specific rule wins: the person's own; then that of their highest role with a rule; then the thread's and the
channel's; then the server's; then the host's default. Each limit is decided separately.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from bot.config import ANIMATION, IMAGES, PERMUTATIONS, STEPS, LimitsConfig
from bot.errors import Reference, UserError, refer
from bot.jobs import Book, ChannelId, Requester, RuleValue, Scope, Subject, from_text
from bot.language import Sentence, lasting, mark, sentence, sentence_many
from bot.money import dollars, micros_of_cents

T_co = TypeVar("T_co", covariant=True)


class LimitName(StrEnum):
    """What can be limited."""

    PACE = "pace"
    DEPTH = "depth"
    QUOTA = "quota"
    MONEY = "money"
    SERVER_MONEY = "server_money"
    PIXELS = "pixels"
    STEPS = "steps"
    IMAGES = "images"
    ANIMATION = "animation"
    PERMUTATIONS = "permutations"
    MODELS = "models"
    WEIGHT = "weight"
    CHANNELS = "channels"


MEANING = {
    LimitName.PACE: mark("pictures per minute"),
    LimitName.DEPTH: mark("requests waiting at a time"),
    LimitName.QUOTA: mark("seconds of painting time in 24 hours"),
    LimitName.MONEY: mark("US cents of a person in 24 hours"),
    LimitName.SERVER_MONEY: mark("US cents of the whole server in 24 hours"),
    LimitName.PIXELS: mark("pixels of a picture"),
    LimitName.STEPS: mark("denoising steps"),
    LimitName.IMAGES: mark("pictures of one request; for panels and frames only pace and quota count"),
    LimitName.ANIMATION: mark("pixels of all frames of an animation"),
    LimitName.PERMUTATIONS: mark("prompts made from one prompt with choices"),
    LimitName.MODELS: mark("models to choose from"),
    LimitName.WEIGHT: mark("share of the painting time when many wait, 100 being usual"),
    LimitName.CHANNELS: mark("channels to ask in"),
}

BOUNDS = {
    LimitName.PACE: (1, 10_000),
    LimitName.DEPTH: (1, 10_000),
    LimitName.QUOTA: (1, 1_000_000),
    LimitName.MONEY: (0, 1_000_000),
    LimitName.SERVER_MONEY: (0, 1_000_000),
    LimitName.PIXELS: (64, 2**26),
    LimitName.STEPS: STEPS,
    LimitName.IMAGES: IMAGES,
    LimitName.ANIMATION: ANIMATION,
    LimitName.PERMUTATIONS: PERMUTATIONS,
    LimitName.WEIGHT: (1, 10_000),
}
"""The smallest and the largest value of each limit that is a number."""

USUAL_WEIGHT = 100
"""The weight of a person to whom no rule gives another share."""
QUOTA_WINDOW = timedelta(hours=24)
NEGLIGIBLE = 1e-6
"""Sums of seconds that differ by less than this count as equal, because floating point rounds."""

_NEVER = datetime.min.replace(tzinfo=UTC)

PAUSED = "paused"
"""The name of the rule that pauses a server or a channel: no request is started or accepted there."""
BLOCKED = "blocked"
"""The name of the rule that blocks a person; its value is the end of the block, or None for no end."""
QUOTA_FROM = "quota_from"
"""The name of the rule that resets a person's quota; its value is the time from which usage counts."""
GALLERY = "gallery"
"""The name of the rule that gives a server a gallery; its value is the gallery's channel and threshold."""
LOG = "log"
"""The name of the rule that gives a server a log channel; its value is the channel."""
THRESHOLDS = (1, 1000)
"""The smallest and the largest threshold of a gallery."""

SERVER: Subject = (Scope.SERVER, 0)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set a value: the rule of a subject, or the host if `scope` is None."""

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
        """As text for the database: `host`, `server`, `channel:1`, `role:1` or `person:1`."""
        if self.scope is None:
            return _HOST
        return self.scope.value if self.scope is Scope.SERVER else f"{self.scope}:{self.subject_id}"

    @property
    def reference(self) -> str:
        """A reference to this origin, for use within a sentence."""
        return refer(Reference.ORIGIN, self)


_HOST = "host"
HOST = Origin()


def named(subject: Subject) -> str:
    """A reference to the subject of a rule, for use within a sentence."""
    return refer(Reference.SUBJECT, Origin(*subject))


@dataclass(frozen=True, slots=True)
class Limit(Generic[T_co]):
    """One value and who set it."""

    value: T_co
    origin: Origin


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one person in one channel. A list names what is allowed; None allows everything."""

    pace: Limit[int]
    depth: Limit[int]
    quota: Limit[int]
    money: Limit[int]
    server_money: Limit[int]
    pixels: Limit[int]
    steps: Limit[int]
    images: Limit[int]
    animation: Limit[int]
    permutations: Limit[int]
    models: Limit[tuple[str, ...] | None]
    weight: Limit[int]
    channels: Limit[tuple[int, ...] | None]

    def __getitem__(self, name: LimitName) -> Limit[Any]:
        limit: Limit[Any] = getattr(self, name)
        return limit


def subjects(who: Requester, where: Sequence[ChannelId] = ()) -> list[Subject]:
    """The subjects whose rules apply to a person in a channel, the most specific first."""
    return [
        (Scope.PERSON, who.user_id),
        *((Scope.ROLE, role_id) for role_id in who.roles),
        *((Scope.CHANNEL, channel_id) for channel_id in where),
        SERVER,
    ]


def candidates(
    defaults: LimitsConfig, book: Book, who: Requester, where: Sequence[ChannelId] = ()
) -> dict[LimitName, list[Limit[Any]]]:
    """For each limit, all values set for a person in a channel: the winning one first, the host's default last."""
    with_rules = [subject for subject in subjects(who, where) if subject in book]
    decided = {}
    for name in LimitName:
        limits = [Limit(book[subject][name], Origin(*subject)) for subject in with_rules if name in book[subject]]
        default = getattr(defaults, name)
        decided[name] = [*limits, Limit(None if default == "all" else default, HOST)]
    return decided


def resolve(defaults: LimitsConfig, book: Book, who: Requester, where: Sequence[ChannelId] = ()) -> Limits:
    """The limits of a person in a channel; `where` is its id, or a thread's id and its parent channel's."""
    return Limits(**{name: limits[0] for name, limits in candidates(defaults, book, who, where).items()})


def greatest_weight(defaults: LimitsConfig, book: Book) -> int:
    """The greatest weight that a server gives to a person, by a rule or by the host's default."""
    given = (rules.get(LimitName.WEIGHT) for rules in book.values())
    return max([defaults.weight, *(weight for weight in given if isinstance(weight, int))])


def share_of(weight: int, greatest: int) -> float:
    """A person's weight divided by the greatest weight of the server: 1 is a full share among all servers.

    So a server's rules never give its people a larger share than the people of another server.
    """
    return weight / greatest


def is_paused(book: Book, where: Sequence[ChannelId]) -> bool:
    """Whether nothing may start in a channel, or in the whole server."""
    return pause_of(book, where) is not None


def pause_of(book: Book, where: Sequence[ChannelId]) -> Subject | None:
    """The server or the channel whose pause applies in a channel; None if there is no pause."""
    places: list[Subject] = [SERVER, *((Scope.CHANNEL, channel_id) for channel_id in where)]
    return next((place for place in places if PAUSED in book.get(place, {})), None)


@dataclass(frozen=True, slots=True)
class Block:
    """A moderator's block of a person; `until` is None if it has no end, and `reason` is empty if none was given."""

    until: datetime | None
    reason: str = ""


def block_of(book: Book, who: Requester, now: datetime) -> Block | None:
    """The block of a person that is in force now, or None."""
    rules = book.get((Scope.PERSON, who.user_id), {})
    if BLOCKED not in rules:
        return None
    until = _time(rules[BLOCKED])
    return None if until is not None and until <= now else Block(until)


@dataclass(frozen=True, slots=True)
class Gallery:
    """Where a server shows the results that at least `threshold` people favourited."""

    channel_id: ChannelId
    threshold: int


def gallery_of(book: Book) -> Gallery | None:
    """The gallery of a server, or None."""
    match book.get(SERVER, {}).get(GALLERY):
        case (int(channel_id), int(threshold)):
            return Gallery(ChannelId(channel_id), threshold)
        case _:
            return None


def log_channel_of(book: Book) -> ChannelId | None:
    """The channel in which a server's cases and reports are noted, or None."""
    channel_id = book.get(SERVER, {}).get(LOG)
    return ChannelId(channel_id) if isinstance(channel_id, int) else None


def quota_from(book: Book, who: Requester) -> datetime | None:
    """The time of the last reset of a person's quota, or None. Usage before it does not count."""
    return _time(book.get((Scope.PERSON, who.user_id), {}).get(QUOTA_FROM))


def _time(value: RuleValue) -> datetime | None:
    return from_text(value) if isinstance(value, str) else None


def check_values(scope: Scope, values: Mapping[LimitName, RuleValue]) -> None:
    """Raise UserError unless each value is possible for its limit in this scope."""
    for name, value in values.items():
        if name is LimitName.CHANNELS and scope is Scope.CHANNEL:
            raise UserError(
                "The limit {limit} can be set for the server, a role or a person, but not for a channel. "
                "Nothing was changed.",
                limit=refer(Reference.OPTION, name),
            )
        if name is LimitName.SERVER_MONEY and scope is not Scope.SERVER:
            raise UserError(
                "The limit {limit} is about the whole server together, so it can be set only for the server. "
                "Nothing was changed.",
                limit=refer(Reference.OPTION, name),
            )
        if name not in BOUNDS:
            continue
        low, high = BOUNDS[name]
        if not isinstance(value, int) or not low <= value <= high:
            raise UserError(
                "{limit} ({meaning}) can be {low:,} to {high:,}. Nothing was changed.",
                limit=refer(Reference.OPTION, name),
                meaning=sentence(MEANING[name]),
                low=low,
                high=high,
            )


def spoken(name: LimitName, value: int) -> Sentence:
    """What a value of a limit that is a number allows, such as "at most 4 pictures per prompt"."""
    side = math.isqrt(value)
    match name:
        case LimitName.QUOTA:
            return sentence("at most {time} of painting time in 24 hours", time=lasting(value, math.floor))
        case LimitName.WEIGHT:
            if value == USUAL_WEIGHT:
                return sentence("the usual share when many wait")
            return sentence(
                "a weight of {count:,}, {times:.4g} times the share of a person with the usual 100 when many wait",
                times=value / USUAL_WEIGHT,
                count=value,
            )
        case LimitName.PACE:
            return sentence_many("at most {count:,} picture per minute", "at most {count:,} pictures per minute", value)
        case LimitName.DEPTH:
            return sentence_many("at most {count:,} request waiting", "at most {count:,} requests waiting", value)
        case LimitName.IMAGES:
            return sentence_many("at most {count:,} picture per prompt", "at most {count:,} pictures per prompt", value)
        case LimitName.STEPS:
            return sentence_many("at most {count:,} step", "at most {count:,} steps", value)
        case LimitName.PERMUTATIONS:
            return sentence_many(
                "at most {count:,} prompt from one prompt with choices",
                "at most {count:,} prompts from one prompt with choices",
                value,
            )
        case LimitName.MONEY:
            return sentence("at most {money} per person in 24 hours", money=dollars(micros_of_cents(value)))
        case LimitName.SERVER_MONEY:
            return sentence("at most {money} for the whole server in 24 hours", money=dollars(micros_of_cents(value)))
        case LimitName.ANIMATION:
            return sentence("at most {count:,} pixels in all frames of an animation", count=value)
        case LimitName.PIXELS if side * side == value:
            return sentence("pictures of at most {side}×{side} pixels", side=side)
        case LimitName.PIXELS:
            return sentence("pictures of at most {count:,} pixels", count=value)
        case _:
            return sentence("{count:,}", count=value)


def fits_at(quota: float, seconds: float, spent: Sequence[tuple[datetime, float]]) -> datetime | None:
    """When `seconds` will fit into a quota of which `spent` is used; None if they fit now, or never."""
    over = sum(amount for _, amount in spent) + seconds - quota
    if over <= NEGLIGIBLE or seconds > quota + NEGLIGIBLE:
        return None
    for asked_at, amount in spent:
        over -= amount
        if over <= NEGLIGIBLE:
            return asked_at + QUOTA_WINDOW
    return None


def counted_from(book: Book, who: Requester, now: datetime) -> datetime:
    """The time from which a person's usage counts: a day ago, or the last reset of their quota if that is later."""
    return max(now - QUOTA_WINDOW, quota_from(book, who) or _NEVER)


def lowered(before: Limits, after: Limits) -> list[LimitName]:
    """The limits that allow less after a change than before it."""
    return [name for name in LimitName if _allows_less(before[name].value, after[name].value)]


def _allows_less(before: Any, after: Any) -> bool:
    if isinstance(after, int):
        return bool(after < before)
    if after is None:
        return False
    return before is None or not set(before) <= set(after)
