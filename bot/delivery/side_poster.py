"""What a surface implements to show messages about a result in other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.delivery.smaller import Smaller
from bot.jobs import ChannelId, Image, Job, MessageId, UserId
from bot.storage.side_messages import SideMessage


class SidePoster(Protocol):
    """Sends, finds and deletes side messages. Each method raises a DeliveryError as `Poster.show` does."""

    def may_show(self, channel_id: ChannelId, job: Job) -> bool:
        """Whether a channel may show a result: what is from an age-restricted channel stays in such channels."""
        ...

    async def open_direct(self, user_id: UserId, job: Job) -> ChannelId:
        """The channel of the direct messages to a person."""
        ...

    async def find_side(self, message: SideMessage, channel_id: ChannelId, job: Job) -> MessageId | None:
        """The message of a row, if an earlier attempt has sent it."""
        ...

    async def post_side(
        self,
        message: SideMessage,
        channel_id: ChannelId,
        job: Job,
        images: Sequence[Image],
        encoded: Smaller | None,
    ) -> MessageId:
        """Send the message of a row; `encoded` has the pictures smaller. Repeated at once, it sends no second one."""
        ...

    async def delete_side(self, channel_id: ChannelId, message_id: MessageId, job: Job) -> None:
        """Delete a message, which may be gone already."""
        ...
