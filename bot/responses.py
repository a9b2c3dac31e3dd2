"""The first response to an interaction, whose outcome is looked up where it is not known.

Discord may take a response although its own reply is lost: the connection is cut, or a server in between answers 500.
So a response has three outcomes: taken, refused, unknown. While it is unknown, Discord is asked whether the response is
there, and the response is sent again as long as Discord still takes one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import discord
from discord import InteractionResponseType

log = logging.getLogger(__name__)

MESSAGE = 2000
"""The most characters of one message, counted in UTF-16 as Discord's own clients do."""

ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION = 40060, 10062

RESPONSE_SECONDS = 3.0
"""How long Discord takes a first response: https://docs.discord.com/developers/interactions/receiving-and-responding"""
TOKEN_SECONDS = 15 * 60.0
"""How long the response can be looked up and edited by the token of the interaction."""

_AGAIN_SECONDS = 2.5
"""Later than this, a response that was not taken is not sent again."""
_SETTLED_SECONDS = RESPONSE_SECONDS + 0.5
"""From then on a response that is not there will not come."""
_BETWEEN_SECONDS = 0.2
"""The pause before a response is sent again."""
_LONGEST_PAUSE_SECONDS = 30.0
_CALL_SECONDS = 10.0
"""How long one request is waited for; then its outcome is looked up."""
_REPEATED_SECONDS = 0.9
"""A call that took longer may have been repeated by discord.py, which waits for a second before it does that."""

OLD_SECONDS = 2.5
"""An interaction that is older when it comes is not worked on: its response would come too late."""
BUSY_SECONDS = 0.5
"""An interaction that is older before it is worked on shows that more come than can be served."""

_MADE_AT = "made at"

_EPOCH_MS = 1420070400000
"""Discord's ids count from then: https://docs.discord.com/developers/reference#snowflakes"""
_DRIFT = 1e-3
_CLOCK_SET_SECONDS = 60.0
"""A larger difference is a clock that was set: no interaction comes so late."""

LOST = (aiohttp.ClientError, OSError)
"""A request whose reply did not arrive. TimeoutError is an OSError."""


class Ages:
    """How old interactions are when they come, although Discord's clock and ours may differ.

    An interaction's id says when it was made. The least difference to our clock that was seen lately belongs to one
    that came at once.
    """

    def __init__(self) -> None:
        self._least = math.inf
        self._seen_at = 0.0

    def of(self, interaction_id: int, now: float) -> float:
        """The age of an interaction in seconds at `now`, in seconds since 1970."""
        difference = now - ((interaction_id >> 22) + _EPOCH_MS) / 1000
        # The clocks may drift apart slowly, and one of them may be set.
        least = self._least + max(now - self._seen_at, 0.0) * _DRIFT
        if not least - _CLOCK_SET_SECONDS < difference < least + _CLOCK_SET_SECONDS:
            least = difference
        self._least, self._seen_at = min(least, difference), now
        return difference - self._least


class InDoubt(Exception):  # noqa: N818 - it says how things stand, not what went wrong
    """Whether Discord took a response could not be found out as long as its token lived."""


class NotTaken(Exception):  # noqa: N818
    """Discord did not take the response in time, and takes none any more."""


def note_age(interaction: discord.Interaction[Any], seconds: float) -> None:
    """Note how old an interaction is now."""
    interaction.extras[_MADE_AT] = _now() - seconds


def age_of(interaction: discord.Interaction[Any]) -> float:
    """How old an interaction is, in seconds; 0 if its age was not noted."""
    now = _now()
    made_at: float = interaction.extras.get(_MADE_AT, now)
    return now - made_at


