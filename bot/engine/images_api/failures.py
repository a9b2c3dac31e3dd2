"""What an error of a provider means: for the person, for the bill, and for the lane. Pure.

Only the status and the code of an error are read, never its message: that may repeat the words of the request.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from bot.language import Sentence, sentence
from bot.language.reasons import Reason
from bot.secrets import provider_key


class Then(Enum):
    """What is done about an error."""

    FAIL = "the request fails, and is never sent again by itself"
    WAIT = "nothing was painted, so it is sent again after a while"
    STOP = "the lane takes no more requests until the host has done something"
    STOP_MODEL = "the lane takes no more requests for this model until the host has done something"


@dataclass(frozen=True, slots=True)
class Failure:
    """One error: the words for the person, and whether something may have been billed for it."""

    sentence: Sentence
    then: Then
    may_be_billed: bool = False
    happened: Sentence | None = None
    """What went wrong, without what it means for the bill; set where something may have been billed."""
    remedy: str = ""
    """What the host can do; set where something is stopped, and where the provider is away."""
    is_away: bool = False
    """Whether the provider cannot be reached."""

    @property
    def words(self) -> Reason:
        """The words for the person."""
        return Reason(self.sentence)


_CODE = re.compile(r"[a-z0-9_]{1,40}")
_REFUSED = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
_NO_CREDIT = frozenset({"billing_hard_limit_reached", "insufficient_quota", "billing_not_active"})
_ELSEWHERE = range(300, 400)
"""The statuses of a server that wants to be asked at another address; it has painted nothing."""
_WRONG_KEY = frozenset({"invalid_api_key", "account_deactivated"})


class ProviderError(Exception):
    """A request to a provider failed."""

    def __init__(self, failure: Failure, retry_after: str | None = None) -> None:
        super().__init__(failure.words)
        self.failure = failure
        self.retry_after = retry_after
        """What the provider says about when to ask again."""


def moderated(provider: str) -> Sentence:
    """That a provider refused a request by its own rules."""
    return sentence(
        "{provider} refused this by its own rules, so it is not asked again and nothing is charged. "
        "Change the words or the picture, or choose another model.",
        provider=provider,
    )


def failure_of(status: int | None, code: str | None, provider: str, model: str) -> Failure:
    """What an error with an HTTP status and a code means; without a status it came within a stream or an answer."""
    # Other servers may put anything into their codes.
    named = code if code and _CODE.fullmatch(code) else str(status)
    if code in _REFUSED:
        return Failure(moderated(provider), Then.FAIL)
    if (stop := _stop_of(status, code, named, provider, model)) is not None:
        return stop
    if status in (429, 503) or code in ("rate_limit_exceeded", "slow_down"):
        return Failure(
            sentence("{provider} has too much to do at the moment. Try again in a few minutes.", provider=provider),
            Then.WAIT,
        )
    if status is not None and 400 <= status < 500:
        return Failure(
            sentence(
                "{provider} did not accept this request ({error}). Another size, fewer pictures or other words may "
                "work.",
                provider=provider,
                error=named,
            ),
            Then.FAIL,
        )
    return _billed(sentence("{provider} failed while it painted this.", provider=provider))


def _stop_of(status: int | None, code: str | None, named: str, provider: str, model: str) -> Failure | None:
    """What an error means that goes on until the host has done something; None for another one."""
    if code in _NO_CREDIT or status == 402:
        return Failure(
            sentence(
                "The account of this Atelier at {provider} is out of credit, so its models cannot be used now. "
                "The host sees in the list of engines what to do. Choose another model.",
                provider=provider,
            ),
            Then.STOP,
            remedy=f"Pay {provider}, or raise the limit of the account there.",
        )
    if code in _WRONG_KEY or status == 401:
        return Failure(
            sentence(
                "{provider} does not accept the key of this Atelier, so its models cannot be used now. "
                "The host sees in the list of engines what to do. Choose another model.",
                provider=provider,
            ),
            Then.STOP,
            remedy=f"Set {provider_key(provider)} to a key that {provider} accepts, and start Atelier again.",
        )
    if status == 403:
        return Failure(
            sentence(
                "{provider} does not allow this Atelier to use the model {model} ({error}). "
                "The host sees in the list of engines what to do. Choose another model.",
                provider=provider,
                model=model,
                error=named,
            ),
            Then.STOP_MODEL,
            remedy=f"Look in the account at {provider} what it may use: its country, its verification, its project.",
        )
    if status in (404, *_ELSEWHERE) or code == "model_not_found":
        return Failure(
            sentence(
                "{provider} does not have what the host set for the model {model}. "
                "The host sees in the list of engines what to do. Choose another model.",
                provider=provider,
                model=model,
            ),
            Then.STOP_MODEL,
            remedy=f"Correct the base_url of {provider} or the source of the model {model} in config.toml, and start "
            "Atelier again.",
        )
    return None


def _billed(happened: Sentence) -> Failure:
    """What went wrong after a request was sent that may be paid for."""
    return Failure(
        sentence(
            "{happened} It may have charged the host for it, so it is not asked again by itself. You pay nothing. "
            "Ask again if you like.",
            happened=happened,
        ),
        Then.FAIL,
        may_be_billed=True,
        happened=happened,
    )


def unreachable(provider: str) -> Failure:
    """No connection to the provider could be made, so nothing was sent."""
    return Failure(
        sentence("{provider} cannot be reached at the moment. Try again in a few minutes.", provider=provider),
        Then.WAIT,
        remedy=f"{provider} cannot be reached: look whether its server runs, and whether this machine gets to the "
        "base_url in config.toml.",
        is_away=True,
    )


def lost(provider: str) -> Failure:
    """The connection broke after the request was sent."""
    return _billed(sentence("The connection to {provider} broke before the picture came.", provider=provider))


def late(provider: str, seconds: float) -> Failure:
    """The provider did not answer in time."""
    return _billed(
        sentence("{provider} did not answer within {seconds:.0f} seconds.", provider=provider, seconds=seconds)
    )


def no_picture(provider: str) -> Failure:
    """The provider answered, but not with a picture."""
    return _billed(sentence("{provider} answered, but not with a picture.", provider=provider))


def in_vain(happened: Sentence) -> Sentence:
    """What a person is told of a request that cost nothing, was sent again, and failed again."""
    return sentence(
        "{happened} It was asked more than once. Try again in a few minutes, or choose another model.",
        happened=happened,
    )


def seconds_to_wait(retry_after: str | None, now: datetime, tried: int) -> float:
    """How long to wait before a request is sent again: what the provider says, or else longer each time."""
    text = (retry_after or "").strip()
    with suppress(ValueError):
        # Python reads "nan" as a number, but it is no time to wait.
        if not math.isnan(seconds := float(text)):
            return max(seconds, 0.0)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return float(2**tried)
    return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)
