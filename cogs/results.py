"""Brings news of jobs to their messages: the Poster of Discord."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import aiohttp
import discord
from discord.ext import commands

from bot.client import Client
from bot.delivery.feedback import offered
from bot.delivery.outbox import Delivery
from bot.delivery.poster import Repost, Shown
from bot.errors import DeliveryError, PlotError, StorageError, TryLater
from bot.jobs import (
    Cancelled,
    Failed,
    Image,
    Job,
    JobStatus,
    MessageId,
    News,
    Painted,
    Painting,
    PictureRef,
    Queued,
    Retrying,
    utcnow,
)
from bot.language import say, say_many
from bot.picture_files import without_metadata
from bot.policy.policy import Policy
from bot.requests.admission import Admission
from bot.responses import TOKEN_SECONDS, fitted
from bot.storage.comparisons import Comparison, Comparisons
from bot.storage.database import insist
from bot.storage.lineage import Lineage
from bot.storage.preferences import Preferences, PreferenceStore
from bot.storage.queue import Queue
from cogs import _comparing, _controls, _requests, _views
from cogs._buttons import CustomId
from cogs._links import link
from cogs._posting import delete, delivery_error, file_limit, own_messages, translated
from cogs._verdicts import UNKNOWN_MESSAGE, Verdict, classify
from cogs.series_posts import SeriesPosts

LOOK_AGAIN_SECONDS = 30.0
RECONCILE_SECONDS = 300.0
"""Between two looks for requests whose acknowledgement is in doubt."""
IN_DOUBT = timedelta(seconds=TOKEN_SECONDS + 60)
"""Older requests without a message are looked for: until then the command that asked does that itself."""

log = logging.getLogger(__name__)


class Results(commands.Cog):
    """Edits a job's message until it holds the result."""

    def __init__(
        self,
        client: Client,
        delivery: Delivery,
        queue: Queue,
        lineage: Lineage,
        preferences: PreferenceStore,
        admission: Admission,
        comparisons: Comparisons,
        policy: Policy,
        series: SeriesPosts,
        ping_after_seconds: int,
    ) -> None:
        self._client = client
        self._policy = policy
        self._series = series
        self._lineage = lineage
        self._preferences = preferences
        self._admission = admission
        self._comparisons = comparisons
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
            async with self._client.speaking_to(job.requester.guild_id):
                if job.series_id is not None:
                    return await self._series.show(job, news, repost)
                return await self._show(job, news, repost)

    async def decorate(self, job: Job) -> None:
        """Offer the rating reactions, and ping a person who waited long."""
        assert job.destination.message_id is not None  # noqa: S101 - it shows the result
        if job.series_id is not None:
            await self._series.decorate(job)
            return
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        message = channel.get_partial_message(job.destination.message_id)
        if await insist(self._comparisons.of_job, job.id) is not None:
            # Votes are given by buttons, and nobody is to rate one of two requests.
            return
        with self._translate_errors(job):
            # A provider may have sent fewer pictures than were asked for.
            count = len(await insist(self._queue.pictures, job.id))
            for emoji in offered(count):
                await message.add_reaction(emoji)
            waited = ((job.painted_at or job.asked_at) - job.asked_at).total_seconds()
            is_long = bool(self._ping_after_seconds) and waited > self._ping_after_seconds
            if is_long and (await self._preferred(job)).ping is not False:
                async with self._client.speaking_to(job.requester.guild_id):
                    words = say_many(
                        "{person}, your picture is ready: {link}",
                        "{person}, your {count} pictures are ready: {link}",
                        count,
                        person=f"<@{job.requester.user_id}>",
                        link=message.jump_url,
                    )
                # Above a reply, Discord shows the beginning of the result for as long as that is there. So the prompt
                # is not said a second time, where no deletion would find it.
                await channel.send(
                    words,
                    reference=message.to_reference(fail_if_not_exists=False),
                    allowed_mentions=discord.AllowedMentions(users=[discord.Object(job.requester.user_id)]),
                    nonce=f"a{job.id}p",
                )

    async def remove(self, job: Job) -> None:
        """Delete the message that a job left behind, and of a forgotten job also its message and reposts of it."""
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        with self._translate_errors(job):
            if job.left_message_id is not None:
                await delete(channel.get_partial_message(job.left_message_id))
            if job.forgotten_at is None:
                return
            if job.destination.message_id is not None:
                await delete(channel.get_partial_message(job.destination.message_id))
            if job.reposted_at is not None:
                # The first message may stand there still, and so may a second whose id was not noted in time.
                whose = f"<@{job.requester.user_id}>"
                ids = {each.id for each in await self._queue.of_post(job.post_id)}
                async for message in own_messages(self._client, channel, job.asked_at):
                    shows_a_job = await self._queue.shown_by(MessageId(message.id))
                    about = {known and known.about.job_id for known in _custom_ids(message)}
                    if whose in message.content and not shows_a_job and about <= ids:
                        await delete(message)

    def _translate_errors(self, job: Job) -> AbstractContextManager[None]:
        """Turn what Discord refuses into the delivery's errors."""
        return translated(self._client, job.requester.guild_id)

    async def _show(self, job: Job, news: News, repost: Repost) -> Shown:
        channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
        is_hidden = isinstance(news, Painted) and await self._is_hidden(job, news.images)
        comparison = await insist(self._comparisons.of_job, job.id)
        compared = None if comparison is None else await self._compared(job, news, comparison, is_hidden)
        if compared is not None:
            content, files, open_, view = compared
        else:
            limit = file_limit(self._client, job.requester.guild_id)
            content, files, open_ = _message_parts(job, news, is_hidden, limit)
            if isinstance(news, Painted):
                content += await self._origin(job)
            elif comparison is not None:
                content += await self._alone(job, comparison)
            view = self._view(job, news)
        content = fitted(content)
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
        sent = await self._find_posted(channel, job, content, begun_at) if begun_at is not None else None
        if sent is None:
            # The nonce makes a repeated post within a few minutes return the first message.
            sent = await channel.send(content, files=files(), nonce=f"a{job.id}", view=view)  # type: ignore[arg-type]
        return Shown(MessageId(sent.id), left)

    async def _compared(
        self, job: Job, news: News, comparison: Comparison, is_hidden: bool
    ) -> tuple[str, Callable[[], list[discord.File]], bool, discord.ui.View | None] | None:
        """What the message of a request says while its comparison is blind; None if it says the same as others.

        The posts of a channel are shown one at a time, so that the second of both requests knows that it is the second.
        """
        match news:
            case Failed() | Cancelled():
                return None
            case Painted(images):
                other = await insist(self._queue.get, comparison.other(job.id))
                if other is None or other.status in (JobStatus.FAILED, JobStatus.CANCELLED):
                    return None
                if other.status is not JobStatus.DELIVERED:
                    return _comparing.painted(comparison), list, False, None
                try:
                    there = await self._queue.read(await insist(self._queue.pictures, other.id))
                    png = await _comparing.drawn(comparison, job.id, images, there)
                    is_hidden |= await self._is_hidden(other, there)
                except (StorageError, PlotError):
                    return None
                view = _comparing.ballot_view(comparison, min(len(images), len(there)))
                return _comparing.ballot(comparison), lambda: [_comparing.file(png, is_hidden)], False, view
            case _:
                return _comparing.waiting(comparison, news), list, True, _views.cancel_view(job.id)

    async def _alone(self, job: Job, comparison: Comparison) -> str:
        """The line about the other request, if its pictures are there."""
        other = await insist(self._queue.get, comparison.other(job.id))
        is_painted = other is not None and other.status in (JobStatus.RENDERED, JobStatus.DELIVERED)
        return _comparing.alone(comparison, other) if other is not None and is_painted else ""

    def _view(self, job: Job, news: News) -> discord.ui.View | None:
        """The controls for what the message says; none under a request that failed or was cancelled."""
        match news:
            case Painted(images):
                return _controls.controls_of(job, len(images), self._admission)
            case Failed() | Cancelled():
                return None
            case _:
                return _views.cancel_view(job.id)

    async def _origin(self, job: Job) -> str:
        """Where a result comes from, and for one that was painted again, whether it is the same."""
        sources = await insist(self._lineage.sources, job.id)
        again = next((source.job_id for source in sources if not source.number), None)
        before = None if again is None else await insist(self._queue.get, again)
        if before is not None and before.request == job.request:
            pictures = await insist(self._queue.pictures, before.id)
            try:
                earlier = await self._queue.read_painted(pictures)
                now = await self._queue.read_painted(await insist(self._queue.pictures, job.id))
            except StorageError:
                earlier, now = (), ()
            if not earlier:
                return ""
            is_same = _pixels(earlier) == _pixels(now)
            return "\n" + _requests.painted_again(before.id, job.request.provider, is_same=is_same)
        origins = [source for source in sources if source.number]
        if not origins:
            return ""
        found = [await insist(self._queue.get, source.job_id) for source in origins]
        guild_id = job.requester.guild_id
        links = {
            each.id: link(self._client, each)
            for each in found
            if each is not None and each.requester.guild_id == guild_id and each.forgotten_at is None
        }
        return "\n" + say("-# From {sources}", sources=_requests.sources(origins, links))

    async def _is_hidden(self, job: Job, images: Sequence[Image]) -> bool:
        """Whether the pictures of a job are shown as a spoiler."""
        scores = [image.nsfw for image in images]
        return bool((await self._preferred(job)).spoiler) or await insist(self._policy.is_hidden, job, scores)

    async def _preferred(self, job: Job) -> Preferences:
        """What the person who asked prefers now."""
        return await insist(self._preferences.of, job.requester.user_id)

    async def _find_posted(
        self, channel: discord.PartialMessageable, job: Job, content: str, begun_at: datetime
    ) -> discord.Message | None:
        """The message that an interrupted attempt to post this has left, if it has."""
        cancel = CustomId("cancel", PictureRef(job.id))
        async for message in own_messages(self._client, channel, begun_at):
            controls = _custom_ids(message)
            is_result = cancel not in controls and {known and known.about.job_id for known in controls} == {job.id}
            if (is_result or message.content == content) and not await self._queue.shown_by(MessageId(message.id)):
                return message
        return None

    async def _reconcile(self) -> None:
        """Find out which jobs were acknowledged without a note of it; withdraw the others."""
        unacknowledged = await insist(self._queue.unacknowledged, max(self._opened_at, utcnow() - IN_DOUBT))
        for _, post in itertools.groupby(unacknowledged, key=lambda job: job.post_id):
            jobs = list(post)
            if jobs[0].series_id is not None:
                await self._settle_series(jobs)
        for job in unacknowledged:
            if job.series_id is not None:
                continue
            button = CustomId("cancel", PictureRef(job.id))
            channel = self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)
            try:
                answers = [
                    message
                    async for message in own_messages(self._client, channel, job.asked_at)
                    if button in _custom_ids(message)
                ]
            except (discord.HTTPException, TimeoutError, OSError, aiohttp.ClientError) as error:
                refusal = delivery_error(error, 0) if isinstance(error, discord.HTTPException) else TryLater(str(error))
                log.warning("whether job %d was acknowledged cannot be found out: %s", job.id, refusal)
                if isinstance(refusal, TryLater):
                    raise refusal from error
                answers = []
            if answers:
                await insist(self._queue.place_message, job.id, MessageId(answers[0].id))
            else:
                log.info("job %d was never acknowledged and is withdrawn", job.id)
                await insist(self._queue.withdraw, job.id)

    async def _settle_series(self, jobs: Sequence[Job]) -> None:
        """Settle a post of a series; one that Discord refuses for ever is withdrawn."""
        try:
            await self._series.settle(jobs)
        except TryLater:
            raise
        except DeliveryError as refusal:
            log.warning("whether a series was acknowledged cannot be found out: %s", type(refusal).__name__)
            for job in jobs:
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


