"""Lets contests go on at their times, and lets their messages say what the rows say, also after a crash.

A contest owes a look until its messages were made from the newest rows. Each step may be repeated: a message is looked
for before it is sent again, and a copy in the gallery is a row that can be written once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from bot.delivery.gate import pause
from bot.delivery.poster import in_time
from bot.delivery.reactions import Reactions
from bot.errors import DeliveryError, TryLater
from bot.jobs import ChannelId, Clock, Job, MessageId
from bot.logs import traced
from bot.storage.contests import Contest, Contests, Entry, State
from bot.storage.database import Database, insist
from bot.storage.queue import Queue
from bot.storage.side_messages import PostId, SideMessages

NOTE_SECONDS = 15.0
"""How long one message may take."""
GATHER_SECONDS = 0.2
"""How long changes of the database are gathered before the rows are read again."""
LONGEST_SLEEP = timedelta(hours=1)
"""A clock that was set back must not let a contest wait for longer."""
log = logging.getLogger(__name__)


class ContestPoster(Protocol):
    """What a surface implements. Each method raises DeliveryError, and TryLater if it may work later."""

    async def show_contest(self, contest: Contest, winners: Sequence[tuple[Entry, Job]]) -> MessageId | None:
        """Make the message of a contest say what is true; returns its id if it is a new one, and None if it is not."""
        ...

    async def name_winners(self, contest: Contest, winners: Sequence[tuple[Entry, Job]]) -> MessageId:
        """Send, or change, the message that names the winners; only they are pinged, and only when it is sent."""
        ...

    def may_show(self, channel_id: ChannelId, job: Job) -> bool:
        """Whether a channel may show a result: what is from an age-restricted channel stays in such channels."""
        ...


class ContestKeeper:
    """Looks at contests when rows change and when a part of one ends. The task `run` owns it."""

    def __init__(
        self,
        database: Database,
        contests: Contests,
        side_messages: SideMessages,
        reactions: Reactions,
        queue: Queue,
        clock: Clock,
    ) -> None:
        self._changed = database.listen()
        self._contests = contests
        self._side_messages = side_messages
        self._reactions = reactions
        self._queue = queue
        self._clock = clock
        self._poster: ContestPoster | None = None
        self._attached = asyncio.Event()
        self._tries = 0

    def attach(self, poster: ContestPoster) -> None:
        """Use `poster` from now on."""
        self._poster = poster
        self._attached.set()

    async def run(self) -> None:
        """Look at contests, first at those of an earlier run, until cancelled."""
        await self._attached.wait()
        assert self._poster is not None  # noqa: S101 - it is attached
        while True:
            self._changed.clear()
            seconds = await self._catch_up(self._poster)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            await asyncio.sleep(GATHER_SECONDS)

    async def _catch_up(self, poster: ContestPoster) -> float:
        """Do what is to be done; returns after how many seconds to look again. One contest holds up no other."""
        done, wait = True, LONGEST_SLEEP
        for contest in await insist(self._contests.owed):
            now = contest
            try:
                now = await insist(self._contests.advance, contest)
                if now.changed > now.shown:
                    await self._show(poster, now)
                    await insist(self._contests.noted, now)
            except TryLater as error:
                log.warning("contest %d cannot be shown now: %s", contest.id, error)
                done = False
            except Exception as error:  # noqa: BLE001 - it is logged, and other contests go on
                log.error("contest %d does not go on, because of a bug\n%s", contest.id, traced(error, contest.theme))  # noqa: TRY400
                done = False
            if now.is_open:
                ends = now.entries_until if now.state is State.ENTRIES else now.votes_until
                wait = min(wait, ends - self._clock())
        self._tries = 0 if done else self._tries + 1
        later = wait.total_seconds() if done else min(wait.total_seconds(), pause(self._tries))
        return max(later, 0.0)

    async def _show(self, poster: ContestPoster, contest: Contest) -> None:
        """Make the messages of a contest say what is true. A channel that is gone keeps no other message back."""
        winners = []
        for entry in await insist(self._contests.winners, contest):
            job = await insist(self._queue.get, entry.ref.job_id)
            winners += [] if job is None else [(entry, job)]
        try:
            message_id = await in_time(poster.show_contest(contest, winners), NOTE_SECONDS)
            if message_id is not None:
                await insist(self._contests.place, contest, message_id)
        except TryLater:
            raise
        except DeliveryError as error:
            log.info("the message of contest %d is out of reach: %s", contest.id, type(error).__name__)
        if contest.state is not State.COUNTED:
            return
        # There is nobody to congratulate, or it was never possible to say so.
        if contest.news_id != 0 and (winners or contest.news_id is not None):
            try:
                news_id = await in_time(poster.name_winners(contest, winners), NOTE_SECONDS)
            except TryLater:
                raise
            except DeliveryError as error:
                log.info("the winners of contest %d cannot be named: %s", contest.id, type(error).__name__)
                news_id = None
            await insist(self._contests.place_news, contest, news_id)
        for _, job in winners:
            if contest.gallery_id is not None and poster.may_show(contest.gallery_id, job):
                post_id = PostId(job.post_id)
                await insist(self._side_messages.begin_winner, contest.id, post_id, contest.gallery_id, job.id)
                self._reactions.look_at(post_id)
