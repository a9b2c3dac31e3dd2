"""/variants: one thing with other backgrounds, in other colours and from other angles, in messages of four."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.config import EMBEDDED
from bot.errors import UserError
from bot.jobs import Operation, PictureRef
from bot.language import mark, say
from bot.requests import edits
from bot.requests.admission import Admission
from bot.requests.options import Options
from bot.requests.series import SeriesAdmission
from bot.requests.styles import reference_of
from bot.requests.variants import STEADY, Variant, thing_of, variants_of
from bot.storage.queue import Queue
from cogs import _targets
from cogs._buttons import CustomId, add_cog, pressed, submitted
from cogs._forms import Submission, form, text_field, typed
from cogs._lists import Choices, model_choices, usable_models
from cogs.forms import Forms
from cogs.intake import stand_ins_of, where
from cogs.series import Series

_LISTS = ("backgrounds", "colours", "angles")
_TITLES = (mark("Backgrounds"), mark("Colours"), mark("Angles"))
_LOOK_NAME = mark("Words and flags for all of them")
_HINTS = (mark("blue, green, a beach at sunset"), mark("red, blue, golden"), mark("side, top, from below"))
_LIST = 500
"""Characters of a list in a form."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What varies of a thing, and words for all variants: None if the person said nothing about that."""

    thing: str
    look: str | None
    lists: Mapping[str, str]
    typed: str
    """What the person wrote, to give it back."""

    @classmethod
    def of(cls, thing: str, look: str | None, lists: Mapping[str, str]) -> _Wanted:
        """What a person wrote."""
        titles = {"thing": "", **dict(zip(_LISTS, _TITLES, strict=True)), "look": _LOOK_NAME}
        return cls(thing, look, lists, typed({"thing": thing, **lists, "look": look}, titles))


class Variants(commands.Cog):
    """Takes requests for variants of one thing."""

    def __init__(self, series: Series, quotes: SeriesAdmission, admission: Admission, queue: Queue) -> None:
        self._series = series
        self._quotes = quotes
        self._admission = admission
        self._queue = queue

    @app_commands.command(description="Paint variants of one thing: other backgrounds, colours or angles")
    @app_commands.guild_only()
    @app_commands.describe(
        picture="The thing in front of a plain background: PNG, JPEG or WebP",
        id="Or a result: the number of its request, like 123, or 123/2 for its second picture",
        thing="What it is, like: a red apple",
        backgrounds="Backgrounds with commas between them; the thing stays as it is",
        colours="Colours with commas between them; the background stays as it is",
        angles="Angles with commas between them; the whole picture is painted over",
        look="Words and flags for all of them, like: soft light; if left open, most models get usual ones",
        model="Which model paints, if you send a picture",
    )
    async def variants(
        self,
        interaction: discord.Interaction[Client],
        picture: discord.Attachment | None = None,
        id: app_commands.Range[str, 1, 20] | None = None,
        thing: str | None = None,
        backgrounds: str | None = None,
        colours: str | None = None,
        angles: str | None = None,
        look: str | None = None,
        model: str | None = None,
    ) -> None:
        """Quote the variants, and ask with their bill."""
        lists = dict(zip(_LISTS, (backgrounds or "", colours or "", angles or ""), strict=True))
        wanted = _Wanted.of(thing or "", look, lists)
        try:
            if (picture is None) == (id is None):
                raise UserError("Attach a picture, or give the number of a request as `id:`, and not both.")
            drawn = await self._drawn(interaction, wanted)
            if picture is None:
                await self._of_result(interaction, reference_of(id or ""), drawn)
                return
            able = await usable_models(self._admission, interaction)
            chosen = (model or (able[0].name if able else "")).lower()

            def options(variant: Variant) -> Options:
                return edits.variant_of_upload(variant, model)

            await self._offer(interaction, drawn, chosen, options, {"image": picture})
        except UserError as error:
            await interaction.client.explain(interaction, error, wanted.typed)

    @variants.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        models = await usable_models(self._admission, interaction)
        able = [model for model in models if Operation.INPAINT in self._admission.operations(model.name)]
        return model_choices(able, typed)

    @pressed("variants")
    async def variants_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask what varies of a picture."""
        found = await _targets.one(self._queue, interaction, about, "variants")
        if found is None:
            return
        job, picture = found
        fields = [
            text_field("thing", say("What it is"), value=thing_of(job.request.prompt), most=_LIST, required=True),
            *(
                text_field(
                    name,
                    say(title),
                    hint=say("With commas between them, like: {example}", example=say(hint)),
                    most=_LIST,
                )
                for name, title, hint in zip(_LISTS, _TITLES, _HINTS, strict=True)
            ),
            text_field("look", say(_LOOK_NAME), value=self._look(job.request.model, None), most=_LIST),
        ]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("variants", picture.ref)), say("Variants"), fields)
        )

    @submitted("variants")
    async def variants_sent(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Quote the variants, and ask with their bill."""
        lists = {name: filled.texts.get(name, "") for name in _LISTS}
        wanted = _Wanted.of(filled.texts.get("thing", ""), filled.texts.get("look", ""), lists)
        await self._of_result(interaction, known.about, await self._drawn(interaction, wanted))

    async def _drawn(self, interaction: discord.Interaction[Client], wanted: _Wanted) -> _Wanted:
        """The same with the wildcards drawn, once for all variants. Raises UserError for choices."""
        requester, _ = where(interaction)
        texts = {"thing": wanted.thing, "look": wanted.look, **wanted.lists}
        drawn = {
            name: text and await self._quotes.single(requester, text, mark("Each variant"))
            for name, text in texts.items()
        }
        lists = {name: drawn[name] or "" for name in wanted.lists}
        return replace(wanted, thing=drawn["thing"] or "", look=drawn["look"], lists=lists)

    async def _of_result(self, interaction: discord.Interaction[Client], about: PictureRef, wanted: _Wanted) -> None:
        """Offer variants of a picture of a result, which must be shown where the person is."""
        job, picture = await _targets.picture(self._queue, interaction, about)
        _targets.check_shown(job, interaction)
        model = next((model for model in self._admission.models if model.name == job.request.model), None)
        if model is None:
            raise UserError("The model {model} is no longer here.", model=job.request.model)
        request = edits.proper(job.request, model)
        wanted = replace(wanted, thing=wanted.thing or thing_of(request.prompt))
        await self._offer(interaction, wanted, model.name, lambda variant: edits.variant(request, picture, variant))

    async def _offer(
        self,
        interaction: discord.Interaction[Client],
        wanted: _Wanted,
        model: str,
        options: Callable[[Variant], Options],
        attachments: Mapping[str, discord.Attachment] | None = None,
    ) -> None:
        requester, destination = where(interaction)
        stand_ins = stand_ins_of(attachments or {})
        variants = variants_of(wanted.thing, self._look(model, wanted.look), **wanted.lists)
        made = [(variant.label, options(variant).with_uploads(stand_ins)) for variant in variants]
        series = await self._quotes.read_variants(requester, wanted.thing, made, destination)
        await self._series.offer(interaction, Options(wanted.typed), series, attachments)

    def _look(self, model: str, look: str | None) -> str:
        """The words for all variants; a model that ships with Atelier does not know those that are usual."""
        if look is not None:
            return look
        embedded = {each.name for each in self._admission.models if each.source == EMBEDDED}
        return "" if model in embedded else STEADY


async def setup(client: Client) -> None:
    """Add the cog, its command, its button and its form."""
    app = client.app
    await add_cog(client, Variants(Series.of(client), app.series, app.admission, app.queue))
