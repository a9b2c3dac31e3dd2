"""One prompt that stands for several: each is quoted by itself, and all of them are accepted together or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import aiosqlite

from bot.config import IMAGES
from bot.errors import Rejected, UserError, quoted
from bot.jobs import Destination, Job, JobId, Requester, Upload
from bot.language import mark, sentence, speaking
from bot.money import Micros
from bot.policy.limits import NEGLIGIBLE
from bot.policy.policy import Policy
from bot.policy.purse import Purse
from bot.policy.wildcards import wildcards_of
from bot.policy.words import SAFETY, TERMS
from bot.requests.admission import Admission, Admitted, Quote
from bot.requests.options import Options
from bot.requests.permutations import Variant, Wildcards, may_have_choices, read, said
from bot.requests.resolve import seeded
from bot.requests.storyboards import Following, prompt_of
from bot.requests.wording import one_line
from bot.storage.new_jobs import Entry, NewSeries
from bot.storage.panels import Panel, check_unchanged
from bot.storage.queue import Queue

STORYBOARD = "storyboard"
"""The kind of a series whose requests are the panels of a story."""
VARIANTS = "variants"
"""The kind of a series that shows one thing in several ways."""
PERMUTATIONS = "permutations"
"""The kind of a series that is one prompt with choices."""
SHOWN = 4
"""The most pictures that one message shows."""
FIRST = 4
"""How many of a large series are offered instead of all."""


@dataclass(frozen=True, slots=True)
class Member:
    """One request of a series, and what was chosen for it in words."""

    quote: Quote
    label: str


@dataclass(frozen=True, slots=True)
class SeriesQuote:
    """The requests that a prompt stands for; there is at least one."""

    title: str
    """The prompt as it was typed."""
    members: tuple[Member, ...]
    kind: str = PERMUTATIONS
    look: str = ""
    panels: tuple[Panel, ...] = ()
    """Those of a storyboard, with those that were refused."""
    strength: float | None = None
    """How much of the first picture of a storyboard the other panels paint over; None if they do not start from it."""

    @property
    def first(self) -> Quote:
        """The quote of the first request, whose person, channel and rules are those of all."""
        return self.members[0].quote

    @property
    def pictures(self) -> int:
        """How many pictures are painted."""
        return sum(member.quote.request.num_images_per_prompt for member in self.members)

    @property
    def seconds(self) -> float:
        """GPU seconds that all requests are expected to take together."""
        return sum(member.quote.seconds for member in self.members)

    @property
    def micros(self) -> Micros:
        """What all requests are expected to cost in money together."""
        return Micros(sum(member.quote.micros for member in self.members))

    @property
    def purse(self) -> Purse | None:
        """What may be spent now, if one of the requests costs money."""
        return next((member.quote.purse for member in self.members if member.quote.purse is not None), None)

    @property
    def fits(self) -> bool:
        """Whether enough of the quota is left now for all of them, and enough money."""
        return self.seconds <= self.first.allowance.left + NEGLIGIBLE and (
            self.purse is None or self.micros <= self.purse.left
        )

    def beginning(self, count: int) -> SeriesQuote:
        """The first few of its requests."""
        return replace(self, members=self.members[:count])


class SeriesAdmission:
    """Reads the choices of a prompt, and decides whether its requests become jobs."""

    def __init__(self, admission: Admission, queue: Queue, policy: Policy) -> None:
        self._admission = admission
        self._queue = queue
        self._policy = policy

    async def read(self, requester: Requester, options: Options, destination: Destination) -> SeriesQuote | Options:
        """The requests that a prompt stands for; if it is only one, its options, with the wildcards drawn.

        Raises UserError for a choice or a wildcard that cannot be read, Rejected for more prompts than the limit
        `permutations` allows, and what `Admission.quote` raises about one of the requests.
        """
        if not may_have_choices(options.prompt):
            return options
        book = (await self._policy.books()).get(requester.guild_id, {})
        wildcards = Wildcards(wildcards_of(book), random.SystemRandom())
        # The work on what a person typed is bounded, but others wait for the event loop.
        pattern = await asyncio.to_thread(read, options.prompt, IMAGES[1])
        refusal = mark(
            "This prompt makes {count} prompts, and at most {most} are possible at once ({origin}). Use fewer choices, "
            "or a smaller --repeat."
        )
        await self._check_count(requester, destination, pattern.count, refusal)
        drawn = await asyncio.to_thread(lambda: [_drawn(variant, wildcards) for variant in pattern])
        if len(drawn) == 1:
            return replace(options, prompt=drawn[0].text)
        return SeriesQuote(options.prompt, await self._quoted(requester, options, destination, drawn))

    async def single(self, requester: Requester, text: str, what: str) -> str:
        """A text that stands for one picture alone, with its wildcards drawn.

        Raises UserError, with `what` the text is, if it stands for several, or if it cannot be read.
        """
        if not may_have_choices(text):
            return text
        pattern = await asyncio.to_thread(read, text, IMAGES[1])
        if pattern.count > 1:
            raise UserError(
                "{what}: only one picture is possible here, and these words have choices for {count}. Leave out the "
                "choices and --repeat; a backslash before a brace keeps it as it is.",
                what=sentence(what),
                count=said(pattern.count),
            )
        book = (await self._policy.books()).get(requester.guild_id, {})
        wildcards = Wildcards(wildcards_of(book), random.SystemRandom())
        (drawn,) = await asyncio.to_thread(lambda: [_drawn(variant, wildcards) for variant in pattern])
        return drawn.text

    async def _check_count(self, requester: Requester, destination: Destination, count: int, refusal: str) -> None:
        """Raise Rejected with a message if more is asked for at once than the limit allows; nothing is expanded before.

        The message `refusal` has the fields `count`, `most` and `origin`.
        """
        limit = (await self._policy.limits(requester, destination.channels)).permutations
        if count <= limit.value:
            return
        async with self._admission.noting(requester):
            raise Rejected(
                sentence(refusal, count=said(count), most=limit.value, origin=limit.origin.reference),
                rule=PERMUTATIONS,
                origin=str(limit.origin),
                asked=min(count, 10**9),
                allowed=limit.value,
            )

    async def _quoted(
        self, requester: Requester, options: Options, destination: Destination, variants: Sequence[Variant]
    ) -> tuple[Member, ...]:
        """A quote for each prompt, with the same seed unless a flag says another; copies have the following seeds."""
        members: list[Member] = []
        original: Quote | None = None
        for variant in variants:
            seed = members[0].quote.request.seed if members and options.seed is None else options.seed
            asked = seeded(replace(options, prompt=variant.text, seed=seed))
            if variant.copy and original is not None:
                request = original.request
                seed = (request.seed + variant.copy * request.num_images_per_prompt) % 2**32
                # A flag of the prompt may say a seed, and the last flag counts.
                asked = replace(asked, prompt=f"{variant.text} --seed {seed}")
            label = ", ".join(variant.values)
            quote = await self._quote_choice(requester, asked, destination, label)
            original = original if variant.copy else quote
            members.append(Member(replace(quote, notes=()) if variant.copy else quote, label))
        return tuple(members)

    async def _quote_choice(self, requester: Requester, asked: Options, destination: Destination, label: str) -> Quote:
        """A quote for one of several requests; what is wrong with it says which one."""
        try:
            quote = await self._admission.quote(requester, asked, destination)
        except Rejected:
            raise
        except UserError as error:
            raise UserError("{error} This is about the choice {choice}.", error=error, choice=quoted(label)) from error
        if quote.enhance:
            raise UserError(
                "A prompt with choices stands for several, and only one prompt can be improved at a time. "
                "Leave out --enhance, or write one of the prompts."
            )
        return quote

    async def read_variants(
        self, requester: Requester, thing: str, variants: Sequence[tuple[str, Options]], destination: Destination
    ) -> SeriesQuote:
        """The requests for variants of a thing, each with its label; all have the same seed.

        Raises as `read` does, and Rejected if the words for the thing are refused.
        """
        refusal = mark(
            "These are {count} variants, and at most {most} are possible at once ({origin}). Leave some out."
        )
        await self._check_count(requester, destination, len(variants), refusal)
        await self._check_title(requester, thing)
        members: list[Member] = []
        for label, options in variants:
            seed = members[0].quote.request.seed if members and options.seed is None else options.seed
            asked = seeded(replace(options, seed=seed))
            members.append(Member(await self._quote_choice(requester, asked, destination, label), label))
        return SeriesQuote(thing, tuple(members), VARIANTS)

    async def again(self, series: SeriesQuote, uploads: Mapping[str, Upload]) -> SeriesQuote:
        """The same requests with the rules as they are now, and with uploads by the names of their options."""
        if series.kind != PERMUTATIONS:
            await self._check_title(series.first.requester, series.title)
        members = []
        for member in series.members:
            options = member.quote.options.with_uploads(uploads)
            quote = await self._admission.quote(member.quote.requester, options, member.quote.destination)
            members.append(replace(member, quote=replace(quote, notes=member.quote.notes)))
        return replace(series, members=tuple(members))

    async def check_room(self, series: SeriesQuote) -> None:
        """Raise Rejected if not even the first few requests fit into what is left of the quota."""
        few = series if series.kind == STORYBOARD else series.beginning(FIRST)
        async with self._admission.noting(few.first.requester):
            self._policy.check_quota(few.first.allowance, few.seconds)
            if few.purse is not None:
                self._policy.check_money(few.purse, few.micros)

    async def admit(self, series: SeriesQuote, *, interaction_id: int | None) -> list[Admitted]:
        """Make jobs of all requests in one transaction.

        Raises Rejected if they are over the queue depth, in which they count as one, or over the quota. Returns an
        empty list if Discord delivered the same interaction before.
        """
        first = series.first

        async def check(connection: aiosqlite.Connection) -> None:
            await self._policy.check_room(connection, first.ruling, series.seconds, series.micros)

        async with self._admission.storing(first):
            posts = [list(series.members)] if series.kind == STORYBOARD else posts_of(series.members)
            entries = [list(map(_entry, post)) for post in posts]
            new = NewSeries(series.kind, series.title, entries, series.look, series.panels, series.strength)
            jobs: list[Job] = await self._queue.enqueue_series(
                first.requester, first.destination, new, interaction_id=interaction_id, admit=check
            )
        return [
            # The bill of all of them has said the price.
            await self._admission.promise(job, self._admission.notes(replace(member.quote, micros=Micros(0))))
            for job, member in zip(jobs, series.members, strict=False)
        ]

    async def read_board(
        self,
        requester: Requester,
        title: str,
        panels: Sequence[str],
        look: str,
        destination: Destination,
        strength: float | None = None,
    ) -> SeriesQuote:
        """The requests of a storyboard, which share a look and a seed. Panels whose words are refused are left out.

        With a strength, all others start from the picture of the first one that is not refused, and have the seeds
        after its own: the same noise as in that picture would only sharpen it.

        Raises Rejected if that is all of them or if the title is refused, and what `Admission.quote` raises about other
        things.
        """
        await self._check_title(requester, title)
        # It is drawn once for all panels.
        look = await self.single(requester, look, mark("The look of a storyboard"))
        members: list[Member] = []
        known: list[Panel] = []
        refused: Rejected | None = None
        for number, words in enumerate(panels, start=1):
            lead = members[0].quote.request if members else None
            seed, follows = None if lead is None else lead.seed, None
            if lead is not None and strength is not None:
                led_by = next(panel.number for panel in known if not panel.refusal)
                seed, follows = seed_of(lead.seed, number - led_by), Following.of(lead, strength)
            try:
                quote = await self.quote_panel(requester, words, look, destination, seed, follows)
            except Rejected as error:
                if error.rule not in (SAFETY, TERMS):
                    raise
                refused = error
                # The message of the storyboard shows it to everyone.
                with speaking(await self._policy.language(requester.guild_id)):
                    known.append(Panel(number, words, refusal=str(error)))
            except UserError as error:
                if not look:
                    raise UserError("{error} This is about panel {number}.", error=error, number=number) from error
                raise UserError(
                    "{error} This is about panel {number} with the look of all panels.", error=error, number=number
                ) from error
            else:
                members.append(Member(quote, words))
                known.append(Panel(number, words))
        if refused is not None and not members:
            raise refused
        return SeriesQuote(title, tuple(members), STORYBOARD, look, tuple(known), strength)

    async def quote_panel(
        self,
        requester: Requester,
        words: str,
        look: str,
        destination: Destination,
        seed: int | None,
        follows: Following | None = None,
    ) -> Quote:
        """A quote for one panel, whose seed may be that of the others, and which may start from another one."""
        prompt = prompt_of(await self.single(requester, words, mark("A panel")), look)
        options = seeded(Options(prompt, images=1, seed=seed))
        if follows is not None:
            options = follows.added_to(options)
        quote = await self._admission.quote(requester, options, destination)
        if quote.request.num_images_per_prompt != 1:
            raise UserError("A panel has one picture. Leave out --images and --repeat.")
        if quote.enhance:
            raise UserError(
                "A storyboard stands for several prompts, and only one prompt can be improved at a time. "
                "Leave out --enhance."
            )
        return quote

    async def _check_title(self, requester: Requester, title: str) -> None:
        async with self._admission.noting(requester):
            await self._policy.check_title(requester.guild_id, title)

    async def repaint(
        self,
        beside: Job,
        panel: Panel,
        words: str,
        quote: Quote,
        *,
        follows: JobId | None = None,
        interaction_id: int | None,
    ) -> Admitted | None:
        """Make a job of a quote for a panel, in the storyboard of another job; raises and returns as `admit` does.

        It starts from the picture of the job `follows`, and waits for it if that is not painted yet.
        """
        series_id = beside.series_id
        assert series_id is not None  # noqa: S101 - it is a panel

        async def check(connection: aiosqlite.Connection) -> None:
            await check_unchanged(connection, series_id, panel)
            await self._policy.check_room(connection, quote.ruling, quote.seconds, quote.micros)

        sources = quote.options.edit.sources if quote.options.edit else ()
        entry = Entry(quote.request, quote.seconds, sources, label=words, micros=quote.micros, follows=follows)
        async with self._admission.storing(quote):
            job = await self._queue.enqueue_panel(
                beside, panel.number, words, entry, interaction_id=interaction_id, admit=check
            )
        return None if job is None else await self._admission.promise(job, self._admission.notes(quote))


def seed_of(lead: int, place: int) -> int:
    """The seed of the panel that is so many numbers after the lead, or before it if `place` is negative."""
    return (lead + place) % 2**32


def notes_of(admitted: Sequence[Admitted]) -> tuple[str, ...]:
    """What the requester should know about all requests of a series, each sentence once, in one line."""
    return one_line(tuple(dict.fromkeys(note for each in admitted for note in each.notes)))


def posts_of(members: Sequence[Member]) -> Iterator[list[Member]]:
    """The requests by the messages that show them: in order, at most four pictures in each."""
    post: list[Member] = []
    for member in members:
        images = sum(each.quote.request.num_images_per_prompt for each in (*post, member))
        if post and images > SHOWN:
            yield post
            post = []
        post.append(member)
    if post:
        yield post


def _drawn(variant: Variant, wildcards: Wildcards) -> Variant:
    """A variant with the wildcards drawn; among its values are the entries instead of the names of the lists."""
    text, entries = wildcards.drawn(variant.text)
    chosen = [value for value in variant.values if not wildcards.has(value)]
    return replace(variant, text=text, values=(*chosen, *entries))


def _entry(member: Member) -> Entry:
    quote = member.quote
    edit = quote.options.edit
    return Entry(
        quote.request,
        quote.seconds,
        edit.sources if edit else (),
        value_sources=None if edit else quote.origins,
        label=member.label,
        micros=quote.micros,
    )
