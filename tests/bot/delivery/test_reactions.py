"""Side messages on a real database: whatever happens in whatever order, people see what the reactions ask for, once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.delivery import reactions
from bot.delivery.feedback import Feedback
from bot.delivery.reactions import NOTE_STAYS, Begin, Reactions, Remove, Send, decide
from bot.delivery.smaller import Smaller
from bot.errors import NotUnderstood, StorageError, TryLater, Unreachable
from bot.jobs import ChannelId, GuildId, Image, Job, MessageId, Surface, UserId, utcnow
from bot.policy.limits import SERVER, Gallery
from bot.storage.side_messages import RECENTLY, Kind, PostId, PostState, SideMessage, SideMessages
from tests.bot.storage.conftest import ADA, GRACE, GUILD, Store, open_store

BEST, DIRECT = ChannelId(70), ChannelId(1000)
PATIENCE_SECONDS = 30.0


@dataclass
class Wall:
    """Discord as people see it. It knows no nonces, as some minutes after a post."""

    messages: dict[MessageId, tuple[ChannelId, int]] = field(default_factory=dict)
    """The channel of each message, and the row that it was sent for."""
    faults: list[Exception] = field(default_factory=list)
    """What the next calls raise."""
    lost: bool = False
    """Whether a call that raises has had its effect."""
    calls: int = 0
    kill_at: int = 0
    """At which call the bot is killed."""
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def in_channel(self, channel_id: ChannelId) -> list[MessageId]:
        return [message_id for message_id, (channel, _) in self.messages.items() if channel == channel_id]

    async def _pass(self, *, after: bool) -> None:
        if after is self.lost:
            if self.kill_at and self.calls >= self.kill_at:
                self.kill_at = 0
                self.killed.set()
                await asyncio.sleep(PATIENCE_SECONDS)
            if self.faults:
                raise self.faults.pop(0)

    def may_show(self, channel_id: ChannelId, job: Job) -> bool:
        return True

    async def open_direct(self, user_id: UserId, job: Job) -> ChannelId:
        self.calls += 1
        await self._pass(after=False)
        await self._pass(after=True)
        return ChannelId(DIRECT + user_id)

    async def find_side(self, message: SideMessage, channel_id: ChannelId, job: Job) -> MessageId | None:
        self.calls += 1
        await self._pass(after=False)
        await self._pass(after=True)
        # As a search by the text of the message: any copy of this result will do.
        return next(iter(self.in_channel(channel_id)), None)

    async def post_side(
        self, message: SideMessage, channel_id: ChannelId, job: Job, images: Sequence[Image], encoded: Smaller | None
    ) -> MessageId:
        self.calls += 1
        await self._pass(after=False)
        self.messages[sent := MessageId(next(self.numbers))] = (channel_id, message.id)
        await self._pass(after=True)
        return sent

    async def delete_side(self, channel_id: ChannelId, message_id: MessageId, job: Job) -> None:
        self.calls += 1
        await self._pass(after=False)
        self.messages.pop(message_id, None)
        await self._pass(after=True)


@asynccontextmanager
async def running(store: Store, wall: Wall) -> AsyncIterator[Reactions]:
    """A bot that looks at reactions; it is killed at the end, wherever it is."""
    side = SideMessages(store.database, Surface.DISCORD, store.clock)
    bot = Reactions(store.database, side, store.removals, store.queue, store.rules, store.clock)
    bot.attach(wall)
    life = asyncio.create_task(bot.run())
    try:
        yield bot
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def seen(condition: Callable[[], Any]) -> None:
    """Wait until the condition is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def rests(bot: Reactions) -> None:
    """Wait until nothing is to be done or tried again."""
    await seen(lambda: bot.is_idle and not bot._later)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "pause", lambda tries: 0.01)
    monkeypatch.setattr(reactions, "CLOSED_SECONDS", 0.02)


