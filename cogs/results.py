"""Brings news of jobs to their messages: the Poster of Discord."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import aiohttp
import discord
from discord.ext import commands

from bot.client import Client
from bot.delivery.feedback import OFFERED
from bot.delivery.outbox import Delivery
from bot.delivery.poster import Repost, Shown
from bot.errors import DeliveryError, NotUnderstood, TooLarge, TryLater, Unreachable
from bot.jobs import Cancelled, Failed, Job, MessageId, News, Painted, Painting, PictureRef, Queued, Retrying, utcnow
from bot.responses import TOKEN_SECONDS, fitted
from bot.storage.database import insist
from bot.storage.preferences import Preferences, PreferenceStore
from bot.storage.queue import Queue
from cogs import _views, _words
from cogs._buttons import CustomId
from cogs._verdicts import UNKNOWN_MESSAGE, Verdict, classify

LOOK_BACK = 1000
"""Messages of a channel that are looked through for one that may be ours."""
LOOK_AGAIN_SECONDS = 30.0
RECONCILE_SECONDS = 300.0
"""Between two looks for requests whose acknowledgement is in doubt."""
IN_DOUBT = timedelta(seconds=TOKEN_SECONDS + 60)
"""Older requests without a message are looked for: until then the command that asked does that itself."""
CLOCKS_DIFFER = timedelta(minutes=2)
"""Also how long an answer that began with a download may be older than its job."""

QUOTED = 200
"""Characters of Discord's reason that are repeated to a person."""

log = logging.getLogger(__name__)


class Results(commands.Cog):
    """Edits a job's message until it holds the result."""

    def __init__(
        self, client: Client, delivery: Delivery, queue: Queue, preferences: PreferenceStore, ping_after_seconds: int
    ) -> None:
        self._client = client
        self._preferences = preferences
        self._delivery = delivery
        self._queue = queue
        self._ping_after_seconds = ping_after_seconds
        self._opened_at = utcnow()
        self._reconciling: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        """Register as the delivery's poster."""
        self._delivery.attach(self)

    async def cog_unload(self) -> None:
        """Leave what is still in doubt to the next run."""
        if self._reconciling is not None:
            self._reconciling.cancel()

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        """Make the job's message say `news`; a message that is gone is replaced if the job has ended.

        Raises the DeliveryError that fits Discord's refusal.
        """
        with self._translate_errors(job):
            return await self._show(job, news, repost)

    async def decorate(self, job: Job) -> None:
        """Offer the rating reactions, and ping a person who waited long."""
        assert job.destination.message_id is not None  # noqa: S101 - it shows the result
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        message = channel.get_partial_message(job.destination.message_id)
        with self._translate_errors(job):
            for emoji in OFFERED:
                await message.add_reaction(emoji)
            waited = ((job.painted_at or job.asked_at) - job.asked_at).total_seconds()
            is_long = bool(self._ping_after_seconds) and waited > self._ping_after_seconds
            if is_long and (await self._preferred(job)).ping is not False:
                await channel.send(
                    f"<@{job.requester.user_id}> your picture is ready: {message.jump_url}",
                    allowed_mentions=discord.AllowedMentions(users=[discord.Object(job.requester.user_id)]),
                    nonce=f"a{job.id}p",
                )

    async def remove(self, job: Job) -> None:
        """Delete the message that a job left behind, and of a forgotten job also its message and reposts of it."""
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        with self._translate_errors(job):
            if job.left_message_id is not None:
                await _delete(channel.get_partial_message(job.left_message_id))
            if job.forgotten_at is None:
                return
            if job.destination.message_id is not None:
                await _delete(channel.get_partial_message(job.destination.message_id))
            if job.reposted_at is not None:
                # The first message may stand there still, and so may a second whose id was not noted in time.
                whose, button = f"<@{job.requester.user_id}>", CustomId("cancel", PictureRef(job.id))
                async for message in _own_messages(self._client, channel, job.asked_at):
                    shows_a_job = await self._queue.shown_by(MessageId(message.id))
                    if whose in message.content and not shows_a_job and _custom_ids(message) <= {button}:
                        await _delete(message)

    @contextmanager
    def _translate_errors(self, job: Job) -> Iterator[None]:
        """Turn what Discord refuses into the delivery's errors."""
        try:
            yield
        except discord.HTTPException as error:
            raise _delivery_error(error, self._file_limit(job)) from error
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise TryLater(f"Discord cannot be reached: {error}") from error
        except RuntimeError as error:
            # This is aiohttp's error for a client that was closed: the next run says what this one cannot.
            if not self._client.is_closed():
                raise
            raise TryLater("Atelier is stopping.") from error

    async def _show(self, job: Job, news: News, repost: Repost) -> Shown:
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        is_hidden = isinstance(news, Painted) and bool((await self._preferred(job)).spoiler)
        content, files, open_ = _message_parts(job, news, is_hidden)
        content = fitted(content)
        view = _views.cancel_view(job.id) if open_ else None
        left = None
        if job.destination.message_id is not None:
            message = channel.get_partial_message(job.destination.message_id)
            try:
                await message.edit(content=content, attachments=files(), view=view)
            except discord.HTTPException as error:
                if open_ or classify(error) is not Verdict.ELSEWHERE:
                    raise
                # A message that is still there would go on offering its button.
                left = None if error.code == UNKNOWN_MESSAGE else MessageId(message.id)
            else:
                return Shown()
        begun_at = await repost()
        sent = await self._find_posted(channel, content, begun_at) if begun_at is not None else None
        if sent is None:
            # The nonce makes a repeated post within a few minutes return the first message.
            sent = await channel.send(content, files=files(), nonce=f"a{job.id}")
        return Shown(MessageId(sent.id), left)

    async def _preferred(self, job: Job) -> Preferences:
        """What the person who asked prefers now."""
        return await insist(self._preferences.of, job.requester.user_id)

    def _file_limit(self, job: Job) -> int:
        """How large a file may be where the job is answered."""
        guild = self._client.get_guild(job.requester.guild_id)
        return discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES if guild is None else guild.filesize_limit

    async def _find_posted(
        self, channel: discord.PartialMessageable, content: str, begun_at: datetime
    ) -> discord.Message | None:
        """The message that an interrupted attempt to post this has left, if it has."""
        async for message in _own_messages(self._client, channel, begun_at):
            if message.content == content and not await self._queue.shown_by(MessageId(message.id)):
                return message
        return None

    async def _reconcile(self) -> None:
        """Find out which jobs were acknowledged without a note of it; withdraw the others."""
        for job in await insist(self._queue.unacknowledged, max(self._opened_at, utcnow() - IN_DOUBT)):
            button = CustomId("cancel", PictureRef(job.id))
            channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
            try:
                answers = [
                    message
                    async for message in _own_messages(self._client, channel, job.asked_at)
                    if button in _custom_ids(message)
                ]
            except (discord.HTTPException, TimeoutError, OSError, aiohttp.ClientError) as error:
                refusal = (
                    _delivery_error(error, 0) if isinstance(error, discord.HTTPException) else TryLater(str(error))
                )
                log.warning("whether job %d was acknowledged cannot be found out: %s", job.id, refusal)
                if isinstance(refusal, TryLater):
                    raise refusal from error
                answers = []
            if answers:
                await insist(self._queue.place_message, job.id, MessageId(answers[0].id))
            else:
                log.info("job %d was never acknowledged and is withdrawn", job.id)
                await insist(self._queue.withdraw, job.id)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Settle what an earlier run left in doubt, and from now on what this one does."""
        if self._reconciling is None:
            self._reconciling = asyncio.create_task(self._keep_reconciling(), name="find answers in doubt")

    async def _keep_reconciling(self) -> None:
        while True:
            try:
                await self._reconcile()
            except TryLater:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            else:
                await asyncio.sleep(RECONCILE_SECONDS)


def _message_parts(job: Job, news: News, is_hidden: bool) -> tuple[str, Callable[[], list[discord.File]], bool]:
    """What the message says, what makes the files it shows, and whether the job can still be cancelled.

    A result that `is_hidden` is shown as a spoiler.
    """
    match news:
        case Queued():
            return _words.queued(job, news), list, True
        case Painting(step, of, preview):
            return _words.painting(job, step, of), lambda: _preview(job, preview), True
        case Retrying():
            return _words.retrying(job), list, True
        case Painted(images, webp, lossless):
            content = _words.result(job, images)
            if webp:
                content += f"\n{_words.smaller(lossless)}"
            files = webp or [image.png for image in images]
            return content, lambda: _views.result_files(job, files, is_hidden), False
        case Failed(reason):
            return _words.failed(job, reason), list, False
        case Cancelled():
            return _words.cancelled(job), list, False


async def _delete(message: discord.Message | discord.PartialMessage) -> None:
    """Delete a message that may be gone already."""
    try:
        await message.delete()
    except discord.HTTPException as error:
        if error.code != UNKNOWN_MESSAGE:
            raise


async def _own_messages(
    client: Client, channel: discord.PartialMessageable, since: datetime
) -> AsyncIterator[discord.Message]:
    """What we posted in a channel since then, oldest first; Discord's clock and ours may differ."""
    async for message in channel.history(limit=LOOK_BACK, after=since - CLOCKS_DIFFER, oldest_first=True):
        if client.user is not None and message.author.id == client.user.id:
            yield message


