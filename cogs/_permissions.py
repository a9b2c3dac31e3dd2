"""Discord's permissions in channels, under the names that Discord gives them in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable

import discord

from bot.language import Listed, mark, sentence

_NAMES = {
    "read_messages": mark("View Channel"),
    "send_messages": mark("Send Messages"),
    "send_messages_in_threads": mark("Send Messages in Threads"),
    "attach_files": mark("Attach Files"),
    "read_message_history": mark("Read Message History"),
    "add_reactions": mark("Add Reactions"),
}
"""The permissions that Atelier needs, by their names in discord.py."""


def listed(names: Iterable[str]) -> Listed:
    """Permissions as people list them; `names` are those of discord.py."""
    return Listed([sentence(_NAMES[name]) for name in names])


def missing_to_post(given: discord.Permissions, channel: object) -> list[str]:
    """What the bot lacks in a channel, of which `given` are its permissions, to post pictures and find them again."""
    send = "send_messages_in_threads" if isinstance(channel, discord.Thread) else "send_messages"
    needed = ("read_messages", send, "attach_files", "read_message_history")
    return [name for name in needed if not getattr(given, name)]
