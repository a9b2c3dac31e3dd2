"""A table of Discord's error codes: what to do with a message that Discord refused."""

from __future__ import annotations

from enum import Enum, auto

import discord

from bot.responses import ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION, is_discords_own

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MESSAGE, UNKNOWN_WEBHOOK = 10003, 10004, 10008, 10015
_TOO_MANY_OLD_EDITS = 30046
_MISSING_ACCESS, _MISSING_PERMISSIONS = 50001, 50013
GONE = frozenset({UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MESSAGE, _MISSING_ACCESS, _MISSING_PERMISSIONS})
"""A message cannot be edited any more, now or later."""


class Verdict(Enum):
    """What a refusal means for the message that was refused."""

    FINAL = auto()
    """The channel is gone or closed to the bot: repeating does not help."""
    ELSEWHERE = auto()
    """This message or its token can no longer be used, but a new message may work."""
    TOO_LARGE = auto()
    """Discord may take the files if they are encoded smaller."""
    LATER = auto()
    """Discord is busy or cannot be reached."""
    BUG = auto()
    """Discord does not understand the message. Repeating does not help, and the channel is not the cause."""


_CODES = {
    _MISSING_ACCESS: Verdict.FINAL,
    _MISSING_PERMISSIONS: Verdict.FINAL,
    UNKNOWN_CHANNEL: Verdict.FINAL,
    UNKNOWN_GUILD: Verdict.FINAL,
    50007: Verdict.FINAL,  # cannot send messages to this user
    50278: Verdict.FINAL,  # no mutual server with this user
    200000: Verdict.FINAL,  # blocked by the server's AutoMod
    20009: Verdict.FINAL,  # explicit content cannot be sent to the recipient
    400001: Verdict.FINAL,  # access to file uploads is limited for this server
    50027: Verdict.ELSEWHERE,  # invalid webhook token: fifteen minutes are over
    UNKNOWN_WEBHOOK: Verdict.ELSEWHERE,
    UNKNOWN_INTERACTION: Verdict.ELSEWHERE,
    UNKNOWN_MESSAGE: Verdict.ELSEWHERE,
    _TOO_MANY_OLD_EDITS: Verdict.ELSEWHERE,
    40005: Verdict.TOO_LARGE,  # request entity too large
    50045: Verdict.TOO_LARGE,  # file exceeds the largest size
    130000: Verdict.LATER,  # the API is overloaded
    50035: Verdict.BUG,  # invalid form body
    ALREADY_ACKNOWLEDGED: Verdict.BUG,
}


def classify(error: discord.HTTPException) -> Verdict:
    """What a refusal means; Discord's own code says more than the HTTP status."""
    if not is_discords_own(error):
        # A server in front of Discord: what it says is about itself, not about the message or the channel.
        return Verdict.TOO_LARGE if error.status == 413 else Verdict.LATER
    status = error.status
    if verdict := _CODES.get(error.code):
        return verdict
    if status == 429 or status >= 500:
        return Verdict.LATER
    if status == 413:
        return Verdict.TOO_LARGE
    # 401, 403 and 404 are about the channel; every other status means that the message is wrong.
    return Verdict.FINAL if status in (401, 403, 404) else Verdict.BUG
