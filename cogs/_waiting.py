"""What waits for the answer of a person under a message of theirs: bills, and offers. A restart forgets it."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import discord

from bot import responses
from bot.client import Client, prompt_back
from bot.errors import UserError
from bot.jobs import JobId
from bot.language import say
from bot.responses import LOST, InDoubt
from cogs import _words

log = logging.getLogger(__name__)

T = TypeVar("T")
_Whose = tuple[int, int | None]
"""A person, and the server on which they were asked."""

MOST = 1000
"""How many may wait; when there are more, the oldest is forgotten. As many that were answered are remembered."""
KEPT_SECONDS = 24 * 3600.0
"""How long one may wait: what is older is forgotten when the next one comes."""


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """A question to a person: the interaction that it answers, what it is about, and the prompt to give back."""

    asked: discord.Interaction
    prompt: str
    value: T
    at: float


class Waiting(Generic[T]):
    """Values by a number, which stands in a button in place of a job's; each is for one person on one server."""

    def __init__(self) -> None:
        self._open: OrderedDict[JobId, _Question[T]] = OrderedDict()
        self._answered: OrderedDict[JobId, _Whose] = OrderedDict()
        """Whose questions were answered: nothing else of them is kept."""
        # A random start, so that a button of an earlier run does not answer a question of this run.
        self._numbers = itertools.count(secrets.randbelow(10**17))

    def add(self, interaction: discord.Interaction, value: T, prompt: str) -> JobId:
        """Keep a value for the person of an interaction, whose response is to be the question; return its number.

        The person gets `prompt` back if what they say yes to is refused.
        """
        number, now = JobId(next(self._numbers)), time.monotonic()
        self._open[number] = _Question(interaction, prompt, value, now)
        while len(self._open) > MOST or next(iter(self._open.values())).at < now - KEPT_SECONDS:
            self._open.popitem(last=False)
        return number

    def get(self, interaction: discord.Interaction, number: JobId) -> T:
        """The value of a number. Raises UserError if it was answered before, or is not this person's here."""
        return self._question(interaction, number).value

    def drop(self, number: JobId) -> None:
        """Forget the value of a number, which counts as answered from now on."""
        if (question := self._open.pop(number, None)) is not None:
            self._answered[number] = _whose(question.asked)
            while len(self._answered) > MOST:
                self._answered.popitem(last=False)

    def forget(self, user_id: int) -> None:
        """Forget all that waits for a person, and what they answered."""
        for number in [number for number, each in self._open.items() if each.asked.user.id == user_id]:
            del self._open[number]
        for number in [number for number, whose in self._answered.items() if whose[0] == user_id]:
            del self._answered[number]

    async def attempt(
        self, interaction: discord.Interaction[Client], number: JobId, do: Callable[[T], Awaitable[None]], words: str
    ) -> None:
        """Do what a person decided about a value; then `words` take the place of their question.

        If it is refused, the value waits again. Raises UserError as `get` does, and what `do` raises.
        """
        question = self._take(interaction, number)
        try:
            await do(question.value)
        except Exception as error:
            if isinstance(error, UserError) or _is_not_taken(error):
                self._reopen(number, question)
            else:
                await _close(question, None)
            raise
        await _close(question, words)

    async def answer(
        self, interaction: discord.Interaction[Client], number: JobId, do: Callable[[T], Awaitable[None]]
    ) -> None:
        """Do what a person decided about a value. Their question then says what they pressed, or that it was refused.

        If the press came too late, the value waits again. Raises UserError as `get` does. An error of `do` is explained
        here.
        """
        question = self._take(interaction, number)
        try:
            await do(question.value)
        except Exception as error:  # noqa: BLE001 - it is explained, and logged if it is a bug
            if _is_not_taken(error):
                self._reopen(number, question)
            # The button itself has no prompt to give back.
            await interaction.client.explain(interaction, error, question.prompt)
            if not responses.is_too_late(error):
                # After another error, the request may have been accepted.
                await _close(question, say(_words.REFUSED) if isinstance(error, UserError) else None)
        else:
            await _close(question, f"✅ {_label(interaction)}")

    async def decline(self, interaction: discord.Interaction[Client], number: JobId) -> None:
        """Give the prompt back instead of doing anything, in the place of the question. Raises UserError as `get`."""
        question = self._take(interaction, number)
        back, files = prompt_back(question.prompt)
        try:
            await responses.edit(interaction, _words.declined(back), view=None, attachments=files)
        except Exception:
            self._reopen(number, question)
            raise

    def _question(self, interaction: discord.Interaction, number: JobId) -> _Question[T]:
        question = self._open.get(number)
        whose = self._answered.get(number) if question is None else _whose(question.asked)
        if whose != _whose(interaction):
            raise UserError(_words.EXPIRED_BILL)
        if question is None:
            raise UserError(_words.ANSWERED)
        return question

    def _take(self, interaction: discord.Interaction, number: JobId) -> _Question[T]:
        """Take a question, so that nothing else answers it meanwhile. Raises UserError as `get` does."""
        question = self._question(interaction, number)
        self.drop(number)
        return question

    def _reopen(self, number: JobId, question: _Question[T]) -> None:
        # It may have been forgotten meanwhile.
        if self._answered.pop(number, None) is not None:
            self._open[number] = replace(question, at=time.monotonic())


async def _close(question: _Question[Any], words: str | None) -> None:
    """Take the buttons of a question that was answered, and put words in its place, or leave it as it reads.

    Discord lets nobody change a message that one person sees once the token of its interaction has expired.
    """
    if question.asked.is_expired():
        return
    try:
        content = discord.utils.MISSING if words is None else words
        await question.asked.edit_original_response(content=content, view=None)
    except (discord.HTTPException, *LOST) as error:
        log.info("a question keeps its buttons: %s", type(error).__name__)


def _is_not_taken(error: Exception) -> bool:
    """Whether Discord took no response to a press, so that the request was withdrawn."""
    return responses.is_too_late(error) and not isinstance(error, InDoubt)


def _label(interaction: discord.Interaction) -> str:
    """What the button says that was pressed."""
    rows = [] if interaction.message is None else interaction.message.components
    buttons = [each for row in rows if isinstance(row, discord.ActionRow) for each in row.children]
    pressed = None if interaction.data is None else interaction.data.get("custom_id")
    labels = [each.label for each in buttons if isinstance(each, discord.Button) and each.custom_id == pressed]
    return labels[0] or "" if labels else ""


def _whose(interaction: discord.Interaction) -> _Whose:
    return interaction.user.id, interaction.guild_id
