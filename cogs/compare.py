"""/compare: one prompt under two settings, side by side, and a blind vote."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import IMAGES
from bot.errors import UserError
from bot.jobs import MessageId, PictureRef, UserId
from bot.language import mark, say
from bot.money import Micros
from bot.requests import edits
from bot.requests.admission import Admission, Admitted, Quote
from bot.requests.flags import with_flags
from bot.requests.improver import Offer
from bot.requests.options import Options
from bot.requests.resolve import seeded
from bot.requests.series import SeriesAdmission
from bot.requests.verdict import verdict
from bot.responses import InDoubt
from bot.storage.comparisons import Comparison, Comparisons
from bot.storage.queue import Queue
from cogs import _bills, _comparing, _people, _views, _words
from cogs._buttons import add_cog, button, pressed
from cogs._comparing import LEFT
from cogs._verdicts import GONE
from cogs.intake import Intake, OpenOffer, where

Typed = app_commands.Range[str, 1, 300]

_NO_OFFER = mark(
    "Not enough people here have rated pictures of prompts like this yet, so there is nothing to compare with. "
    "Give one setting another flag, such as `--steps 10`."
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One side of a comparison: as it was typed, and what it paints."""

    text: str
    options: Options


Settings = tuple[Setting, Setting]


class Compare(commands.Cog):
    """Paints both settings, takes votes, and gives the verdict."""

    def __init__(
        self,
        client: Client,
        intake: Intake,
        admission: Admission,
        series: SeriesAdmission,
        queue: Queue,
        comparisons: Comparisons,
    ) -> None:
        self._client = client
        self._intake = intake
        self._admission = admission
        self._series = series
        self._queue = queue
        self._comparisons = comparisons

    @app_commands.command(description="Paint one prompt under two settings, and let people vote without knowing which")
    @app_commands.guild_only()
    @app_commands.describe(
        prompt="What to paint; flags in it count for both settings",
        first="Flags of the first setting, like --model emoji --steps 10 or --style ink",
        second="Flags of the second setting; leave it open for the usual one; --enhance for an improved prompt",
        images="How many pairs of pictures, each with its own seed",
    )
    async def compare(
        self,
        interaction: discord.Interaction[Client],
        prompt: str,
        first: Typed,
        second: Typed | None = None,
        images: app_commands.Range[int, *IMAGES] = 1,
    ) -> None:
        """Accept both requests, and answer with the messages that become the comparison."""
        settings = []
        requester, _ = where(interaction)
        # Both settings get the same words.
        prompt = await self._series.single(requester, prompt, mark("A comparison"))
        for typed in (first.strip(), (second or "").strip()):
            text = await self._series.single(requester, typed, mark("A setting"))
            if text and with_flags(Options(f"x {text}")).prompt != "x":
                raise UserError("A setting has flags only, such as `--steps 10`. Words belong into the prompt.")
            settings.append(Setting(text, Options(f"{prompt} {text}", images=images)))
        words = with_flags(settings[0].options).prompt
        await self._begin(interaction, words, (settings[0], settings[1]))

    @pressed("both")
    async def both_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Compare a prompt with its improved form."""

        async def compare(opened: OpenOffer) -> None:
            settings = Setting("", opened.offer.options), _improved(opened.offer)
            await self._begin(interaction, opened.offer.options.prompt, settings)

        await self._intake.offers.answer(interaction, about.job_id, compare)

    async def _begin(self, interaction: discord.Interaction[Client], prompt: str, settings: Settings) -> None:
        """Ask first if a prompt is to be improved or if it costs much, and else paint both."""
        quotes = await self._quotes(interaction, settings)
        question = ""
        if quotes[0].enhance or quotes[1].enhance:
            at = 0 if quotes[0].enhance else 1
            offer = await self._intake.offered(interaction, quotes[at])
            if isinstance(offer, str):
                raise UserError(_NO_OFFER)
            improved = _improved(offer)
            settings = (improved, settings[1]) if at == 0 else (settings[0], improved)
            quotes = await self._quotes(interaction, settings)
            question = f"{_words.offer(offer.additions)}\n"
        _check(*quotes)
        settings = (replace(settings[0], options=quotes[0].options), replace(settings[1], options=quotes[1].options))
        total = _together(*quotes)
        is_big = any(quote.is_big for quote in (*quotes, total))
        if question or (total.fits and is_big):
            go = partial(self._paint, prompt=prompt, settings=settings)
            await self._intake.ask_first(interaction, question + _bills.bill(*quotes, is_big=is_big), prompt, go)
            return
        await self._paint(interaction, prompt, settings, quotes)

    async def _quotes(self, interaction: discord.Interaction[Client], settings: Settings) -> tuple[Quote, Quote]:
        requester, destination = where(interaction)
        one = await self._admission.quote(requester, seeded(settings[0].options), destination)
        # Both get the same seed, unless a flag says another one.
        options = replace(settings[1].options, seed=one.request.seed)
        return one, await self._admission.quote(requester, options, destination)

    async def _paint(
        self,
        interaction: discord.Interaction[Client],
        prompt: str,
        settings: Settings,
        quotes: tuple[Quote, Quote] | None = None,
    ) -> None:
        """Make jobs of both, and show them; after a question, with the roles and the limits as they are then."""
        one, other = quotes or await self._quotes(interaction, settings)
        jobs = await self._admit(interaction, one, other)
        if jobs is None:
            return
        swapped = random.getrandbits(one.request.num_images_per_prompt)
        ids, texts = (jobs[0].job.id, jobs[1].job.id), (settings[0].text, settings[1].text)
        comparison = await self._comparisons.add(one.requester, prompt, texts, ids, swapped)
        await self._answer(interaction, comparison, jobs)

    async def _admit(
        self, interaction: discord.Interaction[Client], one: Quote, other: Quote
    ) -> tuple[Admitted, Admitted] | None:
        """Make jobs of both quotes or of none; None if Discord delivered the same interaction before."""
        first = await self._admission.admit(one, interaction_id=interaction.id)
        if first is None:
            return None
        try:
            second = await self._admission.admit(other)
        except BaseException:
            await self._queue.withdraw(first.job.id)
            raise
        assert second is not None  # noqa: S101 - it names no interaction
        return first, second

    async def _answer(
        self, interaction: discord.Interaction[Client], comparison: Comparison, jobs: tuple[Admitted, Admitted]
    ) -> None:
        """Show both requests as waiting; withdraw what Discord did not take."""
        ids = [each.job.id for each in jobs]
        async with self._client.speaking_to(comparison.guild_id):
            words = _comparing.waiting(comparison)
            views = [_views.cancel_view(job_id) for job_id in ids]
        try:
            message_id = MessageId(await responses.send(interaction, words, view=views[0]))
            below = await interaction.followup.send(words, view=views[1], wait=True)
        except InDoubt:
            raise
        except Exception:
            for job_id in ids:
                await self._queue.withdraw(job_id)
            raise
        await self._queue.place_message(ids[0], message_id)
        await self._queue.place_message(ids[1], MessageId(below.id))
        notes = tuple(dict.fromkeys((*jobs[0].notes, *jobs[1].notes)))
        if notes:
            await interaction.followup.send(_words.notes(notes), ephemeral=True)

    @pressed("vote")
    async def vote_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Vote for a side of a pair, or take the vote back."""
        comparison = await self._known(interaction, about)
        pair, side = divmod(about.number, 2)
        if comparison.has_ended:
            raise UserError("This comparison has ended.")
        if not 1 <= pair <= await self._pairs(comparison):
            raise UserError(_words.EXPIRED)
        for_second = (side == LEFT) is comparison.is_swapped(pair)
        votes = await self._comparisons.vote(comparison.id, UserId(interaction.user.id), pair, for_second=for_second)
        await responses.send(interaction, _comparing.voted(votes, comparison), ephemeral=True)

    @pressed("endvote")
    async def end_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask whether to end the vote."""
        comparison = await self._mine(interaction, about)
        if comparison.has_ended:
            # The bot may have been stopped before the message said so.
            await self._end(interaction, comparison)
            return
        people = (await self._comparisons.tally(comparison.id)).people
        view = discord.ui.View(timeout=None)
        view.add_item(button("endvoteyes", about, say("End the vote"), discord.ButtonStyle.danger))
        await responses.send(interaction, _comparing.ask_to_end(people), view=view, ephemeral=True)

    @pressed("endvoteyes")
    async def end_confirmed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """End the vote and give the verdict."""
        await self._end(interaction, await self._mine(interaction, about))

    async def _end(self, interaction: discord.Interaction[Client], comparison: Comparison) -> None:
        await responses.defer(interaction, ephemeral=True, thinking=True)
        await self._comparisons.end(comparison.id)
        tally = await self._comparisons.tally(comparison.id)
        pairs = await self._pairs(comparison)
        found = verdict(tally.first, tally.second, tally.people)
        jobs = [await self._queue.get(job_id) for job_id in (comparison.first_id, comparison.second_id)]
        # The ballot is the message of the request that was shown last.
        shown = [job for job in jobs if job is not None and job.posted_at is not None]
        last = max(shown, key=lambda job: (job.posted_at, job.id), default=None)
        if last is not None and last.destination.message_id is not None:
            async with self._client.speaking_to(comparison.guild_id):
                words = _comparing.ended(comparison, found, pairs)
            channel = self._client.get_partial_messageable(last.destination.channel_id, guild_id=comparison.guild_id)
            try:
                await channel.get_partial_message(last.destination.message_id).edit(content=words, view=None)
            except discord.HTTPException as error:
                if error.code not in GONE:
                    raise
        await interaction.followup.send(_comparing.ended(comparison, found, pairs), ephemeral=True)

    async def _pairs(self, comparison: Comparison) -> int:
        job = await self._queue.get(comparison.first_id)
        return 0 if job is None else job.request.num_images_per_prompt

    async def _known(self, interaction: discord.Interaction[Client], about: PictureRef) -> Comparison:
        """The comparison of a button, on its server. Raises UserError if there is none."""
        comparison = await self._comparisons.get(about.job_id)
        if comparison is None or comparison.guild_id != interaction.guild_id:
            raise UserError(_words.EXPIRED)
        return comparison

    async def _mine(self, interaction: discord.Interaction[Client], about: PictureRef) -> Comparison:
        """The comparison of a button, for its requester and for moderators."""
        comparison = await self._known(interaction, about)
        if comparison.user_id != interaction.user.id and not _people.is_moderator(interaction):
            raise UserError("Only the person who asked for this comparison can end it, and moderators can.")
        return comparison


def _improved(offer: Offer) -> Setting:
    """A prompt with everything that is offered, as a setting."""
    text = f"--enhance: {'; '.join(addition.text for addition in offer.additions)}"
    return Setting(text, edits.with_prompt(offer.options, offer.prompt))


def _check(one: Quote, other: Quote) -> None:
    """Raise UserError for settings that cannot be compared."""
    if one.request == other.request:
        raise UserError("Both settings paint the same. Give one of them another flag, such as `--steps 10`.")
    if one.request.num_images_per_prompt != other.request.num_images_per_prompt:
        raise UserError("Both settings need the same number of pictures. Leave out `--images`, and use the option.")


def _together(one: Quote, other: Quote) -> Quote:
    """A quote for both requests, for one bill."""
    images = one.request.num_images_per_prompt + other.request.num_images_per_prompt
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        micros=Micros(one.micros + other.micros),
        purse=one.purse or other.purse,
        request=replace(one.request, num_images_per_prompt=images),
    )


async def setup(client: Client) -> None:
    """Add the cog, its command and its buttons."""
    app = client.app
    await add_cog(client, Compare(client, Intake.of(client), app.admission, app.series, app.queue, app.comparisons))
