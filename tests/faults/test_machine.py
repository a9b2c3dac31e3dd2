"""Random actions of people, moderators, the engine, the clock and Discord, and restarts of the bot, on a real database.

After every run all work may finish. Then each accepted request has ended, its one message says how, and no person got
more than their quota.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bot.app import App, open_app
from bot.config import Config, DiscordConfig, LimitsConfig
from bot.delivery import gate
from bot.delivery.poster import Repost, Shown
from bot.engine.fake import FakeEngine
from bot.engine.timing import STEP
from bot.errors import EngineDied, PaintFailed, Rejected, TryLater, Unreachable
from bot.jobs import (
    Cancelled,
    ChannelId,
    Destination,
    Failed,
    GuildId,
    Job,
    JobId,
    JobStatus,
    MessageId,
    News,
    Painted,
    Passing,
    Requester,
    Surface,
    UserId,
    utcnow,
)
from bot.policy.limits import SERVER
from bot.queue import dispatcher
from bot.queue.dispatcher import ATTEMPTS
from bot.requests.options import Options
from bot.storage import forgetting
from bot.storage.cases import By
from tests.faults.invariants import left_of

GUILD = GuildId(1)
PATIENCE_SECONDS = 30.0
DAY = timedelta(days=1)
QUOTA = 6
"""GPU seconds."""
WHICH = st.integers(0, 99)
"""Which of the existing ones. Their number depends on timing, and a drawn value must not."""
SAYS = {JobStatus.DELIVERED: Painted, JobStatus.FAILED: Failed, JobStatus.CANCELLED: Cancelled}


@dataclass
class Wall:
    """Discord as people see it. It outlives the bot, refuses when told to, and knows nonces."""

    messages: dict[MessageId, News | None] = field(default_factory=dict)
    reposts: dict[JobId, MessageId] = field(default_factory=dict)
    refusals: list[Exception] = field(default_factory=list)
    added: int = 0

    def add(self) -> MessageId:
        """A new message that says nothing yet."""
        self.added += 1  # an id is never used twice
        self.messages[message_id := MessageId(self.added)] = None
        return message_id

    async def show(self, job: Job, news: News, repost: Repost) -> Shown:
        """Edit the job's message; one that is gone is replaced once."""
        await asyncio.sleep(0)
        if self.refusals and not isinstance(news, Passing):
            raise self.refusals.pop(0)
        message_id = job.destination.message_id
        assert message_id is not None
        if message_id in self.messages:
            self.messages[message_id] = news
            return Shown()
        if isinstance(news, Passing):
            raise Unreachable("Unknown Message")
        await repost()
        if job.id not in self.reposts:
            self.reposts[job.id] = self.add()
        self.messages[self.reposts[job.id]] = news
        # Discord has the message, but the bot may end before it learns this.
        await asyncio.sleep(0)
        return Shown(self.reposts[job.id])

    async def decorate(self, job: Job) -> None:
        """Add nothing."""

    async def remove(self, job: Job) -> None:
        """Delete the job's message, and the one that replaced it."""
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        for message_id in (job.destination.message_id, self.reposts.get(job.id)):
            if message_id is not None:
                self.messages.pop(message_id, None)


