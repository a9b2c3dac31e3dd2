"""The controls under a result that make new pictures: vary, remix, enlarge, extend, edit a region, paint again.

Each press is a request of the person who presses, with their limits and their place in the queue.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.charts import sheet
from bot.client import Client
from bot.config import ModelConfig
from bot.engine.images_api.capabilities import capabilities_of, nearest_size
from bot.errors import UserError
from bot.jobs import ENLARGED, GRID, Job, JobId, Operation, Picture, PictureRef
from bot.language import mark, say, sentence
from bot.requests import edits
from bot.requests.admission import Admission
from bot.requests.options import Edit, Options
from bot.requests.starting import STRENGTH
from bot.requests.wording import number_of
from bot.storage.lineage import Lineage
from bot.storage.queue import Queue
from cogs import _controls, _people, _requests, _targets
from cogs._buttons import CustomId, add_cog, chosen, pressed, submitted
from cogs._forms import Submission, file_field, form, text_field, whole_number
from cogs._pictures import is_hidden, send_pictures
from cogs.forms import Forms
from cogs.intake import Intake

VARIATIONS = {"vary": edits.STRONG, "varystrong": edits.STRONG, "varysubtle": edits.SUBTLE}
"""The strength of each button that varies a picture."""

CHOOSE_CELLS = mark("Choose the cells that should be painted again. Then say what should be there.")
FIRST_FRAME = mark("-# This is an animation. What you make of it here starts from its first frame.")
_NONE_ATTACHED = mark("That message has no picture attached. Choose a message with one.")
GRID_ALT = mark("The picture, with a grid of four rows from A to D and four columns from 1 to 4")


class Edits(commands.Cog):
    """Makes new requests from results."""

    def __init__(self, client: Client, intake: Intake, admission: Admission, queue: Queue, lineage: Lineage) -> None:
        self._client = client
        self._intake = intake
        self._admission = admission
        self._queue = queue
        self._lineage = lineage
        self._menus = [
            app_commands.ContextMenu(name="Use this picture", callback=self._use_message),
            app_commands.ContextMenu(name="Change this picture", callback=self._change_message),
            app_commands.ContextMenu(name="Upscale", callback=self._upscale_message),
        ]

    async def cog_load(self) -> None:
        """Add the entries of the menu of a message."""
        for menu in self._menus:
            menu.guild_only = True
            self._client.tree.add_command(menu)

    @pressed("single")
    async def single_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show one picture of several, with its own controls, to the person alone."""
        job, picture = await _targets.picture(self._queue, interaction, about)
        can = self._admission.operations(job.request.model)
        enlarging = self._admission.enlarging(job.request.model)
        provider = bool(job.request.provider)
        view = _controls.picture_controls(about, can, enlarging, draft=job.request.draft, provider=provider)
        _controls.add_rare(view, about, job, can, in_server=interaction.guild_id is not None, row=3)
        words = _with_first_frame(job, _requests.single(job, picture))
        await send_pictures(interaction, self._queue, job, [picture], words, view)

    @pressed("again")
    async def again_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Paint the request again with a new seed."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        await self._take(interaction, edits.again(job.request, await self._lineage.repeated(job.id)))

    @pressed("finish")
    async def finish_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Paint one picture of a draft properly, from its seed."""
        job, picture = await _targets.picture(self._queue, interaction, about)
        if not job.request.draft:
            raise UserError("This picture is no draft: it is finished already.")
        await self._take(interaction, edits.finish(job.request, picture, self._model(job)))

    async def _picture(self, interaction: discord.Interaction[Client], about: PictureRef) -> tuple[Job, Picture]:
        """The picture that something is made of, and its request; what is made of a draft is no draft.

        Raises UserError if the picture is not there, or for a draft if the host has removed the model.
        """
        job, picture = await _targets.picture(self._queue, interaction, about)
        if job.request.draft:
            job = replace(job, request=edits.proper(job.request, self._model(job)))
        return job, picture

    @pressed(*VARIATIONS)
    async def vary_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Vary a picture."""
        job, picture = await self._picture(interaction, about)
        await self._take(interaction, edits.vary(job.request, picture, VARIATIONS[action]))

    @pressed("upscale")
    async def upscale_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Enlarge a picture."""
        job, picture = await self._picture(interaction, about)
        await self._take(interaction, self._upscaled(job, picture))

    def _upscaled(self, job: Job, picture: Picture) -> Options:
        """The request that enlarges a picture in the best way that its model has."""
        if Operation.UPSCALE in self._admission.operations(job.request.model):
            return edits.enlarge(job.request, picture)
        model = self._model(job)
        options = edits.hires(job.request, picture, 2 * max(model.width, model.height))
        if model.provider:
            asked = job.request.width, job.request.height
            width, height = nearest_size(capabilities_of(model), 2 * asked[0], 2 * asked[1])
            if width * height <= asked[0] * asked[1]:
                raise UserError("This picture is as large as the model {model} can paint.", model=model.name)
        return options

    def _model(self, job: Job) -> ModelConfig:
        """The model of a result; raises UserError if the host has removed it."""
        for model in self._admission.models:
            if model.name == job.request.model:
                return model
        raise UserError("The model {model} is no longer here.", model=job.request.model)

    @pressed(*edits.EXTENSIONS)
    async def extend_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Continue a picture beyond its edges."""
        job, picture = await self._picture(interaction, about)
        options = edits.extend(job.request, picture, edits.EXTENSIONS[action], self._model(job))
        await self._take(interaction, options)

    @pressed("region")
    async def region_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the picture with the grid, and the menu of its cells."""
        job, picture = await self._picture(interaction, about)
        await self._show_grid(interaction, job, picture)

    async def _show_grid(self, interaction: discord.Interaction[Client], job: Job, picture: Picture) -> None:
        await responses.defer(interaction, ephemeral=True)
        (image,) = await self._queue.read([picture])
        png = await sheet.with_grid(image.png, GRID)
        name, hidden = f"atelier-{job.id}-{picture.ref.number}-grid.png", await is_hidden(interaction, job, [picture])
        file = discord.File(io.BytesIO(png), name, description=say(GRID_ALT), spoiler=hidden)
        await interaction.followup.send(
            say(CHOOSE_CELLS), file=file, view=_controls.region_menu(picture.ref), ephemeral=True
        )

    @pressed("cells")
    async def cells_chosen(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask what should be in the chosen cells."""
        job, _ = await self._picture(interaction, about)
        cells = [int(value) for value in chosen(interaction) if value.isdigit() and int(value) < GRID**2]
        if not cells:
            raise UserError("Choose at least one cell of the picture.")
        names = ", ".join(edits.cell_name(cell) for cell in sorted(cells))
        await Forms.of(interaction.client).show(
            interaction,
            form(
                str(CustomId("region", about, sum(1 << cell for cell in cells))),
                say("Paint again: {cells}", cells=names),
                [text_field("prompt", say("What should be there"), value=job.request.prompt, long=True, required=True)],
            ),
        )

    @submitted("region")
    async def region_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Paint the chosen cells again."""
        job, picture = await self._picture(interaction, known.about)
        region = [cell for cell in range(GRID**2) if known.argument >> cell & 1]
        prompt = filled.texts.get("prompt", "") or job.request.prompt
        await self._take(interaction, edits.reworded(edits.repaint(job.request, picture, region, prompt)))

    @pressed("remix")
    async def remix_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask for the new words, and for what the model takes beside them."""
        job, picture = await self._picture(interaction, about)
        asked = job.request
        taken = {
            "negative_prompt": text_field("negative", say("What to leave out"), value=asked.negative_prompt, long=True),
            "strength": text_field(
                "strength",
                say("Strength"),
                hint=say("How much is painted over, up to 1"),
                value=f"{STRENGTH:g}",
                most=8,
            ),
            "seed": text_field(
                "seed", say("Seed"), hint=say("Leave it empty for a new one"), value=str(picture.seed), most=12
            ),
        }
        lacking = self._admission.lacking(asked.model)
        fields = [
            text_field("prompt", say("Prompt"), value=asked.prompt, long=True, required=True),
            *(field for name, field in taken.items() if name not in lacking),
            file_field("image", say("Another picture to start from"), say("PNG, JPEG or WebP")),
        ]
        await Forms.of(interaction.client).show(interaction, form(str(CustomId("remix", about)), say("Remix"), fields))

    @submitted("remix")
    async def remix_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Paint the picture again from other words."""
        job, picture = await self._picture(interaction, known.about)
        prompt = filled.texts.get("prompt", "") or job.request.prompt
        options = edits.reworded(edits.remix(job.request, picture, prompt, filled.texts.get("negative", "")))
        options = replace(
            options,
            strength=_number(filled, "strength", STRENGTH) if options.strength is None else options.strength,
            seed=whole_number(filled, "seed") if options.seed is None else options.seed,
        )
        if filled.files:
            # The new ones come from the uploaded picture, and only the words from the result.
            options = replace(options, image=None, edit=Edit((PictureRef(job.id),), Operation.IMAGE2IMAGE))
        await self._take(interaction, options, filled.files)

    async def _use_message(self, interaction: discord.Interaction[Client], message: discord.Message) -> None:
        """Start from the picture of any message: ask what to paint."""
        ours = await _targets.of_message(self._queue, interaction, message)
        action, pictures = ("remix", ours) if ours else ("use", _attached(message))
        if len(pictures) > 1:
            await _targets.ask_which(interaction, action, pictures)
        elif ours:
            await self.remix_pressed(interaction, ours[0][1])
        else:
            await self.use_pressed(interaction, pictures[0][1])

    @pressed("use")
    async def use_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Ask what to paint from a picture that is attached to a message, whose id stands in place of a job's."""
        fields = [
            text_field(
                "prompt", say("What to paint"), hint=say("May end in flags, like --ar 16:9"), long=True, required=True
            ),
            text_field(
                "strength",
                say("Strength"),
                hint=say("How much is painted over, up to 1"),
                value=f"{STRENGTH:g}",
                most=8,
            ),
        ]
        await Forms.of(interaction.client).show(
            interaction, form(str(CustomId("use", about)), say("Use this picture"), fields)
        )

    @submitted("use")
    async def use_submitted(
        self, interaction: discord.Interaction[Client], known: CustomId, filled: Submission
    ) -> None:
        """Paint something from the picture of a message, whose id stands in the form's."""
        picture = await _attachment(interaction, known.about)
        options = Options(filled.texts.get("prompt", ""), strength=_number(filled, "strength", STRENGTH))
        await self._intake.take(interaction, options, {"image": picture})

    async def _change_message(self, interaction: discord.Interaction[Client], message: discord.Message) -> None:
        """Show the pictures of a result of ours with all that can be made of them, to the person alone."""
        ours = await _targets.of_message(self._queue, interaction, message)
        if not ours:
            raise UserError(
                "This menu is for my own results. For another picture, choose Use this picture or Upscale, or send it "
                "with `/variants`, or with a mask with `/imagine`."
            )
        if len({ref.job_id for _, ref in ours}) > 1:
            await _targets.ask_which(interaction, "single", ours)
            return
        job, pictures = await _targets.result(self._queue, interaction, ours[0][1].job_id)
        can, enlarging = self._admission.operations(job.request.model), self._admission.enlarging(job.request.model)
        draft, provider = job.request.draft, bool(job.request.provider)
        view = _controls.result_controls(job.id, len(pictures), can, enlarging, draft=draft, provider=provider)
        words = _with_first_frame(job, _requests.result(job, pictures))
        # Of several pictures, these ask which one is meant.
        about = pictures[0].ref if len(pictures) == 1 else PictureRef(job.id)
        _controls.add_rare(view, about, job, can, in_server=True, row=3)
        await send_pictures(interaction, self._queue, job, pictures, words, view)

    async def _upscale_message(self, interaction: discord.Interaction[Client], message: discord.Message) -> None:
        """Enlarge the picture of any message."""
        ours = await _targets.of_message(self._queue, interaction, message)
        action, pictures = ("upscale", ours) if ours else ("enlarge", _attached(message))
        if len(pictures) > 1:
            await _targets.ask_which(interaction, action, pictures)
        elif ours:
            await self.upscale_pressed(interaction, ours[0][1])
        else:
            await self._enlarge(interaction, _pictures_of(message)[0])

    @pressed("enlarge")
    async def enlarge_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Enlarge a picture that is attached to a message, whose id stands in place of a job's."""
        await self._enlarge(interaction, await _attachment(interaction, about))

    async def _enlarge(self, interaction: discord.Interaction[Client], picture: discord.Attachment) -> None:
        """Enlarge a picture that somebody attached, by the first model that can."""
        models = await self._admission.usable_models(_people.requester(interaction), _people.destination(interaction))
        able = [model.name for model in models if Operation.UPSCALE in self._admission.operations(model.name)]
        if not able:
            raise UserError("No model that you may use here can enlarge pictures.")
        options = Options(ENLARGED, model=able[0], images=1, edit=Edit((), Operation.UPSCALE))
        await self._intake.take(interaction, options, {"image": picture})

    async def _take(
        self,
        interaction: discord.Interaction[Client],
        options: Options,
        files: Mapping[str, discord.Attachment] | None = None,
    ) -> None:
        """Make a request from a result; a refusal gives the prompt back."""
        try:
            await self._intake.take(interaction, options, files)
        except UserError as error:
            if interaction.type is discord.InteractionType.modal_submit:
                # The form has the prompt, and can be opened again.
                raise
            await interaction.client.explain(interaction, error, options.prompt)


