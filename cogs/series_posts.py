"""The messages of series: each shows several jobs, and is made anew from their rows whenever one of them changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from weakref import WeakValueDictionary

import discord
from discord.ext import commands

from bot.client import Client
from bot.delivery.feedback import offered
from bot.delivery.poster import Repost, Shown
from bot.delivery.smaller import smaller
from bot.errors import DeliveryError, EngineError, PlotError, Rejected, StorageError, TooLarge, TryLater
from bot.jobs import (
    Failed,
    GuildId,
    Image,
    Job,
    JobId,
    JobStatus,
    MessageId,
    News,
    Painted,
    Painting,
    Queued,
    Retrying,
    UserId,
)
from bot.policy.policy import Policy
from bot.requests.series import STORYBOARD
from bot.storage.database import insist
from bot.storage.job_rows import Series
from bot.storage.panels import Panels
from bot.storage.preferences import PreferenceStore
from bot.storage.queue import Queue
from cogs import _series, _storyboard
from cogs._buttons import CustomId
from cogs._posting import file_limit, own_messages, translated
from cogs._series import Post
from cogs._verdicts import UNKNOWN_MESSAGE, Verdict, classify

log = logging.getLogger(__name__)

_OPEN = (JobStatus.QUEUED, JobStatus.RUNNING)
_ACTIONS = ("single", "stopseries", "seriessheet", "panel", "boardsheet", "boardpdf", "boardwebp", "boardgif")
"""The controls under the messages of series."""
_PAINTED = (JobStatus.RENDERED, JobStatus.DELIVERED)


class SeriesPosts(commands.Cog, name="Series posts"):
    """Makes and edits the messages of series, for the poster of results and for what removes them."""

    def __init__(
        self, client: Client, queue: Queue, panels: Panels, preferences: PreferenceStore, policy: Policy
    ) -> None:
        self._client = client
        self._queue = queue
        self._panels = panels
        self._preferences = preferences
        self._policy = policy
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """One change of a message at a time, so that it never goes back to what it said before."""

    @classmethod
    def of(cls, client: Client) -> SeriesPosts:
        """The one of a client, which loads it before the cogs that use it."""
        cog = client.get_cog(cls.__cog_name__)
        assert isinstance(cog, cls)  # noqa: S101 - see above
        return cog

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Show the changes of storyboards that their messages do not show yet, because the bot was stopped."""
        for job_id in await insist(self._panels.owed):
            job = await insist(self._queue.get, job_id)
            if job is None:
                continue
            try:
                with translated(self._client, job.requester.guild_id):
                    await self.refresh(job)
            except TryLater as error:
                log.warning("a storyboard does not show a change yet: %s", error)
            except DeliveryError as error:
                log.info("a storyboard cannot show a change: %s", type(error).__name__)
                await insist(self._panels.shown, job.post_id, await insist(self._panels.changes, job.post_id))

    async def shown_titles(self, guild_id: GuildId) -> list[Series]:
        """The storyboards of a server whose titles may be shown now."""
        return [series for series in await self._queue.series_of(guild_id, STORYBOARD) if await self._title(series)]

    async def mask(self, before: Sequence[Series]) -> None:
        """Take titles that may not be shown any more out of the messages of storyboards, of those that had them."""
        hit = [series for series in before if not await self._title(series)]
        if not hit:
            return
        # A start makes up for what a kill leaves out.
        await self._panels.owe([series.id for series in hit])
        for series in hit:
            try:
                with translated(self._client, series.guild_id):
                    for job in (await self._queue.of_series(series.id))[:1]:
                        await self.refresh(job)
            except DeliveryError as error:
                log.warning("a storyboard shows its title until its next change: %s", type(error).__name__)

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        """Make the message of a job say what is known of all its jobs; raises what Discord raises.

        A message that is gone is replaced once one of its jobs has ended.
        """
        if isinstance(news, Queued):
            # Each job has a place of its own; /queue shows them.
            return Shown()
        async with self._locks.setdefault(job.post_id, asyncio.Lock()):
            shown = await self._show(job, news, repost)
        if isinstance(news, Failed):
            await self._mask_others(job)
        return shown

    async def _mask_others(self, job: Job) -> None:
        """Take the prompt of a series out of its other messages, once for the first of its jobs that is withheld."""
        series = [] if job.series_id is None else await insist(self._queue.of_series, job.series_id)
        if next((each.id for each in series if each.is_withheld), None) != job.id:
            return
        others = {each.post_id: each for each in series if each.post_id != job.post_id}
        for other in others.values():
            try:
                with translated(self._client, other.requester.guild_id):
                    await self.refresh(other)
            except DeliveryError as error:
                log.warning("a message of a series shows its prompt until its next change: %s", type(error).__name__)

    async def _show(self, job: Job, news: News, repost: Repost) -> Shown:
        post = await self.read(job)
        # Another job may have got the post a new message since this one was read.
        now = await insist(self._queue.get, job.id)
        if post is None or now is None:
            return Shown()
        channel = self._channel(job)
        known = news if isinstance(news, Failed | Painting) else None
        content, view = self.said(post, job.id, known)
        message_id = now.destination.message_id
        if isinstance(news, Painting | Retrying):
            if message_id is not None:
                # The pictures that stand there stay.
                await channel.get_partial_message(message_id).edit(content=content, view=view)
            return Shown()
        grid = await self._grid(post)
        pictures, lossless = await self._encoded(post, isinstance(news, Painted) and bool(news.webp), job)
        if lossless is not None:
            content = _series.smaller(content, lossless)
        spoiler = await self.is_hidden(post)
        left = None
        if message_id is not None:
            message = channel.get_partial_message(message_id)
            try:
                files = _files(post, pictures, grid, spoiler=spoiler)
                await message.edit(content=content, attachments=files, view=view)
            except discord.HTTPException as error:
                if classify(error) is not Verdict.ELSEWHERE:
                    raise
                left = None if error.code == UNKNOWN_MESSAGE else MessageId(message.id)
            else:
                return Shown()
        begun_at = await repost()
        sent = await self._find(channel, post, begun_at) if begun_at is not None else None
        if sent is None:
            sent = await channel.send(
                content,
                files=_files(post, pictures, grid, spoiler=spoiler),
                nonce=f"a{post.first}r",
                view=view,  # type: ignore[arg-type]
            )
        return Shown(MessageId(sent.id), left)

    async def refresh(self, job: Job) -> None:
        """Show in the message of a job what is true now: pictures that were removed go, and panels that moved move."""
        async with self._locks.setdefault(job.post_id, asyncio.Lock()):
            changes = await insist(self._panels.changes, job.post_id)
            async with self._client.speaking_to(job.requester.guild_id):
                await self._refresh(job)
            if changes:
                await insist(self._panels.shown, job.post_id, changes)

    async def _refresh(self, job: Job) -> None:
        post, now = await self.read(job), await insist(self._queue.get, job.id)
        if post is None or now is None or (message_id := now.destination.message_id) is None:
            return
        grid = await self._grid(post)
        pictures, _ = await self._encoded(post, False, job)
        content, view = self.said(post)
        spoiler = await self.is_hidden(post)
        message = self._channel(job).get_partial_message(message_id)
        try:
            files = _files(post, pictures, grid, spoiler=spoiler)
            await message.edit(content=content, attachments=files, view=view)
        except discord.HTTPException as error:
            if classify(error) is not Verdict.TOO_LARGE:
                raise
            pictures, lossless = await self._encoded(post, True, job)
            files = _files(post, pictures, grid, spoiler=spoiler)
            await message.edit(content=_series.smaller(content, bool(lossless)), attachments=files, view=view)

    async def decorate(self, job: Job) -> None:
        """Offer the rating reactions once all jobs of a message have ended."""
        jobs = await insist(self._queue.of_post, job.post_id)
        if any(each.status in (*_OPEN, JobStatus.RENDERED) for each in jobs):
            return
        if (message_id := job.destination.message_id) is None:
            return
        with translated(self._client, job.requester.guild_id):
            message = self._channel(job).get_partial_message(message_id)
            for emoji in offered(1):
                await message.add_reaction(emoji)

    async def begin(self, jobs: Sequence[Job]) -> None:
        """Send the message of a post that has none yet, and note it, so that its jobs may start.

        After an interrupted attempt the message is looked for first. Raises the DeliveryError that fits a refusal.
        """
        first = jobs[0]
        async with self._locks.setdefault(first.post_id, asyncio.Lock()):
            with translated(self._client, first.requester.guild_id):
                post, now = await self.read(first), await insist(self._queue.get, first.id)
                if post is None or now is None or now.destination.message_id is not None:
                    return
                channel = self._channel(first)
                sent = await self._find(channel, post, first.asked_at)
                if sent is None:
                    async with self._client.speaking_to(first.requester.guild_id):
                        content, view = self.said(post)
                    sent = await channel.send(content, nonce=f"a{post.first}", view=view)  # type: ignore[arg-type]
            await insist(self._queue.place_message, first.id, MessageId(sent.id))

    async def settle(self, jobs: Sequence[Job]) -> None:
        """Find out what became of a post whose message was not noted: note it, send it, or withdraw its jobs.

        A series was accepted if its person saw its first message; then the others are owed to them.
        """
        first = jobs[0]
        assert first.series_id is not None  # noqa: S101 - it is a series
        with translated(self._client, first.requester.guild_id):
            post = await self.read(first)
            found = None if post is None else await self._find(self._channel(first), post, first.asked_at)
        if found is not None:
            await insist(self._queue.place_message, first.id, MessageId(found.id))
            return
        series = await insist(self._queue.of_series, first.series_id)
        if any(each.destination.message_id is not None for each in series):
            await self.begin(jobs)
            return
        log.info("%d jobs of a series were never acknowledged and are withdrawn", len(jobs))
        for job in jobs:
            await insist(self._queue.withdraw, job.id)

    def said(
        self, post: Post, about: JobId | None = None, news: News | None = None, said: Queued | None = None
    ) -> tuple[str, discord.ui.View | None]:
        """What a message says, and its controls; `news` is what is known of the job `about` beyond its row."""
        if post.panels:
            return _storyboard.words(post, about, news), _storyboard.view(post)
        return _series.words(post, about, news, said), _series.view(post)

    async def _grid(self, post: Post) -> bytes:
        """The panels of a storyboard as one picture; nothing for other series, and where it cannot be drawn."""
        if not post.panels or not any(post.images.values()):
            return b""
        try:
            return await _storyboard.grid(post)
        except PlotError as error:
            # The panels are shown one by one, and the next change of the message draws them again.
            log.warning("the grid of a storyboard is missing: %s", error)
            return b""

    async def read(self, job: Job) -> Post | None:
        """The message of a job as the rows are now; None if its person had its words deleted."""
        jobs = await insist(self._queue.of_post, job.post_id)
        series = None if job.series_id is None else await insist(self._queue.series, job.series_id)
        if series is None or not any(each.id == job.id for each in jobs):
            return None
        first, ids = jobs[0].id, frozenset(each.id for each in jobs)
        is_open = any(each.status in _OPEN for each in jobs)
        panels = await insist(self._panels.of, series.id)
        if panels:
            newest = {each.id: each for each in jobs}
            jobs = [newest[panel.job_id] for panel in panels if panel.job_id in newest]
        all_jobs = await insist(self._queue.of_series, series.id)
        images: dict[JobId, Sequence[Image]] = {}
        for each in jobs:
            if each.status in _PAINTED:
                try:
                    images[each.id] = await self._queue.images(each.id)
                except StorageError:
                    log.warning("the pictures of job %d cannot be read, and its message shows none", each.id)
        numbers = {each.id: number for number, each in enumerate(all_jobs, start=1)}
        is_withheld = any(each.is_withheld for each in all_jobs)
        return Post(
            title=await self._title(series),
            jobs=jobs,
            numbers=numbers,
            images=images,
            is_open=is_open,
            series_id=series.id,
            user_id=series.user_id,
            first=first,
            ids=ids,
            is_withheld=is_withheld,
            panels=panels,
            kind=series.kind,
            lead=series.lead,
            strength=series.strength,
        )

    async def _title(self, series: Series) -> str:
        """The title of a storyboard; nothing if its words may not be shown any more."""
        if series.kind == STORYBOARD:
            try:
                await insist(self._policy.check_title, series.guild_id, series.title)
            except Rejected:
                return ""
        return series.title

    async def _encoded(
        self, post: Post, is_too_large: bool, job: Job
    ) -> tuple[Mapping[JobId, Sequence[bytes]], bool | None]:
        """The files of a message; if they are too large as PNG, as WebP, and whether every pixel is as it was."""
        whole = {job_id: [image.png for image in images] for job_id, images in post.images.items()}
        if not is_too_large:
            return whole, None
        limit = file_limit(self._client, job.requester.guild_id)
        try:
            made = await smaller([image for images in post.images.values() for image in images], limit)
        except EngineError as error:
            raise TooLarge("These pictures are too large for Discord in this channel.", limit=limit) from error
        files = iter(made.files)
        return {job_id: [next(files) for _ in images] for job_id, images in post.images.items()}, made.lossless

    async def is_hidden(self, post: Post) -> bool:
        """Whether the pictures of a message are behind a spoiler."""
        if (await insist(self._preferences.of, UserId(post.user_id))).spoiler:
            return True
        for job in post.jobs:
            scores = [image.nsfw for image in post.images.get(job.id, ())]
            hidden: bool = await insist(self._policy.is_hidden, job, scores)
            if hidden:
                return True
        return False

    async def _find(self, channel: discord.PartialMessageable, post: Post, since: datetime) -> discord.Message | None:
        """The message of a post that an interrupted attempt has left, if it has: by the jobs of its buttons."""
        async for message in own_messages(self._client, channel, since):
            about = _about(message)
            if about and about <= post.ids and not await self._queue.shown_by(MessageId(message.id)):
                return message
        return None

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(job.destination.channel_id, guild_id=job.requester.guild_id)


def _files(post: Post, pictures: Mapping[JobId, Sequence[bytes]], grid: bytes, *, spoiler: bool) -> list[discord.File]:
    """Fresh uploads: the grid of a storyboard, or the pictures one by one."""
    if grid:
        return [_storyboard.grid_file(post, grid, spoiler=spoiler)]
    return _series.files(post, pictures, spoiler=spoiler)


def _about(message: discord.Message) -> set[JobId]:
    """The jobs that the buttons of a message are about; nothing if it has a button of another kind."""
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    kinds = discord.Button, discord.SelectMenu
    ids = [CustomId.parse(each.custom_id) for row in rows for each in row.children if isinstance(each, kinds)]
    if any(known is None or known.action not in _ACTIONS for known in ids):
        return set()
    return {known.about.job_id for known in ids if known is not None}


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(SeriesPosts(client, app.queue, app.panels, app.preferences, app.policy))
