"""What messages carry: files, and buttons that work for ever.

Everything a button knows is in its custom id, everything it may is in the database.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Self

import discord

from bot.client import Client
from bot.jobs import Job, JobId
from cogs import _words

ALT_TEXT = 1024
"""How much of a prompt describes its picture to those who do not see it."""


class JobButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"a1:(?P<action>[a-z]{1,16}):(?P<job>[0-9]{1,18})",
):
    """A button about one job; what it does is looked up in `Client.buttons`."""

    def __init__(self, action: str, job_id: JobId, button: discord.ui.Button[discord.ui.View]) -> None:
        button.custom_id = custom_id(action, job_id)
        super().__init__(button)
        self.action = action
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003 - discord.py's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button that was pressed."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - only buttons carry this custom id
        return cls(match["action"], JobId(int(match["job"])), item)

    async def callback(self, interaction: discord.Interaction[Client]) -> None:  # type: ignore[override]
        """Do what the button says, or explain why not."""
        client = interaction.client
        action = client.buttons.get(self.action)
        try:
            if action is None:
                await interaction.response.send_message(_words.EXPIRED, ephemeral=True)
            else:
                await action(interaction, self.job_id)
        except Exception as error:  # noqa: BLE001 - explain() logs what is not for the person
            await client.explain(interaction, error)


class ExpiredButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"(?!a1:[a-z]{1,16}:[0-9]{1,18}\Z)[\s\S]+",
):
    """Every button that nothing else answers to; without this class Discord shows an unexplained failure."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003 - discord.py's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],  # noqa: ARG003
    ) -> Self:
        """Take over the unknown button."""
        return cls(item)  # type: ignore[arg-type]

    async def callback(self, interaction: discord.Interaction[Client]) -> None:  # type: ignore[override]
        """Say that it has expired."""
        await interaction.response.send_message(_words.EXPIRED, ephemeral=True)


def custom_id(action: str, job_id: JobId) -> str:
    """What a button about a job is known by, for ever."""
    return f"a1:{action}:{job_id}"


def job_button(
    action: str, job_id: JobId, label: str, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> JobButton:
    """A button about a job."""
    button: discord.ui.Button[discord.ui.View] = discord.ui.Button(label=label, style=style)
    return JobButton(action, job_id, button)


def bill_view(number: JobId) -> discord.ui.View:
    """The buttons under a bill: known by a number of its own instead of a job's, since there is no job yet."""
    view = discord.ui.View(timeout=None)
    view.add_item(job_button("accept", number, "Paint it", discord.ButtonStyle.primary))
    view.add_item(job_button("decline", number, "No"))
    return view


def cancel_view(job_id: JobId) -> discord.ui.View:
    """The red button under a request that has not ended."""
    view = discord.ui.View(timeout=None)
    view.add_item(job_button("cancel", job_id, "Cancel", discord.ButtonStyle.danger))
    return view


def result_files(job: Job, pictures: Sequence[bytes]) -> list[discord.File]:
    """Fresh uploads of PNGs or WebPs, with the prompt as alt text."""
    return [
        discord.File(
            io.BytesIO(picture),
            filename=f"atelier-{job.id}-{number}.{'webp' if picture.startswith(b'RIFF') else 'png'}",
            description=job.request.prompt[:ALT_TEXT],
        )
        for number, picture in enumerate(pictures, start=1)
    ]
