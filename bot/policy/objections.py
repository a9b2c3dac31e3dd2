"""Why limits forbid a request, in words for the person who asked: pure functions over the limits that apply to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from bot.errors import Reference, Rejected, refer
from bot.jobs import ChannelId, GenerationRequest, Scope
from bot.language import Sentence, current, lasting, say, sentence, speaking
from bot.policy.limits import NEGLIGIBLE, LimitName, Limits, fits_at, named, spoken

_REMEDIES = {"pause": "mod resume", "block": "mod unblock", "terms": "mod terms remove"}
"""The command that ends a pause or a block, or shortens the list of terms."""


def place_refused(limits: Limits, where: Sequence[ChannelId]) -> Sentence | None:
    """Why a person may not ask in a channel; None if they may."""
    allowed = limits.channels.value
    if allowed is None or any(channel_id in allowed for channel_id in where):
        return None
    origin = limits.channels.origin.reference
    if not allowed:
        return sentence("You cannot ask for pictures in any channel ({origin}).", origin=origin)
    return sentence(
        "You cannot ask for pictures in this channel ({origin}), but you can in {channels}.",
        origin=origin,
        channels=", ".join(named((Scope.CHANNEL, channel_id)) for channel_id in allowed),
    )


def objection(request: GenerationRequest, limits: Limits, where: Sequence[ChannelId]) -> Rejected | None:
    """Why the limits as they are now forbid an accepted request; None if they do not.."""
    if refused := place_refused(limits, where):
        words = sentence("The limits changed while this request waited. {reason}", reason=refused)
        return _changed(LimitName.CHANNELS, limits, words)
    if limits.models.value is not None and request.model not in limits.models.value:
        origin = limits.models.origin
        words = sentence(
            "The limits changed while this request waited: the model {model} is no longer allowed here ({origin}).",
            model=request.model,
            origin=origin.reference,
        )
        return _changed(LimitName.MODELS, limits, words)
    asked = {
        LimitName.PIXELS: request.width * request.height,
        LimitName.STEPS: request.num_inference_steps,
        LimitName.IMAGES: request.num_images_per_prompt,
        LimitName.ANIMATION: request.frames * request.width * request.height,
    }
    for name, count in asked.items():
        most, origin = limits[name].value, limits[name].origin
        if count > most:
            words = sentence(
                "The limits changed while this request waited: {limit} now ({origin}), and it asks for {asked:,}.",
                limit=spoken(name, most),
                asked=count,
                origin=origin.reference,
            )
            return _changed(name, limits, words, count, most)
    return None


def quota_objection(limits: Limits, seconds: float, before: Sequence[tuple[datetime, float, float]]) -> Rejected | None:
    """Why an accepted request is over the quota as it is now; None if it is not.

    `before` are the person's earlier requests that were started: when they were made, the seconds of painting time that
    they cost, and the seconds that were held for them. The held seconds decide, because those requests were accepted by
    them: a request is not refused because earlier ones took longer than expected.
    """
    quota, origin = limits.quota.value, limits.quota.origin
    used = sum(held for _, _, held in before)
    if used + seconds <= quota + 2 * NEGLIGIBLE:
        return None
    asked = math.ceil(used + seconds)
    if seconds > quota + NEGLIGIBLE:
        words = sentence(
            "The limits changed while this request waited: it takes about {time} of painting time, more than your "
            "quota of {quota} in 24 hours ({origin}).",
            time=lasting(seconds, math.ceil),
            quota=lasting(quota, math.floor),
            origin=origin.reference,
        )
        return _changed(LimitName.QUOTA, limits, words, math.ceil(seconds), quota)
    words = sentence(
        "The limits changed while this request waited: it takes about {time} of painting time, and {left} of your "
        "quota of {quota} in 24 hours is left ({origin}).",
        time=lasting(seconds, math.ceil),
        left=lasting(quota - used, math.floor),
        quota=lasting(quota, math.floor),
        origin=origin.reference,
    )
    refusal = _changed(LimitName.QUOTA, limits, words, asked, quota)
    refusal.retry_at = fits_at(quota, seconds, [(asked_at, cost) for asked_at, cost, _ in before])
    return refusal


def _changed(
    name: LimitName, limits: Limits, words: Sentence, asked: float | None = None, allowed: float | None = None
) -> Rejected:
    return Rejected(
        words,
        rule=name.value,
        origin=str(limits[name].origin),
        asked=asked,
        allowed=allowed,
    )


def told(refusal: Rejected) -> str:
    """The text of a refusal for the person who asked: the reason, when it will work, and which command changes it."""
    with speaking(refusal.language or current()):
        words = str(refusal)
        if refusal.retry_at is not None:
            words += " " + say("It will work {when}.", when=refer(Reference.TIME, refusal.retry_at.isoformat()))
        if remedy := _REMEDIES.get(refusal.rule, "limits set" if refusal.origin else None):
            command = refer(Reference.COMMAND, remedy)
            words += " " + say("Moderators can change this with {command}.", command=command)
    return words
