"""What the page draws of a message, and a quick way to see whether it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bot.picture_files import measure
from bot.try_page.place import Place, Seat

CDN = "https://cdn.simcord.invalid/attachments/"
"""Where the in-process Discord keeps files."""
FILES = "files/"
"""Where the page finds them, seen from its own address."""

_LOADING = 1 << 7


def fingerprint(message: Any) -> tuple[Any, ...]:
    """A value that differs after every change of a message. simcord replaces lists, except those of reactions."""
    return (
        message.content,
        message.flags,
        message.edited_timestamp,
        message.components,
        message.attachments,
        message.embeds,
        tuple((reaction.emoji, *reaction.user_ids) for reaction in message.reactions),
    )


class Showing:
    """Turns messages into what the page draws; the sizes of pictures are read once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def message(self, message: Any, seat: Seat) -> dict[str, Any]:
        """A message as one person sees it."""
        bot = self._place.env.backend.bot_user.id
        return {
            "id": str(message.id),
            "author": str(message.author_id),
            "at": message.timestamp,
            "edited": message.edited_timestamp is not None,
            "content": message.content,
            "embeds": [_local(embed) for embed in message.embeds],
            "components": [_local(component) for component in message.components],
            "files": [self._file(attachment) for attachment in message.attachments],
            "reactions": [
                {
                    "emoji": reaction.emoji,
                    # The bot's own one only offers it, and says nothing about the picture. Discord counts it, too.
                    "count": sum(user_id != bot for user_id in reaction.user_ids),
                    "mine": seat.id in reaction.user_ids,
                }
                for reaction in message.reactions
                if reaction.user_ids
            ],
            "hidden": message.is_ephemeral,
            "waits": bool(message.flags & _LOADING),
            "used": self._used(message),
        }

    def names(self) -> dict[str, dict[str, str]]:
        """What mentions stand for: people, roles and channels, by their ids."""
        backend = self._place.env.backend
        return {
            "people": {str(user.id): user.global_name or user.name for user in backend.users.values()},
            "roles": {str(role_id): role.name for role_id, role in self._place.roles.items()},
            "channels": {str(channel_id): channel.name for channel_id, channel in self._place.channels.items()},
        }

    def _file(self, attachment: Mapping[str, Any]) -> dict[str, Any]:
        width, height = self._size(attachment) or (None, None)
        return {
            "id": attachment["id"],
            "name": attachment["filename"],
            "alt": attachment.get("description") or "",
            "bytes": attachment["size"],
            "url": _local(attachment["url"]),
            "width": width,
            "height": height,
            "spoiler": attachment["filename"].startswith("SPOILER_"),
        }

    def _size(self, attachment: Mapping[str, Any]) -> tuple[int, int] | None:
        """Width and height of a picture in pixels; None for another file."""
        url = attachment["url"]
        if url not in self._sizes:
            data = self._place.env.backend.cdn.get(url) or b""
            found = measure(data)
            self._sizes[url] = None if found is None else found.size
        return self._sizes[url]

    def _used(self, message: Any) -> dict[str, str] | None:
        """Who used which command to get this message; None if nobody did, or by a button."""
        about = message.interaction_metadata or {}
        if "name" not in about:
            return None
        return {"by": str(about["user"]["id"]), "name": about["name"]}


def _local(value: Any) -> Any:
    """A part of a message with the addresses of its files as the page reaches them."""
    match value:
        case str():
            return FILES + quote(value.removeprefix(CDN)) if value.startswith(CDN) else value
        case list():
            return [_local(each) for each in value]
        case dict():
            return {key: _local(each) for key, each in value.items()}
        case _:
            return value