async def result(store: Store) -> tuple[Job, MessageId]:
    await store.rule(GUILD, SERVER, gallery=(BEST, 2))
    job = await store.delivered()
    assert job.destination.message_id is not None
    return job, job.destination.message_id


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_happens_people_see_what_the_reactions_ask_for_once(tmp_path: Path, seed: int) -> None:
    """Reactions come and go while the bot is killed before and after its calls, and while Discord loses answers."""
    dice = random.Random(seed)
    async with open_store(tmp_path) as store:
        job, message_id = await result(store)
        wall, feedback = Wall(), Feedback(store.ratings)
        people = [UserId(10 + number) for number in range(4)]
        standing: set[tuple[UserId, str]] = set()
        for _ in range(6):
            wall.lost, wall.kill_at, wall.killed = (
                dice.random() < 0.5,
                wall.calls + dice.randrange(1, 6),
                asyncio.Event(),
            )
            wall.faults = [TryLater("Discord answered 500") for _ in range(dice.randrange(3))]
            async with running(store, wall):
                for _ in range(dice.randrange(1, 8)):
                    reaction = (dice.choice(people), dice.choice("❤⭐✉"))
                    if reaction in standing:
                        standing.discard(reaction)
                        await feedback.removed(message_id, *reaction)
                    else:
                        standing.add(reaction)
                        await feedback.added(message_id, *reaction)
                    await asyncio.sleep(dice.choice((0, 0, 0.005)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await wall.killed.wait()
            if dice.random() < 0.5:
                # While the bot is away, people go on; the next life reads what stands there.
                for reaction in [reaction for reaction in standing if dice.random() < 0.3]:
                    standing.discard(reaction)
                await feedback.seen(message_id, standing)
        wall.kill_at, wall.faults = 0, []
        async with running(store, wall) as bot:
            await rests(bot)
            favourites = {person for person, emoji in standing if emoji in "❤⭐"}
            assert len(wall.in_channel(BEST)) == (len(favourites) >= 2)
            for person in people:
                assert len(wall.in_channel(ChannelId(DIRECT + person))) == ((person, "✉") in standing)
            # A deletion takes everything along.
            await feedback.added(message_id, job.requester.user_id, "❌")
            await rests(bot)
            assert wall.messages == {}
            assert await store.database.fetch_all("SELECT 1 FROM side_messages") == []


@pytest.mark.parametrize("lost", [False, True])
async def test_a_copy_is_there_once_wherever_the_bot_is_killed(tmp_path: Path, lost: bool) -> None:
    async with open_store(tmp_path) as store:
        _, message_id = await result(store)
        wall = Wall(lost=lost)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        wall.kill_at = 1
        async with running(store, wall):
            await asyncio.wait_for(wall.killed.wait(), PATIENCE_SECONDS)
        assert len(wall.in_channel(BEST)) == lost
        async with running(store, wall) as bot:
            await rests(bot)
        assert len(wall.in_channel(BEST)) == 1


async def test_a_copy_that_was_begun_before_a_kill_and_is_unwanted_after_it_is_found_and_deleted(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path) as store:
        _, message_id = await result(store)
        wall = Wall(lost=True, kill_at=1)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        async with running(store, wall):
            await asyncio.wait_for(wall.killed.wait(), PATIENCE_SECONDS)
        assert len(wall.messages) == 1
        await store.ratings.replace(message_id, [])
        async with running(store, wall) as bot:
            await rests(bot)
        assert wall.messages == {}
        assert await store.database.fetch_all("SELECT 1 FROM side_messages") == []


async def test_a_gallery_that_refuses_is_asked_rarely_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "CLOSED_SECONDS", 60.0)
    async with open_store(tmp_path) as store:
        wall = Wall(faults=[Unreachable("Missing Access")])
        messages = [(await result(store))[1] for _ in range(20)]
        async with running(store, wall) as bot:
            for message_id in messages:
                for person in (10, 11):
                    await store.ratings.add(message_id, UserId(person), "❤")
            await seen(lambda: bot.is_idle)
            assert wall.calls <= reactions.AT_ONCE, "a channel that refused one post is left alone"
            await store.ratings.add(messages[0], UserId(12), "✉")
            await seen(lambda: wall.in_channel(ChannelId(DIRECT + 12)) and bot.is_idle)
            assert len(bot._later) == 20 - len(wall.in_channel(BEST)), "they are tried again later"


async def test_what_discord_never_understands_is_tried_once_until_it_is_asked_for_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        _, message_id = await result(store)
        wall = Wall(faults=[NotUnderstood("Discord answered 400")])
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        for _ in range(2):
            async with running(store, wall) as bot:
                await rests(bot)
        assert (wall.calls, wall.messages) == (1, {})
        async with running(store, wall) as bot:
            await store.ratings.remove(message_id, UserId(10), "⭐")
            await rests(bot)
            await store.ratings.add(message_id, UserId(10), "⭐")
            await rests(bot)
        assert len(wall.in_channel(BEST)) == 1


async def test_pictures_that_are_gone_are_copied_nowhere(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        job, message_id = await result(store)
        for name in await store.names(job):
            store.pictures.folder.path(name).unlink()
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        await store.ratings.add(message_id, GRACE, "✉")
        wall = Wall()
        async with running(store, wall) as bot:
            await rests(bot)
        assert wall.messages == {}


async def result_of_two(store: Store) -> tuple[Job, Job, MessageId]:
    """Two results in one message."""
    first, _ = await result(store)
    second = await store.delivered(seed=8)
    await store.database.execute(
        "UPDATE jobs SET post_id = (SELECT post_id FROM jobs WHERE id = ?) WHERE id = ?", (first.id, second.id)
    )
    message_id = (await store.now(second)).destination.message_id
    assert message_id is not None
    return first, second, message_id


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_copy_goes_with_the_job_that_it_shows_and_the_next_takes_its_place(
    tmp_path: Path, is_running: bool
) -> None:
    async with open_store(tmp_path) as store:
        first, second, message_id = await result_of_two(store)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        await store.ratings.add(message_id, GRACE, "✉")
        wall, letters = Wall(), ChannelId(DIRECT + GRACE)
        side = SideMessages(store.database, Surface.DISCORD, store.clock)
        async with running(store, wall) as bot:
            await rests(bot)
            before = set(wall.messages)
            assert len(before) == 2
            if is_running:
                await store.removals.remove_own(first.requester, first.id)
                await rests(bot)
        if not is_running:
            assert await side.to_look_at() == set()
            await store.removals.remove_own(first.requester, first.id)
            assert len(await side.to_look_at()) == 1
            async with running(store, wall) as bot:
                await rests(bot)
        assert not before & set(wall.messages)
        assert len(wall.in_channel(BEST)) == len(wall.in_channel(letters)) == 1
        rows = await store.database.fetch_all("SELECT job_id FROM side_messages")
        assert [row["job_id"] for row in rows] == [second.id] * 2


async def test_a_message_of_several_that_is_deleted_as_a_whole_gets_no_new_copies_meanwhile(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        _, _, message_id = await result_of_two(store)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        wall = Wall()
        async with running(store, wall) as bot:
            await rests(bot)
            calls = wall.calls
            await store.ratings.add(message_id, ADA, "❌")
            await rests(bot)
        assert wall.messages == {}
        assert wall.calls == calls + 1, "one copy was deleted, and none was sent"


async def test_a_storage_that_refuses_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(tmp_path) as store:
        _, message_id = await result(store)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        state, tries = SideMessages.state, itertools.count()

        async def refusing(self: SideMessages, post_id: PostId) -> PostState | None:
            if next(tries) < 2:
                raise StorageError("The disk is full.")
            return await state(self, post_id)

        monkeypatch.setattr(SideMessages, "state", refusing)
        wall = Wall()
        async with running(store, wall) as bot:
            await rests(bot)
        assert len(wall.in_channel(BEST)) == 1


async def test_a_result_of_another_surface_is_left_alone(tmp_path: Path) -> None:
    async with open_store(tmp_path, surface=Surface.SANDBOX) as store:
        _, message_id = await result(store)
        for person in (10, 11):
            await store.ratings.add(message_id, UserId(person), "⭐")
        await store.ratings.add(message_id, ADA, "❌")
        wall = Wall()
        async with running(store, wall) as bot:
            await rests(bot)
        assert wall.messages == {}
        assert len(await store.database.fetch_all("SELECT 1 FROM images")) == 1


NOW = utcnow()
COPY = SideMessage(1, Kind.GALLERY, PostId(1), UserId(0), BEST, 2, NOW, MessageId(5))
LETTER = SideMessage(2, Kind.PRIVATE, PostId(1), GRACE, DIRECT, 0, NOW, MessageId(6))
NOTE = SideMessage(3, Kind.REFUSAL, PostId(1), GRACE, ChannelId(7), 0, NOW, MessageId(7))


async def state_of(tmp_path: Path, favourites: int = 0, senders: int = 0, *messages: SideMessage) -> PostState:
    async with open_store(tmp_path) as store:
        job = await store.delivered(guild=GuildId(1))
    return PostState(
        PostId(1),
        (job,),
        {job.id},
        unwanted_at=None,
        favourites={UserId(10 + number): NOW for number in range(favourites)},
        senders=dict.fromkeys([GRACE][:senders], NOW),
        messages=messages,
    )


async def test_a_copy_keeps_to_the_threshold_it_was_decided_by(tmp_path: Path) -> None:
    state = await state_of(tmp_path, 2, 0, COPY)
    for gallery in (None, Gallery(BEST, 5), Gallery(ChannelId(99), 1)):
        assert decide(state, gallery, NOW) == []
    fewer = replace(state, favourites={UserId(10): NOW})
    assert decide(fewer, None, NOW) == [Remove(COPY)]
    assert decide(replace(state, shown=set()), Gallery(BEST, 2), NOW) == [Remove(COPY)]


async def test_a_copy_that_was_not_sent_follows_the_gallery(tmp_path: Path) -> None:
    open_ = replace(COPY, message_id=None)
    state = await state_of(tmp_path, 2, 0, open_)
    assert decide(state, Gallery(BEST, 2), NOW) == [Send(open_)]
    assert decide(state, None, NOW) == [Remove(open_)]
    there = ChannelId(99)
    moved = [Remove(open_), Begin(Kind.GALLERY, channel_id=there, threshold=1)]
    assert decide(state, Gallery(there, 1), NOW) == moved


async def test_a_new_gallery_takes_what_was_favourited_lately(tmp_path: Path) -> None:
    state = await state_of(tmp_path, 3, 1)
    begun = [Begin(Kind.GALLERY, channel_id=BEST, threshold=3), Begin(Kind.PRIVATE, GRACE)]
    assert decide(state, Gallery(BEST, 3), NOW + RECENTLY - timedelta(seconds=1)) == begun
    assert decide(state, Gallery(BEST, 3), NOW + RECENTLY) == []
    assert decide(state, Gallery(BEST, 4), NOW) == begun[1:]


async def test_a_refused_person_asks_again_by_a_new_reaction(tmp_path: Path) -> None:
    refused = replace(LETTER, message_id=None, over_at=NOW)
    state = await state_of(tmp_path, 0, 1, refused)
    assert decide(state, None, NOW) == []
    later = replace(state, senders={GRACE: NOW + timedelta(seconds=1)})
    assert decide(later, None, NOW) == [Remove(refused), Begin(Kind.PRIVATE, GRACE)]


async def test_a_note_goes_after_its_time_and_its_row_stays(tmp_path: Path) -> None:
    state = await state_of(tmp_path, 0, 0, NOTE)
    assert decide(state, None, NOW + NOTE_STAYS - timedelta(seconds=1)) == []
    assert decide(state, None, NOW + NOTE_STAYS) == [Remove(NOTE)]
    assert decide(state, None, NOW - timedelta(days=1)) == [Remove(NOTE)], "the clock was set back"
    assert decide(replace(state, messages=(replace(NOTE, message_id=None, over_at=NOW),)), None, NOW) == []
