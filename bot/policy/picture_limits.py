"""How explicit a picture may be in a channel: pure functions over a server's rules.

The safety check gives each picture a score from 0 to 1. From the threshold `block` on a picture is not shown at all;
from `spoiler` on it is hidden behind a spoiler. The host sets both, moderators make them stricter for their server or
for one channel. If the host allows it, channels with Discord's age restriction are less strict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.config import LimitsConfig
from bot.errors import Reference, UserError, refer
from bot.jobs import Book, ChannelId, PictureLimits, RuleValue, Scope, Subject
from bot.language import sentence
from bot.policy.limits import SERVER

BLOCK = "nsfw_block"
"""The name of the rule from which score on pictures are not shown; its value is in percent."""
SPOILER = "nsfw_spoiler"
"""The name of the rule from which score on pictures are behind a spoiler; its value is in percent."""

THRESHOLD_RULES = {"block": BLOCK, "spoiler": SPOILER}
"""The names of the rules, by what moderators call them."""

PERCENT = (1, 100)
"""The smallest and the largest threshold."""


def picture_limits(
    defaults: LimitsConfig, book: Book, where: Sequence[ChannelId], *, is_age_restricted: bool
) -> PictureLimits:
    """The thresholds in a channel; `where` is its id, or a thread's id and its parent channel's.

    In an age-restricted channel, if the host allows it, what is blocked elsewhere is behind a spoiler and nothing is
    blocked, unless a rule for the channel itself says otherwise.
    """
    block, spoiler = _ruled(book, [SERVER], BLOCK), _ruled(book, [SERVER], SPOILER)
    places: list[Subject] = [(Scope.CHANNEL, channel_id) for channel_id in where]
    own_block, own_spoiler = _ruled(book, places, BLOCK), _ruled(book, places, SPOILER)
    server_block = min(block or defaults.nsfw_block, defaults.nsfw_block)
    if is_age_restricted and defaults.loosen_age_restricted:
        return PictureLimits(_share(own_block), _share(own_spoiler or server_block))
    return PictureLimits(
        _share(min(own_block or server_block, defaults.nsfw_block)),
        _share(min(own_spoiler or spoiler or defaults.nsfw_spoiler, defaults.nsfw_spoiler)),
    )


def check_thresholds(
    defaults: LimitsConfig, values: Mapping[str, RuleValue], subject: Subject, *, is_age_restricted: bool
) -> None:
    """Raise UserError for thresholds that are less strict than the host's where that is not allowed."""
    if subject != SERVER and is_age_restricted and defaults.loosen_age_restricted:
        return
    for name, most in ((BLOCK, defaults.nsfw_block), (SPOILER, defaults.nsfw_spoiler)):
        value = values.get(name)
        if isinstance(value, int) and value > most:
            where = sentence("The host allows no higher number in any channel.")
            if defaults.loosen_age_restricted:
                where = sentence(
                    "The host allows a higher number in age-restricted channels: name one as {option}.",
                    option=refer(Reference.OPTION, "channel"),
                )
            raise UserError(
                "{threshold} can be at most {most} here, and you wrote {value}: a higher number is less strict. "
                "{elsewhere} Nothing was changed.",
                threshold=refer(Reference.OPTION, "block" if name == BLOCK else "spoiler"),
                most=most,
                value=value,
                elsewhere=where,
            )


def _ruled(book: Book, places: Sequence[Subject], name: str) -> int | None:
    """The value of a rule for the first place that has it."""
    for place in places:
        value = book.get(place, {}).get(name)
        if isinstance(value, int):
            return value
    return None


def _share(percent: int | None) -> float | None:
    return None if percent is None else percent / 100
