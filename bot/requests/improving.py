"""What would improve a prompt: words and settings that many people of a server use and like, and never one person's.

Pure functions over results of the server. Something is offered only if at least PEOPLE different people used it, and at
least PEOPLE different people rated results that have it, most of them well. What fewer people wrote or liked has no
effect on anything here, so no person's words and no person's taste can be read from an offer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.requests.options import Options, table
from bot.requests.wording import clean
from bot.search.quality import interval
from bot.search.queries import folded

PEOPLE = 10
"""How many different people must have used something, and how many must have rated it: Discord's policy allows taste in
aggregate only."""
LEAST = 0.5
"""The lower end of the interval of the share of likes that is needed: more people like it than not, 95 % sure."""
LONGEST_PHRASE = 4
"""Words of a phrase that may be offered."""
MOST_CANDIDATES = 4
"""Phrases that are looked up for one prompt."""
MOST_PHRASES, MOST_SETTINGS = 3, 2
"""What is offered at once: more could not be told apart afterwards."""

SETTINGS = ("aspect", "sampler", "steps", "guidance_scale")
"""The options that may be offered; the model and the style are ranked in /stats."""

_WORDS = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")
"""Letters in words: no mention, no address, no weight and no number is ever offered."""


@dataclass(frozen=True, slots=True)
class Example:
    """A result of the server: who asked for it, its prompt, its settings, and who likes it; others do not."""

    job_id: int
    user_id: int
    prompt: str
    settings: Mapping[str, Any]
    """The values of SETTINGS, by the option's name."""
    opinions: Mapping[int, bool]
    """Whether a person likes it, by the person; those who said nothing, or both, are missing."""
    is_typed: bool = True
    """Whether all words of the prompt were typed for it; a style, which a moderator wrote, may have added some."""


@dataclass(frozen=True, slots=True)
class Reception:
    """How people like results that have something in common: each person counts once."""

    people: int
    share: float

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval of the share (Wilson)."""
        return interval(self.share, self.people)[0]


@dataclass(frozen=True, slots=True)
class Addition:
    """One thing that is offered: the option, its value, and how results with it are liked."""

    option: str
    """`prompt` for words, or a name of SETTINGS."""
    value: Any
    reception: Reception

    @property
    def text(self) -> str:
        """As a person would type it."""
        if self.option == "prompt":
            return str(self.value)
        (flag, *_) = next(option.flags for option in table() if option.name == self.option)
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value
        return f"--{flag} {value}"


def phrases_of(prompt: str) -> list[str]:
    """The phrases of a prompt that may be offered to others: what stands between commas after the first one.

    What stands before the first comma is mostly what a picture shows, and after it how it looks. The phrases are in
    small letters, each once.
    """
    parts = (" ".join(part.lower().split()).strip(" .") for part in prompt.split(",")[1:])
    return list(dict.fromkeys(part for part in parts if _WORDS.fullmatch(part) and len(part.split()) <= LONGEST_PHRASE))


def candidates(prompt: str, examples: Iterable[Example]) -> list[str]:
    """The phrases that most people use in `examples`, without those that a prompt has, at most MOST_CANDIDATES."""
    people: dict[str, set[int]] = defaultdict(set)
    for example in examples:
        for phrase in phrases_of(example.prompt):
            people[phrase].add(example.user_id)
    there = folded(prompt)
    known = {phrase: len(users) for phrase, users in people.items() if folded(phrase) not in there}
    return [phrase for phrase, _ in sorted(known.items(), key=lambda item: (-item[1], item[0]))][:MOST_CANDIDATES]


def reception(examples: Collection[Example]) -> Reception | None:
    """How these results are liked; None if fewer than PEOPLE people asked for them, or fewer rated them.

    A person counts once, with the share of likes among what they said.
    """
    if len({example.user_id for example in examples}) < PEOPLE:
        return None
    said: dict[int, list[bool]] = defaultdict(list)
    for example in examples:
        for user_id, likes in example.opinions.items():
            said[user_id].append(likes)
    if len(said) < PEOPLE:
        return None
    return Reception(len(said), sum(sum(each) / len(each) for each in said.values()) / len(said))


def writers(examples: Iterable[Example]) -> set[int]:
    """Who wrote these prompts: who asks for a prompt again, as 🔁 does, did not write it."""
    first: dict[str, Example] = {}
    for example in sorted(examples, key=lambda each: each.job_id):
        if example.is_typed:
            first.setdefault(" ".join(folded(example.prompt).split()), example)
    return {example.user_id for example in first.values()}


def words(phrase: str, examples: Iterable[Example]) -> Addition | None:
    """A phrase as an addition, if enough people wrote and like it in `examples`, which have others, too."""
    having = [example for example in examples if phrase in phrases_of(example.prompt)]
    found = reception(having) if len(writers(having)) >= PEOPLE else None
    return Addition("prompt", phrase, found) if found is not None and found.low >= LEAST else None


def settings(now: Mapping[str, Any], fixed: Collection[str], examples: Sequence[Example]) -> list[Addition]:
    """Settings that are liked better than others in `examples`, without `fixed` ones and those of now, surest first.

    The lower end of a value's interval must be above the share of likes of all other values.
    """
    found = []
    for name in SETTINGS:
        if name in fixed:
            continue
        for value in {example.settings.get(name) for example in examples} - {None, now.get(name)}:
            liked = reception([example for example in examples if example.settings.get(name) == value])
            others = reception([example for example in examples if example.settings.get(name) not in (None, value)])
            if liked is not None and others is not None and liked.low >= max(LEAST, others.share):
                found.append(Addition(name, value, liked))
    surest = {addition.option: addition for addition in sorted(found, key=_sureness, reverse=True)}
    return sorted(surest.values(), key=_sureness)


def best(additions: Iterable[Addition]) -> list[Addition]:
    """The surest ones, words before settings."""
    order = sorted(additions, key=_sureness)
    return [
        *[addition for addition in order if addition.option == "prompt"][:MOST_PHRASES],
        *[addition for addition in order if addition.option != "prompt"][:MOST_SETTINGS],
    ]


def _sureness(addition: Addition) -> tuple[float, str]:
    return -addition.reception.low, addition.text


def improved(options: Options, additions: Sequence[Addition]) -> str:
    """The prompt with the additions, as it is offered: words after commas, then flags."""
    phrases = [addition.text for addition in additions if addition.option == "prompt"]
    flags = [addition.text for addition in additions if addition.option != "prompt"]
    return " ".join([clean(", ".join([options.prompt.rstrip(" ,."), *phrases])), *flags])
