"""/animate: frames from one prompt or seed to another, also from a result; /film: frames by a model for videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import Operation, PictureRef
from bot.language import mark, say
from bot.requests import edits
from bot.requests.admission import Admission
from bot.requests.morphs import FILM_FRAMES, FRAMES, USUAL_FILM_FRAMES, USUAL_FRAMES
from bot.requests.options import Morph, Options
from bot.requests.series import SeriesAdmission
from bot.storage.queue import Queue
from cogs import _targets
from cogs._buttons import CustomId, add_cog, pressed, submitted
from cogs._forms import Submission, form, text_field, whole_number
from cogs._lists import Choices, model_choices, usable_models
from cogs.forms import Forms
from cogs.intake import Intake, where

_FIRST, _LAST = mark("The first frame of an animation"), mark("The last frame of an animation")


Callback = TypeVar("Callback", bound=Callable[..., Any])


def _moving(frames: tuple[int, int], usual: int, **options: str) -> Callable[[Callback], Callback]:
    """Mark a command whose result moves: where it can be used, and what its options mean; two of them are the same."""

    def marked(callback: Callback) -> Callback:
        app_commands.allowed_installs(guilds=True, users=False)(callback)
        app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)(callback)
        return app_commands.describe(
            frames=f"How many frames, {frames[0]} to {frames[1]}; {usual} if you do not say",
            model="Which model paints",
            **options,
        )(callback)

    return marked


class Animate(commands.Cog):
    """Takes requests for animations."""

    def __init__(self, intake: Intake, quotes: SeriesAdmission, admission: Admission, queue: Queue) -> None:
        self._intake = intake
        self._quotes = quotes
        self._admission = admission
        self._queue = queue

    @app_commands.command(description="Animate from one prompt to another, or from one seed to another")
    @_moving(
        FRAMES,
        USUAL_FRAMES,
        prompt="What the first frame shows; may end in flags, like --ar 16:9 --seed 7",
        to="What the last frame shows; without it, the same prompt with another seed",
        to_seed="The seed of the last frame; --seed is that of the first",
    )
    async def animate(
        self,
        interaction: discord.Interaction[Client],
        prompt: str,
        to: str | None = None,
        frames: int | None = None,
        to_seed: int | None = None,
        model: str | None = None,
    ) -> None:
        """Accept the request and answer with the message that will become the result."""
        await self._take(interaction, Options(prompt, model=model, morph=Morph(frames, to or "", to_seed)))

    @animate.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        models = await usable_models(self._admission, interaction)
        able = [model for model in models if Operation.MORPH in self._admission.operations(model.name)]
        return model_choices(able, typed)

    @app_commands.command(description="Paint a film, if the host has set up a model for videos")
    @_moving(
        FILM_FRAMES,
        USUAL_FILM_FRAMES,
        prompt="What the film shows; may end in flags, like --ar 16:9 --seed 7",
        picture="A picture that the film begins with: PNG, JPEG or WebP",
    )
    async def film(
        self,
        interaction: discord.Interaction[Client],
        prompt: str,
        picture: discord.Attachment | None = None,
        frames: int | None = None,
        model: str | None = None,
    ) -> None:
        """Accept the request and answer with the message that will become the result."""
        if frames == 0:
            low, high = FILM_FRAMES
            raise UserError(
                "A film has {low} to {high} frames, and you asked for {asked}.", low=low, high=high, asked=0
            )
        wanted = Operation.FILM if picture is None else Operation.IMAGE2FILM
        able = [each for each in await usable_models(self._admission, interaction) if self._can(each, wanted)]
        # Of a model that was not downloaded yet it is not known what it can do; one for videos paints no pictures.
        able.sort(key=lambda each: self._can(each, Operation.TEXT2IMAGE))
        usual = able[0].name if able else ""
        drawn = await self._quotes.single(where(interaction)[0], prompt, mark("The prompt of a film"))
        options = Options(drawn, model=model, usual_model=usual, film=frames or 0)
        await self._intake.take(interaction, options, {} if picture is None else {"image": picture})

    @film.autocomplete("model")
    async def _film_models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        models = await usable_models(self._admission, interaction)
        able = [each for each in models if self._can(each, Operation.FILM) or self._can(each, Operation.IMAGE2FILM)]
        return model_choices(able, typed)

    def _can(self, model: ModelConfig, operation: Operation) -> bool:
        return operation in self._admission.operations(model.name)

    @pressed("animate")
    async def animate_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask where an animation goes that starts from a picture."""
        found = await _targets.one(self._queue, interaction, about, "animate")
        if found is None:
            return
        job, picture = found
        edits.morph(job.request, picture, Morph())
        fields = [
            text_field(
                "prompt",
                say("What the last frame shows"),
                hint=say("Leave it empty for the same prompt with another seed"),
                long=True,
            ),
            text_field(
                "frames",
                say("Frames"),
                hint=say("{low} to {high}", low=FRAMES[0], high=FRAMES[1]),
                value=str(USUAL_FRAMES),
                most=4,
            ),
            text_field(
                "seed",
                say("Seed of the last frame"),
                hint=say("Leave it empty to let me choose it"),
                most=12,
            ),
        ]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("animate", picture.ref)), say("Animate"), fields)
        )

    @submitted("animate")
    async def animate_sent(self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission) -> None:
        """Paint the animation."""
        job, picture = await _targets.picture(self._queue, interaction, known.about)
        last = Morph(whole_number(filled, "frames"), filled.texts.get("prompt", ""), whole_number(filled, "seed"))
        await self._intake.take(interaction, edits.morph(job.request, picture, await self._drawn(interaction, last)))

    async def _take(self, interaction: discord.Interaction[Client], options: Options) -> None:
        """Make a request; a refusal gives both prompts back."""
        drawn = options
        try:
            if options.edit is None and options.morph is not None:
                first = await self._quotes.single(where(interaction)[0], options.prompt, _FIRST)
                drawn = replace(options, prompt=first, morph=await self._drawn(interaction, options.morph))
            await self._intake.take(interaction, drawn)
        except UserError as error:
            await interaction.client.explain(interaction, error, options.typed)

    async def _drawn(self, interaction: discord.Interaction[Client], morph: Morph) -> Morph:
        """Where an animation goes, with the wildcards drawn; raises UserError for words that stand for several."""
        return replace(morph, prompt=await self._quotes.single(where(interaction)[0], morph.prompt, _LAST))


async def setup(client: Client) -> None:
    """Add the cog, its button and its form."""
    await add_cog(client, Animate(Intake.of(client), client.app.series, client.app.admission, client.app.queue))