def units(text: str) -> int:
    """The length of a text in UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fitted(text: str, room: int = MESSAGE) -> str:
    """The text, cut with an ellipsis where it has more than `room` UTF-16 units."""
    if units(text) <= room:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: 2 * max(room - 1, 0)].decode("utf-16-le", "ignore") + "…"


def is_discords_own(error: discord.HTTPException) -> bool:
    """Whether Discord itself refused a request: a page that is no JSON comes from a server in front of it."""
    return bool(error.code) or str(error.response.headers.get("content-type", "")).startswith("application/json")


def is_final(error: discord.HTTPException) -> bool:
    """Whether Discord refused a request, so that it certainly had no effect."""
    return 400 <= error.status < 500 and error.status != 429 and is_discords_own(error)


def is_too_late(error: BaseException) -> bool:
    """Whether an error says that Discord takes no response to this interaction any more."""
    return isinstance(error, (InDoubt, NotTaken)) or (
        isinstance(error, discord.HTTPException) and error.code == UNKNOWN_INTERACTION
    )


async def send(interaction: discord.Interaction[Any], content: str, **options: Any) -> int:
    """Respond with a message; returns its id. `options` are those of discord.py's `send_message`.

    Raises discord.HTTPException if Discord refuses it, NotTaken if Discord never got it, and InDoubt.
    """

    async def call() -> int:
        taken = await interaction.response.send_message(fitted(content), **options)
        assert taken.message_id is not None  # noqa: S101 - a message was sent
        return taken.message_id

    return await _settled(interaction, call, InteractionResponseType.channel_message)


async def defer(interaction: discord.Interaction[Any], **options: bool) -> None:
    """Promise a message. Raises as `send` does."""

    async def call() -> int:
        await interaction.response.defer(**options)
        return 0

    from_message = interaction.type in (discord.InteractionType.component, discord.InteractionType.modal_submit)
    is_update = from_message and not options.get("thinking")
    await _settled(
        interaction,
        call,
        InteractionResponseType.deferred_message_update
        if is_update
        else InteractionResponseType.deferred_channel_message,
    )


async def edit(interaction: discord.Interaction[Any], content: str, **options: Any) -> None:
    """Change the message whose button was pressed. Raises as `send` does."""

    async def call() -> int:
        await interaction.response.edit_message(content=fitted(content), **options)
        return 0

    await _settled(interaction, call, InteractionResponseType.message_update)


async def ask(interaction: discord.Interaction[Any], form: discord.ui.Modal) -> None:
    """Open a form. Raises as `send` does."""

    async def call() -> int:
        await interaction.response.send_modal(form)
        return 0

    await _settled(interaction, call, InteractionResponseType.modal)


async def edit_deferred(interaction: discord.Interaction[Any], content: str, **options: Any) -> int:
    """Put the message in the place of the promise; returns its id.

    An edit can be repeated, so it is repeated until its outcome is known. Raises as `send` does.
    """
    tries = 0
    began = _now()
    while True:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return (await interaction.edit_original_response(content=fitted(content), **options)).id
        except discord.HTTPException as error:
            if is_final(error):
                raise
        except LOST as error:
            log.debug("the reply to an edit was lost: %s", type(error).__name__)
        tries += 1
        await _pause(tries, began)


async def _settled(
    interaction: discord.Interaction[Any], call: Callable[[], Awaitable[int]], kind: InteractionResponseType
) -> int:
    """Make a first response until its outcome is known; returns the id of its message."""
    began = _now()
    # Only a new message can be looked up: otherwise the original is the message with the button.
    creates = kind in (InteractionResponseType.channel_message, InteractionResponseType.deferred_channel_message)
    while True:
        called = _now()
        error: Exception
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await call()
        except discord.HTTPException as failure:
            repeated = _now() - called > _REPEATED_SECONDS
            known = failure.code == ALREADY_ACKNOWLEDGED or (failure.code == UNKNOWN_INTERACTION and repeated)
            if is_final(failure) and not known:
                raise
            # A repeated event is filtered before, so only an earlier try can have been acknowledged.
            if failure.code == ALREADY_ACKNOWLEDGED and not creates:
                interaction.response._response_type = kind
                return 0
            error = failure
        except LOST as failure:
            error = failure
        log.debug("whether a response was taken is looked up: %s", type(error).__name__)
        if creates:
            message_id = await _looked_up(interaction, began)
            if message_id is not None:
                interaction.response._response_type = kind
                return message_id
        if _now() - began > _AGAIN_SECONDS:
            raise NotTaken from error
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _looked_up(interaction: discord.Interaction[Any], began: float) -> int | None:
    """The id of the response's message; None if it is not there. Raises InDoubt."""
    tries = 0
    while True:
        # A response on its way may still arrive, as long as Discord takes one.
        is_settled = not _AGAIN_SECONDS < _now() - began < _SETTLED_SECONDS
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                message = await interaction.original_response()
        except discord.NotFound as error:
            if is_final(error) and is_settled:
                return None
        except discord.HTTPException as error:
            if is_final(error):
                return None
        except LOST as error:
            log.debug("a response could not be looked up: %s", type(error).__name__)
        else:
            # The original of a button that has no response yet is the message with the button.
            pressed = interaction.message
            return None if pressed is not None and pressed.id == message.id else message.id
        tries += 1
        await _pause(tries, began)


async def _pause(tries: int, began: float) -> None:
    """Wait before the next try, a little longer each time; raises InDoubt when the token has ended."""
    if _now() - began > TOKEN_SECONDS:
        raise InDoubt
    await asyncio.sleep(min(0.25 * 2.0**tries, _LONGEST_PAUSE_SECONDS))


def _now() -> float:
    return asyncio.get_running_loop().time()
