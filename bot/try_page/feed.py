"""What one open page is told: first all it shows, then what changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from bot.try_page import commands
from bot.try_page.place import NAME, SERVER, Place, Seat
from bot.try_page.showing import Showing, fingerprint

LOOK_SECONDS = 0.2
"""How often to look for changes that simcord does not announce: those of messages that only one person sees."""
SIGN_SECONDS = 15.0
"""After this long without news the page gets a sign of life."""

News = dict[str, Any]


class Feed:
    """The view of a person who looks at a channel."""

    def __init__(self, place: Place, showing: Showing, seat: Seat, channel: Any) -> None:
        self._place = place
        self._showing = showing
        self._seat = seat
        self._channel = channel
        self._known: dict[int, tuple[Any, ...]] = {}
        self._latest: dict[str, str] = {}

    async def news(self) -> AsyncIterator[News | None]:
        """Everything at first, then each change as soon as it is there; None is a sign of life."""
        loop = asyncio.get_running_loop()
        async with self._place.listening() as changed:
            yield self._everything()
            said_at = loop.time()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await changed.wait()
                changed.clear()
                if news := self._changes():
                    yield news
                elif loop.time() - said_at > SIGN_SECONDS:
                    yield None
                else:
                    continue
                said_at = loop.time()

    def _everything(self) -> News:
        place, seat = self._place, self._seat
        return {
            "kind": "everything",
            "me": str(seat.id),
            "bot": str(place.env.backend.bot_user.id),
            "channel": str(self._channel.id),
            "command": place.command,
            "server": SERVER,
            "names": self._showing.names(),
            "seats": [{"key": s.key, "role": s.role, "id": str(s.id)} for s in place.seats.values()],
            "channels": [
                *(
                    {"id": str(channel.id), "name": channel.name, "topic": channel._channel.topic or ""}
                    for channel in place.channels.values()
                ),
                {"id": str(place.direct(seat).id), "name": NAME, "topic": "Direct messages", "direct": True},
            ],
            "commands": [commands.shown(name, leaf) for name, leaf in place.commands(seat, self._channel.id)],
            "menus": [] if self._is_direct else place.menus(seat, self._channel.id),
            "moderates": seat.key == "moderator",
            **self._changes(),
        }

    @property
    def _is_direct(self) -> bool:
        return self._channel.id not in self._place.channels

    def _changes(self) -> News:
        """What changed since the last time; empty if nothing did."""
        news: News = {}
        now = {message.id: message for message in self._place.messages(self._seat, self._channel.id)}
        marks = {message_id: fingerprint(message) for message_id, message in now.items()}
        changed = [now[message_id] for message_id, mark in marks.items() if self._known.get(message_id) != mark]
        gone = [str(message_id) for message_id in self._known if message_id not in marks]
        if changed:
            news["messages"] = [self._showing.message(message, self._seat) for message in changed]
        if gone:
            news["gone"] = gone
        self._known = marks
        latest = self._latest_posts()
        if latest != self._latest:
            self._latest = news["latest"] = latest
        return news

    def _latest_posts(self) -> dict[str, str]:
        """The newest message in each channel, by the channel's id, so that the page can mark unread ones."""
        shown = [*self._place.channels, self._place.direct(self._seat).id]
        return {
            str(channel_id): str(newest.id)
            for channel_id in shown
            if (newest := max(self._place.messages(self._seat, channel_id), key=lambda m: m.id, default=None))
        }
