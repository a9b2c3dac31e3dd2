"""Does what people ask for by reactions under results, and undoes it when they take the reaction back.

Only rows decide, and a post is looked at whenever one of them changes: a reaction that was given or taken back while
the bot was away, or just before a kill, has the same effect as one that the bot saw. `decide` is pure.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from bot.delivery.gate import CLOSED_SECONDS, pause
from bot.delivery.poster import in_time, log_bug
from bot.delivery.side_poster import SidePoster
from bot.delivery.smaller import Smaller, smaller
from bot.errors import DeliveryError, EngineError, StorageError, TooLarge, TryLater, Unreachable
from bot.jobs import ChannelId, Clock, Image, Job, UserId
from bot.logs import traced
from bot.policy.limits import Gallery, gallery_of
from bot.storage.database import Database, insist
from bot.storage.queue import Queue
from bot.storage.reaction_changes import EVERY_POST, watch_reactions
from bot.storage.removals import Removals
from bot.storage.rules import Rules
from bot.storage.side_messages import EVERYONE, RECENTLY, Kind, PostId, PostState, SideMessage, SideMessages

log = logging.getLogger(__name__)

AT_ONCE = 8
"""The most posts that are looked at, and the most messages that are sent or deleted, at a time."""
CALL_SECONDS = 30.0
"""How long one message may take: pictures may be large, and Discord may let the bot wait."""
NOTE_STAYS = timedelta(seconds=60)
"""How long the note about closed direct messages stays."""
NOTE_IS_LATE = timedelta(minutes=10)
"""A note that could not be sent for so long is not sent."""
REMOVAL_TRIES = 6
"""How often the bot tries to delete a message in a channel that it may not enter, before it gives it up."""
_READ_TRIES = 3


@dataclass(frozen=True, slots=True)
class Begin:
    """A message is to be decided on: in a channel, or to a person."""

    kind: Kind
    user_id: UserId = EVERYONE
    channel_id: ChannelId | None = None
    threshold: int = 0

    @property
    def about(self) -> Self:
        """What the step is about: it has a kind and a person."""
        return self


@dataclass(frozen=True, slots=True)
class Send:
    """The message of a row is to be sent, unless it is there already."""

    message: SideMessage

    @property
    def about(self) -> SideMessage:
        """What the step is about: it has a kind and a person."""
        return self.message


@dataclass(frozen=True, slots=True)
class Remove:
    """A message is not wanted any more."""

    message: SideMessage

    @property
    def about(self) -> SideMessage:
        """What the step is about: it has a kind and a person."""
        return self.message


Step = Begin | Send | Remove


def decide(state: PostState, gallery: Gallery | None, now: datetime) -> list[Step]:
    """What is to be done about the side messages of a post, now.

    A copy shows the pictures of one job and goes with them. Another job of the post then takes its place, unless the
    whole post is being deleted.

    A copy stays in the gallery as long as the result has as many favourites as were needed when it was decided on:
    a later change of the gallery moves and removes no copy.
    """
    steps: list[Step] = []
    stays: set[tuple[Kind, UserId]] = set()
    copies: list[SideMessage] = []
    for message in state.messages:
        if not message.is_leaving and _is_wanted(message, state, gallery, now):
            stays.add((message.kind, message.user_id))
            copies += [message] if message.kind is Kind.GALLERY else []
            if message.is_open:
                steps.append(Send(message))
        elif not (message.kind is Kind.REFUSAL and message.over_at is not None):
            steps.append(Remove(message))
    if not state.shown or state.unwanted_at is not None:
        return steps
    favoured_at = max(state.favourites.values(), default=now - RECENTLY)
    if (
        gallery is not None
        and len(state.favourites) >= gallery.threshold
        and now - favoured_at < RECENTLY
        and not any(each.user_id == EVERYONE or each.channel_id == gallery.channel_id for each in copies)
    ):
        steps.append(Begin(Kind.GALLERY, channel_id=gallery.channel_id, threshold=gallery.threshold))
    for user_id, asked_at in state.senders.items():
        if now - asked_at < RECENTLY and (Kind.PRIVATE, user_id) not in stays:
            steps.append(Begin(Kind.PRIVATE, user_id))
    return steps


def _is_wanted(message: SideMessage, state: PostState, gallery: Gallery | None, now: datetime) -> bool:
    match message.kind:
        case Kind.GALLERY:
            if not state.shows(message) or len(state.favourites) < message.threshold:
                return False
            # What is still to be sent follows the gallery as it is now; the winner of a contest needs no favourites.
            return not (message.is_open and message.threshold) or (
                gallery is not None
                and gallery.channel_id == message.channel_id
                and len(state.favourites) >= gallery.threshold
            )
        case Kind.PRIVATE:
            asked_at = state.senders.get(message.user_id)
            # A person who was refused asks again by a new reaction.
            refused = message.over_at is not None and asked_at is not None and asked_at > message.over_at
            return state.shows(message) and asked_at is not None and not refused
        case Kind.REFUSAL:
            # If the clock was set back, it has stayed for long enough.
            age = now - message.begun_at
            longest = NOTE_IS_LATE if message.is_open else NOTE_STAYS
            return message.over_at is None and timedelta() <= age < longest


class Reactions:
    """Looks at posts whose reactions changed. The task `run` owns it."""

    def __init__(
        self,
        database: Database,
        side_messages: SideMessages,
        removals: Removals,
        queue: Queue,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._database = database
        self._side_messages = side_messages
        self._removals = removals
        self._queue = queue
        self._rules = rules
        self._clock = clock
        self._changed = database.listen()
        self._touched: set[int] = set()
        """The posts that changed since they were last looked at."""
        self._ready: OrderedDict[PostId, None] = OrderedDict()
        """The posts to look at now, in order."""
        self._later: dict[PostId, float] = {}
        """When others are to be looked at again, by the clock of the event loop."""
        self._working: set[PostId] = set()
        self._again: set[PostId] = set()
        """Those of them that changed since."""
        self._tries: dict[PostId, int] = {}
        """How often in a row something at a post could not be done."""
        self._closed: dict[ChannelId, float] = {}
        """Until when nothing is sent to a gallery that Discord refused."""
        self._untried: set[int] = set()
        """Rows of this run for which nothing was sent yet, so that no message needs to be looked for."""
        self._sending = asyncio.Semaphore(AT_ONCE)
        self._resting = False
        """Whether `run` waits for a change."""
        self._poster: SidePoster | None = None
        self._attached = asyncio.Event()

    def attach(self, poster: SidePoster) -> None:
        """Send messages through `poster` from now on."""
        self._poster = poster
        self._attached.set()

    async def gallery_for(self, job: Job) -> Gallery | None:
        """The gallery of a job's server if it may show the job's result, else None; also without a gallery."""
        gallery = gallery_of(await self._rules.book(job.requester.guild_id))
        if gallery is None or self._poster is None or not self._poster.may_show(gallery.channel_id, job):
            return None
        return gallery

    def look_at(self, post_id: PostId) -> None:
        """Look at a post for which a message was begun elsewhere."""
        self._touched.add(post_id)
        self._changed.set()

    async def run(self) -> None:
        """Look at posts, first at those that an earlier run has left, until cancelled."""
        await self._attached.wait()
        assert self._poster is not None  # noqa: S101 - it is attached
        time = asyncio.get_running_loop().time
        await insist(watch_reactions, self._database, self._touched.add)
        self._touched.add(EVERY_POST)
        async with asyncio.TaskGroup() as workers:
            while True:
                self._changed.clear()
                # Another thread adds to it meanwhile.
                touched = {self._touched.pop() for _ in range(len(self._touched))}
                if EVERY_POST in touched:
                    touched |= await insist(self._side_messages.to_look_at)
                due = {post_id for post_id, at in self._later.items() if at <= time()}
                for post_id in map(PostId, (touched | due) - {EVERY_POST}):
                    self._later.pop(post_id, None)
                    if post_id in self._working:
                        self._again.add(post_id)
                    else:
                        self._ready[post_id] = None
                while self._ready and len(self._working) < AT_ONCE:
                    post_id, _ = self._ready.popitem(last=False)
                    self._working.add(post_id)
                    workers.create_task(self._look(self._poster, post_id), name=f"reactions under post {post_id}")
                later = min(self._later.values(), default=math.inf)
                self._resting = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if later == math.inf else later - time()):
                        await self._changed.wait()
                self._resting = False

    @property
    def is_idle(self) -> bool:
        """Whether no post is looked at or waits for that, except for a later try."""
        return self._resting and not (self._touched or self._ready or self._working)

    async def _look(self, poster: SidePoster, post_id: PostId) -> None:
        """Do what a post needs, and see to it that what could not be done is tried again."""
        again = math.inf
        try:
            again = await self._settle(poster, post_id)
        except StorageError as error:
            log.warning("the reactions under post %d wait: %s", post_id, error)
            again = pause(self._count(post_id))
        except Exception as error:  # noqa: BLE001 - it is logged, and other posts go on
            log.error("the reactions under post %d have no effect, because of a bug\n%s", post_id, traced(error))  # noqa: TRY400
        finally:
            self._working.discard(post_id)
            if again == math.inf:
                self._tries.pop(post_id, None)
            if post_id in self._again or again <= 0:
                self._again.discard(post_id)
                self._ready[post_id] = None
            elif again < math.inf:
                self._later[post_id] = asyncio.get_running_loop().time() + again
            self._changed.set()

    def _count(self, post_id: PostId) -> int:
        self._tries[post_id] = self._tries.get(post_id, 0) + 1
        return self._tries[post_id]

    async def _settle(self, poster: SidePoster, post_id: PostId) -> float:
        """Do what a post needs now; returns after how many seconds it must be looked at again."""
        state = await self._side_messages.state(post_id)
        if state is None:
            return math.inf
        if state.unwanted_at is not None:
            await self._removals.remove_post(state.job.requester, post_id, state.unwanted_at)
            state = await self._side_messages.state(post_id) or state
        gallery = await self.gallery_for(state.job)
        # One message that Discord does not take holds up no other. What goes and what comes in its place are in order.
        groups: dict[tuple[Kind, UserId], list[Step]] = {}
        for step in decide(state, gallery, self._clock()):
            groups.setdefault((step.about.kind, step.about.user_id), []).append(step)
        async with asyncio.TaskGroup() as doing:
            tasks = [doing.create_task(self._do(poster, state, steps)) for steps in groups.values()]
        left = [
            (NOTE_STAYS - (self._clock() - message.begun_at)).total_seconds()
            for message in state.messages
            if message.kind is Kind.REFUSAL and message.message_id is not None
        ]
        again = [task.result() for task in tasks]
        return min([math.inf, *again, *(max(seconds, 1.0) for seconds in left if seconds > 0)])

    async def _do(self, poster: SidePoster, state: PostState, steps: Sequence[Step]) -> float:
        """Do steps in order; returns after how many seconds the post must be looked at again."""
        again = math.inf
        for step in steps:
            async with self._sending:
                match step:
                    case Begin(kind, user_id, channel_id, threshold):
                        job = state.job
                        message = await insist(
                            self._side_messages.begin, kind, state.post_id, user_id, channel_id, threshold, job.id
                        )
                        if message is not None:
                            self._untried.add(message.id)
                            again = min(again, await self._send(poster, job, message))
                    case Send(message):
                        again = min(again, await self._send(poster, state.job_of(message), message))
                    case Remove(message):
                        again = min(again, await self._remove(poster, state.job_of(message), message))
        return again

    async def _send(self, poster: SidePoster, job: Job, message: SideMessage) -> float:
        """Send a message unless it is there; returns after how many seconds that must be tried again."""
        now = asyncio.get_running_loop().time()
        if message.channel_id is not None and (closed := self._closed.get(message.channel_id, -math.inf)) > now:
            return closed - now
        try:
            images = () if message.kind is Kind.REFUSAL else await insist(self._images, job, tries=_READ_TRIES)
        except StorageError as error:
            log.warning("job %d cannot be copied: %s", job.id, error)
            await insist(self._side_messages.end, message)
            return math.inf
        if not images and message.kind is not Kind.REFUSAL:
            # The result was removed since the post was looked at.
            return 0.0
        try:
            await self._post(poster, job, message, images)
        except TryLater as error:
            log.warning("the %s message about job %d cannot be sent now: %s", message.kind, job.id, error)
            return pause(self._count(message.post_id))
        except Unreachable:
            return await self._refused(job, message)
        except DeliveryError as error:
            log.warning("the %s message about job %d cannot be sent: %s", message.kind, job.id, type(error).__name__)
            await insist(self._side_messages.end, message)
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(job, f"the {message.kind} message about it was not sent", error)
            await insist(self._side_messages.end, message)
        return NOTE_STAYS.total_seconds() if message.kind is Kind.REFUSAL else math.inf

    async def _images(self, job: Job) -> tuple[Image, ...]:
        return await self._queue.images(job.id)

    async def _post(self, poster: SidePoster, job: Job, message: SideMessage, images: Sequence[Image]) -> None:
        channel_id = message.channel_id
        if channel_id is None:
            channel_id = await in_time(poster.open_direct(message.user_id, job), CALL_SECONDS)
            await insist(self._side_messages.place, message, channel_id)
        found = None
        if message.id not in self._untried:
            found = await in_time(poster.find_side(message, channel_id, job), CALL_SECONDS)
        self._untried.discard(message.id)
        if found is None:
            try:
                found = await in_time(poster.post_side(message, channel_id, job, images, None), CALL_SECONDS)
            except TooLarge as error:
                encoded = await self._smaller(images, error)
                found = await in_time(poster.post_side(message, channel_id, job, images, encoded), CALL_SECONDS)
        await insist(self._side_messages.place, message, channel_id, found)

    async def _smaller(self, images: Sequence[Image], refusal: TooLarge) -> Smaller:
        try:
            return await smaller(images, refusal.limit)
        except EngineError as error:
            raise refusal from error

    async def _refused(self, job: Job, message: SideMessage) -> float:
        """A channel or a person takes no message; returns after how many seconds that may be tried again."""
        if message.kind is Kind.PRIVATE:
            log.info("job %d cannot be sent to a person, who takes no direct messages", job.id)
            await insist(self._side_messages.refuse, message, job)
            # The note is a row of the same post.
            return 0.0
        if message.kind is Kind.REFUSAL:
            log.info("a person cannot be told in the channel of job %d that they take no direct messages", job.id)
            await insist(self._side_messages.end, message)
            return math.inf
        assert message.channel_id is not None  # noqa: S101 - a gallery has a channel
        log.warning("the gallery %d refuses a copy of job %d; it is tried again later", message.channel_id, job.id)
        self._closed[message.channel_id] = asyncio.get_running_loop().time() + CLOSED_SECONDS
        return CLOSED_SECONDS

    async def _remove(self, poster: SidePoster, job: Job, message: SideMessage) -> float:
        """Delete a message, if there is one; returns after how many seconds that must be tried again."""
        if not message.is_leaving and not await insist(self._side_messages.leave, message):
            return 0.0
        try:
            message_id = message.message_id
            if message.is_open and message.channel_id is not None and message.id not in self._untried:
                # It may have been sent although that was not noted.
                message_id = await in_time(poster.find_side(message, message.channel_id, job), CALL_SECONDS)
            if message_id is not None and message.channel_id is not None:
                await in_time(poster.delete_side(message.channel_id, message_id, job), CALL_SECONDS)
        except TryLater as error:
            log.warning("the %s message about job %d cannot be deleted now: %s", message.kind, job.id, error)
            return pause(self._count(message.post_id))
        except DeliveryError:
            if self._count(message.post_id) < REMOVAL_TRIES:
                return CLOSED_SECONDS
            log.warning("the %s message about job %d is out of reach and stays", message.kind, job.id)
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(job, f"the {message.kind} message about it was not deleted", error)
            return pause(math.inf)
        self._untried.discard(message.id)
        if message.kind is Kind.REFUSAL:
            await insist(self._side_messages.end, message)
        else:
            await insist(self._side_messages.drop, message)
        # It may be wanted again since.
        return 0.0
