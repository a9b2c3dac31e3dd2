"""/style: named settings and words of a server, which everybody can use and moderators keep."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import sheet
from bot.charts.sheet import Tile
from bot.client import Client
from bot.config import STEPS
from bot.engine.catalog import SAMPLERS
from bot.errors import PlotError, StorageError, UserError
from bot.jobs import GuildId, JobId, PictureRef
from bot.language import mark, say, say_many
from bot.requests import styles as rules
from bot.requests.admission import Admission
from bot.requests.shapes import check_aspect
from bot.requests.styles import GUIDANCE, LONGEST_DESCRIPTION, LONGEST_LINE, LONGEST_NAME, LONGEST_WORDS, as_name
from bot.storage.cases import By
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from bot.storage.styles import PLACE, Style, Styles
from cogs import _cases, _people, _styles, _targets, _words
from cogs._buttons import CustomId, add_cog, button, pressed, submitted
from cogs._forms import Submission, form, text_field
from cogs._lists import Choices, aspect_choices, model_choices, style_choices, usable_models
from cogs._pictures import is_hidden
from cogs.forms import Forms

PAGE = 6
"""Styles of a page: as many pictures as are large enough on a phone."""
_TRIED = 10
"""Results of a style among which one is looked for that the person may see."""

_SETTINGS = ("model", "sampler", "steps", "guidance_scale", "aspect", "lora", "reference")
_FIELDS = ("prompt", "negative_prompt", "description", *_SETTINGS)
_LEFT_BEHIND = mark(
    "Its reference picture stayed on the server that it comes from. `/style edit reference:` sets one here."
)

Name = app_commands.Range[str, 1, LONGEST_NAME]
Words = app_commands.Range[str, 1, LONGEST_WORDS]
Description = app_commands.Range[str, 1, LONGEST_DESCRIPTION]
Reason = app_commands.Range[str, 1, 300]
Steps = app_commands.Range[int, *STEPS]
Guidance = app_commands.Range[float, *GUIDANCE]

_HELP = {
    "text": f"The words, with {PLACE} where the person's prompt goes",
    "negative_prompt": "What is left out, besides what the person leaves out",
    "description": "One line that people see in the list",
    "model": "The model that paints",
    "sampler": "The sampler that denoises",
    "steps": "Denoising steps",
    "guidance_scale": "How closely to follow the prompt",
    "aspect": "The shape, like 16:9, or a size like 768x512",
    "lora": "LoRAs of the model, like sketch:0.8, ink",
    "reference": "A result whose picture shows the style: its number, like 123, or 123/2",
    "reason": "Why; kept with the case",
}


@app_commands.guild_only()
class StyleCog(commands.GroupCog, name="Styles", group_name="style", group_description="Styles of this server"):
    """Shows the styles of a server, and changes them for moderators."""

    def __init__(self, styles: Styles, queue: Queue, admission: Admission, preferences: PreferenceStore) -> None:
        self._styles = styles
        self._queue = queue
        self._admission = admission
        self._preferences = preferences

    @app_commands.command(name="list", description="The styles of this server, with pictures")
    async def list_(self, interaction: discord.Interaction[Client]) -> None:
        """Show the first page of styles."""
        known = await self._all(interaction)
        await responses.defer(interaction, ephemeral=True, thinking=True)
        await self._show(interaction, known, 0)

    @pressed("stylepage")
    async def page_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Turn to another page of styles."""
        known = await self._all(interaction)
        await responses.defer(interaction)
        await self._show(interaction, known, about.number)

    async def _all(self, interaction: discord.Interaction[Client]) -> list[Style]:
        """The styles of the server. Raises UserError if there are none."""
        known = list((await self._styles.of(_people.place(interaction))).values())
        if not known:
            raise UserError("This server has no styles yet. Moderators add them with `/style add`.")
        return known

    async def _show(self, interaction: discord.Interaction[Client], known: list[Style], page: int) -> None:
        pages = -(-len(known) // PAGE)
        page = min(page, pages - 1)
        shown = known[page * PAGE : (page + 1) * PAGE]
        head = f"**{say_many('1 style', '{count} styles', len(known))}**"
        if pages > 1:
            head = say("{styles}, page {page} of {of}", styles=head, page=page + 1, of=pages)
        lines = [
            head,
            *map(_styles.line, shown),
            say(
                "-# Use one by the option `{option}` of `/imagine`, or by `--style` and its name.",
                option=_words.option("style"),
            ),
        ]
        view = discord.ui.View(timeout=None)
        if page:
            view.add_item(button("stylepage", PictureRef(JobId(0), page - 1), say("◀ Back")))
        if page + 1 < pages:
            view.add_item(button("stylepage", PictureRef(JobId(0), page + 1), say("More ▶")))
        files = await self._drawn(interaction, _people.place(interaction), shown)
        await responses.edit_deferred(interaction, _words.fitting(lines), view=view, attachments=files)

    async def _drawn(
        self, interaction: discord.Interaction[Client], guild_id: GuildId, shown: list[Style]
    ) -> list[discord.File]:
        """A sample of each style that the person may see, as one picture; none if there is none."""
        tiles, hidden = [], False
        for style in shown:
            png, spoiler = await self._sample(interaction, guild_id, style)
            hidden |= spoiler
            tiles.append(Tile(str(style.number), png))
        if not any(tile.picture for tile in tiles):
            return []
        try:
            png = await sheet.contact_sheet(tiles)
        except PlotError:
            # The words have everything that is needed.
            return []
        names = [style.name for style, tile in zip(shown, tiles, strict=True) if tile.picture]
        alt = say("Samples of the styles {styles}", styles=", ".join(names))
        return [discord.File(io.BytesIO(png), "styles.png", description=alt, spoiler=hidden)]

    async def _sample(
        self, interaction: discord.Interaction[Client], guild_id: GuildId, style: Style
    ) -> tuple[bytes, bool]:
        """The reference picture of a style, or else its newest one, and whether it is hidden as a spoiler.

        Of what the person may not see here, nothing is shown.
        """
        refs = [PictureRef(job_id, 1) for job_id in await self._styles.samples(guild_id, style.name, _TRIED)]
        if style.reference is not None:
            refs.insert(0, rules.reference_of(style.reference))
        for ref in refs:
            job = await self._queue.get(ref.job_id)
            if job is None or not _targets.may_show(job, interaction):
                continue
            for picture in (await self._queue.pictures(ref.job_id))[ref.number - 1 : ref.number]:
                try:
                    (image,) = await self._queue.read([picture])
                except StorageError:
                    continue
                wishes = bool((await self._preferences.of(job.requester.user_id)).spoiler)
                return image.png, wishes or await is_hidden(interaction, job, [picture])
        return b"", False

    @app_commands.command(description="What a style sets, and its line to share")
    @app_commands.describe(name="The style")
    async def share(self, interaction: discord.Interaction[Client], name: Name) -> None:
        """Show a style with its line."""
        style = await self._known(_people.place(interaction), name)
        version = say("version {version}", version=style.version)
        lines = [_words.inert(f"{style.name}, {version}", 80), *_styles.values(style)]
        lines.append(say("To use it on another server, its moderators give this line to `/style import`:"))
        words = f"{_words.fitting(lines, room=1500)}\n```\n{rules.to_line(style)}\n```"
        if len(words) <= responses.MESSAGE:
            await responses.send(interaction, words, ephemeral=True)
            return
        file = discord.File(io.BytesIO(rules.to_line(style).encode()), f"{style.name}.txt")
        await responses.send(interaction, _words.fitting(lines, room=1500), file=file, ephemeral=True)

    @app_commands.command(description="Add a style (moderators)")
    @app_commands.rename(prompt="text")
    @app_commands.describe(
        name="Its name: small letters, digits and hyphens",
        prompt=_HELP["text"],
        **{name: words for name, words in _HELP.items() if name != "text"},
    )
    async def add(
        self,
        interaction: discord.Interaction[Client],
        name: Name,
        prompt: Words,
        negative_prompt: Words | None = None,
        description: Description | None = None,
        model: str | None = None,
        sampler: str | None = None,
        steps: Steps | None = None,
        guidance_scale: Guidance | None = None,
        aspect: str | None = None,
        lora: str | None = None,
        reference: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Add a style that does not exist yet."""
        by = _people.by(interaction, reason)
        values: dict[str, Any] = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "description": description,
            "model": model,
            "sampler": sampler,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "aspect": aspect,
            "lora": lora,
            "reference": await self._reference(interaction, reference),
        }
        style = Style(as_name(name), **{field: value for field, value in values.items() if value is not None})
        await self._add(interaction, by, style)

    async def _add(
        self, interaction: discord.Interaction[Client], by: By, style: Style, source_id: JobId | None = None
    ) -> None:
        if style.name in await self._styles.of(by.guild_id):
            raise UserError("This server has a style {style} already. `/style edit` changes it.", style=style.name)
        kept, case = await self._styles.put(by, "style add", self._checked(style), source_id)
        await responses.send(interaction, _styles.told(kept, case), ephemeral=True)

    @app_commands.command(description="Change a style; old results keep the version that made them (moderators)")
    @app_commands.rename(prompt="text")
    @app_commands.describe(
        name="The style",
        prompt=_HELP["text"],
        clear="A value to leave open again",
        **{name: words for name, words in _HELP.items() if name != "text"},
    )
    @app_commands.choices(clear=[app_commands.Choice(name=name, value=name) for name in _FIELDS if name != "prompt"])
    async def edit(
        self,
        interaction: discord.Interaction[Client],
        name: Name,
        prompt: Words | None = None,
        negative_prompt: Words | None = None,
        description: Description | None = None,
        model: str | None = None,
        sampler: str | None = None,
        steps: Steps | None = None,
        guidance_scale: Guidance | None = None,
        aspect: str | None = None,
        lora: str | None = None,
        reference: str | None = None,
        clear: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Add the next version of a style."""
        by = _people.by(interaction, reason)
        before = await self._known(by.guild_id, name)
        shown = await self._reference(interaction, reference)
        given = (prompt, negative_prompt, description, model, sampler, steps, guidance_scale, aspect, lora, shown)
        values: dict[str, Any] = {
            field: value for field, value in zip(_FIELDS, given, strict=True) if value is not None
        }
        if clear in values:
            raise UserError(
                "You set {option} and clear it in one command. Do one of the two.", option=_words.option(str(clear))
            )
        if clear is not None:
            values[clear] = None if clear in _SETTINGS else ""
        style = self._checked(replace(before, **values))
        if style == before:
            raise UserError("The style {style} is like that already.", style=style.name)
        source_id = await self._styles.source_of(by.guild_id, before)
        kept, case = await self._styles.put(by, "style edit", style, source_id)
        await responses.send(interaction, _styles.told(kept, case), ephemeral=True)

    @app_commands.command(description="Remove a style (moderators); old results stay")
    @app_commands.describe(name="The style", reason=_HELP["reason"])
    async def remove(self, interaction: discord.Interaction[Client], name: Name, reason: Reason | None = None) -> None:
        """Remove a style."""
        by = _people.by(interaction, reason)
        style = await self._known(by.guild_id, name)
        case = await self._styles.remove(by, style.name)
        gone = say("The style {style} is gone already.", style=style.name)
        said = gone if case is None else _cases.receipt(case)
        await responses.send(interaction, said, ephemeral=True)

    @app_commands.command(
        name="import", description="Add a style from the line that another server shares (moderators)"
    )
    @app_commands.describe(line="The line", name="Another name for it", reason=_HELP["reason"])
    async def import_(
        self,
        interaction: discord.Interaction[Client],
        line: app_commands.Range[str, 1, LONGEST_LINE],
        name: Name | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Add a style of another server."""
        by = _people.by(interaction, reason)
        style = rules.from_line(line)
        had_reference = style.reference is not None
        style = replace(style, reference=None)
        if name is not None:
            style = replace(style, name=as_name(name))
        await self._add(interaction, by, style)
        if had_reference:
            await interaction.followup.send(say(_LEFT_BEHIND), ephemeral=True)

    @pressed("asstyle")
    async def use_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask a moderator for the name and the words of a style with the settings of a result."""
        _people.moderated(interaction)
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        # What comes after the first comma is mostly about the looks and not about the subject.
        words = job.request.prompt.partition(",")[2].strip()
        text = f"{PLACE}, {words}" if words else PLACE
        fields = [
            text_field(
                "name", say("Name"), hint=say("Small letters, digits and hyphens"), most=LONGEST_NAME, required=True
            ),
            text_field(
                "text",
                say("Words"),
                hint=say(
                    "{place} stands for the person's prompt. Take out what is about this picture alone.", place=PLACE
                ),
                value=text[:LONGEST_WORDS],
                most=LONGEST_WORDS,
                long=True,
                required=True,
            ),
            text_field(
                "negative", say("What to leave out"), value=job.request.negative_prompt, most=LONGEST_WORDS, long=True
            ),
            text_field("description", say("Description"), most=LONGEST_DESCRIPTION),
        ]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("asstyle", about)), say("Use as style"), fields)
        )

    @submitted("asstyle")
    async def use_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Add a style with the settings of a result."""
        by = _people.by(interaction, None)
        job, _ = await _targets.result(self._queue, interaction, known.about.job_id)
        request = job.request
        negative = filled.texts.get("negative", "")
        model = next((each for each in self._admission.models if each.name == request.model), None)
        if model is not None and negative == model.negative_prompt:
            # Every request with this model has it anyway.
            negative = ""
        style = Style(
            as_name(filled.texts.get("name", "")),
            filled.texts.get("text", ""),
            negative,
            filled.texts.get("description", ""),
            model=request.model,
            sampler=request.sampler,
            steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            lora=", ".join(f"{name}:{weight:g}" for name, weight in request.loras) or None,
        )
        await self._add(interaction, by, style, job.id)

    @share.autocomplete("name")
    @edit.autocomplete("name")
    @remove.autocomplete("name")
    async def _names(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return await style_choices(self._styles, interaction, typed)

    @add.autocomplete("model")
    @edit.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return model_choices(await usable_models(self._admission, interaction), typed)

    @add.autocomplete("aspect")
    @edit.autocomplete("aspect")
    async def _aspects(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return aspect_choices(typed)

    @add.autocomplete("sampler")
    @edit.autocomplete("sampler")
    async def _samplers(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return [app_commands.Choice(name=name, value=name) for name in SAMPLERS if typed.strip().lower() in name][:25]

    async def _reference(self, interaction: discord.Interaction[Client], typed: str | None) -> str | None:
        """The picture that a moderator named, as it is kept. Raises UserError if there is no such picture here."""
        if typed is None:
            return None
        about = rules.reference_of(typed)
        job, _ = await _targets.picture(self._queue, interaction, about)
        if not _targets.may_see(job, interaction):
            raise UserError(_targets.NO_RESULT)
        return f"{about.job_id}/{about.number}"

    async def _known(self, guild_id: GuildId, name: str) -> Style:
        style = rules.named(name, await self._styles.of(guild_id))
        assert style is not None  # noqa: S101 - it is named
        return style

    def _checked(self, style: Style) -> Style:
        """The style, with names that exist here. Raises UserError for one that makes no sense."""
        style = rules.checked(style)
        models = {model.name: model for model in self._admission.models}
        if style.model is not None:
            style = replace(style, model=_styles.one_of(mark("model"), style.model, models))
        if style.sampler is not None:
            style = replace(style, sampler=_styles.one_of(mark("sampler"), style.sampler, SAMPLERS))
        if style.aspect is not None:
            check_aspect(style.aspect, models[style.model] if style.model else self._admission.models[0])
        if style.lora is not None:
            known = [lora for name, model in models.items() if style.model in (None, name) for lora in model.loras]
            _styles.check_loras(style.lora, known)
        return style


async def setup(client: Client) -> None:
    """Add the cog, its commands, buttons and form."""
    app = client.app
    await add_cog(client, StyleCog(app.styles, app.queue, app.admission, app.preferences))