def _custom_ids(message: discord.Message) -> set[CustomId | None]:
    """The custom ids of a message's buttons."""
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return {
        CustomId.parse(button.custom_id)
        for row in rows
        for button in row.children
        if isinstance(button, discord.Button)
    }


def _preview(job: Job, jpeg: bytes) -> list[discord.File]:
    """How it looks so far, if that is known."""
    if not jpeg:
        return []
    alt = fitted(f"So far: {job.request.prompt}", _views.ALT_TEXT)
    return [discord.File(io.BytesIO(jpeg), filename=f"atelier-{job.id}-preview.jpg", description=alt)]


def _delivery_error(error: discord.HTTPException, file_limit: int) -> DeliveryError:
    """The DeliveryError for an error of Discord."""
    match classify(error):
        case Verdict.LATER:
            return TryLater(f"Discord answered {error.status}")
        case Verdict.TOO_LARGE:
            return TooLarge(
                "These pictures are too large for Discord in this channel. "
                "Ask for a smaller size, or for fewer pictures.",
                limit=file_limit,
            )
        case Verdict.BUG:
            # Its text quotes the form, and so the prompt.
            return NotUnderstood(
                f"Discord answered {error.status} (code {error.code}): This is an error of Atelier, not yours."
            )
        case _:
            # Only Discord's own words are repeated, and not many of them.
            return Unreachable(f"Discord answered {error.status}: {error.text[:QUOTED]} (code {error.code})")


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(
        Results(client, app.delivery, app.queue, app.preferences, app.config.discord.ping_after_seconds)
    )