def _message_parts(
    job: Job, news: News, is_hidden: bool, limit: int
) -> tuple[str, Callable[[], list[discord.File]], bool]:
    """What the message says, what makes the files it shows, and whether the job can still be cancelled.

    A result that `is_hidden` is shown as a spoiler. A file may have `limit` bytes.
    """
    match news:
        case Queued():
            return _requests.queued(job, news), list, True
        case Painting(step, of, preview):
            return _requests.painting(job, step, of), lambda: _preview(job, preview), True
        case Retrying():
            return _requests.retrying(job), list, True
        case Painted(images, webp, lossless):
            content = _requests.result(job, images)
            if webp:
                content += f"\n{_requests.smaller(lossless, moves=bool(job.request.frames))}"
            return content, lambda: _views.painted_files(job, news, limit, spoiler=is_hidden), False
        case Failed(reason):
            return _requests.failed(job, reason), list, False
        case Cancelled():
            return _requests.cancelled(job), list, False


def _custom_ids(message: discord.Message) -> set[CustomId | None]:
    """The custom ids of a message's buttons."""
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    return {
        CustomId.parse(button.custom_id)
        for row in rows
        for button in row.children
        if isinstance(button, discord.Button)
    }


def _pixels(images: Sequence[Image]) -> list[bytes]:
    """What is equal for equal pixels, since every PNG is written by the same encoder: the files without their texts."""
    return [without_metadata(image.png) for image in images]


def _preview(job: Job, jpeg: bytes) -> list[discord.File]:
    """How it looks so far, if that is known."""
    if not jpeg:
        return []
    alt = fitted(say("An unfinished picture: {prompt}", prompt=job.request.title), _views.ALT_TEXT)
    return [discord.File(io.BytesIO(jpeg), filename=f"atelier-{job.id}-preview.jpg", description=alt)]


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(
        Results(
            client,
            app.delivery,
            app.queue,
            app.lineage,
            app.preferences,
            app.admission,
            app.comparisons,
            app.policy,
            SeriesPosts.of(client),
            app.config.discord.ping_after_seconds,
        )
    )
