"""The ids of jobs, and of people, servers, channels, messages and roles at Discord."""

from __future__ import annotations

from typing import NewType

JobId = NewType("JobId", int)
UserId = NewType("UserId", int)
GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
MessageId = NewType("MessageId", int)
RoleId = NewType("RoleId", int)

NO_GUILD = GuildId(0)
"""What stands for a server where there is none: in a terminal."""