def _with_first_frame(job: Job, words: str) -> str:
    """The words about a result, for an animation with what is made of it."""
    return f"{words}\n{say(FIRST_FRAME)}" if job.request.frames else words


async def _message(interaction: discord.Interaction[Client], message_id: int) -> discord.Message:
    """A message of the channel of an interaction. Raises UserError if it is gone or the bot may not read it."""
    channel = interaction.channel
    try:
        if not isinstance(channel, discord.abc.Messageable):
            raise UserError("Pictures of messages can't be used here.")
        return await channel.fetch_message(message_id)
    except (discord.NotFound, discord.Forbidden):
        raise UserError(
            "I can't read that message. Either it was deleted, or I lack the permission Read Message History."
        ) from None


def _attached(message: discord.Message) -> list[_targets.Numbered]:
    """The pictures that are attached to a message, as controls name them. Raises UserError if there is none."""
    count = len(_pictures_of(message))
    if not count:
        raise UserError(_NONE_ATTACHED)
    return [(str(number), PictureRef(JobId(message.id), number)) for number in range(1, count + 1)]


async def _attachment(interaction: discord.Interaction[Client], about: PictureRef) -> discord.Attachment:
    """The picture of a message that a control names. Raises UserError if it is not there any more."""
    pictures = _pictures_of(await _message(interaction, about.job_id))
    # Forms of earlier versions name no number, and mean the first one.
    if not max(about.number, 1) <= len(pictures):
        raise UserError(_NONE_ATTACHED)
    return pictures[max(about.number, 1) - 1]


def _pictures_of(message: discord.Message) -> list[discord.Attachment]:
    return [each for each in message.attachments if (each.content_type or "").startswith("image/")]


def _number(filled: Submission, name: str, default: float) -> float:
    """A number of a form; raises UserError if it is none."""
    if not (text := filled.texts.get(name, "")):
        return default
    if (number := number_of(text)) is None:
        raise UserError("{field} is a number, like {example:g}.", field=sentence(name.capitalize()), example=default)
    return number


async def setup(client: Client) -> None:
    """Add the cog and its controls."""
    app = client.app
    await add_cog(client, Edits(client, Intake.of(client), app.admission, app.queue, app.lineage))
