"""How fast a channel may be posted in, and whether at all."""

from __future__ import annotations

import asyncio
import math

from asyncio_throttle import Throttler

THROTTLE_SECONDS = 5.0
"""The period of `posts_per_channel`."""

REFUSALS = 3
CLOSED_SECONDS = 600.0
"""How long nothing is posted in a channel that refused that many endings in a row: Discord bans bots that go on."""


LONGEST_PAUSE_SECONDS = 60.0


def pause(tries: float) -> float:
    """Return the seconds to wait after `tries` failed posts in a row: twice as many each time, up to the longest."""
    return min(math.pow(2, min(tries - 1, 60)), LONGEST_PAUSE_SECONDS)


class Gate:
    """The pace of the posts in one channel. A channel that keeps refusing them is closed for a while."""

    def __init__(self, posts: int) -> None:
        """Allow `posts` posts in THROTTLE_SECONDS."""
        self.throttle = Throttler(posts, THROTTLE_SECONDS)
        self.closed_until = -math.inf
        self._refusals = 0

    @property
    def is_closed(self) -> bool:
        """Whether nothing is posted in the channel now."""
        return asyncio.get_running_loop().time() < self.closed_until

    def is_over(self, touched_at: float, now: float) -> bool:
        """Whether the pace of a channel that was last touched then is too old to delay anything."""
        return now >= max(self.closed_until, touched_at + CLOSED_SECONDS)

    def refuse(self) -> None:
        """Count a post that can never be delivered here; after a few in a row the channel is closed."""
        self._refusals += 1
        if self._refusals >= REFUSALS:
            self.closed_until = asyncio.get_running_loop().time() + CLOSED_SECONDS

    def accept(self) -> None:
        """Note that the channel took a post."""
        self._refusals = 0
