"""What is needed rarely about a result: its values, its files, its spoiler, its deletion, and showing it again."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client, prompt_back
from bot.delivery.film import film_of
from bot.delivery.smaller import smaller
from bot.errors import EngineError, StorageError, UserError
from bot.jobs import GuildId, Job, JobId, MessageId, Painted, Picture, PictureRef, UserId
from bot.language import mark, say
from bot.policy.policy import Policy
from bot.queue.dispatcher import Dispatcher
from bot.requests import edits
from bot.requests.admission import Admission
from bot.requests.uploads import MOST_BYTES
from bot.storage.cases import By
from bot.storage.lineage import Lineage
from bot.storage.queue import Queue
from bot.storage.removals import Removals
from bot.storage.sittings import Sittings
from bot.storage.tags import Tags
from cogs import _cases, _controls, _people, _requests, _targets, _views, _words
from cogs._buttons import add_cog, chosen, pressed
from cogs._pictures import NOT_KEPT, send_pictures
from cogs._posting import file_limit
from cogs._verdicts import GONE, Verdict, classify
from cogs.verify import Verify, read

NUMBER = app_commands.Range[int, 1, 2**53 - 1]
"""The number of a request, as it is shown."""

_STAYS_HIDDEN = mark(
    "The safety check keeps these pictures behind a spoiler in this channel. Moderators decide how strict it is, with "
    "`/mod pictures`."
)
_SHOWS_SEVERAL = mark("This message shows several results. Delete the one that people should not see.")
_LONGEST_NUMBER = 18
_NO_MESSAGE = mark("The message of this result can no longer be changed.")


class Details(commands.Cog):
    """Tells about results and changes how they are shown."""

    def __init__(
        self,
        client: Client,
        queue: Queue,
        admission: Admission,
        lineage: Lineage,
        removals: Removals,
        tags: Tags,
        sittings: Sittings,
        policy: Policy,
        dispatcher: Dispatcher,
    ) -> None:
        self._dispatcher = dispatcher
        self._policy = policy
        self._client = client
        self._queue = queue
        self._admission = admission
        self._lineage = lineage
        self._removals = removals
        self._tags = tags
        self._sittings = sittings
        self._menu = app_commands.ContextMenu(name="Info", callback=self._message_info)
        self._menu.guild_only = True

    async def cog_load(self) -> None:
        """Add the entry of the menu of a message."""
        self._client.tree.add_command(self._menu)

    @pressed("more")
    async def more_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show the values of a result, with the menu of what is needed rarely."""
        job, pictures = await _targets.result(self._queue, interaction, about.job_id)
        words, view = await self._about(interaction, job, pictures, about)
        await responses.send(interaction, words, view=view, ephemeral=True)

    async def _about(
        self, interaction: discord.Interaction[Client], job: Job, pictures: list[Picture], about: PictureRef
    ) -> tuple[str, discord.ui.View]:
        """The values of a result or of one of its pictures, and the menu."""
        shown = [picture for picture in pictures if about.number in (0, picture.ref.number)]
        words = _requests.info(job, shown, await self._lineage.sources(job.id), await self._queue.value_sources(job.id))
        words += _words.fitting(await self._remembered(job, interaction), room=300)
        can = self._admission.operations(job.request.model)
        view = _controls.more_menu(
            about,
            may_delete=_targets.may_delete(job, interaction),
            has_own_message=job.series_id is None,
            moderates=interaction.guild_id is not None and _people.is_moderator(interaction),
        )
        _controls.add_rare(view, about, job, can, in_server=interaction.guild_id is not None, row=2)
        return words, view

    async def _remembered(self, job: Job, interaction: discord.Interaction[Client]) -> list[str]:
        """The tags of a result, how it is liked, and for its requester alone the sitting that it belongs to."""
        lines = [""]
        if tags := await self._tags.of(job.id):
            lines.append(say("Tags: {tags}", tags=", ".join(_words.inert(tag, 40) for tag in tags)))
        if job.requester.user_id == interaction.user.id:
            for sitting in await self._sittings.of_person(job.requester, job.id):
                if len(sitting.job_ids) > 1:
                    place = sitting.job_ids.index(job.id) + 1
                    count = len(sitting.job_ids)
                    lines.append(
                        say("-# Request {place} of {of} that you made one after another", place=place, of=count)
                    )
        return lines if len(lines) > 1 else []

    async def _message_info(self, interaction: discord.Interaction[Client], message: discord.Message) -> None:
        """Show the values of the result in a message: one of ours, or one with a file of a result."""
        pictures = await _targets.of_message(self._queue, interaction, message)
        if len({ref.job_id for _, ref in pictures}) > 1:
            await _targets.ask_which(interaction, "more", pictures)
            return
        if pictures:
            await self.more_pressed(interaction, PictureRef(pictures[0][1].job_id))
            return
        for attachment in [each for each in message.attachments if each.size <= MOST_BYTES][:1]:
            await responses.defer(interaction, ephemeral=True)
            data = await read(attachment)
            picture = await self._queue.with_file(hashlib.sha256(data).hexdigest(), _people.place(interaction))
            if picture is not None:
                job, _ = await _targets.picture(self._queue, interaction, picture.ref)
                if _targets.may_see(job, interaction):
                    words, view = await self._about(interaction, job, [picture], picture.ref)
                    await interaction.followup.send(words, view=view, ephemeral=True)
                    return
            # A copy of a result, perhaps, that was compressed, resized or cut.
            words = await Verify.of(interaction.client).about(interaction, data)
            await interaction.followup.send(words, ephemeral=True)
            return
        raise UserError("This message shows no picture. Open the menu of a message with a picture.")

    @app_commands.command(description="Show a result of this server again, with its buttons")
    @app_commands.guild_only()
    @app_commands.rename(number="id")
    @app_commands.describe(number="The number of the request, which its info shows")
    async def show(self, interaction: discord.Interaction[Client], number: NUMBER) -> None:
        """Show the pictures of a result to the person alone."""
        await self._show(interaction, JobId(number))

    @pressed("walk")
    async def walk_chosen(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:  # noqa: ARG002
        """Show the result that was chosen in the menu of relatives."""
        numbers = [int(value) for value in chosen(interaction) if value.isdigit() and len(value) < _LONGEST_NUMBER]
        if not numbers:
            raise UserError(_targets.NO_RESULT)
        await self._show(interaction, JobId(numbers[0]))

    async def _show(self, interaction: discord.Interaction[Client], job_id: JobId) -> None:
        """Show a result to the person alone, with its controls and the menu of its relatives."""
        job, pictures = await _targets.result(self._queue, interaction, job_id)
        # One's own is shown to oneself anywhere, by the limits of the place.
        if job.requester.user_id != interaction.user.id:
            _targets.check_shown(job, interaction)
        view = _controls.controls_of(job, len(pictures), self._admission)
        family = await self._lineage.family(job.id, job.requester.guild_id)
        before, after = (
            [each for each in some if each.forgotten_at is None and _targets.may_show(each, interaction)]
            for some in (family.sources_of(job.id), family.results_of(job.id))
        )
        if (menu := _controls.relatives_menu(job.id, before, after)) is not None:
            view.add_item(menu)
        await send_pictures(interaction, self._queue, job, pictures, _requests.result(job, pictures), view)

    @pressed("original")
    async def original_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send the files as they were painted."""
        job, pictures = await _targets.result(self._queue, interaction, about.job_id)
        shown = [picture for picture in pictures if about.number in (0, picture.ref.number)]
        await send_pictures(interaction, self._queue, job, shown, _requests.headline(job))

    @pressed("prompt")
    async def prompt_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Send the prompt with its flags, to copy."""
        job, pictures = await _targets.result(self._queue, interaction, about.job_id)
        seed = pictures[max(about.number, 1) - 1].seed if about.number <= len(pictures) else job.request.seed
        words, files = prompt_back(edits.typed(job.request, seed, self._admission.lacking(job.request.model)))
        await responses.send(interaction, words, files=files, ephemeral=True)

    @pressed("spoiler")
    async def spoiler_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Hide the pictures of a result behind a spoiler, or show them again."""
        job, pictures = await _targets.result(self._queue, interaction, about.job_id)
        self._check_may_delete(job, interaction)
        if job.series_id is not None:
            # The message is made from the rows of all its jobs; a change of it alone would not last.
            raise UserError(_SHOWS_SEVERAL)
        if job.destination.message_id is None:
            raise UserError(_NO_MESSAGE)
        await responses.defer(interaction, ephemeral=True)
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        news = await self._news(job, pictures)
        try:
            message = await channel.fetch_message(job.destination.message_id)
            hidden = any(attachment.is_spoiler() for attachment in message.attachments)
            if hidden and await self._policy.is_hidden(job, [picture.nsfw for picture in pictures]):
                raise UserError(_STAYS_HIDDEN)
            try:
                await message.edit(attachments=self._files(job, news, spoiler=not hidden))
            except discord.HTTPException as error:
                if classify(error) is not Verdict.TOO_LARGE:
                    raise
                # It was posted smaller, and its words say so.
                limit = file_limit(self._client, job.requester.guild_id)
                try:
                    done = await smaller(news.images, limit)
                except EngineError as failure:
                    raise UserError(str(failure)) from error
                news = replace(news, webp=done.files, lossless=done.lossless)
                await message.edit(attachments=self._files(job, news, spoiler=not hidden))
        except discord.HTTPException as error:
            if error.code not in GONE:
                raise
            raise UserError(_NO_MESSAGE) from error
        words = say("The pictures are shown again.") if hidden else say("The pictures are behind a spoiler now.")
        await interaction.followup.send(words, ephemeral=True)

    async def _news(self, job: Job, pictures: list[Picture]) -> Painted:
        """What a result was posted with. Raises UserError if its files are gone."""
        try:
            images = await self._queue.read(pictures)
        except StorageError:
            raise UserError(NOT_KEPT) from None
        return Painted(
            tuple(images), film=await film_of(images[0].png, self._client.app.signing) if job.request.frames else b""
        )

    def _files(self, job: Job, news: Painted, *, spoiler: bool) -> list[discord.File]:
        return _views.painted_files(job, news, file_limit(self._client, job.requester.guild_id), spoiler=spoiler)

    @pressed("delete")
    async def delete_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Delete a result for good; its message says so."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        self._check_may_delete(job, interaction)
        requester = _people.requester(interaction)
        if job.requester.user_id == requester.user_id:
            await self._removals.remove_own(requester, job.id)
            words = say("Deleted. The message says so in a moment.")
        else:
            assert job.destination.message_id is not None  # noqa: S101 - it was delivered
            by = By(GuildId(job.requester.guild_id), UserId(interaction.user.id), "")
            case, _, cancelled = await self._removals.remove(by, MessageId(job.destination.message_id))
            self._dispatcher.stop(cancelled)
            words = _cases.receipt(case)
        await responses.edit(interaction, words, view=None)

    def _check_may_delete(self, job: Job, interaction: discord.Interaction[Client]) -> None:
        if not _targets.may_delete(job, interaction):
            raise UserError("Only the person who asked for this result can do that, and moderators can.")


async def setup(client: Client) -> None:
    """Add the cog, its command and its controls."""
    app = client.app
    cog = Details(
        client, app.queue, app.admission, app.lineage, app.removals, app.tags, app.sittings, app.policy, app.dispatcher
    )
    _people.open_to_messages(client, cog.show)
    await add_cog(client, cog)
