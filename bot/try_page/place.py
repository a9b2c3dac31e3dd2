"""The server of the try page: its channels, its people, and a clock that goes as fast as the real one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import discord

from bot.client import PERMISSIONS
from bot.try_page.commands import leaves

log = logging.getLogger(__name__)

NAME = "Atelier"
"""What the bot is called."""
SERVER = "The Workshop"
REMOVING = frozenset({"cancel", "clear", "delete", "remove"})
"""Commands of a group that take something away; they come after the others."""
CLOCK_SECONDS = 0.5
"""The time between two moves of simcord's clock."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A person as whom one can act: the name of the seat in addresses, what it is called, and simcord's actor."""

    key: str
    role: str
    actor: Any

    @property
    def id(self) -> int:
        """The person's id."""
        return int(self.actor.id)


class Place:
    """A small server with three people and the bot. Build it before the bot starts, and `open` it after that."""

    def __init__(self, env: Any, command: str) -> None:
        self.env = env
        self.command = command
        self.seats: dict[str, Seat] = {}
        self.channels: dict[int, Any] = {}
        """The channels of the server, by their ids."""
        self._acting = asyncio.Lock()
        self._listeners: set[asyncio.Event] = set()
        # What the bot does for a person runs in simcord's time, and what it does by itself in that of the machine. Both
        # are to show the same, and ids and time stamps are to be today's.
        self._then = env.backend.clock.elapsed = asyncio.get_running_loop().time()
        env.backend.clock._epoch = datetime.now(UTC) - timedelta(seconds=self._then)
        env.backend.bot_user.name = NAME
        env.backend.subscribers.append(lambda *_: self.tell())

    def open(self) -> None:
        """Make the server."""
        self.guild = self.env.create_guild(SERVER)
        permissions = discord.Permissions(PERMISSIONS.value)
        permissions.use_application_commands = True
        painters = self.guild.create_role("painters", permissions=permissions)
        keys = discord.Permissions(manage_guild=True, manage_messages=True)
        moderators = self.guild.create_role("moderators", permissions=keys)
        self.roles = {role.id: role for role in (painters, moderators)}
        topics = {
            "easel": "Where everybody paints",
            "gallery": "A result that another person favours with ❤️ or ⭐ is copied here",
        }
        for name, topic in topics.items():
            channel = self.guild.create_text_channel(name, topic=topic)
            self.channels[channel.id] = channel
        for key, role, name, roles in (
            ("member", "Member", "Ada", [painters]),
            ("another", "Another member", "Grace", [painters]),
            ("moderator", "Moderator", "Mary", [painters, moderators]),
        ):
            user = self.env.create_user(name.lower(), global_name=name)
            self.seats[key] = Seat(key, role, self.guild.add_member(user, roles=roles))

    @property
    def main(self) -> Any:
        """The channel that the page opens with."""
        return next(iter(self.channels.values()))

    @property
    def gallery(self) -> Any:
        """The channel for favourites."""
        return list(self.channels.values())[1]

    def direct(self, seat: Seat) -> Any:
        """The channel of a person's direct messages with the bot."""
        return seat.actor.user.dm_channel

    def find_channel(self, seat: Seat, channel_id: int) -> Any | None:
        """A channel that a person sees, or None."""
        direct = self.direct(seat)
        return direct if direct.id == channel_id else self.channels.get(channel_id)

    def messages(self, seat: Seat, channel_id: int) -> Iterator[Any]:
        """The messages of a channel that a person sees, oldest first."""
        for message in self.env.backend.messages.get(channel_id, {}).values():
            if message.visible_to(seat.id):
                yield message

    def message(self, seat: Seat, channel_id: int, message_id: int) -> Any | None:
        """A message that a person sees, or None if it is gone."""
        found = self.env.backend.messages.get(channel_id, {}).get(message_id)
        return found if found is not None and found.visible_to(seat.id) else None

    def commands(self, seat: Seat, channel_id: int) -> list[tuple[str, dict[str, Any]]]:
        """The commands that a person may use in a channel, with their full names.

        The one that paints is first, and in each group what takes something away is last.
        """
        found = [
            (name, {**leaf, "id": command["id"]})
            for command in self.env.backend.visible_commands(user_id=seat.id, channel_id=channel_id)
            for name, leaf in leaves(command)
        ]

        def order(entry: tuple[str, dict[str, Any]]) -> tuple[Any, ...]:
            name = entry[0]
            group, _, verb = name.rpartition(" ")
            return name != self.command, name != "help", group or name, verb in REMOVING, name

        return sorted(found, key=order)

    def menus(self, seat: Seat, channel_id: int) -> list[str]:
        """The commands in the menu of a message."""
        kind = discord.AppCommandType.message.value
        visible = self.env.backend.visible_commands(user_id=seat.id, channel_id=channel_id, type=kind)
        return [command["name"] for command in visible]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something may have changed, while the body runs."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    def tell(self) -> None:
        """Tell those who listen that something may have changed."""
        for event in self._listeners:
            event.set()

    @asynccontextmanager
    async def acting(self) -> AsyncIterator[None]:
        """Do something as a person in the body, at the present time: simcord takes one action at a time."""
        async with self._acting:
            await self._catch_up()
            try:
                yield
            finally:
                self.tell()

    async def keep_time(self) -> None:
        """Move simcord's clock until cancelled."""
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            async with self._acting:
                await self._catch_up()
                # Otherwise these logs would grow without end.
                self.env.backend.http_requests.clear()
                self.env.backend.transcript.clear()

    async def _catch_up(self) -> None:
        now = asyncio.get_running_loop().time()
        passed, self._then = now - self._then, now
        await settled(self.env.advance_time, passed)


async def settled(verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a verb of simcord returns; None if the bot is still busy with it after simcord's patience.

    By then the action has been done, and what comes of it is seen later.
    """
    try:
        return await verb(*args, **kwargs)
    except TimeoutError:
        log.debug("simcord did not see the bot settle after %s", getattr(verb, "__name__", verb))
        return None
