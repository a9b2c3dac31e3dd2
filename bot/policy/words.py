"""The words that a server's moderators do not allow: their list of terms, which are rules, and what it forbids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from functools import partial

from bot.errors import Reference, Rejected, UserError, refer
from bot.jobs import Book, GuildId, RuleValue
from bot.policy.limits import SERVER, Origin
from bot.prompt_safety import block
from bot.prompt_safety.fold import fold
from bot.prompt_safety.terms import Terms

TERM = "term:"
"""The beginning of the names of the rules that are terms; the words of the term follow, as they are compared."""
TERMS, SAFETY = "terms", "safety"
"""What a refusal by a server's list, and one by the hard block, is noted as."""

MOST_TERMS = 1000
LONGEST_TERM = 100
SHORTEST_TERM = 2
_BETWEEN = re.compile(r"[,\n;]")


class ServerTerms:
    """The terms of each server, compiled once and again after a change."""

    def __init__(self) -> None:
        self._compiled: dict[GuildId, tuple[tuple[str, ...], Terms]] = {}

    async def check(self, guild_id: GuildId, book: Book, texts: Iterable[str]) -> None:
        """Raise Rejected if a text has a term of a server's list. The refusal does not say which."""
        terms = terms_of(book)
        if not terms:
            self._compiled.pop(guild_id, None)
            return
        known, compiled = self._compiled.get(guild_id, ((), None))
        if compiled is None or known != terms:
            # A long list takes a while, and everybody waits for the event loop.
            compiled = await asyncio.to_thread(partial(Terms, terms))
            self._compiled[guild_id] = (terms, compiled)
        if any(any(True for _ in compiled.found(fold(text))) for text in texts if text):
            raise Rejected(
                "This request has a word or a phrase that the moderators of this server do not allow.",
                rule=TERMS,
                origin=str(Origin(*SERVER)),
            )


def check_hard_block(prompt: str, negative_prompt: str) -> None:
    """Raise Rejected if the hard block forbids a request, which no setting switches off."""
    if blocked := block.objection(prompt, negative_prompt):
        raise Rejected(blocked.value, rule=SAFETY)


def terms_of(book: Book) -> tuple[str, ...]:
    """The terms of a server's list, as the moderators wrote them, in order."""
    rules = book.get(SERVER, {})
    return tuple(str(rules[name]) for name in sorted(rules) if name.startswith(TERM))


def parse_terms(text: str) -> dict[str, RuleValue]:
    """The terms that a moderator typed, with commas between them, as rules.

    Raises UserError for a term that cannot be on a list; the sentence does not repeat it.
    """
    terms = [" ".join(term.split()) for term in _BETWEEN.split(text)]
    terms = [term for term in terms if term]
    if not terms:
        raise UserError("Name the terms, with commas between them, like: spam, some phrase. Nothing was changed.")
    for number, term in enumerate(terms, 1):
        if len(term) > LONGEST_TERM:
            raise UserError(
                "Term {number} has {length} characters, and at most {most} are possible. Nothing was changed.",
                number=number,
                length=len(term),
                most=LONGEST_TERM,
            )
        if sum(map(len, fold(term).words)) < SHORTEST_TERM:
            raise UserError(
                "Term {number} has less than {least} letters or digits, so it would refuse nearly every request. "
                "Nothing was changed.",
                number=number,
                least=SHORTEST_TERM,
            )
    return {rule_of(term): term for term in terms}


def rule_of(term: str) -> str:
    """The name of the rule that is a term: two spellings of the same words are one rule."""
    return TERM + " ".join(fold(term).words)


def check_room(rules: Mapping[str, RuleValue], added: Mapping[str, RuleValue]) -> None:
    """Raise UserError if a server's list would have too many terms."""
    terms = {name for name in (*rules, *added) if name.startswith(TERM)}
    if len(terms) > MOST_TERMS and any(name.startswith(TERM) for name in added):
        raise UserError(
            "The list would have {length:,} terms, and at most {most:,} are possible. Remove some with {command} "
            "first. Nothing was changed.",
            length=len(terms),
            most=MOST_TERMS,
            command=refer(Reference.COMMAND, "mod terms remove"),
        )
