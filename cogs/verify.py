"""/verify: whether this Atelier made a picture, as what, and what its manifest says."""

from __future__ import annotations

import asyncio

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import Job
from bot.language import in_quotes, mark, say, sentence
from bot.requests import uploads
from bot.storage.lineage import Lineage
from bot.storage.queue import Queue
from bot.verification import Manifest, Verdict, Verification
from cogs import _people, _requests, _targets, _words
from cogs._links import link
from cogs.intake import DOWNLOAD_SECONDS

NOT_FOUND = mark(
    "❔ I find no sign that this Atelier made this picture. That is no proof that it did not: a mark is lost if only a "
    "small part of a picture is left, or if it was drawn over or turned."
)
TOO_SMALL = mark(
    "❔ This picture is too small to hold a mark that I could read, so I cannot say whether this Atelier made it. "
    "Send a larger copy."
)
MANIFEST_ONLY = mark(
    "❔ In a video or a GIF I look for no mark: only the manifest in the file can tell. An animated WebP may also be "
    "recognised without one."
)
_UNOPENED = ("video/mp4", "image/gif")
"""The media types of which only the manifest is read."""


class Verify(commands.Cog):
    """Answers people who want to know where a picture comes from."""

    def __init__(self, verification: Verification, queue: Queue, lineage: Lineage) -> None:
        self._verification = verification
        self._queue = queue
        self._lineage = lineage

    @classmethod
    def of(cls, client: Client) -> Verify:
        """The cog of a client, which loads it before the cogs that use it."""
        cog = client.get_cog(cls.__cog_name__)
        assert isinstance(cog, cls)  # noqa: S101 - see above
        return cog

    @app_commands.command(description="Find out whether this bot made a picture, and when and how it was made")
    @app_commands.guild_only()
    @app_commands.describe(picture="The picture, also a copy that was compressed, resized or cut; or an MP4 or a GIF")
    async def verify(self, interaction: discord.Interaction[Client], picture: discord.Attachment) -> None:
        """Say what is known of a picture, to the person alone."""
        kind = (picture.content_type or "").partition(";")[0].strip().lower()
        uploads.check_facts("picture", picture.size, None, None, None if kind in _UNOPENED else picture.content_type)
        await responses.defer(interaction, ephemeral=True)
        await interaction.followup.send(await self.about(interaction, await read(picture)), ephemeral=True)

    async def about(self, interaction: discord.Interaction[Client], data: bytes) -> str:
        """What is known of a picture, for a person. Raises UserError for what is no picture."""
        verdict = await self._verification.verify(data)
        lines = await self._made_here(interaction, verdict) if verdict.is_ours else [_unknown(verdict)]
        lines.append(f"-# {_manifest(verdict.manifest)}")
        return _words.fitting(lines)

    async def _made_here(self, interaction: discord.Interaction[Client], verdict: Verdict) -> list[str]:
        """What may be said of a picture of ours: of results that the person may not see, only that they are ours."""
        lines = [say("✅ **This Atelier made this picture**, with a model.")]
        job = None if verdict.ref is None else await self._queue.get(verdict.ref.job_id)
        if job is not None and verdict.ref is not None and await self._may_tell(interaction, job):
            facts = [say("Picture {number} of request {request}", number=verdict.ref.number, request=job.id)]
            if job.painted_at is not None:
                facts.append(_words.past(job.painted_at))
            lines.append(", ".join([*facts, _requests.painter(job.request)]))
            if origins := await self._lineage.sources(job.id):
                lines.append(say("Made from {sources}.", sources=_requests.sources(origins)))
            if where := link(interaction.client, job):
                again = say("`/show id:{request}` shows it again", request=job.id)
                lines.append(f"-# {where} · {again}")
        lines.append(f"-# {_sureness(verdict)}")
        return lines

    async def _may_tell(self, interaction: discord.Interaction[Client], job: Job) -> bool:
        """Whether the person may know which result it is: one of this server, still there, in a channel of theirs."""
        if job.requester.guild_id != _people.place(interaction) or job.forgotten_at is not None:
            return False
        return await self._queue.has_images(job.id) and _targets.may_see(job, interaction)


async def read(attachment: discord.Attachment) -> bytes:
    """The bytes of a file. Raises UserError if Discord does not send them, or if they are no picture."""
    if attachment.size > uploads.MOST_BYTES:
        most = uploads.MOST_BYTES // 2**20
        raise UserError("The picture is too large: at most {most} MiB can be looked at.", most=most)
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            return await attachment.read()
    except (TimeoutError, discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise UserError("Discord did not send this file. Try again.") from error


def _unknown(verdict: Verdict) -> str:
    if not verdict.is_opened:
        if verdict.manifest.is_signed_here:
            return say("✅ **This Atelier made this file**: its manifest holds and is signed here.")
        return say(MANIFEST_ONLY)
    return say(TOO_SMALL if verdict.is_too_small else NOT_FOUND)


def _sureness(verdict: Verdict) -> str:
    """How sure it is that a picture is ours, and what was done to it."""
    if verdict.is_same_file:
        return say("This is exactly the file that I sent: every byte is the same.")
    words = [
        say("It has this Atelier's invisible mark. Fewer than one in a million other pictures would have it by chance.")
    ]
    if verdict.ref is None:
        words.append(say("I cannot say any more which result it was."))
    if verdict.is_crop:
        words.append(say("It was cut out of a larger picture."))
    if verdict.is_edited:
        words.append(say("It looks different from what was painted, so it was edited."))
    return " ".join(words)


def _manifest(manifest: Manifest) -> str:
    """What the manifest of a file says, and who says it: it may be a stranger's."""
    if not manifest.state:
        return say("Manifest: none. Discord and many other programs remove it from a picture's file.")
    if manifest.state == "invalid":
        return say("Manifest: not valid. The picture or the manifest was changed after it was signed.")
    signer = in_quotes(_words.inert(manifest.signer, 60)) if manifest.signer else sentence("somebody who gives no name")
    if manifest.is_signed_here:
        words = say("Manifest: valid, signed by this Atelier.")
    elif manifest.state == "untrusted":
        words = say(
            "Manifest: valid, signed by {signer}. I do not know this certificate, so anybody may have made it.",
            signer=signer,
        )
    else:
        words = say("Manifest: valid, signed by {signer}.", signer=signer)
    facts = []
    if manifest.is_made_by_model:
        facts.append(say("a model made the picture"))
    if manifest.generator:
        facts.append(say("the program is {program}", program=_words.inert(manifest.generator, 60)))
    if manifest.model:
        facts.append(say("the model is {model}", model=_words.inert(manifest.model, 60)))
    said = (
        say("It says: {facts}.", facts="; ".join(facts)) if facts else say("It does not say how the picture was made.")
    )
    return f"{words} {said}"


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    cog = Verify(app.verification, app.queue, app.lineage)
    _people.open_to_messages(client, cog.verify)
    await client.add_cog(cog)
