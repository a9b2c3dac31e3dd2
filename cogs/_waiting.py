"""What waits for the answer of a person under a message of theirs: bills, and offers. A restart forgets it."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import discord

from bot import responses
from bot.client import Client, prompt_back
from bot.errors import UserError
from bot.jobs import JobId
from bot.language import say
from bot.responses import LOST
from cogs import _words

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST = 1000
"""How many may wait; when there are more, the oldest is forgotten."""


@dataclass(slots=True)
class _Question(Generic[T]):
    """A question to a person: the interaction that it answers, what it is about, and the prompt to give back."""

    asked: discord.Interaction
    prompt: str
    value: T | None
    """None once it was answered."""


class Waiting(Generic[T]):
    """Values by a number, which stands in a button in place of a job's; each is for one person on one server."""

    def __init__(self) -> None:
        self._questions: OrderedDict[JobId, _Question[T]] = OrderedDict()
        # A random start, so that a button of an earlier run does not answer a question of this run.
        self._numbers = itertools.count(secrets.randbelow(10**17))

    def add(self, interaction: discord.Interaction, value: T, prompt: str) -> JobId:
        """Keep a value for the person of an interaction, whose response is to be the question; return its number.

        The person gets `prompt` back if what they say yes to is refused.
        """
        number = JobId(next(self._numbers))
        self._questions[number] = _Question(interaction, prompt, value)
        while len(self._questions) > MOST:
            self._questions.popitem(last=False)
        return number

    def get(self, interaction: discord.Interaction, number: JobId) -> T:
        """The value of a number. Raises UserError if it was answered before, or is not this person's here."""
        question = self._questions.get(number)
        if question is None or _whose(question.asked) != _whose(interaction):
            raise UserError(_words.EXPIRED_BILL)
        if question.value is None:
            raise UserError(_words.ANSWERED)
        return question.value

    def take(self, interaction: discord.Interaction, number: JobId) -> T:
        """Return the value of a number, which is answered from now on. Raises UserError as `get` does."""
        value = self.get(interaction, number)
        self._questions[number].value = None
        return value

    async def answer(
        self, interaction: discord.Interaction[Client], number: JobId, do: Callable[[T], Awaitable[None]]
    ) -> None:
        """Do what a person decided about a value. Their question then says what they pressed, or that it was refused.

        Raises UserError as `get` does. An error of `do` is explained here.
        """
        value, prompt = self.take(interaction, number), self._questions[number].prompt
        try:
            await do(value)
        except Exception as error:  # noqa: BLE001 - it is explained, and logged if it is a bug
            # The button itself has no prompt to give back.
            await interaction.client.explain(interaction, error, prompt)
            if not responses.is_too_late(error):
                await self.close(number, say(_words.REFUSED))
        else:
            await self.close(number, f"✅ {_label(interaction)}")

    async def decline(self, interaction: discord.Interaction[Client], number: JobId) -> None:
        """Give the prompt back instead of doing anything, in the place of the question. Raises UserError as `get`."""
        self.take(interaction, number)
        back, files = prompt_back(self._questions[number].prompt)
        await responses.edit(interaction, _words.declined(back), view=None, attachments=files)

    async def close(self, number: JobId, words: str) -> None:
        """Put words in the place of a question that was answered, without its buttons.

        Discord lets nobody change a message that one person sees once the token of its interaction has expired.
        """
        question = self._questions.get(number)
        if question is None or question.asked.is_expired():
            return
        try:
            await question.asked.edit_original_response(content=words, view=None)
        except (discord.HTTPException, *LOST) as error:
            log.info("a question keeps its buttons: %s", type(error).__name__)


def _label(interaction: discord.Interaction) -> str:
    """What the button says that was pressed."""
    rows = [] if interaction.message is None else interaction.message.components
    buttons = [each for row in rows if isinstance(row, discord.ActionRow) for each in row.children]
    pressed = None if interaction.data is None else interaction.data.get("custom_id")
    labels = [each.label for each in buttons if isinstance(each, discord.Button) and each.custom_id == pressed]
    return labels[0] or "" if labels else ""


def _whose(interaction: discord.Interaction) -> tuple[int, int | None]:
    return interaction.user.id, interaction.guild_id
