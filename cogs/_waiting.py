"""What waits for the answer of a person under a message of theirs: bills, and offers. A restart forgets it."""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

import discord

from bot.errors import UserError
from bot.jobs import JobId
from cogs import _words

T = TypeVar("T")

MOST = 1000
"""How many may wait; when there are more, the oldest is forgotten."""


class Waiting(Generic[T]):
    """Values by a number, which stands in a button in place of a job's; each is for one person on one server."""

    def __init__(self) -> None:
        self._open: OrderedDict[JobId, tuple[tuple[int, int | None], T]] = OrderedDict()
        # A random start, so that a button of an earlier run does not answer a question of this run.
        self._numbers = itertools.count(secrets.randbelow(10**17))

    def add(self, interaction: discord.Interaction, value: T) -> JobId:
        """Keep a value for the person of an interaction, and return its number."""
        number = JobId(next(self._numbers))
        self._open[number] = (_whose(interaction), value)
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return number

    def get(self, interaction: discord.Interaction, number: JobId) -> T:
        """The value of a number. Raises UserError if it was answered before, or is not this person's here."""
        whose, value = self._open.get(number, (None, None))
        if value is None or whose != _whose(interaction):
            raise UserError(_words.EXPIRED_BILL)
        return value

    def take(self, interaction: discord.Interaction, number: JobId) -> T:
        """Remove the value of a number and return it. Raises UserError as `get` does."""
        value = self.get(interaction, number)
        del self._open[number]
        return value


def _whose(interaction: discord.Interaction) -> tuple[int, int | None]:
    return interaction.user.id, interaction.guild_id
