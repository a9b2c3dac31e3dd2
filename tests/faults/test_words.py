"""Random requests, edits, terms and restarts: no request with words that are forbidden when its turn comes is painted.

What is looked at are the orders that reach the engine, and everything that everybody could read about the others.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bot.app import App, open_app
from bot.config import Config, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.errors import UserError
from bot.jobs import ChannelId, Destination, GuildId, Job, JobStatus, MessageId, Requester, Surface, UserId
from bot.policy.limits import SERVER
from bot.policy.wildcards import WILDCARD
from bot.policy.words import parse_terms
from bot.requests import edits
from bot.requests.options import Options
from bot.requests.series import SeriesQuote
from bot.storage.cases import By
from bot.storage.styles import Style
from cogs import _requests
from tests.bot.prompt_safety.evasions import CATEGORIES

GUILD, ADA = GuildId(1), UserId(1)
MODERATOR = By(GUILD, UserId(99))
TERMS = ("zeppelin", "purple umbrella", "okapi")
MARKS = {"zeppelin": 11, "purple umbrella": 12, "okapi": 13, "nude child": 14}
"""A request says by its seed what is in it, so that the test need not read words as the bot does."""
SPELLINGS = st.sampled_from(sorted(CATEGORIES.keys() - {"the other order", "other words around"}))
"""Ways to spell words. These two take a phrase apart, which counts for pairs of the hard block and not for a term."""
WHICH = st.integers(0, 99)


class Words(RuleBasedStateMachine):
    """One person, one moderator and the engine, with all doors through which words come."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.stack = AsyncExitStack()
        self.engine = FakeEngine()
        self.listed: set[str] = set()
        self.painted: list[tuple[int, frozenset[str]]] = []
        self.app: App

    def do(self, awaitable: object) -> object:
        return self.runner.run(awaitable)  # type: ignore[arg-type]

    @initialize()
    def begin(self) -> None:
        self.engine.open.clear()
        self.runner.run(self._open())

    async def _open(self) -> None:
        limits = LimitsConfig(pace=10**4, depth=10**4, quota=10**6)
        config = Config(
            data=self.folder, limits=limits, models=[ModelConfig(name="m", source="embedded", draft_steps=2)]
        )
        self.app = await self.stack.enter_async_context(open_app(config, Surface.DISCORD, engine=self.engine))
        submit = self.engine.submit

        def noted(order: object) -> object:
            self.painted.append((order.request.seed, frozenset(self.listed)))  # type: ignore[attr-defined]
            return submit(order)  # type: ignore[arg-type]

        self.engine.submit = noted  # type: ignore[method-assign,assignment]

    async def _close(self) -> None:
        del self.engine.submit
        await self.stack.aclose()
        self.stack = AsyncExitStack()

    def teardown(self) -> None:
        self.runner.run(self._end())
        self.runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _end(self) -> None:
        self.engine.open.set()
        jobs = await self._idle()
        for seed, listed in self.painted:
            forbidden = {MARKS[term] for term in listed} | {MARKS["nude child"]}
            assert seed not in forbidden, "a request with forbidden words reached the engine"
        for job in jobs:
            if job.status is JobStatus.FAILED:
                words = _requests.failed(job, job.reason or "")
                assert not any(term in words for term in MARKS), "a refusal shows the words in public"
        await self._close()

    async def _idle(self) -> list[Job]:
        """Wait until every job has ended."""
        changed = self.app.database.listen()
        async with asyncio.timeout(60):
            while True:
                changed.clear()
                rows = await self.app.database.fetch_all("SELECT * FROM jobs_with_post ORDER BY id")
                jobs = [Job.from_row(row) for row in rows]
                if all(job.status not in (JobStatus.QUEUED, JobStatus.RUNNING) for job in jobs):
                    return jobs
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await changed.wait()

    async def _settle(self) -> None:
        """Wait until the engine holds a job, or none is left: then no job is on its way into the engine."""
        async with asyncio.timeout(60):
            while True:
                found = await self.app.database.fetch_one(
                    "SELECT count(*) FILTER (WHERE status = 'running') AS running, "
                    "count(*) FILTER (WHERE status = 'queued') AS queued FROM jobs"
                )
                assert found is not None
                if self.engine.held == found["running"] and (self.engine.held or not found["queued"]):
                    return
                await asyncio.sleep(0.002)

    async def _ask(self, options: Options) -> None:
        with suppress(UserError):
            quote = await self.app.admission.quote(Requester(ADA, GUILD), options, Destination(ChannelId(1)))
            admitted = await self.app.admission.admit(quote)
            assert admitted is not None
            await self.app.queue.place_message(admitted.job.id, MessageId(admitted.job.id + 100))

    @rule(term=st.sampled_from(sorted(MARKS)), spelled=SPELLINGS, where=st.integers(0, 4))
    def ask(self, term: str, spelled: str, where: int) -> None:
        said, seed = CATEGORIES[spelled](term), MARKS[term]
        options = [
            Options(f"a picture of a {said}", seed=seed),
            Options("a picture", negative_prompt=f"text, {said}", seed=seed),
            Options(f"a picture --no {said} --seed {seed}"),
            Options(f"a picture --seed {seed} of a {said}"),
            Options(f"{said}, a picture --draft", seed=seed),
        ][where]
        self.do(self._ask(options))

    @rule(term=st.sampled_from(sorted(MARKS)), spelled=SPELLINGS, where=st.integers(0, 2))
    def compare(self, term: str, spelled: str, where: int) -> None:
        said, seed = CATEGORIES[spelled](term), MARKS[term]
        first, second = [("--steps 2", "--steps 3"), (f"--no {said}", ""), ("--steps 2", f"--no {said}")][where]
        prompt = f"a picture of a {said}" if where == 0 else "a picture"
        texts = [f"{prompt} {text}" for text in (first, second)]
        self.do(self._compare(*(Options(text, seed=seed if said in text else 99) for text in texts)))

    async def _compare(self, first: Options, second: Options) -> None:
        """Both requests of a comparison, or none, as the command asks for them."""
        requester, place = Requester(ADA, GUILD), Destination(ChannelId(1))
        with suppress(UserError):
            quotes = [await self.app.admission.quote(requester, options, place) for options in (first, second)]
            for quote in quotes:
                admitted = await self.app.admission.admit(quote)
                assert admitted is not None
                await self.app.queue.place_message(admitted.job.id, MessageId(admitted.job.id + 100))

    @rule(term=st.sampled_from(sorted(MARKS)), spelled=SPELLINGS, drawn=st.booleans())
    def choose(self, term: str, spelled: str, drawn: bool) -> None:
        said = CATEGORIES[spelled](term)
        # These would end the choice, so that the words were not in it.
        if not re.search(r"[{},;\\\n]|--|__", said):
            self.do(self._choose(said, MARKS[term], drawn=drawn))

    async def _choose(self, said: str, seed: int, *, drawn: bool) -> None:
        """A prompt with choices, one of which has the words, as they are or from a wildcard."""
        if drawn:
            await self.app.cases.change(MODERATOR, "wildcards add", SERVER, {f"{WILDCARD}thing": (said,)})
            await self._settle()
        options = Options(f"a picture of a {{dog --seed 99, {'__thing__' if drawn else said} --seed {seed}}}")
        with suppress(UserError):
            series = await self.app.series.read(Requester(ADA, GUILD), options, Destination(ChannelId(1)))
            assert isinstance(series, SeriesQuote)
            for admitted in await self.app.series.admit(series, interaction_id=None):
                await self.app.queue.place_message(admitted.job.id, MessageId(admitted.job.id + 100))

    @rule(term=st.sampled_from(TERMS), spelled=SPELLINGS)
    def paint_with_a_style(self, term: str, spelled: str) -> None:
        self.do(self._paint_with_a_style(CATEGORIES[spelled](term), MARKS[term]))

    async def _paint_with_a_style(self, said: str, seed: int) -> None:
        """A style whose words a moderator may have written before the term was listed."""
        await self.app.styles.put(MODERATOR, "style add", Style("mine", f"{{prompt}}, {said}"))
        await self._settle()
        await self._ask(Options("a picture", style="mine", seed=seed))

    @rule(which=WHICH, term=st.sampled_from(sorted(MARKS)), spelled=SPELLINGS, how=st.integers(0, 6))
    def edit(self, which: int, term: str, spelled: str, how: int) -> None:
        self.do(self._edit(which, CATEGORIES[spelled](term), MARKS[term], how))

    async def _edit(self, which: int, said: str, seed: int, how: int) -> None:
        rows = await self.app.database.fetch_all(
            "SELECT * FROM jobs_with_post WHERE status = 'rendered' OR status = 'delivered' ORDER BY id"
        )
        if not rows:
            return
        job = Job.from_row(rows[which % len(rows)])
        pictures = await self.app.queue.pictures(job.id)
        if not pictures:
            return
        request, picture = edits.proper(job.request, self.app.config.models[0]), pictures[0]
        # What is made of a result keeps its words, and the seed that tells which they are.
        same = {
            0: lambda: edits.again(request),
            1: lambda: edits.vary(request, picture, edits.STRONG),
            2: lambda: edits.finish(job.request, picture, self.app.config.models[0]),
            3: lambda: edits.extend(request, picture, edits.EXTENSIONS["zoomfar"], self.app.config.models[0]),
        }
        new = {
            4: lambda: edits.reworded(edits.remix(request, picture, f"a {said}", "")),
            5: lambda: edits.reworded(edits.remix(request, picture, "a dog", f"text, {said}")),
            6: lambda: edits.reworded(edits.repaint(request, picture, [1, 2], f"a {said}")),
        }
        options = same[how]() if how in same else new[how]()
        await self._ask(replace(options, seed=job.request.seed if how in same else seed))

    @rule(term=st.sampled_from(TERMS))
    def forbid(self, term: str) -> None:
        self.do(self._forbid(term))

    async def _forbid(self, term: str) -> None:
        await self.app.cases.change(MODERATOR, "terms add", SERVER, parse_terms(term))
        await self._settle()
        self.listed.add(term)

    @rule(term=st.sampled_from(TERMS))
    def allow(self, term: str) -> None:
        self.listed.discard(term)
        self.do(self.app.cases.change(MODERATOR, "terms remove", SERVER, {}, parse_terms(term)))

    @rule()
    def paint(self) -> None:
        self.engine.open.set()
        self.do(self._idle())
        # The next request is held in the engine, so that those after it wait.
        self.engine.open.clear()

    @rule()
    def restart(self) -> None:
        self.do(self._close())
        self.do(self._open())


TestWords = Words.TestCase
TestWords.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
