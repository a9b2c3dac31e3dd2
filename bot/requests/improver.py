"""Looks up what would improve a prompt, among results that the person may find."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from bot.errors import Rejected
from bot.jobs import GenerationRequest, GuildId
from bot.language import mark
from bot.policy.policy import Policy
from bot.requests import improving
from bot.requests.improving import Addition, Example
from bot.requests.options import Options
from bot.search import queries
from bot.search.client import Search
from bot.search.queries import Condition, Query
from bot.search.visibility import Seer
from bot.storage.examples import Examples, RatedResult

NOTHING_KNOWN = mark(
    "Not enough people here have rated pictures of prompts like this yet, so it is painted as you typed it."
)
NOT_LOOKED_UP = mark("What people here like could not be looked up now, so it is painted as you typed it.")


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered for a prompt: the options that it was made for, what would be added, and the text with it."""

    options: Options
    additions: tuple[Addition, ...]

    @property
    def prompt(self) -> str:
        """The prompt with everything that is offered."""
        return improving.improved(self.options, self.additions)


class Improver:
    """Finds words and settings that many people of a server like with prompts like one."""

    def __init__(self, search: Search, examples: Examples, policy: Policy) -> None:
        self._search = search
        self._examples = examples
        self._policy = policy

    async def offer(self, seer: Seer, options: Options, request: GenerationRequest, fixed: Collection[str]) -> Offer:
        """What would improve a prompt; without additions if too little is known.

        `options` are what the person asked for, after flags were read, and `request` what they would get; settings in
        `fixed` are not offered. Only results that `seer` may find count. Raises UserError if search does not work.
        """
        like = queries.like(options.prompt)
        liked = await self._found(seer, replace(like, conditions=(Condition("likes", ">=", 1),)))
        additions = []
        for phrase in improving.candidates(options.prompt, liked):
            # Of all results with the phrase, also those that nobody likes.
            text = queries.folded(phrase)
            having = await self._found(seer, Query(phrase, tuple(queries.words_of(text)), (text,)))
            addition = improving.words(phrase, having)
            if addition is not None and await self._may_say(seer, request, addition):
                additions.append(addition)
        alike = await self._found(seer, replace(like, conditions=(Condition("model", "=", request.model),)))
        additions += improving.settings(settings_of(request), fixed, alike)
        return Offer(options, tuple(improving.best(additions)))

    async def _found(self, seer: Seer, query: Query) -> list[Example]:
        hits = (await self._search.find(query, seer)).hits
        return list(map(_example, await self._examples.of(GuildId(seer.guild_id), [hit.job_id for hit in hits])))

    async def _may_say(self, seer: Seer, request: GenerationRequest, addition: Addition) -> bool:
        """Whether a phrase may be painted here: the list of terms may be newer than the prompts that have it."""
        with_it = replace(request, prompt=f"{request.prompt}, {addition.text}")
        try:
            await self._policy.check_words(GuildId(seer.guild_id), with_it)
        except Rejected:
            return False
        return True


def settings_of(request: GenerationRequest) -> dict[str, str | int | float]:
    """The values of a request that may be offered to others, by the option's name."""
    return {
        "aspect": f"{request.width}x{request.height}",
        "sampler": request.sampler,
        "steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
    }


def _example(result: RatedResult) -> Example:
    request = result.request
    # The steps of a draft are those of a draft's preset.
    settings = {} if request.draft else settings_of(request)
    return Example(result.job_id, result.user_id, request.prompt, settings, result.opinions, not request.style)