class House(RuleBasedStateMachine):
    """One server, two people."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.home = Path(tempfile.mkdtemp())
        self.opened = AsyncExitStack()
        self.app: App
        self.engine = FakeEngine(slots=2)
        self.wall = Wall()
        self.shift = timedelta()
        self.quota = QUOTA
        self.interactions: dict[int, JobId] = {}
        self.people: dict[JobId, int] = {}
        """The person of each job, kept because a deletion removes it from the row."""
        self.forgotten: set[JobId] = set()
        self.eras = {1: 0, 2: 0}
        """How often each person deleted everything."""
        self.undelivered = 0
        self.seconds = gate.LONGEST_PAUSE_SECONDS, dispatcher.LOOK_AGAIN_SECONDS, forgetting.RETRY_SECONDS
        gate.LONGEST_PAUSE_SECONDS = dispatcher.LOOK_AGAIN_SECONDS = forgetting.RETRY_SECONDS = 0.01

    @initialize()
    def open(self) -> None:
        """Start the bot."""
        self.engine = FakeEngine(slots=2)
        self.engine.open.clear()
        # One second for each picture.
        for images in (1, 2):
            self.engine.timings.record(("emoji", 128, 128), STEP, 2 * images, images / 2)
        config = Config(
            data=self.home,
            discord=DiscordConfig(posts_per_channel=50),
            limits=LimitsConfig(pace=10_000, depth=4, quota=QUOTA),
        )
        opening = open_app(config, Surface.DISCORD, engine=self.engine, clock=lambda: utcnow() + self.shift)
        self.app = self.runner.run(self.opened.enter_async_context(opening))
        self.app.delivery.attach(self.wall)

    @rule(person=st.integers(1, 2), images=st.integers(1, 3), acknowledged=st.booleans())
    def submit(self, person: int, images: int, acknowledged: bool) -> None:
        """A person asks; if the answer is lost, the request is withdrawn."""
        interaction = len(self.interactions) + 1 + self.undelivered
        who = Requester(UserId(person), GUILD)

        async def ask() -> None:
            destination = Destination(ChannelId(person))
            options = Options(prompt=f"apple {self.word(person)}", images=images, steps=2)
            try:
                quote = await self.app.admission.quote(who, options, destination)
                admitted = await self.app.admission.admit(quote, interaction_id=interaction)
            except Rejected:
                self.undelivered += 1
                return
            assert admitted is not None
            self.people[admitted.job.id] = person
            assert await self.spent(who) <= self.quota + 1e-6, "I4: no extra quota"
            if acknowledged:
                await self.app.queue.place_message(admitted.job.id, self.wall.add())
                self.interactions[interaction] = admitted.job.id
            else:
                await self.app.queue.withdraw(admitted.job.id)
                self.undelivered += 1

        self.runner.run(ask())

    @rule(which=WHICH)
    def repeat(self, which: int) -> None:
        """Discord sends an event again after a RESUME."""
        if not self.interactions:
            return
        interaction = sorted(self.interactions)[which % len(self.interactions)]

        async def ask() -> None:
            who, destination = Requester(UserId(9), GUILD), Destination(ChannelId(9))
            options = Options(prompt="a red apple", steps=2)
            quote = await self.app.admission.quote(who, options, destination)
            assert await self.app.admission.admit(quote, interaction_id=interaction) is None

        self.runner.run(ask())

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        """A person presses a cancel button, perhaps too late."""
        if self.interactions:
            job_id = sorted(self.interactions.values())[which % len(self.interactions)]
            self.runner.run(self.app.dispatcher.cancel(job_id))

    @rule(person=st.integers(1, 2))
    def forget(self, person: int) -> None:
        """A person deletes everything about them."""

        async def forget() -> None:
            stopped = await self.app.forgetting.forget(UserId(person), self.app.dispatcher.used)
            self.app.dispatcher.stop(stopped)

        self.forgotten |= {job_id for job_id in self.interactions.values() if self.people[job_id] == person}
        self.eras[person] += 1
        self.runner.run(forget())

    def word(self, person: int, era: int | None = None) -> str:
        """A word that is in all prompts of a person until they delete everything."""
        return f"xylophone{person}of{self.eras[person] if era is None else era}z"

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        """A moderator deletes a message that does not say how it ended."""
        open_ = [at for at, news in self.wall.messages.items() if not isinstance(news, Painted | Failed | Cancelled)]
        if open_:
            self.wall.messages.pop(open_[which % len(open_)])

    @rule(error=st.sampled_from([EngineDied("It died."), PaintFailed("The model refuses this.")]))
    def hurt(self, error: Exception) -> None:
        """The engine will die, or refuse, at the first step of an order."""
        self.engine.raises.append(error)

    @rule(times=st.integers(1, 3))
    def refuse(self, times: int) -> None:
        """Discord will be busy."""
        self.wall.refusals += [TryLater("503")] * times

    @rule(quota=st.integers(1, 9))
    def limit(self, quota: int) -> None:
        """A moderator changes the quota; what was accepted stays accepted."""
        self.quota = max(quota, self.quota)
        self.runner.run(self.app.cases.change(By(GUILD, UserId(3)), "limits set", SERVER, {"quota": quota}))

    @rule(days=st.sampled_from([-1, 1]))
    def jump(self, days: int) -> None:
        """The clock jumps by a day and stays there."""
        self.shift = days * DAY

    @rule(seconds=st.sampled_from([0.0, 0.002, 0.02]))
    def paint(self, seconds: float) -> None:
        """Let the engine work for a while."""

        async def work() -> None:
            self.engine.open.set()
            await asyncio.sleep(seconds)
            self.engine.open.clear()

        self.runner.run(work())

    @rule()
    def restart(self) -> None:
        """Stop the bot at any moment, and start another."""
        self.runner.run(self.opened.aclose())
        self.opened = AsyncExitStack()
        self.open()

    async def spent(self, who: Requester) -> float:
        """The GPU seconds that count towards a person's quota now, calculated from what the documentation promises."""
        seconds = 0.0
        for row in await self.app.database.fetch_all("SELECT * FROM jobs_with_post"):
            job, used = Job.from_row(row), row["used_seconds"]
            if self.people[job.id] != who.user_id:
                continue
            if job.asked_at <= utcnow() + self.shift - DAY or job.status is JobStatus.FAILED:
                continue
            held = 0.0 if job.status is JobStatus.CANCELLED else row["held_seconds"]
            seconds += held if used is None else used
        return seconds

    async def jobs(self) -> list[Job]:
        """Every row."""
        rows = await self.app.database.fetch_all("SELECT * FROM jobs_with_post ORDER BY id")
        return [Job.from_row(row) for row in rows]

    async def settle(self) -> None:
        """Let all work finish, and check that every promise was kept."""
        self.engine.open.set()
        changed = self.app.database.listen()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(job.posted_at for job in await self.jobs()) or await self.owed():
                await changed.wait()
                changed.clear()
        jobs = {job.id: job for job in await self.jobs()}
        assert set(jobs) == set(self.interactions.values()), "I1: one row for each accepted request"
        for job in jobs.values():
            assert job.destination.message_id is not None
            if job.id in self.forgotten:
                assert job.destination.message_id not in self.wall.messages, "I5: its message is gone"
                assert job.status in SAYS, "I1: it has ended"
                continue
            shown = self.wall.messages[job.destination.message_id]
            assert isinstance(shown, SAYS[job.status]), f"I2: {job.status}, and the message says {shown}"
            assert job.deaths < ATTEMPTS or job.status is JobStatus.FAILED
        named = [job.destination.message_id for job in jobs.values() if job.id not in self.forgotten]
        assert len(set(named)) == len(named)
        results = [at for at, news in self.wall.messages.items() if isinstance(news, Painted)]
        delivered = [job for job in jobs.values() if job.status is JobStatus.DELIVERED and job.id not in self.forgotten]
        assert len(results) == len(delivered), "I3: one result for each job"
        words = [self.word(person, era) for person, eras in self.eras.items() for era in range(eras)]
        assert left_of(words, self.home) == [], "I5: no byte is left"

    async def owed(self) -> bool:
        """Whether a deletion is not finished."""
        sql = (
            "SELECT 1 FROM deletion_requests WHERE done_at IS NULL UNION ALL "
            "SELECT 1 FROM jobs WHERE forgotten_at IS NOT NULL AND removed_at IS NULL"
        )
        return bool(await self.app.database.fetch_all(sql))

    def teardown(self) -> None:
        """Settle, close and clean up."""
        try:
            if hasattr(self, "app"):
                self.runner.run(self.settle())
        finally:
            gate.LONGEST_PAUSE_SECONDS, dispatcher.LOOK_AGAIN_SECONDS, forgetting.RETRY_SECONDS = self.seconds
            self.runner.run(self.opened.aclose())
            self.runner.close()
            shutil.rmtree(self.home)


TestHouse = House.TestCase
# No shrinking: a broken promise often shows as a timeout, and shrinking would wait for it hundreds of times.
TestHouse.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
